//! The CPU: a pool of threads and, for each operation, how its outputs are shared out among them. A number is computed whole by one
//! thread, in an order that does not depend on how many there are, so results are the same bits with one thread or sixty.

use std::sync::{Mutex, PoisonError};

use super::threads::{Chunks, Patches, Strips, Threads};
use crate::error::Error;
use crate::ops::attention::{Paged, QUERIES_MAX, Queries, Scratch};
use crate::ops::linear::{self, Activations, Format, PANEL_ROWS, Panels, TILE_ROWS_MAX};
use crate::ops::pointwise::Finish;
use crate::ops::{Tier, attention, layer_norm, pointwise};

/// Below this many multiplications an operation stays on one thread: waking the others takes longer.
const PARALLEL_FROM: usize = 1 << 16;

/// What is done with the sums of a product, bias included, on their way into the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum After {
    /// Written.
    Store,
    /// max(·, 0), written.
    Relu,
    /// · Φ(·), written.
    Gelu,
    /// Added to what is there.
    Add,
    /// Multiplied in the first table, then written.
    ScaleFirst(f32),
}

impl After {
    fn in_table(self, number: usize) -> Finish {
        match self {
            After::Store => Finish::Store,
            After::Relu => Finish::Relu,
            After::Gelu => Finish::Gelu,
            After::Add => Finish::Add,
            After::ScaleFirst(factor) => {
                if number == 0 {
                    Finish::Scale(factor)
                } else {
                    Finish::Store
                }
            }
        }
    }
}

/// The threads and kernels that compute.
#[derive(Debug)]
pub(crate) struct Cpu {
    threads: Threads,
    tier: Tier,
    /// One for each thread.
    scratch: Vec<Mutex<Scratch>>,
}

impl Cpu {
    /// `threads` of 0 takes one for each core.
    pub(crate) fn new(threads: usize, tier: Tier) -> Result<Self, Error> {
        let threads = Threads::new(threads)?;
        let scratch = (0..threads.count()).map(|_| Mutex::default()).collect();
        Ok(Self { threads, tier, scratch })
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }

    pub(crate) fn tier(&self) -> Tier {
        self.tier
    }

    /// Makes x (tokens, cols) ready to be multiplied by matrices of this format.
    pub(crate) fn pack(&self, format: Format, x: &[f32], cols: usize, packed: &mut Activations) {
        let kind = format.activation();
        let (memory, tile, rows) = packed.room(self.tier, kind, x.len() / cols, cols);
        let tiles = Chunks::new(memory, tile, self.threads.count());
        self.share(x.len(), &|thread| {
            while let Some((number, tile)) = tiles.next(thread) {
                let first = number * rows * cols;
                linear::pack_tile(self.tier, kind, &x[first..(first + rows * cols).min(x.len())], cols, tile);
            }
        });
    }

    /// Rows of a matrix, as it holds them: y (numbers, cols).
    pub(crate) fn rows(&self, w: &Panels<'_>, numbers: &[u32], y: &mut [f32]) {
        let rows = Chunks::new(y, w.cols, self.threads.count());
        // A row lies in as many cache lines as it has numbers, and is waited for more than multiplied.
        self.share(16 * w.cols * numbers.len(), &|thread| {
            while let Some((place, row)) = rows.next(thread) {
                w.row(numbers[place] as usize, row);
            }
        });
    }

