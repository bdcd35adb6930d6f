//! What the machine allows: the speed at which its memory is read, to which making tokens one by one is held, and that of its
//! arithmetic, to which reading a prompt is.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use crate::device::cuda::Card;
use crate::device::{Parts, Threads};
use crate::error::Error;
use crate::mmap::Memory;
use crate::ops::Tier;
use crate::ops::peak::{Arithmetic, simd};
use crate::options::Precision;

/// Read in one measurement, at least; what is smaller is read several times.
const BYTES: usize = 512 << 20;
/// Read by one thread in one go.
const PART_BYTES: usize = 1 << 20;
/// So many measurements are made of each.
const MEASUREMENTS: usize = 3;

/// The memory that a model's weights lie in, read as fast as it can be. The same memory, since not all of a machine's is equally fast,
/// and beside what is compared, since a shared machine's is not always.
#[derive(Debug, Clone)]
pub struct ReadProbe {
    probed: Probed,
}

#[derive(Debug, Clone)]
enum Probed {
    Machine { memory: Arc<Memory>, threads: usize },
    Card(Card),
}

impl ReadProbe {
    pub(crate) fn new(memory: Arc<Memory>, threads: usize) -> Self {
        Self { probed: Probed::Machine { memory, threads } }
    }

    pub(crate) fn of_card(card: Card) -> Self {
        Self { probed: Probed::Card(card) }
    }

    /// Bytes per second at which as many threads as compute read the weights in order, each byte once; on a card, at which it copies its own
    /// memory, each byte read and written. `Internal` if threads cannot be had, `TooLarge` if a card has no room left to copy to.
    pub fn bandwidth(&self) -> Result<f64, Error> {
        let (memory, threads) = match &self.probed {
            Probed::Machine { memory, threads } => (memory, *threads),
            Probed::Card(card) => return copy_bandwidth(card),
        };
        let threads = Threads::new(threads)?;
        let memory: &[u8] = memory;
        let rounds = BYTES.div_ceil(memory.len().max(1));
        Ok(median(|| {
            let begun = Instant::now();
            for _ in 0..rounds {
                let parts = Parts::new(memory.len().div_ceil(PART_BYTES), threads.count());
                threads.run(&|thread| {
                    while let Some(part) = parts.next(thread) {
                        let first = part * PART_BYTES;
                        black_box(sum(&memory[first..(first + PART_BYTES).min(memory.len())]));
                    }
                });
            }
            (rounds * memory.len()) as f64 / begun.elapsed().as_secs_f64()
        }))
    }
}

/// Copies enough at once that what surrounds a copy does not count.
fn copy_bandwidth(card: &Card) -> Result<f64, Error> {
    const COPIES: usize = 16;
    let bytes = if cfg!(test) { 1 << 20 } else { BYTES };
    let (from, to) = (card.alloc(bytes)?, card.alloc(bytes)?);
    let copies = || -> Result<f64, Error> {
        card.wait()?;
        let begun = Instant::now();
        for _ in 0..COPIES {
            card.copy(to.address(), from.address(), bytes)?;
        }
        card.wait()?;
        Ok((2 * COPIES * bytes) as f64 / begun.elapsed().as_secs_f64())
    };
    copies()?;
    let mut rates = (0..MEASUREMENTS).map(|_| copies()).collect::<Result<Vec<_>, _>>()?;
    rates.sort_by(f64::total_cmp);
    Ok(rates[MEASUREMENTS / 2])
}

/// Multiplications and additions per second of this precision's products on `threads` threads (0: one for each core), if they had nothing
/// to wait for: the best of a few measurements. `Internal` if threads cannot be had.
pub fn peak_operations(precision: Precision, threads: usize) -> Result<f64, Error> {
    /// Some milliseconds: what waking a thread takes must not count.
    const ROUNDS: usize = if cfg!(test) { 1 << 16 } else { 1 << 22 };
    let arithmetic = match precision {
        Precision::Exact => Arithmetic::Singles,
        Precision::Bf16 => Arithmetic::Bfloats,
        Precision::Int8 | Precision::Int4 => Arithmetic::Bytes,
    };
    let threads = Threads::new(threads)?;
    let measure = || {
        let done = std::sync::atomic::AtomicUsize::new(0);
        let begun = Instant::now();
        threads.run(&|_| {
            done.fetch_add(simd::spin(Tier::fastest(), arithmetic, ROUNDS), std::sync::atomic::Ordering::Relaxed);
        });
        done.into_inner() as f64 / begun.elapsed().as_secs_f64()
    };
    // Whatever else runs can only take from it, so the highest is the nearest to the limit.
    Ok((0..MEASUREMENTS).map(|_| measure()).fold(0.0, f64::max))
}

fn median(measure: impl Fn() -> f64) -> f64 {
    let mut all: Vec<f64> = (0..MEASUREMENTS).map(|_| measure()).collect();
    all.sort_by(f64::total_cmp);
    all[MEASUREMENTS / 2]
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
