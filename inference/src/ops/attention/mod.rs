//! out[d] = Σ_t softmax_t(q · k[t]) · v[t, d], for one query and one head; q is scaled already.
//!
//! * `q` (head_dim,)    * `kv`: the keys and values, in blocks; row t of this head has head_dim numbers
//! * `scores` (tokens,), scratch    * `out` (head_dim,), overwritten
//!
//! Only the first `scores.len()` rows are seen, which is how the causal mask is made. Sums run in f32 over t in order; faster
//! versions may reorder them and compute exp within 2 ulp, in an order fixed by head_dim and tokens alone: where the blocks lie
//! changes no bit.

pub(crate) mod simd;

/// Tokens in a block of the KV cache.
pub const BLOCK_TOKENS: usize = 32;

/// The keys and values of one sequence, in blocks of [`BLOCK_TOKENS`] rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paged<'a> {
    /// Row r of block b begins at (b · `BLOCK_TOKENS` + r) · `stride`.
    pub(crate) keys: &'a [f32],
    /// As `keys`.
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    /// Which blocks are the sequence's, in order.
    pub(crate) blocks: &'a [u32],
}

impl<'a> Paged<'a> {
    /// The same rows, each from its number `first` on: where a head's part of a row begins.
    pub(crate) fn from(self, first: usize) -> Self {
        Self { keys: &self.keys[first..], values: &self.values[first..], ..self }
    }

    /// Where each block begins in `keys` and `values`.
    fn starts(self) -> impl Iterator<Item = usize> + 'a {
        self.blocks.iter().map(move |block| *block as usize * BLOCK_TOKENS * self.stride)
    }
}

/// The reference: as plain as can be, and the meaning of every other version.
pub(crate) fn attention(q: &[f32], kv: Paged<'_>, scores: &mut [f32], out: &mut [f32]) {
    assert_eq!(q.len(), out.len(), "q and out must be of one head");
    assert!(scores.len() <= kv.blocks.len() * BLOCK_TOKENS, "every row must lie in a block");
    for (start, scores) in kv.starts().zip(scores.chunks_mut(BLOCK_TOKENS)) {
        for (r, score) in scores.iter_mut().enumerate() {
            *score = q.iter().zip(&kv.keys[start + r * kv.stride..]).map(|(q, k)| q * k).sum();
        }
    }
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - highest).exp();
        total += *score;
    }
    out.fill(0.0);
    for (start, scores) in kv.starts().zip(scores.chunks(BLOCK_TOKENS)) {
        for (r, weight) in scores.iter().enumerate() {
            for (out, v) in out.iter_mut().zip(&kv.values[start + r * kv.stride..]) {
                *out += weight / total * v;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Tier;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_tier_agrees_with_the_reference(
            head_dim in prop_oneof![Just(1usize), Just(15), Just(16), Just(17), Just(64), Just(80), Just(128)],
            tokens in 1usize..70,
            gap in 0usize..20,
            seed: u32,
        ) {
            let mut state = seed;
            let mut numbers = |n: usize| -> Vec<f32> {
                (0..n).map(|_| { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); (state >> 8) as f32 / (1 << 23) as f32 - 1.0 }).collect()
            };
            let stride = head_dim + gap;
            let (q, keys, values) = (numbers(head_dim), numbers(3 * BLOCK_TOKENS * stride), numbers(3 * BLOCK_TOKENS * stride));
            let kv = Paged { keys: &keys, values: &values, stride, blocks: &[2, 0, 1] };
            let mut expected = vec![0.0; head_dim];
            attention(&q, kv, &mut vec![0.0; tokens], &mut expected);
            for tier in Tier::available() {
                let mut out = vec![f32::NAN; head_dim];
                simd::attention(tier, &q, kv, &mut vec![0.0; tokens], &mut out);
                for (out, expected) in out.iter().zip(&expected) {
                    prop_assert!((out - expected).abs() < 2e-5, "{tier:?}: {out} should be {expected}");
                }
            }
        }
    }

    #[test]
    fn one_token_is_its_own_answer_and_huge_scores_do_not_overflow() {
        let mut out = [0.0];
        let of = |keys, values| Paged { keys, values, stride: 1, blocks: &[0] };
        attention(&[1.0], of(&[7.0], &[3.0]), &mut [0.0], &mut out);
        assert_eq!(out, [3.0]);
        attention(&[1e4], of(&[1e4, -1e4], &[3.0, 5.0]), &mut [0.0; 2], &mut out);
        assert_eq!(out, [3.0]);
    }
}
