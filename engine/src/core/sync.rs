//! What threads share: the standard library's types, or loom's, which try every order in which threads may meet.
//!
//! [`super::models`] is what runs them with loom.

#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64},
};

#[cfg(all(test, loom))]
pub(crate) use loom::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64},
};
