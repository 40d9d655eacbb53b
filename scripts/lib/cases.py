"""What `scripts/measure` measures, and what it has to reach: the table "Figures to reach", as data."""

from dataclasses import dataclass

from .contestants import FLOORS
from .peers import PLAIN as PEERS

# Connections of the cases about many: most of the 20,000 descriptors of a process.
MANY = "15k"

# Past the connections that any case opens.
ROOM = ("--max-connections", "20k")


# Their default, said aloud.
NO_PINGS = ("--ping-interval", "0ms")


@dataclass(frozen=True)
class Metric:
    """A figure of one run. Lower is better for all that a bar is set for."""

    key: str
    title: str
    unit: str


COST = Metric("cost", "server CPU per message", "µs")
P50 = Metric("p50", "median round trip", "µs")
CONNECT_COST = Metric("connect_cost", "server CPU per connect, upgrade and close", "µs")
IDLE_MEMORY = Metric("idle_memory", "anonymous memory per idle connection", "B")
TOTAL_MEMORY = Metric("total_memory", "resident memory with all of them open", "MiB")
IDLE_CPU = Metric("idle_cpu", "server CPU per idle second", "µs")
SYSCALLS = Metric("syscalls", "system calls per message", "")


@dataclass(frozen=True)
class Entrant:
    """A server in a case: what is started, and how it is loaded."""

    label: str
    contestant: str
    server: tuple = ()  # Added to the server's command line.
    bench: tuple = ()  # Added to the harness's.
    # The same server with room for hardly any connection: a server that sets memory aside
    # before they come is charged for it. Empty for those that do not.
    empty: tuple = ()
    cores: int = 1  # Of the server. With two, the client shares the second.


@dataclass(frozen=True)
class Bar:
    """`subject`'s figure is at most `limit` times that of `against`, or at most `limit`.

    As a `difference`, it is at most `limit` more than that of `against`.
    """

    limit: float
    against: str | None = None
    metric: Metric = COST
    subject: str = "corecast"
    difference: bool = False


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    title: str
    command: str  # Of corecast-bench: echo, broadcast, connect or idle.
    bench: tuple
    entrants: tuple
    bars: tuple
    metrics: tuple = (COST,)
    count_syscalls: bool = False
    # Latencies are compared, so the client must have had time to spare, too; else cost alone.
    by_latency: bool = False
    warmup: float = 1.0  # Seconds under load before the window.

    @property
    def mode(self):
        """What the server has to do."""
        return "broadcast" if self.command == "broadcast" else "echo"


def entrants(*names):
    return tuple(Entrant(name, name) for name in names)


PORTABLE = ("corecast-monoio", "corecast-epoll")
ECHO = entrants("corecast", *PORTABLE, *FLOORS, *PEERS)

# The ring has to be at or ahead of Corecast's own portable transport in every case.
RING_EARNS_ITS_PLACE = tuple(Bar(1.0, against=name) for name in PORTABLE)
AHEAD_OF_ALL = tuple(Bar(1.0, against=name) for name in PEERS if name != "bun")


def echo(name, title, bench, *bars):
    return Case(name, title, "echo", bench, ECHO, (*bars, *RING_EARNS_ITS_PLACE), (COST, P50))


ROUND_TRIP = Case(
    "ping-pong",
    "1 connection, ping-pong, the client polling",
    "echo",
    # A client that sleeps adds its own wake-up to every round trip, which is most of it.
    ("-c", "1", "-s", "512", "--busy-poll"),
    entrants("corecast", "corecast-busy-poll", *PORTABLE, *FLOORS, *PEERS),
    (
        Bar(1.05, against="bun", metric=P50),
        Bar(0.4, against="bun", metric=P50, subject="corecast-busy-poll"),
        *RING_EARNS_ITS_PLACE,
    ),
    (P50, COST),
)

SYSTEM_CALLS = Case(
    "syscalls",
    "system calls, echo 512 B, 100 connections, 1 in flight",
    "echo",
    ("-c", "100", "-s", "512"),
    entrants("corecast", *PORTABLE, "floor-ring", "bun"),
    (Bar(0.1, metric=SYSCALLS),),
    (SYSCALLS,),
    count_syscalls=True,
)

CHURN = Case(
    "connect",
    "connect + upgrade + close, 64 at a time",
    "connect",
    ("--churn", "--concurrency", "64"),
    entrants("corecast", *PORTABLE, *PEERS),
    (
        # At least 1.2 times as many per CPU second.
        Bar(1 / 1.2, against="bun", metric=CONNECT_COST),
        *(Bar(1.0, against=name, metric=CONNECT_COST) for name in PORTABLE),
    ),
    (CONNECT_COST,),
)

IDLE = Case(
    "idle",
    "15,000 idle connections, pings off",
    "idle",
    ("-c", MANY),
    (
        *(
            Entrant(name, name, server=(*ROOM, *NO_PINGS), empty=("--max-connections", "1"))
            for name in ("corecast", *PORTABLE)
        ),
        *entrants(*PEERS),
    ),
    (
        Bar(256, metric=IDLE_MEMORY),
        Bar(32, metric=TOTAL_MEMORY),
        Bar(0, metric=IDLE_CPU),
        *(Bar(1 / 3, against=name, metric=IDLE_MEMORY) for name in PORTABLE),
    ),
    (IDLE_MEMORY, TOTAL_MEMORY, IDLE_CPU),
)


def growth(contestant, server=()):
    """The same load alone, and among 15,000 connections."""
    return (
        Entrant(contestant, contestant, server, ("-c", "100")),
        Entrant(f"{contestant}, {MANY} open", contestant, server, ("-c", MANY)),
    )


GROWTH = Case(
    "growth",
    "echo 512 B, 100 busy connections, alone and among 15,000",
    "echo",
    ("--active", "100", "-s", "512"),
    (*growth("corecast", ROOM), *growth("corecast-epoll", ROOM), *growth("bun")),
    (Bar(1.1, against="corecast", subject=f"corecast, {MANY} open"),),
)

CASES = (
    echo(
        "echo-512",
        "echo 512 B, 100 connections, 1 in flight",
        ("-c", "100", "-s", "512"),
        Bar(0.75, against="bun"),
        Bar(1.15, against="floor-ring"),
    ),
    echo(
        "echo-pipelined",
        "echo 128 B, 64 connections, 16 in flight",
        ("-c", "64", "-s", "128", "--in-flight", "16"),
        Bar(0.5, against="bun"),
        Bar(1.25, against="floor-ring"),
    ),
    echo(
        "echo-1000",
        "echo 20 B, 1,000 connections",
        ("-c", "1k", "-s", "20"),
        Bar(0.75, against="bun"),
    ),
    echo(
        "echo-5000",
        "echo 20 B, 5,000 connections",
        ("-c", "5k", "-s", "20"),
        Bar(0.75, against="bun"),
    ),
    echo(
        "echo-16k",
        "echo 16 KiB, 100 connections",
        ("-c", "100", "-s", "16k"),
        Bar(0.6, against="bun"),
    ),
    echo(
        "echo-60k",
        "echo 60 kB, 100 connections",
        ("-c", "100", "-s", "60000"),
        Bar(0.65, against="bun"),
        *AHEAD_OF_ALL,
    ),
    echo(
        "echo-1m",
        "echo 1 MiB, 8 connections",
        ("-c", "8", "-s", "1m"),
        Bar(0.65, against="bun"),
        *AHEAD_OF_ALL,
    ),
    ROUND_TRIP,
    SYSTEM_CALLS,
    IDLE,
    CHURN,
    GROWTH,
)
