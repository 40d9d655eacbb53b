//! How bytes come in and go out. Knows nothing of connections, messages or topics.
//!
//! [`ring`] is the fast path; [`portable`] is monoio's sockets, where the ring cannot be had. [`choice`]
//! decides between them, [`listener`] makes the sockets that both accept from.

pub(crate) mod choice;
pub(crate) mod listener;
pub(crate) mod portable;
pub(crate) mod ring;
pub(crate) mod socket;
