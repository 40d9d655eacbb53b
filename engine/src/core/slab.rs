//! The core's connections: a table of records, addressed by index, checked by generation.

use std::ops::{Index, IndexMut};

use super::connection::{Connection, State};
use crate::transport::ring::Token;
use crate::transport::socket::Socket;

/// A connection that may be gone: its index, and the generation that tells slots' tenants apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Connections of one core. Never moves a record: the table's address space is reserved at once, and its memory
/// becomes real as slots are first used.
pub(crate) struct Slab {
    records: Vec<Connection>,
    free: Vec<u32>,
    capacity: usize,
}

impl Slab {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            records: Vec::with_capacity(capacity),
            free: Vec::new(),
            capacity,
        }
    }

    /// Connections at present.
    pub(crate) fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }

    /// `None` when the table is full; the socket is closed.
    pub(crate) fn insert(&mut self, socket: Socket, tick: u32) -> Option<ConnId> {
        if let Some(index) = self.free.pop() {
            let record = &mut self.records[index as usize];
            let generation = record.generation;
            *record = Connection::new(socket, generation, tick);
            return Some(ConnId { index, generation });
        }
        if self.records.len() == self.capacity {
            return None;
        }
        let id = ConnId {
            index: self.records.len() as u32,
            generation: 0,
        };
        self.records
            .push(Connection::new(socket, id.generation, tick));
        Some(id)
    }

    /// Closes the socket and frees the slot for a next generation.
    pub(crate) fn remove(&mut self, index: u32) {
        let record = &mut self.records[index as usize];
        debug_assert!(record.state != State::Free && record.operations == 0);
        let next = record.generation.wrapping_add(1) & Token::GENERATION_MASK;
        *record = Connection::free(next);
        self.free.push(index);
    }

    /// The connection, unless it is gone.
    pub(crate) fn get(&self, id: ConnId) -> Option<&Connection> {
        let record = self.records.get(id.index as usize)?;
        (record.generation == id.generation && record.state != State::Free).then_some(record)
    }

    pub(crate) fn id(&self, index: u32) -> ConnId {
        ConnId {
            index,
            generation: self[index].generation,
        }
    }

    /// Indices of all connections.
    pub(crate) fn indices(&self) -> Vec<u32> {
        (0..self.records.len() as u32)
            .filter(|&index| self[index].state != State::Free)
            .collect()
    }
}

impl Index<u32> for Slab {
    type Output = Connection;

    #[inline]
    fn index(&self, index: u32) -> &Connection {
        &self.records[index as usize]
    }
}

impl IndexMut<u32> for Slab {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Connection {
        &mut self.records[index as usize]
    }
}
