"""The cases of the suite that have to pass, and those that it cannot judge."""

import fnmatch

from ..common import Failure

# How many cases the pinned suite has per subsection: 6.4 has 6.4.1 to 6.4.4. They are written down
# here so that none can go missing unseen. There is no 8 and no 11.
COUNTS = {
    "1.1": 8, "1.2": 8,
    "2": 11,
    "3": 7,
    "4.1": 5, "4.2": 5,
    "5": 20,
    "6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4,
    "6.10": 3, "6.11": 5, "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3, "6.17": 5,
    "6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8, "6.22": 34, "6.23": 7,
    "7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2,
    "9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6,
    "10.1": 1,
    **{f"12.{part}": 18 for part in range(1, 6)},
    **{f"13.{part}": 18 for part in range(1, 8)},
}

CASES = tuple(f"{part}.{number}" for part, count in COUNTS.items() for number in range(1, count + 1))

TITLES = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "close",
    "9": "large messages",
    "10": "automatic fragments",
    "12": "compression, payloads",
    "13": "compression, parameters",
}

# These need an agreement on permessage-deflate: without one a case ends as UNIMPLEMENTED.
COMPRESSION_SECTIONS = ("12", "13")

# What these send can be compressed: JSON, a play and a page, not the picture (12.2) and the PDF (12.5). From the
# fourth case on a message has 1 KiB and more.
COMPRESSIBLE_PARTS = ("12.1", "12.3", "12.4", *(f"13.{part}" for part in range(1, 8)))
FIRST_OF_1_KIB = 4

# Cases that end as INFORMATIONAL whatever the peer does, with the reason.
INFORMATIONAL = {
    "7.1.6": "the suite sends 256 KiB, a short text and a Close at once, and judges nothing: it only notes whether"
    " the short text, and nothing else, came back",
    "7.13.1": "RFC 6455 does not say how close code 5000 is answered",
    "7.13.2": "RFC 6455 does not say how close code 65535 is answered",
}


def section(case):
    """The section of a case: "6" for 6.4.1."""
    return case.partition(".")[0]


def part(case):
    """The subsection of a case: "6.4" for 6.4.1."""
    return case.rpartition(".")[0]


def is_about_compression(case):
    return section(case) in COMPRESSION_SECTIONS


def is_compressible(case):
    """Whether who compresses at all must make the messages of this case smaller."""
    return part(case) in COMPRESSIBLE_PARTS and int(case.rpartition(".")[2]) >= FIRST_OF_1_KIB


def select(patterns):
    """The cases that match one of the patterns, such as `6.*` or `9.3.1`."""
    for pattern in patterns:
        if not fnmatch.filter(CASES, pattern):
            raise Failure(f"no case matches {pattern!r}; they are 1.1.1 to 13.7.18, written like 6.* or 9.3.1")
    return [case for case in CASES if any(fnmatch.fnmatch(case, pattern) for pattern in patterns)]
