//! Violations on purpose: a checker that finds nothing here would find nothing in the tree.

use super::*;

fn source(path: &str, text: &str) -> Vec<Violation> {
    check_source(&File {
        path: path.to_owned(),
        text: text.to_owned(),
    })
}

#[test]
fn imports_against_the_table_are_found() {
    for (path, text) in [
        ("engine/simd/src/lib.rs", "use corecast_protocol::Opcode;"),
        (
            "engine/protocol/src/frame.rs",
            "use corecast_topics::Topics;",
        ),
        ("engine/protocol/src/frame.rs", "fn f() { corecast::run() }"),
        ("engine/topics/src/lib.rs", "use corecast_simd as fast;"),
        ("engine/src/transport/mod.rs", "use crate::core::Slab;"),
        ("engine/src/transport.rs", "use crate::core::Slab;"),
        (
            "engine/src/transport/ring/mod.rs",
            "use super::super::core::Slab;",
        ),
        ("engine/src/transport/ring/mod.rs", "use crate::Server;"),
        (
            "engine/src/transport/tls.rs",
            "use corecast_protocol::Opcode;",
        ),
        ("engine/src/transport/tls.rs", "use crate::*;"),
        (
            "engine/src/transport/tls.rs",
            "use crate::{transport::ring, core::slab};",
        ),
        (
            "engine/src/core/slab.rs",
            "fn f() -> crate::Error { todo() }",
        ),
        (
            "engine/src/core/slab.rs",
            "use super::super::server::Server;",
        ),
        ("engine/src/core/slab.rs", "use corecast_simd::unmask;"),
        (
            "engine/server/src/main.rs",
            "use corecast_protocol::Opcode;",
        ),
        (
            "engine/server/src/apps/chat.rs",
            "extern crate corecast_topics;",
        ),
        (
            "engine/protocol/examples/client.rs",
            "use corecast::Server;",
        ),
        ("engine/fuzz/src/frames.rs", "use corecast::Server;"),
        ("bench-harness/src/main.rs", "use corecast::Server;"),
        (
            "bench-harness/src/main.rs",
            "fn f() { ::corecast_topics::f() }",
        ),
    ] {
        assert_eq!(source(path, text).len(), 1, "{path}: {text}");
    }
}

#[test]
fn imports_within_the_table_pass() {
    for (path, text) in [
        ("engine/protocol/src/frame.rs", "use corecast_simd::unmask;"),
        (
            "engine/src/core/slab.rs",
            "use crate::transport::{self, ring}; use super::timers;",
        ),
        (
            "engine/src/core/slab.rs",
            "use corecast_protocol::{Event, Opcode as Op};",
        ),
        (
            "engine/src/transport/ring/mod.rs",
            "use super::Completion; use core::mem;",
        ),
        (
            "engine/src/server.rs",
            "use crate::core::run; use corecast_topics::Topics;",
        ),
        ("engine/examples/echo.rs", "use corecast::Server;"),
        (
            "engine/server/src/main.rs",
            "use corecast::Server; mod apps; use crate::apps;",
        ),
        ("bench-harness/tests/echo.rs", "use corecast_bench::run;"),
        (
            "engine/topics/src/lib.rs",
            "#[cfg(test)] mod tests { use std::time::Instant; }",
        ),
        (
            "engine/protocol/src/handshake/tests.rs",
            "use std::time::Instant;",
        ),
        (
            "engine/protocol/examples/client.rs",
            "use std::net::TcpStream; use corecast_protocol::Receiver;",
        ),
        (
            "engine/protocol/src/a.rs",
            "// std::net\n/* /* rand::x */ std::fs */ fn f() {}",
        ),
        (
            "engine/protocol/src/a.rs",
            r##"const A: &str = "std::net\""; const B: &str = r#"" rand::x"#;"##,
        ),
        (
            "engine/protocol/src/a.rs",
            "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' }",
        ),
        (
            "engine/protocol/src/a.rs",
            "fn f(time: u64, rand: u64) -> impl Fn() + use<> { g(time) }",
        ),
    ] {
        let found = source(path, text);
        assert!(found.is_empty(), "{path}: {text}: {found:?}");
    }
}

#[test]
fn io_in_the_protocol_is_found() {
    for text in [
        "use std::net::TcpStream;",
        "use std::{fmt, time::{Duration, Instant}};",
        "use std::{io, thread};",
        "fn now() { std::time::Instant::now(); }",
        "use std as s; fn f() { s::fs::read(\"x\"); }",
        "use std::*;",
        "use core::time::Duration;",
        "fn f() { rand::random() }",
        "use getrandom;",
        "use libc::c_int;",
        "use monoio::net as n;",
        "pub use std::os::fd::OwnedFd;",
        "#[cfg(test)] mod tests { fn f() {} } use std::process;",
        "#[cfg(test)] mod tests; use std::env;",
        "const C: char = '\"'; use std::fs; const D: char = '\"';",
        "fn f<'a>(a: &'a str) { std::fs::read(a) }",
    ] {
        for path in ["engine/protocol/src/a.rs", "engine/topics/src/a/b.rs"] {
            assert!(!source(path, text).is_empty(), "{path}: {text}");
        }
    }
}

