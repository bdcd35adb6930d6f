//! Attention over vectors of every tier. Scores have the tokens of a block side by side in their lanes, results the numbers of a head; several
//! queries go over a block together, each with sums of its own in the contract's order, so that one by itself gets the same bits.
#![allow(unsafe_code)]

use half::f16;

use super::{BLOCK_TOKENS, Numbers, QUERIES_MAX, Queries, TOTALS};
use crate::ops::Tier;
use crate::ops::aligned::Aligned;
#[cfg(target_arch = "x86_64")]
use crate::ops::vector::simd::{Avx2, Avx512};
use crate::ops::vector::simd::{Portable, Vector};

/// Memory for scores and what else lies between the steps, kept from use to use.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    numbers: Aligned<f32>,
}

impl Scratch {
    /// Room for so many numbers.
    fn take(&mut self, numbers: usize) -> *mut f32 {
        self.numbers.first(numbers).as_mut_ptr()
    }

    #[cfg(test)]
    pub(super) fn fill(&mut self, number: f32, numbers: usize) {
        self.numbers.first(numbers).fill(number);
    }
}

/// The contract of the room, on the given tier, which must come from [`Tier::available`].
pub(crate) fn attention(tier: Tier, queries: &Queries<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    queries.check(out);
    // SAFETY: a tier is only made where this CPU was seen to have its instructions.
    unsafe {
        match tier {
            Tier::Plain => kept::<Portable, 2, 4>(queries, scratch, out),
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
    unsafe { kept::<Avx2, 2, 4>(queries, scratch, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
unsafe fn avx512(queries: &Queries<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    // SAFETY: passed on to the caller.
    unsafe { kept::<Avx512, 8, 2>(queries, scratch, out) }
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
    fn single(self) -> f32;
    /// A tile of so many, as singles, which may be written to `room`.
    unsafe fn singles<V: Vector>(tile: *const Self, numbers: usize, room: *mut f32) -> *const f32;
}

impl Number for f32 {
    #[inline(always)]
    unsafe fn load<V: Vector>(at: *const f32) -> V::F {
        // SAFETY: passed on to the caller.
        unsafe { V::load_f32(at.cast()) }
    }
    #[inline(always)]
    fn single(self) -> f32 {
        self
    }
    #[inline(always)]
    unsafe fn singles<V: Vector>(tile: *const f32, _: usize, _: *mut f32) -> *const f32 {
        tile
    }
}

impl Number for f16 {
    #[inline(always)]
    unsafe fn load<V: Vector>(at: *const f16) -> V::F {
        // SAFETY: passed on to the caller.
        unsafe { V::load_f16(at.cast()) }
    }
    #[inline(always)]
    fn single(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    unsafe fn singles<V: Vector>(tile: *const f16, numbers: usize, room: *mut f32) -> *const f32 {
        // SAFETY: passed on to the caller; a tile has whole blocks of tokens, which the lanes divide.
        unsafe {
            for at in (0..numbers).step_by(V::LANES) {
                V::store(room.add(at), V::load_f16(tile.add(at).cast()));
            }
        }
        room
    }
}

/// R queries go over a block of B vectors of tokens together, and over as many of a head.
#[inline(always)]
unsafe fn kept<V: Vector, const R: usize, const B: usize>(queries: &Queries<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    // SAFETY: passed on to the caller.
    unsafe {
        match queries.kv.store {
            Numbers::Singles(store) => all::<V, f32, R, B>(queries, store, scratch, out),
            Numbers::Halves(store) => all::<V, f16, R, B>(queries, store, scratch, out),
        }
    }
}

#[inline(always)]
unsafe fn all<V: Vector, T: Number, const R: usize, const B: usize>(
    queries: &Queries<'_>,
    store: &[T],
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    // The kernels rely on it: several queries read singles, a row of scores is whole blocks, and totals are whole vectors.
    const { assert!(R > 1 && B * V::LANES == BLOCK_TOKENS && TOTALS.is_multiple_of(V::LANES)) }
    let (count, head_dim) = (queries.count, queries.kv.head_dim);
    let (together, left) = (count / R * R, count % R);
    // SAFETY: passed on to the caller.
    unsafe {
        if together > 0 {
            some::<V, T, f32, R, B>(queries, store, (0, together), scratch, &mut out[..together * head_dim]);
        }
        if together > 0 && 2 * left >= R {
            // With some that are done: to the same bits, and sooner than one by one.
            some::<V, T, f32, R, B>(queries, store, (count - R, R), scratch, &mut out[(count - R) * head_dim..]);
            return;
        }
        for (query, out) in (together..count).zip(out[together * head_dim..].chunks_exact_mut(head_dim)) {
            some::<V, T, T, 1, B>(queries, store, (query, 1), scratch, out);
        }
    }
}

/// `count` queries from `first` on, a multiple of R. What is kept as T is read as K: as it is where one query looks at it once, as singles
/// where many do.
#[inline(always)]
unsafe fn some<V: Vector, T: Number, K: Number, const R: usize, const B: usize>(
    queries: &Queries<'_>,
    store: &[T],
    (first, count): (usize, usize),
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let head_dim = queries.kv.head_dim;
    let seen = queries.seen + first;
    let (tokens, tile) = (seen + count - 1, head_dim * BLOCK_TOKENS);
    let room = tokens.next_multiple_of(BLOCK_TOKENS);
    // A tile as singles, scores (count, room), queries (count, head_dim).
    let widened = scratch.take(tile + count * (room + head_dim));
    // SAFETY: every pointer stays within the scratch as laid out here, and within tiles of head_dim times a block's tokens.
    unsafe {
        let (scores, q) = (widened.add(tile), widened.add(tile + count * room));
        let read = |numbers: &[T]| -> *const K {
            if R == 1 { numbers.as_ptr().cast() } else { T::singles::<V>(numbers.as_ptr(), tile, widened).cast() }
        };
        // Rows that lie as far apart as those of all heads share few places of the first cache.
        (0..count).for_each(|query| q.add(query * head_dim).copy_from_nonoverlapping(queries.row(first + query).as_ptr(), head_dim));
        for block in 0..tokens.div_ceil(BLOCK_TOKENS) {
            let (keys, values) = queries.kv.tiles(store, queries.head, block);
            // One query waits for the memory: the values are as many, and are wanted when all scores are there.
            let ahead = if R == 1 { Some(values.as_ptr().cast::<u8>()) } else { None };
            let keys = read(keys);
            for query in (0..count).step_by(R).filter(|query| block * BLOCK_TOKENS < seen + query + R - 1) {
                let scores = scores.add(query * room + block * BLOCK_TOKENS);
                dots::<V, K, R, B>((q.add(query * head_dim), head_dim), keys, (scores, room), ahead.map(|at| (at, size_of::<T>())));
            }
        }

        let mut inverse = [0.0; QUERIES_MAX];
        for (query, inverse) in inverse.iter_mut().enumerate().take(count) {
            *inverse = 1.0 / weights::<V>(scores.add(query * room), seen + query);
        }

        out.fill(0.0);
        for block in 0..tokens.div_ceil(BLOCK_TOKENS) {
            let values = read(queries.kv.tiles(store, queries.head, block).1);
            for query in (0..count).step_by(R) {
                let weights = scores.add(query * room + block * BLOCK_TOKENS).cast_const();
                let out = out[query * head_dim..][..R * head_dim].as_mut_ptr();
                let rows = |r: usize| (seen + query + r).saturating_sub(block * BLOCK_TOKENS).min(BLOCK_TOKENS);
                weigh::<V, K, R, B>((weights, room), (values, rows(0)), head_dim, out);
                // What only the later ones see: the others would multiply it by zero, which is nothing only if it is finite.
                for r in (1..R).filter(|r| rows(*r) > rows(0)) {
                    let (weights, values) = (weights.add(r * room + rows(0)), values.add(rows(0) * head_dim));
                    weigh::<V, K, 1, B>((weights, room), (values, rows(r) - rows(0)), head_dim, out.add(r * head_dim));
                }
            }
        }
        for (out, inverse) in out.chunks_exact_mut(head_dim).zip(inverse) {
            out.iter_mut().for_each(|out| *out *= inverse);
        }
    }
}

/// scores (R, a block's tokens) = Σ_d q[r, d] · k[d, token]; both have rows as long as is said. `ahead`: memory of so many times the size of a
/// tile's numbers that will be wanted.
#[inline(always)]
unsafe fn dots<V: Vector, K: Number, const R: usize, const B: usize>(
    (q, head_dim): (*const f32, usize),
    keys: *const K,
    (scores, room): (*mut f32, usize),
    ahead: Option<(*const u8, usize)>,
) {
    // SAFETY: the caller's: q (R, head_dim), keys (head_dim, a block), R rows of scores.
    unsafe {
        let mut sums = [[V::zero(); B]; R];
        for d in 0..head_dim {
            if let Some((at, size)) = ahead {
                let row = BLOCK_TOKENS * size;
                (0..row).step_by(64).for_each(|line| V::prefetch_l2(at.wrapping_add(d * row + line)));
            }
            let mut lanes = [V::zero(); B];
            for (n, lanes) in lanes.iter_mut().enumerate() {
                *lanes = K::load::<V>(keys.add(d * BLOCK_TOKENS + n * V::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let q = V::splat(*q.add(r * head_dim + d));
                for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                    *sum = V::fma(*lanes, q, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                V::store(scores.add(r * room + n * V::LANES), *sum);
            }
        }
    }
}

/// Makes the scores of the first `tokens` tokens into weights, and those that follow in their block into 0. Gives the weights' total.
#[inline(always)]
unsafe fn weights<V: Vector>(scores: *mut f32, tokens: usize) -> f32 {
    let room = tokens.next_multiple_of(BLOCK_TOKENS);
    // SAFETY: the caller's: there are scores for whole blocks.
    unsafe {
        (tokens..room).for_each(|t| scores.add(t).write(f32::NEG_INFINITY));
        let mut highest = V::splat(f32::NEG_INFINITY);
        for at in (0..room).step_by(V::LANES) {
            highest = V::max(V::load_f32(scores.add(at).cast()), highest);
        }
        let mut lanes = [f32::NEG_INFINITY; TOTALS];
        V::store(lanes.as_mut_ptr(), highest);
        let highest = V::splat(lanes.into_iter().fold(f32::NEG_INFINITY, f32::max));
        let mut totals = [0.0; TOTALS];
        for lane in (0..TOTALS).step_by(V::LANES) {
            let mut total = V::zero();
            for at in (lane..room).step_by(TOTALS) {
                let weight = V::exp(V::sub(V::load_f32(scores.add(at).cast()), highest));
                V::store(scores.add(at), weight);
                total = V::add(total, weight);
            }
            V::store(totals.as_mut_ptr().add(lane), total);
        }
        totals.iter().sum()
    }
}

/// out (R, head_dim) += Σ_t weight[r, t] · v[t, d] over so many rows of values; weights have rows as long as is said.
#[inline(always)]
unsafe fn weigh<V: Vector, K: Number, const R: usize, const B: usize>(
    (weights, room): (*const f32, usize),
    (values, rows): (*const K, usize),
    head_dim: usize,
    out: *mut f32,
) {
    let mut d = 0;
    // SAFETY: the caller's: R rows of weights and of out, `rows` rows of values; d and what follows it lie within the head.
    unsafe {
        // Sums of one query alone wait for one another.
        while R == 1 && head_dim - d >= 4 * V::LANES {
            weigh_vectors::<V, K, R, 4>((weights, room), (values.add(d), rows), head_dim, out.add(d));
            d += 4 * V::LANES;
        }
        while head_dim - d >= B * V::LANES {
            weigh_vectors::<V, K, R, B>((weights, room), (values.add(d), rows), head_dim, out.add(d));
            d += B * V::LANES;
        }
        while head_dim - d >= V::LANES {
            weigh_vectors::<V, K, R, 1>((weights, room), (values.add(d), rows), head_dim, out.add(d));
            d += V::LANES;
        }
        for d in d..head_dim {
            for r in 0..R {
                let sum = out.add(r * head_dim + d);
                (0..rows).for_each(|t| *sum = (*values.add(t * head_dim + d)).single().mul_add(*weights.add(r * room + t), *sum));
            }
        }
    }
}

/// The same for C vectors of the head.
#[inline(always)]
unsafe fn weigh_vectors<V: Vector, K: Number, const R: usize, const C: usize>(
    (weights, room): (*const f32, usize),
    (values, rows): (*const K, usize),
    head_dim: usize,
    out: *mut f32,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut sums = [[V::zero(); C]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = V::load_f32(out.add(r * head_dim + n * V::LANES).cast());
            }
        }
        for t in 0..rows {
            let mut lanes = [V::zero(); C];
            for (n, lanes) in lanes.iter_mut().enumerate() {
                *lanes = K::load::<V>(values.add(t * head_dim + n * V::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let weight = V::splat(*weights.add(r * room + t));
                for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                    *sum = V::fma(*lanes, weight, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                V::store(out.add(r * head_dim + n * V::LANES), *sum);
            }
        }
    }
}
