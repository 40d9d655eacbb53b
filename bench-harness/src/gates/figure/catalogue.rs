//! Every figure that has a name.

use super::super::unit::Unit;
use super::{Better, Family, Place, Scalar, Source};

const ALL: &[&str] = &[
    "echo",
    "broadcast",
    "connect",
    "idle",
    "scenario",
    "scenario without replies",
    "scenario of idle connections",
];
const MESSAGES: &[&str] = &["echo", "broadcast", "scenario"];
const BUSY: &[&str] = &[
    "echo",
    "broadcast",
    "connect",
    "scenario",
    "scenario without replies",
];
const RATED: &[&str] = &[
    "echo",
    "broadcast",
    "connect",
    "idle",
    "scenario",
    "scenario without replies",
];
/// Of a scenario each role has times of its own.
const CONNECTING: &[&str] = &["echo", "broadcast", "connect", "idle"];

const fn by(commands: &'static [&'static str]) -> Source {
    Source {
        commands,
        server: false,
    }
}

const fn by_server(commands: &'static [&'static str]) -> Source {
    Source {
        commands,
        server: true,
    }
}

/// Distributions, the latency that a command is about first.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        prefix: "",
        about: "latency of replies or deliveries, from the time they were due",
        places: &["latency_us.corrected"],
        source: by(MESSAGES),
    },
    Family {
        prefix: "uncorrected.",
        about: "the same from the time messages were sent; with -r",
        places: &["latency_us.uncorrected"],
        source: by(MESSAGES),
    },
    Family {
        prefix: "first.",
        about: "until the first subscriber had a message",
        places: &["broadcast.first_us"],
        source: by(&["broadcast"]),
    },
    Family {
        prefix: "last.",
        about: "until the last subscriber had it",
        places: &["broadcast.last_us"],
        source: by(&["broadcast"]),
    },
    Family {
        prefix: "connect.",
        about: "until a connection could be used: TCP and upgrade",
        places: &["connect_us.open"],
        source: by(CONNECTING),
    },
    Family {
        prefix: "tcp.",
        about: "the TCP handshake",
        places: &["connect_us.tcp", "connections.tcp_us"],
        source: by(CONNECTING),
    },
    Family {
        prefix: "upgrade.",
        about: "from the upgrade's request to its response",
        places: &["connect_us.upgrade", "connections.upgrade_us"],
        source: by(CONNECTING),
    },
    Family {
        prefix: "first-message.",
        about: "from a connection's first message to its reply",
        places: &["connect_us.first_message"],
        source: by(&["echo", "connect"]),
    },
    Family {
        prefix: "close.",
        about: "the closing handshake",
        places: &["connections.close_us"],
        source: by(&["connect"]),
    },
];

/// Figures that stand for themselves, the primary one first.
pub(super) const SCALARS: &[Scalar] = &[
    Scalar {
        name: "cpu",
        about: "server processor time per message, delivery or connection",
        unit: Unit::Time,
        better: Better::Lower,
        place: Place::First(&["server.cpu_us_per_message"]),
        source: by_server(BUSY),
    },
    Scalar {
        name: "rate",
        about: "messages, deliveries or connections per second",
        unit: Unit::Rate,
        better: Better::Higher,
        place: Place::First(&["messages.per_second", "connections.per_second"]),
        source: by(RATED),
    },
    Scalar {
        name: "max-rate",
        about: "what --find-max found",
        unit: Unit::Rate,
        better: Better::Higher,
        place: Place::First(&["find_max.rate"]),
        source: by(&["echo", "broadcast", "connect"]),
    },
    Scalar {
        name: "throughput",
        about: "payload bytes received per second",
        unit: Unit::Bytes,
        better: Better::Higher,
        place: Place::First(&["messages.payload_bytes_per_second"]),
        source: by(MESSAGES),
    },
    Scalar {
        name: "errors",
        about: "connections refused or broken, and messages lost, duplicated or reordered",
        unit: Unit::Count,
        better: Better::Lower,
        place: Place::Sum(&[
            "errors.refused",
            "errors.broken",
            "errors.lost",
            "errors.duplicated",
            "errors.reordered",
        ]),
        source: by(ALL),
    },
    Scalar {
        name: "refused",
        about: "connections that could not be opened",
        unit: Unit::Count,
        better: Better::Lower,
        place: Place::First(&["errors.refused"]),
        source: by(ALL),
    },
    Scalar {
        name: "broken",
        about: "connections that broke, or whose replies were wrong",
        unit: Unit::Count,
        better: Better::Lower,
        place: Place::First(&["errors.broken"]),
        source: by(ALL),
    },
    Scalar {
        name: "lost",
        about: "messages that never came; for idle, connections that ended",
        unit: Unit::Count,
        better: Better::Lower,
        place: Place::Sum(&["errors.lost", "connections.lost"]),
        source: by(ALL),
    },
    Scalar {
        name: "duplicated",
        about: "replies or deliveries that came again",
        unit: Unit::Count,
        better: Better::Lower,
        place: Place::First(&["errors.duplicated", "broadcast.duplicated"]),
        source: by(MESSAGES),
    },
    Scalar {
        name: "reordered",
        about: "replies or deliveries that came after a later one",
        unit: Unit::Count,
        better: Better::Lower,
        place: Place::First(&["errors.reordered", "broadcast.reordered"]),
        source: by(MESSAGES),
    },
    Scalar {
        name: "rss",
        about: "the server's resident memory at the end of the window",
        unit: Unit::Bytes,
        better: Better::Lower,
        place: Place::First(&["server.memory.resident"]),
        source: by_server(ALL),
    },
    Scalar {
        name: "rss/conn",
        about: "resident memory of the server per connection",
        unit: Unit::Bytes,
        better: Better::Lower,
        place: Place::First(&["memory.resident_per_connection"]),
        source: by_server(&["idle"]),
    },
    Scalar {
        name: "anon/conn",
        about: "anonymous memory of the server per connection",
        unit: Unit::Bytes,
        better: Better::Lower,
        place: Place::First(&["memory.anonymous_per_connection"]),
        source: by_server(&["idle"]),
    },
    Scalar {
        name: "rss/subscriber",
        about: "resident memory of the server per subscriber that joined",
        unit: Unit::Bytes,
        better: Better::Lower,
        place: Place::Growth(
            "broadcast.memory.joined.resident",
            "broadcast.memory.empty.resident",
            "parameters.connections",
        ),
        source: by_server(&["broadcast"]),
    },
    Scalar {
        name: "server.busy",
        about: "share of the window in which the server's busiest thread ran or waited for a processor",
        unit: Unit::Share,
        better: Better::Lower,
        place: Place::First(&["server.busy"]),
        source: by_server(ALL),
    },
    Scalar {
        name: "client.busy",
        about: "the same of the client's",
        unit: Unit::Share,
        better: Better::Lower,
        place: Place::First(&["client.busy"]),
        source: by(ALL),
    },
    Scalar {
        name: "client.cpu",
        about: "client processor time per message, delivery or connection",
        unit: Unit::Time,
        better: Better::Lower,
        place: Place::First(&["client.cpu_us_per_message"]),
        source: by(BUSY),
    },
];
