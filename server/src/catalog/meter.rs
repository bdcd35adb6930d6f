//! How far a publication or a conversion is, for whoever watches it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Every weight is read and looked at.
    Checking,
    /// Weights are rewritten, a tokenizer is built.
    Converting,
    /// Files are hashed and brought into the store.
    Storing,
}

/// Written by the one who works, read by the one who draws the progress.
#[derive(Debug, Default)]
pub struct Meter {
    phase: AtomicU8,
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

impl Meter {
    /// What is being done, and how many bytes of how many are done.
    pub fn read(&self) -> (Phase, u64, u64) {
        let phase = match self.phase.load(Ordering::Acquire) {
            0 => Phase::Checking,
            1 => Phase::Converting,
            _ => Phase::Storing,
        };
        let total_bytes = self.total_bytes.load(Ordering::Relaxed);
        // What is shared or read twice is told twice.
        (phase, self.done_bytes.load(Ordering::Relaxed).min(total_bytes), total_bytes)
    }

    /// Begins another phase, of so many bytes.
    pub fn begin(&self, phase: Phase, total_bytes: u64) {
        self.done_bytes.store(0, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// So many bytes more are done.
    pub fn advance(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
