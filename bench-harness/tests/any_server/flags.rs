//! Flags that do not go together, or with this server.

use crate::common::assert_usage;

#[test]
fn flags_that_make_no_sense_are_refused() {
    for (args, why) in [
        (
            &["echo", "ws://127.0.0.1:1/", "-H", "Upgrade: x"][..],
            "handshake",
        ),
        (&["connect", "ws://127.0.0.1:1/", "-H", "nothing"], "colon"),
        (
            &["idle", "ws://127.0.0.1:1/", "--subprotocol", "a b"],
            "token",
        ),
        (
            &["broadcast", "ws://127.0.0.1:1/", "--origin", "a\nb"],
            "line breaks",
        ),
        (&["echo", "tcp://127.0.0.1:1", "-H", "X-A: b"], "use ws://"),
        (&["echo", "ws://127.0.0.1:1/", "--ramp", "1s"], "--rate"),
        (&["echo", "ws://127.0.0.1:1/", "-r", "0..0"], "climbs"),
        (
            &["echo", "ws://127.0.0.1:1/", "--think", "1s", "-r", "5"],
            "--think",
        ),
        (
            &["echo", "ws://127.0.0.1:1/", "--think", "2s..1s"],
            "shorter",
        ),
        (
            &["echo", "ws://127.0.0.1:1/", "--text", "--binary"],
            "--binary",
        ),
        (
            &["echo", "ws://127.0.0.1:1/", "--payload", "file:/nowhere"],
            "/nowhere: cannot be read",
        ),
        (
            &[
                "echo",
                "ws://127.0.0.1:1/",
                "--payload",
                "lines:Cargo.toml",
                "-s",
                "5",
            ],
            "leave --size out",
        ),
        (
            &["echo", "ws://127.0.0.1:1/", "--payload", "yaml"],
            "lines:PATH",
        ),
        (
            &[
                "echo",
                "ws://127.0.0.1:1/",
                "--payload",
                "json",
                "-s",
                "64,5",
            ],
            "at least",
        ),
        (&["echo", "tcp://127.0.0.1:1", "--skip", "1"], "use ws://"),
        (&["echo", "tcp://127.0.0.1:1", "--hello", "x"], "use ws://"),
        (
            &["broadcast", "ws://127.0.0.1:1/", "--text", "-s", "56"],
            "at least 57",
        ),
    ] {
        assert_usage(args, why);
    }
}