#[test]
fn the_server_side_in_the_harness_is_found() {
    for text in [
        "use corecast_protocol::encode_server;",
        "use corecast_protocol::{Role, Shared}; fn f() { Role::Server; }",
        "use corecast_protocol::Role as R; fn f() { R::Server; }",
        "use corecast_protocol::handshake::parse_request as p;",
        "use corecast_protocol::handshake::*;",
        "fn f(r: &X) { r.check_upgrade(); }",
        "#[cfg(test)] mod tests { use corecast_protocol::encode_close_server; }",
    ] {
        for path in ["bench-harness/src/client.rs", "bench-harness/tests/echo.rs"] {
            assert!(!source(path, text).is_empty(), "{path}: {text}");
        }
    }
    let fine = "use corecast_protocol::{Role, encode_client}; fn f() { Role::Client; }";
    assert!(source("bench-harness/src/client.rs", fine).is_empty());
    let others = "use tungstenite::handshake::server::Request;";
    assert!(source("bench-harness/tests/echo.rs", others).is_empty());
}

#[test]
fn unsafe_outside_the_leaves_is_found() {
    let text = "fn f() { unsafe { g() } }";
    let allow = "#![allow(unsafe_code)]";
    for path in [
        "engine/src/core/slab.rs",
        "engine/src/transport/monoio.rs",
        "engine/src/lib.rs",
        "engine/protocol/src/tests.rs",
        "engine/examples/echo.rs",
        "engine/server/src/main.rs",
        "bench-harness/src/main.rs",
    ] {
        assert_eq!(source(path, text).len(), 1, "{path}");
        assert_eq!(source(path, allow).len(), 1, "{path}");
        assert!(source(path, "// unsafe\nconst S: &str = \"unsafe\";").is_empty());
    }
    for path in [
        "engine/simd/src/arch/x86.rs",
        "engine/src/transport/ring.rs",
        "engine/src/transport/ring/buffers.rs",
        "bench-harness/src/ring/mod.rs",
    ] {
        assert!(source(path, text).is_empty(), "{path}");
    }
}

#[test]
fn manifests_against_the_table_are_found() {
    let check = |path: &str, text: &str| {
        check_manifest(&File {
            path: format!("{path}/Cargo.toml"),
            text: format!("[lints]\nworkspace = true\n{text}"),
        })
        .len()
    };
    for (path, text) in [
        (
            "engine/simd",
            "[dependencies]\ncorecast-protocol.workspace = true",
        ),
        ("engine/protocol", "[dependencies]\nlibc = \"0.2\""),
        (
            "engine/protocol",
            "[dependencies]\n\"getrandom\" = { version = \"1\" }",
        ),
        (
            "engine/topics",
            "[dependencies]\ncorecast-simd = { path = \"../simd\" }",
        ),
        ("engine/topics", "[dependencies.monoio]\nversion = \"0.2\""),
        (
            "engine/topics",
            "[target.'cfg(unix)'.dependencies]\nlibc.workspace = true",
        ),
        ("engine/topics", "[build-dependencies]\nrand = \"0.9\""),
        (
            "engine/server",
            "[dependencies]\nx = { package = \"corecast-protocol\" }",
        ),
        (
            "engine/server",
            "[dependencies.x]\nversion = \"1\"\npackage = \"corecast-protocol\"",
        ),
        ("bench-harness", "[dependencies]\ncorecast.workspace = true"),
    ] {
        assert_eq!(check(path, text), 1, "{path}: {text}");
    }
    for (path, text) in [
        (
            "engine/protocol",
            "[dependencies]\ncorecast-simd.workspace = true\n# libc",
        ),
        (
            "engine/protocol",
            "[dev-dependencies]\nrand = \"0.9\"\n[features]\nlibc = []",
        ),
        ("engine/server", "[dependencies]\ncorecast.workspace = true"),
        (
            "engine/server",
            "[dev-dependencies]\ncorecast-protocol.workspace = true",
        ),
        (
            "bench-harness",
            "[dependencies]\ncorecast-protocol.workspace = true\nlibc = \"0.2\"",
        ),
    ] {
        assert_eq!(check(path, text), 0, "{path}: {text}");
    }
    let bare = File {
        path: "engine/simd/Cargo.toml".into(),
        text: "[package]".into(),
    };
    assert_eq!(check_manifest(&bare).len(), 1, "lints are not inherited");
}

#[test]
fn gaps_in_the_tree_are_found() {
    let mut tree = Tree::read(&repository());
    assert_eq!(tree.missing_crates().len(), 0);
    tree.manifests.push(File {
        path: "engine/new/Cargo.toml".into(),
        text: String::new(),
    });
    assert_eq!(tree.missing_crates().len(), 1);

    let root = "engine/protocol/src/lib.rs";
    let forbids = |text: &str| Tree {
        manifests: Vec::new(),
        sources: vec![File {
            path: root.into(),
            text: text.into(),
        }],
    };
    assert!(
        forbids("#![forbid(unsafe_code)]")
            .roots_without_forbid()
            .is_empty()
    );
    assert_eq!(
        forbids("#![deny(unsafe_code)]")
            .roots_without_forbid()
            .len(),
        1
    );
}
