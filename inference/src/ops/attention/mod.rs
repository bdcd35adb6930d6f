//! out[d] = Σ_t softmax_t(q · k[t]) · v[t, d], for one query and one head; q is scaled already.
//!
//! * `q` (head_dim,)    * `keys`, `values` (tokens, …): row t of this head begins at t · stride, and has head_dim numbers
//! * `scores` (tokens,), scratch    * `out` (head_dim,), overwritten
//!
//! Only the first `scores.len()` rows are seen, which is how the causal mask is made. Sums run in f32 over t in order; faster
//! versions may reorder them and compute exp within 2 ulp, in an order fixed by head_dim and tokens alone.

pub(crate) mod simd;

/// The reference: as plain as can be, and the meaning of every other version.
pub(crate) fn attention(q: &[f32], keys: &[f32], values: &[f32], stride: usize, scores: &mut [f32], out: &mut [f32]) {
    assert_eq!(q.len(), out.len(), "q and out must be of one head");
    for (t, score) in scores.iter_mut().enumerate() {
        *score = q.iter().zip(&keys[t * stride..]).map(|(q, k)| q * k).sum();
    }
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - highest).exp();
        total += *score;
    }
    out.fill(0.0);
    for (t, weight) in scores.iter().enumerate() {
        for (out, v) in out.iter_mut().zip(&values[t * stride..]) {
            *out += weight / total * v;
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
            let (q, keys, values) = (numbers(head_dim), numbers(tokens * stride), numbers(tokens * stride));
            let mut expected = vec![0.0; head_dim];
            attention(&q, &keys, &values, stride, &mut vec![0.0; tokens], &mut expected);
            for tier in Tier::available() {
                let mut out = vec![f32::NAN; head_dim];
                simd::attention(tier, &q, &keys, &values, stride, &mut vec![0.0; tokens], &mut out);
                for (out, expected) in out.iter().zip(&expected) {
                    prop_assert!((out - expected).abs() < 2e-5, "{tier:?}: {out} should be {expected}");
                }
            }
        }
    }

    #[test]
    fn one_token_is_its_own_answer_and_huge_scores_do_not_overflow() {
        let mut out = [0.0];
        attention(&[1.0], &[7.0], &[3.0], 1, &mut [0.0], &mut out);
        assert_eq!(out, [3.0]);
        attention(&[1e4], &[1e4, -1e4], &[3.0, 5.0], 1, &mut [0.0; 2], &mut out);
        assert_eq!(out, [3.0]);
    }
}
