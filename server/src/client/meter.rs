//! How far a pull is, for whoever watches it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Written by those who work, read by the one who draws the progress.
#[derive(Debug, Default)]
pub struct Meter {
    total_bytes: AtomicU64,
    done_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
    notes: Mutex<Vec<String>>,
}

impl Meter {
    /// Bytes that are in place and verified or on their way, bytes in all, bytes that came over the network.
    pub fn read(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let total = read(&self.total_bytes);
        (read(&self.done_bytes).min(total), total, read(&self.fetched_bytes))
    }

    /// What has to be said since the last time.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().expect("nobody panics while noting"))
    }

    /// Says something to the person who waits.
    pub(super) fn note(&self, line: String) {
        let mut notes = self.notes.lock().expect("nobody panics while noting");
        // Eight workers that wait for the same thing say it once.
        if !notes.contains(&line) {
            notes.push(line);
        }
    }

    /// So much is to be done in all, of which so much is done.
    pub(super) fn begin(&self, total_bytes: u64, done_bytes: u64) {
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.done_bytes.store(done_bytes, Ordering::Relaxed);
    }

    /// So many bytes came.
    pub(super) fn came(&self, bytes: u64) {
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes were read from the disk and were right.
    pub(super) fn found(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes turned out wrong and will come again.
    pub(super) fn lost(&self, bytes: u64) {
        self.done_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
