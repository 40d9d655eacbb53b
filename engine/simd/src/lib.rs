//! The two passes over every byte of a WebSocket payload: XOR with the masking key (RFC 6455
//! §5.3) and UTF-8 validation (RFC 6455 §8.1).
//!
//! | task | call |
//! |---|---|
//! | binary payload, or a piece of one | [`unmask`] |
//! | whole text payload | [`unmask_text`], or [`validate`] when it came without a mask |
//! | text that arrives in pieces and is kept | [`TextBuf`] |
//! | text that arrives in pieces and is not kept | [`unmask`], then [`Utf8Stream`] |
//! | masked piece that has to be copied anyway | [`unmask_append`] |
//!
//! One vector loop exists (`kernel`), generic over the register (`vector`), and is compiled once
//! per instruction set (`arch`). [`Version`] is that list at run time; the fastest one is chosen on
//! first use. Payloads under 64 bytes never get that far: they are done inline with the
//! instructions that every CPU of the target has.
//!
//! Masking and unmasking are the same operation, so a client masks with the same calls.

mod arch;
mod kernel;
mod text_buf;
mod unmask;
mod utf8;
mod vector;
mod version;

pub use text_buf::TextBuf;
pub use unmask::{unmask, unmask_append, unmask_is_ascii};
pub use utf8::{InvalidUtf8, Utf8Stream, unmask_text, validate};
pub use version::Version;
