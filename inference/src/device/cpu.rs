//! The CPU: a pool of threads and, for each operation, how its outputs are shared out among them. A number is computed whole by one
//! thread, in an order that does not depend on how many there are, so results are the same bits with one thread or sixty.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::error::Error;
use crate::ops::attention::Paged;
use crate::ops::{Tier, attention, embed, layer_norm, linear, pointwise};

/// Below this many multiplications an operation stays on one thread: waking the others takes longer.
const PARALLEL_FROM: usize = 1 << 16;

/// A weight matrix (rows, cols), row-major, as stored.
#[derive(Debug)]
pub(crate) enum Matrix {
    F32 { cols: usize, data: Vec<f32> },
    F16 { cols: usize, data: Vec<f16> },
    Bf16 { cols: usize, data: Vec<bf16> },
}

impl Matrix {
    pub(crate) fn cols(&self) -> usize {
        match self {
            Matrix::F32 { cols, .. } | Matrix::F16 { cols, .. } | Matrix::Bf16 { cols, .. } => *cols,
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.numbers() / self.cols()
    }

    pub(crate) fn numbers(&self) -> usize {
        match self {
            Matrix::F32 { data, .. } => data.len(),
            Matrix::F16 { data, .. } => data.len(),
            Matrix::Bf16 { data, .. } => data.len(),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        let width = match self {
            Matrix::F32 { .. } => 4,
            Matrix::F16 { .. } | Matrix::Bf16 { .. } => 2,
        };
        (self.numbers() * width) as u64
    }
}

/// The threads and kernels that compute.
#[derive(Debug)]
pub(crate) struct Cpu {
    pool: rayon::ThreadPool,
    tier: Tier,
}

impl Cpu {
    /// `threads` of 0 takes one for each core.
    pub(crate) fn new(threads: usize, tier: Tier) -> Result<Self, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("sluice-compute-{number}"))
            .build()
            .map_err(|problem| Error::Internal { problem: format!("cannot start compute threads: {problem}") })?;
        Ok(Self { pool, tier })
    }

    pub(crate) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    pub(crate) fn tier(&self) -> Tier {
        self.tier
    }

    /// Runs `work` on the pool, so that the operations in it need not cross over to it one by one.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// out (tokens, cols) = the table's rows for these ids.
    pub(crate) fn embed(&self, table: &Matrix, ids: impl Iterator<Item = usize>, out: &mut [f32]) {
        for (row, out) in ids.zip(out.chunks_exact_mut(table.cols())) {
            match table {
                Matrix::F32 { data, .. } => embed::embed_f32(data, row, out),
                Matrix::F16 { data, .. } => embed::embed_f16(data, row, out),
                Matrix::Bf16 { data, .. } => embed::embed_bf16(data, row, out),
            }
        }
    }

    /// y (tokens, rows) = x (tokens, cols) · wᵀ + bias.
    pub(crate) fn linear(&self, w: &Matrix, x: &[f32], bias: &[f32], y: &mut [f32]) {
        match w {
            Matrix::F32 { cols, data } => self.linear_of(data, *cols, x, bias, y),
            Matrix::F16 { cols, data } => self.linear_of(data, *cols, x, bias, y),
            Matrix::Bf16 { cols, data } => self.linear_of(data, *cols, x, bias, y),
        }
    }

    fn linear_of<W: linear::simd::WideWeight>(&self, w: &[W], cols: usize, x: &[f32], bias: &[f32], y: &mut [f32]) {
        let rows = w.len() / cols;
        let parts = if w.len() * (x.len() / cols) < PARALLEL_FROM { 1 } else { 4 * self.threads() };
        // Whole tiles of sixteen rows to each part.
        let part_rows = rows.div_ceil(parts).next_multiple_of(16);
        let mut outputs: Vec<Vec<&mut [f32]>> = (0..rows.div_ceil(part_rows)).map(|_| Vec::with_capacity(x.len() / cols)).collect();
        for y in y.chunks_exact_mut(rows) {
            for (part, y) in y.chunks_mut(part_rows).enumerate() {
                outputs[part].push(y);
            }
        }
        let compute = |(part, mut y): (usize, Vec<&mut [f32]>)| {
            let first = part * part_rows;
            let last = (first + part_rows).min(rows);
            let bias = if bias.is_empty() { bias } else { &bias[first..last] };
            linear::simd::linear(self.tier, &w[first * cols..last * cols], x, cols, bias, &mut y);
        };
        if outputs.len() == 1 {
            outputs.into_iter().enumerate().for_each(compute);
        } else {
            outputs.into_par_iter().enumerate().for_each(compute);
        }
    }

    /// y (tokens, cols) = the norm of each row of x.
    pub(crate) fn layer_norm(&self, x: &[f32], cols: usize, gain: &[f32], bias: &[f32], epsilon: f32, y: &mut [f32]) {
        let row = |(x, y): (&[f32], &mut [f32])| layer_norm::layer_norm(x, gain, bias, epsilon, y);
        if x.len() < PARALLEL_FROM {
            x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)).for_each(row);
        } else {
            x.par_chunks_exact(cols).zip(y.par_chunks_exact_mut(cols)).for_each(row);
        }
    }

    /// out (tokens, hidden): the new tokens of one sequence attend to the `before` tokens before them and to themselves, whose
    /// keys and values are in `kv` already. q (tokens, hidden) is scaled.
    pub(crate) fn attention(&self, q: &[f32], heads: usize, kv: Paged<'_>, before: usize, out: &mut [f32]) {
        let head_dim = kv.stride / heads;
        let one = |scores: &mut Vec<f32>, (place, (q, out)): (usize, (&[f32], &mut [f32]))| {
            let (token, head) = (place / heads, place % heads);
            scores.resize(before + token + 1, 0.0);
            attention::simd::attention(self.tier, q, kv.from(head * head_dim), scores, out);
        };
        if q.len() * (before + 1) < PARALLEL_FROM {
            let mut scores = Vec::new();
            q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate().for_each(|task| one(&mut scores, task));
        } else {
            q.par_chunks_exact(head_dim).zip(out.par_chunks_exact_mut(head_dim)).enumerate().for_each_init(Vec::new, one);
        }
    }

    /// y += x.
    pub(crate) fn add(&self, x: &[f32], y: &mut [f32]) {
        pointwise::add(x, y);
    }

    /// y *= factor.
    pub(crate) fn scale(&self, factor: f32, y: &mut [f32]) {
        pointwise::scale(factor, y);
    }

    /// y = max(y, 0).
    pub(crate) fn relu(&self, y: &mut [f32]) {
        pointwise::relu(y);
    }

    /// y = gelu(y).
    pub(crate) fn gelu(&self, y: &mut [f32]) {
        pointwise::gelu(y);
    }
}
