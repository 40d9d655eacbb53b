//! Properties of the protocol, topic and SIMD crates that must hold for every input.
//!
//! Each module has a `check` that panics when its property does not hold. libFuzzer looks for such an
//! input (`scripts/fuzz`); `tests/replay.rs` runs the inputs in `corpus/` on stable Rust.
//!
//! | target | property |
//! |---|---|
//! | [`request_head`] | a request means the same however it is cut, and the same to three other crates; the first good offer of compression is taken |
//! | [`frames`] | the same messages, replies and refusals as `tungstenite`, for both roles |
//! | [`assembly`] | the same events and the same error, at the same byte, however the stream is cut |
//! | [`client_role`] | a response head is judged by §4.1 however it is cut; what one role encodes the other receives |
//! | [`inflate`] | the messages that were compressed, or what another inflater makes of the bytes, however the stream is cut |
//! | [`utf8`] | text in pieces is judged as `str::from_utf8` judges it, at the earliest byte |
//! | [`unmask`] | every SIMD version does what a loop over bytes does, at any alignment, phase and cut |
//! | [`deflate`] | what is compressed, alone or with a context, is what two other inflaters read, within the window |
//! | [`seal`] | a stream that was made to go on holds what it held, and another can follow it |
//! | [`topics`] | the topic table behaves as a map of sets, wildcards and pinned topics included |
#![forbid(unsafe_code)]

pub mod assembly;
pub mod client_role;
pub mod deflate;
mod extensions;
pub mod frames;
pub mod inflate;
pub mod input;
pub mod receive;
pub mod request_head;
pub mod seal;
pub mod stream;
pub mod topics;
pub mod unmask;
pub mod utf8;

/// A property and the name that its program, its corpus and its figures go by.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// File name in `fuzz_targets/`, folder name in `corpus/`.
    pub name: &'static str,
    /// Panics when the property does not hold for these bytes.
    pub check: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "request_head",
        check: request_head::check,
    },
    Target {
        name: "frames",
        check: frames::check,
    },
    Target {
        name: "assembly",
        check: assembly::check,
    },
    Target {
        name: "client_role",
        check: client_role::check,
    },
    Target {
        name: "inflate",
        check: inflate::check,
    },
    Target {
        name: "utf8",
        check: utf8::check,
    },
    Target {
        name: "unmask",
        check: unmask::check,
    },
    Target {
        name: "deflate",
        check: deflate::check,
    },
    Target {
        name: "seal",
        check: seal::check,
    },
    Target {
        name: "topics",
        check: topics::check,
    },
];
