//! What threads share: the standard library's types and a queue, or loom's types, which try every order in which threads may
//! meet.
//!
//! [`super::models`] is what runs them with loom.

#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::{
    Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU64},
};

#[cfg(not(all(test, loom)))]
pub(crate) use rtrb as queue;

#[cfg(all(test, loom))]
pub(crate) use loom::sync::{
    Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU64},
};

#[cfg(all(test, loom))]
pub(crate) use super::models::queue;
