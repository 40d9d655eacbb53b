"""What the suite has counted of the messages that it got back: whether they were compressed, and how well.

A peer that agrees to permessage-deflate and then compresses nothing passes every case of the suite.
"""

import collections
import json

from .cases import is_about_compression, is_compressible, part

# 1 KiB of the least compressible text, with the smallest window, stays well below.
LARGEST_SHARE = 0.9


def read(report, entries):
    """The bytes of the messages that came back in each case about compression, on the wire and inflated: pairs, by
    case. Cases that did not come to their end have none."""
    counted = {}
    for case, entry in entries.items():
        if not is_about_compression(case):
            continue
        traffic = json.loads((report / entry["reportfile"]).read_text())["trafficStats"]
        if traffic:
            counted[case] = (traffic["incomingOctetsWebSocketLevel"], traffic["incomingOctetsAppLevel"])
    return counted


def problems(counted):
    """A line for each case whose messages should have been compressed and were not."""
    return [
        f"{case}: {wire} bytes came back for {inflated} that can be compressed"
        for case, (wire, inflated) in counted.items()
        if is_compressible(case) and wire > LARGEST_SHARE * inflated
    ]


def by_part(counted):
    """Bytes on the wire per byte of the messages, by subsection."""
    totals = collections.defaultdict(lambda: [0, 0])
    for case, (wire, inflated) in counted.items():
        totals[part(case)][0] += wire
        totals[part(case)][1] += inflated
    return {name: round(wire / inflated, 4) for name, (wire, inflated) in totals.items()}
