"""What `scripts/deflate` measures, and what it has to reach: compression's table "Figures to reach", as data."""

from .cases import COST, IDLE_MEMORY, MANY, NO_PINGS, P50, ROOM, Bar, Case, Entrant, Metric
from .fanout import DELIVERY_COST, LAST

INTRO = """\
Messages are JSON records of many kinds, of exactly the size named, sent as text and compressed both ways. Clients offer
permessage-deflate with no context takeover on either side; a server that does not agree, or that compresses nothing, is no
result. Bytes on the wire are those of a message from server to client, with its frame header; the ratio is what it stands for,
divided by that. Every message of every run was inflated and compared with what was sent, or is byte for byte the same as one that
was. `uncompressed` is the same server and the same messages without compression: what compression itself costs."""

WIRE = Metric("wire", "bytes on the wire per message", "B")
RATIO = Metric("ratio", "ratio", "")

# No context takeover on either side.
SHARED = ("--deflate", "shared")

CONTENDERS = (
    Entrant("corecast", "corecast", SHARED, ("--deflate",)),
    Entrant("corecast, uncompressed", "corecast"),
    Entrant("bun", "bun-deflate", (), ("--deflate",)),
    Entrant("node ws", "ws-deflate", (), ("--deflate",)),
)


def echo(name, title, size):
    flags = ("-c", "100", "-s", size, "--payload", "json")
    bars = (Bar(0.8, "bun"), Bar(1.0, "bun", WIRE))
    return Case(name, title, "echo", flags, CONTENDERS, bars, (COST, WIRE, RATIO, P50))


BROADCAST = Case(
    "broadcast",
    "1 publisher, 1,000 subscribers, JSON of 4 KiB, 1 in flight",
    "broadcast",
    ("-c", "1k", "-s", "4k", "--payload", "json"),
    CONTENDERS,
    (Bar(0.2, "bun", DELIVERY_COST),),
    (DELIVERY_COST, WIRE, RATIO, LAST),
)

PLAIN, NEGOTIATED = "corecast, uncompressed", "corecast, negotiated"

# The request with the offer is 102 bytes longer. With fewer connections than have gone through the receive buffers (a few MiB per
# core), those bytes are memory that one server has touched and the other has not yet: 68 B per connection with 5,000 of them.
IDLE = Case(
    "idle",
    "15,000 idle connections, pings off: uncompressed, and with compression agreed on",
    "idle",
    ("-c", MANY),
    (
        Entrant(PLAIN, "corecast", (*ROOM, *NO_PINGS), empty=("--max-connections", "1")),
        Entrant(
            NEGOTIATED,
            "corecast",
            (*SHARED, *ROOM, *NO_PINGS),
            ("--deflate",),
            empty=(*SHARED, "--max-connections", "1"),
        ),
    ),
    (Bar(16, PLAIN, IDLE_MEMORY, NEGOTIATED, difference=True),),
    (IDLE_MEMORY,),
)

CASES = (
    echo("echo-256", "echo of JSON of 256 B, 100 connections, 1 in flight", "256"),
    echo("echo-4k", "echo of JSON of 4 KiB, 100 connections, 1 in flight", "4k"),
    echo("echo-64k", "echo of JSON of 64 KiB, 100 connections, 1 in flight", "64k"),
    BROADCAST,
    IDLE,
)
