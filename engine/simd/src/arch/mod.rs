//! The registers and compiled versions of each architecture.
//!
//! Every architecture exports `Baseline`, a 16-byte register that all its CPUs have, and
//! `versions()`, fastest first.

mod portable;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{Baseline, versions};

// Big-endian ARM orders vector lanes differently, and is too rare to prove it right.
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod aarch64;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) use aarch64::{Baseline, versions};

#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_endian = "little")
)))]
pub(crate) use portable::{Words as Baseline, versions};
