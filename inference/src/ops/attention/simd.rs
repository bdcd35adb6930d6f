//! Attention over vectors of every tier: for one query with the tokens side by side in the lanes, for many with the queries. Either way
//! a query has one lane in which its sums run in the contract's order, so both give the same bits.
#![allow(unsafe_code)]

use half::f16;

use super::{BLOCK_TOKENS, Numbers, QUERIES_MAX, Queries};
use crate::ops::Tier;
#[cfg(target_arch = "x86_64")]
use crate::ops::vector::simd::{Avx2, Avx512};
use crate::ops::vector::simd::{Portable, Vector};

/// Memory for scores and what else lies between the steps, kept from use to use.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    lines: Vec<Line>,
}

/// A cache line, so that no load crosses one.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read and written through pointers")] [f32; 16]);

impl Scratch {
    /// Room for so many numbers.
    fn take(&mut self, numbers: usize) -> *mut f32 {
        let lines = numbers.div_ceil(16);
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0.0; 16]));
        }
        self.lines.as_mut_ptr().cast()
    }
}

/// The contract of the room, on the given tier, which must come from [`Tier::available`].
pub(crate) fn attention(tier: Tier, queries: &Queries<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    queries.check(out);
    // SAFETY: a tier is only made where this CPU was seen to have its instructions.
    unsafe {
        match tier {
            Tier::Plain => kept::<Portable, 2, 4, 4>(queries, scratch, out),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => avx2(queries, scratch, out),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 | Tier::Avx512Bf16Vnni => avx512(queries, scratch, out),
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 | Tier::Avx512 | Tier::Avx512Bf16Vnni => unreachable!("a tier is only made where its instructions were seen"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2(queries: &Queries<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    // SAFETY: passed on to the caller.
    unsafe { kept::<Avx2, 2, 4, 4>(queries, scratch, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
unsafe fn avx512(queries: &Queries<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    // SAFETY: passed on to the caller.
    unsafe { kept::<Avx512, 2, 8, 2>(queries, scratch, out) }
}

/// `kept` = `numbers` as they are kept where that is in halves: the nearest there are; what is beyond the largest becomes that. The tier must
/// come from [`Tier::available`].
pub(crate) fn keep(tier: Tier, numbers: &[f32], kept: &mut [f16]) {
    #[inline(always)]
    unsafe fn rounded<V: Vector>(numbers: &[f32], kept: &mut [f16]) {
        let (mut from, mut to) = (numbers.chunks_exact(V::LANES), kept.chunks_exact_mut(V::LANES));
        // SAFETY: the tier's instructions are the caller's promise; as many numbers as a vector has lanes.
        unsafe {
            while let (Some(numbers), Some(kept)) = (from.next(), to.next()) {
                V::store_f16(kept.as_mut_ptr(), V::load_f32(numbers.as_ptr().cast()));
            }
        }
        let rest = to.into_remainder().iter_mut().zip(from.remainder());
        // SAFETY: plain numbers need no instructions.
        rest.for_each(|(kept, number)| unsafe {
            let mut all = [f16::ZERO; 8];
            Portable::store_f16(all.as_mut_ptr(), [*number; 8]);
            *kept = all[0];
        });
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn avx2(numbers: &[f32], kept: &mut [f16]) {
        // SAFETY: passed on to the caller.
        unsafe { rounded::<Avx2>(numbers, kept) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
    unsafe fn avx512(numbers: &[f32], kept: &mut [f16]) {
        // SAFETY: passed on to the caller.
        unsafe { rounded::<Avx512>(numbers, kept) }
    }
    assert_eq!(numbers.len(), kept.len(), "as many numbers as are kept");
    // SAFETY: a tier is only made where this CPU was seen to have its instructions.
    unsafe {
        match tier {
            Tier::Plain => rounded::<Portable>(numbers, kept),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => avx2(numbers, kept),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 | Tier::Avx512Bf16Vnni => avx512(numbers, kept),
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 | Tier::Avx512 | Tier::Avx512Bf16Vnni => unreachable!("a tier is only made where its instructions were seen"),
        }
    }
}

/// A number that is kept.
trait Number: Copy {
    /// As many as a vector has lanes.
    unsafe fn load<V: Vector>(at: *const Self) -> V::F;
    /// R of them, to be splatted one by one.
    unsafe fn some<V: Vector, const R: usize>(at: *const Self) -> [f32; R];
}

impl Number for f32 {
    #[inline(always)]
    unsafe fn load<V: Vector>(at: *const f32) -> V::F {
        // SAFETY: passed on to the caller.
        unsafe { V::load_f32(at.cast()) }
    }
    #[inline(always)]
    unsafe fn some<V: Vector, const R: usize>(at: *const f32) -> [f32; R] {
        // SAFETY: passed on to the caller.
        unsafe { at.cast::<[f32; R]>().read_unaligned() }
    }
}

impl Number for f16 {
    #[inline(always)]
    unsafe fn load<V: Vector>(at: *const f16) -> V::F {
        // SAFETY: passed on to the caller.
        unsafe { V::load_f16(at.cast()) }
    }
    #[inline(always)]
    unsafe fn some<V: Vector, const R: usize>(at: *const f16) -> [f32; R] {
        // SAFETY: passed on to the caller.
        unsafe { V::halves(at) }
    }
}

#[inline(always)]
unsafe fn kept<V: Vector, const N: usize, const R: usize, const B: usize>(queries: &Queries<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    // SAFETY: passed on to the caller.
    unsafe {
        match queries.kv.store {
            Numbers::Singles(store) => all::<V, f32, N, R, B>(queries, store, scratch, out),
            Numbers::Halves(store) => all::<V, f16, N, R, B>(queries, store, scratch, out),
        }
    }
}

/// A tile has N vectors of queries, and R rows of sums in registers; a block has B vectors of tokens.
#[inline(always)]
unsafe fn all<V: Vector, T: Number, const N: usize, const R: usize, const B: usize>(
    queries: &Queries<'_>,
    store: &[T],
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let head_dim = queries.kv.head_dim;
    let mut first = 0;
    while first < queries.count {
        let left = queries.count - first;
        let count = left.min(N * V::LANES);
        // SAFETY: the tier's instructions are the caller's promise; `check` has seen that rows, tokens and out are there.
        unsafe {
            if left < V::LANES {
                (first..queries.count)
                    .for_each(|query| one::<V, T, B>(queries, store, query, scratch, &mut out[query * head_dim..][..head_dim]));
                return;
            } else if left <= V::LANES {
                tile::<V, T, 1, R>(queries, store, (first, count), scratch, &mut out[first * head_dim..][..count * head_dim]);
            } else {
                tile::<V, T, N, R>(queries, store, (first, count), scratch, &mut out[first * head_dim..][..count * head_dim]);
            }
        }
        first += count;
    }
}

/// Blocks of the first `tokens` tokens: number and how many tokens of it.
fn blocks(tokens: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..tokens.div_ceil(BLOCK_TOKENS)).map(move |number| (number, (tokens - number * BLOCK_TOKENS).min(BLOCK_TOKENS)))
}

/// One query.
#[inline(always)]
unsafe fn one<V: Vector, T: Number, const B: usize>(
    queries: &Queries<'_>,
    store: &[T],
    number: usize,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let (q, tokens, head_dim) = (queries.row(number), queries.seen + number, queries.kv.head_dim);
    let room = tokens.next_multiple_of(BLOCK_TOKENS);
    let scores = scratch.take(room);
    // SAFETY: `scores` has room for whole blocks, and every tile for head_dim times a block's tokens.
    unsafe {
        for (block, _) in blocks(tokens) {
            let (keys, values) = queries.kv.tiles(store, queries.head, block);
            let (keys, values) = (keys.as_ptr(), values.as_ptr().cast::<u8>());
            let mut sums = [V::zero(); B];
            for (d, q) in q.iter().enumerate() {
                // The values are as many, and are wanted when all scores are there.
                for line in (0..BLOCK_TOKENS * size_of::<T>()).step_by(64) {
                    V::prefetch_l2(values.wrapping_add(d * BLOCK_TOKENS * size_of::<T>() + line));
                }
                let q = V::splat(*q);
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = V::fma(T::load::<V>(keys.add(d * BLOCK_TOKENS + n * V::LANES)), q, *sum);
                }
            }
            for (n, sum) in sums.into_iter().enumerate() {
                V::store(scores.add(block * BLOCK_TOKENS + n * V::LANES), sum);
            }
        }
        (tokens..room).for_each(|t| scores.add(t).write(f32::NEG_INFINITY));

        let highest = (0..tokens).map(|t| *scores.add(t)).fold(f32::NEG_INFINITY, f32::max);
        for at in (0..room).step_by(V::LANES) {
            let score = V::load_f32(scores.add(at).cast());
            V::store(scores.add(at), V::exp(V::sub(score, V::splat(highest))));
        }
        let mut d = 0;
        while head_dim - d >= 4 * V::LANES {
            values::<V, T, 4>(queries, store, d, (scores, tokens), &mut out[d..]);
            d += 4 * V::LANES;
        }
        while head_dim - d >= V::LANES {
            values::<V, T, 1>(queries, store, d, (scores, tokens), &mut out[d..]);
            d += V::LANES;
        }
        for (d, out) in out.iter_mut().enumerate().skip(d) {
            let (mut sum, mut total) = (0.0f32, 0.0);
            for (block, rows) in blocks(tokens) {
                let tile = queries.kv.tiles(store, queries.head, block).1;
                for r in 0..rows {
                    let weight = *scores.add(block * BLOCK_TOKENS + r);
                    let [value] = T::some::<V, 1>(&raw const tile[r * head_dim + d]);
                    sum = value.mul_add(weight, sum);
                    total += weight;
                }
            }
            *out = sum * (1.0 / total);
        }
    }
}

/// `out` begins with C vectors, at `d` of the head, of the weighted sum of the values.
#[inline(always)]
unsafe fn values<V: Vector, T: Number, const C: usize>(
    queries: &Queries<'_>,
    store: &[T],
    d: usize,
    (weights, tokens): (*const f32, usize),
    out: &mut [f32],
) {
    let head_dim = queries.kv.head_dim;
    // SAFETY: `d` and C vectors from there are within the head; there are `tokens` weights.
    unsafe {
        let (mut sums, mut total) = ([V::zero(); C], V::zero());
        for (block, rows) in blocks(tokens) {
            let tile = queries.kv.tiles(store, queries.head, block).1.as_ptr().add(d);
            for r in 0..rows {
                let weight = V::splat(*weights.add(block * BLOCK_TOKENS + r));
                total = V::add(total, weight);
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = V::fma(T::load::<V>(tile.add(r * head_dim + n * V::LANES)), weight, *sum);
                }
            }
        }
        let inverse = V::div(V::splat(1.0), total);
        for (out, sum) in out.chunks_exact_mut(V::LANES).zip(sums) {
            V::store(out.as_mut_ptr(), V::mul(sum, inverse));
        }
    }
}

/// As many −∞ as a query of a tile may have to leave unseen, then as many zeros.
const STAIRS: [f32; 2 * QUERIES_MAX] = {
    let mut stairs = [f32::NEG_INFINITY; 2 * QUERIES_MAX];
    let mut place = QUERIES_MAX;
    while place < stairs.len() {
        stairs[place] = 0.0;
        place += 1;
    }
    stairs
};

/// `count` queries at once, each in a lane of N vectors. Lanes past the last query repeat it, and nobody looks at them.
#[inline(always)]
unsafe fn tile<V: Vector, T: Number, const N: usize, const R: usize>(
    queries: &Queries<'_>,
    store: &[T],
    (first, count): (usize, usize),
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let (width, head_dim) = (N * V::LANES, queries.kv.head_dim);
    let seen = queries.seen + first;
    let tokens = seen + count - 1;
    // Queries and results (head_dim, width), scores (tokens, width) in whole blocks.
    let q = scratch.take((2 * head_dim + tokens.next_multiple_of(BLOCK_TOKENS)) * width);
    // SAFETY: every pointer stays within the scratch as laid out here, and within tiles of head_dim times a block's tokens, which R
    // divides.
    unsafe {
        let results = q.add(head_dim * width);
        let scores = results.add(head_dim * width);
        for lane in 0..width {
            for (d, number) in queries.row(first + lane.min(count - 1)).iter().enumerate() {
                q.add(d * width + lane).write(*number);
            }
        }
        for (block, rows) in blocks(tokens) {
            let keys = queries.kv.tiles(store, queries.head, block).0.as_ptr();
            for r in (0..rows).step_by(R) {
                dots::<V, T, N, R>(q, keys.add(r), BLOCK_TOKENS, head_dim, scores.add((block * BLOCK_TOKENS + r) * width));
            }
        }

        let at = |t: usize, n: usize| scores.add(t * width + n * V::LANES);
        let mut highest = [V::splat(f32::NEG_INFINITY); N];
        for t in 0..tokens {
            for (n, highest) in highest.iter_mut().enumerate() {
                let mut score = V::load_f32(at(t, n).cast());
                if t >= seen {
                    score = V::add(score, V::load_f32(STAIRS.as_ptr().add(QUERIES_MAX - (t + 1 - seen) + n * V::LANES).cast()));
                    V::store(at(t, n), score);
                }
                *highest = V::max(*highest, score);
            }
        }
        let mut totals = [V::zero(); N];
        for t in 0..tokens {
            for (n, total) in totals.iter_mut().enumerate() {
                let weight = V::exp(V::sub(V::load_f32(at(t, n).cast()), highest[n]));
                V::store(at(t, n), weight);
                *total = V::add(*total, weight);
            }
        }

        let mut d = 0;
        while head_dim - d >= R {
            weigh::<V, T, N, R>(queries, store, d, (scores, tokens), &totals, results.add(d * width));
            d += R;
        }
        while d < head_dim {
            weigh::<V, T, N, 1>(queries, store, d, (scores, tokens), &totals, results.add(d * width));
            d += 1;
        }
        for (lane, out) in out.chunks_exact_mut(head_dim).enumerate() {
            for (d, out) in out.iter_mut().enumerate() {
                *out = *results.add(d * width + lane);
            }
        }
    }
}

/// scores (R, N vectors) = Σ_d k[d, r] · q[d], where `keys` has `stride` numbers for each d.
#[inline(always)]
unsafe fn dots<V: Vector, T: Number, const N: usize, const R: usize>(
    q: *const f32,
    keys: *const T,
    stride: usize,
    head_dim: usize,
    scores: *mut f32,
) {
    let width = N * V::LANES;
    // SAFETY: the caller's: q (head_dim, width), R keys from `keys` on for each d, room for R rows of scores.
    unsafe {
        let mut sums = [[V::zero(); N]; R];
        for d in 0..head_dim {
            let mut lanes = [V::zero(); N];
            for (n, lanes) in lanes.iter_mut().enumerate() {
                *lanes = V::load_f32(q.add(d * width + n * V::LANES).cast());
            }
            let keys = T::some::<V, R>(keys.add(d * stride));
            for (r, sums) in sums.iter_mut().enumerate() {
                let key = V::splat(keys[r]);
                for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                    *sum = V::fma(key, *lanes, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                V::store(scores.add(r * width + n * V::LANES), *sum);
            }
        }
    }
}

/// results (R, N vectors) = Σ_t v[t, d + r] · weight[t] / total.
#[inline(always)]
unsafe fn weigh<V: Vector, T: Number, const N: usize, const R: usize>(
    queries: &Queries<'_>,
    store: &[T],
    d: usize,
    (weights, tokens): (*const f32, usize),
    totals: &[V::F; N],
    results: *mut f32,
) {
    let (width, head_dim) = (N * V::LANES, queries.kv.head_dim);
    // SAFETY: the caller's: d + R is within the head, weights (tokens, width), room for R rows of results.
    unsafe {
        let mut sums = [[V::zero(); N]; R];
        for (block, rows) in blocks(tokens) {
            let tile = queries.kv.tiles(store, queries.head, block).1.as_ptr().add(d);
            for t in 0..rows {
                let mut lanes = [V::zero(); N];
                for (n, lanes) in lanes.iter_mut().enumerate() {
                    *lanes = V::load_f32(weights.add((block * BLOCK_TOKENS + t) * width + n * V::LANES).cast());
                }
                let values = T::some::<V, R>(tile.add(t * head_dim));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value = V::splat(values[r]);
                    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                        *sum = V::fma(value, *lanes, *sum);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                V::store(results.add(r * width + n * V::LANES), V::mul(*sum, V::div(V::splat(1.0), totals[n])));
            }
        }
    }
}
