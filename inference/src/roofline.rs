//! What the machine allows: the speed at which its memory is read, to which making tokens one by one is held.

use std::hint::black_box;
use std::time::Instant;

use crate::device::{Parts, Threads};
use crate::error::Error;
use crate::mmap::HugePages;

/// Far more than any cache holds.
const BYTES: usize = 1 << 30;
/// Read by one thread in one go.
const PART_BYTES: usize = 4 << 20;
/// The median of so many readings counts.
const READINGS: usize = 9;

/// Bytes per second at which `threads` (0: one for each core) read memory in huge pages, in order, each byte once.
/// `Internal` if the gigabyte to read cannot be had.
pub fn read_bandwidth(threads: usize) -> Result<f64, Error> {
    let threads = Threads::new(threads)?;
    let mut memory = HugePages::zeroed(BYTES)?;
    // Pages nobody wrote to are all the same page, which the cache holds.
    memory.fill(1);
    let memory = &*memory;
    let mut readings: Vec<f64> = (0..READINGS)
        .map(|_| {
            let parts = Parts::new(BYTES / PART_BYTES, threads.count());
            let begun = Instant::now();
            threads.run(&|thread| {
                while let Some(part) = parts.next(thread) {
                    black_box(sum(&memory[part * PART_BYTES..][..PART_BYTES]));
                }
            });
            BYTES as f64 / begun.elapsed().as_secs_f64()
        })
        .collect();
    readings.sort_by(f64::total_cmp);
    Ok(readings[READINGS / 2])
}

/// Adds up all words, in as many independent sums as it takes to wait for memory alone.
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = [0_u64; 32];
    for line in bytes.chunks_exact(size_of_val(&sums)) {
        for (sum, word) in sums.iter_mut().zip(line.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    sums.iter().copied().fold(0, u64::wrapping_add)
}
