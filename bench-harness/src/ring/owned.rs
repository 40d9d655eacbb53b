//! Memory of sends that are made once.

use std::mem;

/// Buffers of sends under way, by key.
#[derive(Default)]
pub(super) struct OwnedSends {
    buffers: Vec<Vec<u8>>,
    free: Vec<u32>,
}

impl OwnedSends {
    /// Keeps a buffer. Its heap memory does not move when the table grows.
    pub(super) fn insert(&mut self, bytes: Vec<u8>) -> u32 {
        match self.free.pop() {
            Some(key) => {
                self.buffers[key as usize] = bytes;
                key
            }
            None => {
                self.buffers.push(bytes);
                self.buffers.len() as u32 - 1
            }
        }
    }

    /// The buffer.
    pub(super) fn get(&self, key: u32) -> &[u8] {
        &self.buffers[key as usize]
    }

    /// Frees the buffer and returns its length.
    pub(super) fn remove(&mut self, key: u32) -> usize {
        self.free.push(key);
        mem::take(&mut self.buffers[key as usize]).len()
    }
}
