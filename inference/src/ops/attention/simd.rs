//! Attention written for the compiler to vectorise: plain loops over sixteen lanes, compiled once for each tier.
#![allow(unsafe_code)]

use super::Paged;
use crate::ops::Tier;

/// The contract of `super::attention`, on the given tier.
pub(crate) fn attention(tier: Tier, q: &[f32], kv: Paged<'_>, scores: &mut [f32], out: &mut [f32]) {
    match tier {
        Tier::Plain => super::attention(q, kv, scores, out),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a tier is only made where this CPU was seen to have its features; the body itself is safe code.
        Tier::Avx2 => unsafe { attention_avx2(q, kv, scores, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Tier::Avx512 | Tier::Avx512Bf16Vnni => unsafe { attention_avx512(q, kv, scores, out) },
        #[cfg(not(target_arch = "x86_64"))]
        Tier::Avx2 | Tier::Avx512 | Tier::Avx512Bf16Vnni => unreachable!("a tier is only made where its instructions were seen"),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn attention_avx2(q: &[f32], kv: Paged<'_>, scores: &mut [f32], out: &mut [f32]) {
    body(q, kv, scores, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
fn attention_avx512(q: &[f32], kv: Paged<'_>, scores: &mut [f32], out: &mut [f32]) {
    body(q, kv, scores, out);
}

#[cfg(target_arch = "x86_64")]
use super::BLOCK_TOKENS;
#[cfg(target_arch = "x86_64")]
const LANES: usize = 16;

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn body(q: &[f32], kv: Paged<'_>, scores: &mut [f32], out: &mut [f32]) {
    assert_eq!(q.len(), out.len(), "q and out must be of one head");
    assert!(scores.len() <= kv.blocks.len() * BLOCK_TOKENS, "every row must lie in a block");
    for (start, scores) in kv.starts().zip(scores.chunks_mut(BLOCK_TOKENS)) {
        for (r, score) in scores.iter_mut().enumerate() {
            *score = dot(q, &kv.keys[start + r * kv.stride..][..q.len()]);
        }
    }
    let highest = lanes(scores, f32::NEG_INFINITY, f32::max);
    for score in scores.iter_mut() {
        *score = exp(*score - highest);
    }
    let total = lanes(scores, 0.0, |sum, weight| sum + weight);
    out.fill(0.0);
    for (start, scores) in kv.starts().zip(scores.chunks(BLOCK_TOKENS)) {
        for (r, weight) in scores.iter().enumerate() {
            for (out, v) in out.iter_mut().zip(&kv.values[start + r * kv.stride..][..q.len()]) {
                *out = weight.mul_add(*v, *out);
            }
        }
    }
    for out in out {
        *out /= total;
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_tail) = a.as_chunks::<LANES>();
    let (b, b_tail) = b.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum();
    sums.into_iter().sum::<f32>() + tail
}

/// Folds lane by lane, then over the lanes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn lanes(numbers: &[f32], start: f32, fold: impl Fn(f32, f32) -> f32) -> f32 {
    let (whole, tail) = numbers.as_chunks::<LANES>();
    let mut sums = [start; LANES];
    for numbers in whole {
        for lane in 0..LANES {
            sums[lane] = fold(sums[lane], numbers[lane]);
        }
    }
    sums.into_iter().chain(tail.iter().copied()).fold(start, fold)
}

/// eˣ for x ≤ 0: 2ⁿ · eʳ with |r| ≤ ln 2 / 2, eʳ by its Taylor polynomial of degree 7 (its next term is below 2⁻²⁷).
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Below this the answer is no normal number; as a weight it is nothing.
    let x = x.max(-87.0);
    // Adding and taking away 1.5 · 2²³ rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let n = x.mul_add(std::f32::consts::LOG2_E, ROUND) - ROUND;
    // ln 2 in two parts, the first exact when multiplied by n.
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut power = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = r.mul_add(power, coefficient);
    }
    power * f32::from_bits(((n as i32 + 127) << 23) as u32)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exp_is_within_two_ulp(x in -87f32..=0.0) {
            let expected = f64::from(x).exp();
            prop_assert!((f64::from(exp(x)) / expected - 1.0).abs() < 2.4e-7, "exp({x}) = {}", exp(x));
        }
    }
}
