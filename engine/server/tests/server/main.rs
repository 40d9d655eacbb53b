//! The server binary, seen from outside by a client that shares no code with it.

mod io;
mod process;
mod running;
