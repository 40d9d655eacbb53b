//! The server binary, seen from outside by a client that shares no code with it.

#[macro_use]
mod each_io;
mod io;
mod process;
#[path = "../../../tests/common/queued.rs"]
mod queued;
mod running;
mod topics;
