"""What `scripts/fanout` measures, and what it has to reach: fan-out's table "Figures to reach", as data."""

from .cases import Bar, Case, Entrant, Metric

INTRO = """\
A delivery is one message received by one subscriber; every delivery of every run was checked for content, number and order.
Memory is what the server process has resident; the kernel's sockets are not in it. `to the last` is the time from a
message's due time (in a closed loop: from when it was sent) until the last subscriber has it, the median over messages."""

DELIVERY_COST = Metric("delivery_cost", "server CPU per delivery", "µs")
LAST = Metric("last", "to the last", "ms")
P99 = Metric("p99", "p99 of all deliveries", "ms")
MOST_MEMORY = Metric("most_memory", "most resident memory", "MiB")
GROWTH = Metric("growth", "growth of it by publishing", "MiB")
KEPT = Metric("kept", "stalled that stayed open", "")
READ_LATE = Metric("read_late", "messages each of them read in the end", "")

PORTABLE = ("corecast-monoio", "corecast-epoll")
FLOORS = ("floor-ring", "floor-epoll")

# The ring has to be at or ahead of Corecast's own portable transport in every case.
RING_EARNS_ITS_PLACE = tuple(Bar(1.0, against=name, metric=DELIVERY_COST) for name in PORTABLE)


def cost(limit, against, subject="corecast"):
    return Bar(limit, against, DELIVERY_COST, subject)


def entrants(subscribers, size):
    """All that fan out messages of so many payload bytes."""
    bench = ("-c", subscribers)
    return (
        *(Entrant(name, name, (), bench) for name in ("corecast", *PORTABLE, "bun")),
        *(Entrant(name, name, ("--broadcast", size), bench) for name in FLOORS),
    )


def case(name, title, subscribers, bench, *bars, size="64", metrics=(DELIVERY_COST, LAST), more=()):
    flags = (*bench, "-s", size)
    contenders = (*entrants(subscribers, size), *more)
    bars = (*bars, *RING_EARNS_ITS_PLACE)
    return Case(name, title, "broadcast", flags, contenders, bars, metrics)


LARGE = case(
    "large",
    "1 publisher, 200 subscribers, 64 KiB, 1 in flight",
    "200",
    (),
    cost(0.8, "bun"),
    # It grows by one payload, not 200: 200 of them would double what is resident.
    Bar(1.05, "corecast, 1 subscriber", MOST_MEMORY),
    size="64k",
    metrics=(DELIVERY_COST, LAST, MOST_MEMORY, GROWTH),
    more=(Entrant("corecast, 1 subscriber", "corecast", (), ("-c", "1")),),
)

TWO_CORES = Case(
    "two-cores",
    "1 publisher, 1,000 subscribers, 64 B, on one server core and on two, of which the client shares one",
    "broadcast",
    ("-c", "1k"),
    (Entrant("corecast", "corecast"), Entrant("corecast, 2 cores", "corecast", cores=2)),
    (cost(1.1, "corecast", subject="corecast, 2 cores"),),
    (DELIVERY_COST, LAST),
)

# 10,000 subscribers of whom 1 % stall, and a backlog that they fill in seconds.
STALLED, BACKLOG, SLOW_SIZE, SLOW_RATE, SLOW_WARMUP = 100, 32 << 10, 8 << 10, 8, 8

# What a core may have beside backlogs when it publishes: receive buffers 4 MiB, kept arena 1 MiB, and the turn's own
# output, far below 1 MiB here.
PER_CORE = 6 << 20

# The backlog's limit, and a message that meets a backlog just below it.
DECLARED_MIB = (STALLED * (BACKLOG + SLOW_SIZE) + PER_CORE) / (1 << 20)

# A policy had something to do when this many messages, of those published in warm-up and window, are the most that a
# stalled subscriber finds when it reads on: what the kernel and the backlog hold.
HELD_MESSAGES = SLOW_RATE * SLOW_WARMUP

POLICIES = ("close", "drop-newest", "drop-oldest", "conflate")


def stalled(policy):
    server = ("--slow", policy, "--backlog", str(BACKLOG))
    return Entrant(f"corecast, {policy}", "corecast", server, ("--slow", str(STALLED)))


def slow_bars(policy):
    subject = f"corecast, {policy}"
    return (
        Bar(1.2, "corecast, none stalled", P99, subject),
        Bar(DECLARED_MIB, None, GROWTH, subject),
        Bar(0, None, KEPT, subject) if policy == "close" else Bar(HELD_MESSAGES, None, READ_LATE, subject),
    )


SLOW = Case(
    "stalled",
    "10,000 subscribers, 8 KiB, 8 messages per second, 1 % of them stalled, by policy",
    "broadcast",
    ("-c", "10k", "-s", str(SLOW_SIZE), "-r", str(SLOW_RATE)),
    (
        Entrant("corecast, none stalled", "corecast", ("--backlog", str(BACKLOG))),
        *(stalled(policy) for policy in POLICIES),
    ),
    tuple(bar for policy in POLICIES for bar in slow_bars(policy)),
    (P99, DELIVERY_COST, GROWTH, KEPT, READ_LATE),
    by_latency=True,
    # Until the stalled ones' sockets are full and the policies have something to do.
    warmup=float(SLOW_WARMUP),
)

CASES = (
    case(
        "one-publisher",
        "1 publisher, 1,000 subscribers, 64 B, 1 in flight",
        "1k",
        (),
        cost(0.75, "bun"),
        *(cost(1.2, name) for name in FLOORS),
    ),
    case(
        "bursts",
        "16 publishers in bursts of 4, 1,000 subscribers, 64 B",
        "1k",
        ("--publishers", "16", "--burst", "4"),
        cost(0.4, "bun"),
    ),
    case(
        "chat-200",
        "every one of 200 publishes to all, 64 B, 1 in flight each",
        "200",
        ("--all-publish",),
        cost(0.4, "bun"),
    ),
    case(
        "chat-1000",
        "every one of 1,000 publishes to all, 64 B, 1 in flight each",
        "1k",
        ("--all-publish",),
        cost(0.4, "bun"),
    ),
    LARGE,
    TWO_CORES,
    SLOW,
)
