//! A peer that sends without end.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use super::client::Client;
use super::eventually;

/// Writes the same bytes over and over, and throws away what comes back.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    /// Bytes written, and bytes that came back.
    moved: Arc<[AtomicU64; 2]>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    pub(crate) fn start(client: &Client, bytes: Vec<u8>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let moved = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let (mut writer, mut reader) = (client.writer(), client.writer());
        let (stopped, written) = (Arc::clone(&stop), Arc::clone(&moved));
        let write = move || {
            // Ends at the latest with the connection.
            while !stopped.load(Ordering::Relaxed) && writer.write_all(&bytes).is_ok() {
                written[0].fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            // Ends the reader too.
            let _ = writer.shutdown(Shutdown::Both);
        };
        let came_back = Arc::clone(&moved);
        let read = move || {
            let mut sink = vec![0; 1 << 20];
            while let Ok(read @ 1..) = reader.read(&mut sink) {
                came_back[1].fetch_add(read as u64, Ordering::Relaxed);
            }
        };
        Self {
            stop,
            moved,
            threads: vec![thread::spawn(write), thread::spawn(read)],
        }
    }

    /// Ends it once it was one: so many bytes were written, and so many came back.
    pub(crate) fn end(self, written: u64, came_back: u64) {
        eventually("the flood moves bytes", || {
            let moved = |way: usize| self.moved[way].load(Ordering::Relaxed);
            moved(0) > written && moved(1) >= came_back
        });
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("the flood");
        }
    }
}