    /// y (tokens, rows) = x (tokens, cols) · wᵀ + bias, with `after` on the way. The rows of w are shared out evenly among the tables
    /// of y. Whoever is free takes the next panel of w.
    pub(crate) fn linear(&self, w: &Panels<'_>, bias: &[f32], x: &Activations, after: After, y: &mut [&mut [f32]]) {
        assert_eq!(y.iter().map(|table| table.len()).sum::<usize>(), x.rows() * w.rows, "y must be tokens × rows");
        assert!(bias.is_empty() || bias.len() == w.rows, "bias of {} must have {} numbers, or none", bias.len(), w.rows);
        let strips = Strips::new(y, x.rows(), PANEL_ROWS, self.threads.count());
        let tiles = x.tiles().count();
        let work = |thread| {
            let mut sums = [0.0; TILE_ROWS_MAX * PANEL_ROWS];
            while let Some(mut strip) = strips.next(thread) {
                let mut token = 0;
                for (turn, tile) in x.tiles().enumerate() {
                    for table in strip.tables() {
                        (token..token + tile.rows).for_each(|token| pointwise::ask_for(strip.row(table, token)));
                    }
                    let sums = &mut sums[..tile.rows * PANEL_ROWS];
                    linear::simd::multiply(self.tier, w, strip.number, &tile, (turn, tiles), sums);
                    for table in strip.tables() {
                        let (begin, width) = strip.part(table);
                        let bias = if bias.is_empty() { bias } else { &bias[strip.number * PANEL_ROWS + begin..][..width] };
                        for (m, sums) in sums.chunks_exact(PANEL_ROWS).enumerate() {
                            pointwise::finish(self.tier, after.in_table(table), &sums[begin..][..width], bias, strip.row(table, token + m));
                        }
                    }
                    token += tile.rows;
                }
            }
        };
        self.share(w.rows * w.cols * x.rows(), &work);
    }

    /// y (tokens, cols) = the norm of each row of x.
    pub(crate) fn layer_norm(&self, x: &[f32], cols: usize, gain: &[f32], bias: &[f32], epsilon: f32, y: &mut [f32]) {
        let rows = Chunks::new(y, cols, self.threads.count());
        self.share(x.len(), &|thread| {
            while let Some((row, y)) = rows.next(thread) {
                layer_norm::layer_norm(self.tier, &x[row * cols..][..cols], gain, bias, epsilon, y);
            }
        });
    }

    /// out (tokens, hidden): the new tokens of each sequence attend to those before them and to themselves, whose keys and values are
    /// in the cache already. q (tokens, hidden) is scaled. A sequence is told by its new tokens, those before, and its cache.
    pub(crate) fn attention<'a>(
        &self,
        q: &[f32],
        hidden: usize,
        sequences: impl Iterator<Item = (usize, usize, Paged<'a>)>,
        out: &mut [f32],
    ) {
        let (mut tiles, mut bounds, mut multiplications) = (Vec::new(), vec![0], 0);
        for (tokens, before, kv) in sequences {
            let first = bounds[bounds.len() - 1];
            for tile in (0..tokens).step_by(QUERIES_MAX) {
                bounds.push(first + (tile + QUERIES_MAX).min(tokens));
                tiles.push((before + tile + 1, kv));
            }
            multiplications += 2 * hidden * tokens * (before + tokens);
        }
        let Some(head_dim) = tiles.first().map(|(_, kv)| kv.head_dim) else { return };
        let patches = Patches::new(out, hidden, &bounds, head_dim, self.threads.count());
        self.share(multiplications, &|thread| {
            let mut scratch = self.scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let mut attended = vec![0.0; QUERIES_MAX * head_dim];
            while let Some(mut patch) = patches.next(thread) {
                let ((seen, kv), count) = (tiles[patch.tile], patch.rows());
                let q = &q[patch.first_row() * hidden + patch.strip * head_dim..];
                let attended = &mut attended[..count * head_dim];
                let queries = Queries { q, stride: hidden, count, seen, kv, head: patch.strip };
                attention::simd::attention(self.tier, &queries, &mut scratch, attended);
                for (row, attended) in attended.chunks_exact(head_dim).enumerate() {
                    patch.row(row).copy_from_slice(attended);
                }
            }
        });
    }

    /// Does work of so many multiplications on all threads, or on this one if it is little.
    fn share(&self, multiplications: usize, work: &(dyn Fn(usize) + Sync)) {
        if multiplications < PARALLEL_FROM { work(0) } else { self.threads.run(work) }
    }

    /// y += x.
    pub(crate) fn add(&self, x: &[f32], y: &mut [f32]) {
        pointwise::add(x, y);
    }
}
