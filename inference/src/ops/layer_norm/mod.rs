//! y[c] = (x[c] − mean) / √(variance + ε) · gain[c] + bias[c], over one row; the variance is the biased one.
//!
//! * `x` (cols,)    * `gain`, `bias` (cols,), or empty for 1 and 0    * `y` (cols,), overwritten
//!
//! Sums run in f64, in sixteen lanes that take the columns in turn and are added up in order. (Ba, Kiros, Hinton 2016;
//! torch.nn.LayerNorm.)

use super::simd::every_tier;

const LANES: usize = 16;

every_tier!(
    /// The norm of one row; every tier gives the same bits.
    fn layer_norm(x: &[f32], gain: &[f32], bias: &[f32], epsilon: f32, y: &mut [f32]) = plain
);

#[inline(always)]
fn plain(x: &[f32], gain: &[f32], bias: &[f32], epsilon: f32, y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "x and y must be of one length");
    let cols = x.len() as f64;
    let mean = sum(x, |x| x) / cols;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / cols;
    let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
    for (y, x) in y.iter_mut().zip(x) {
        *y = ((f64::from(*x) - mean) * scale) as f32;
    }
    if !gain.is_empty() {
        assert_eq!((gain.len(), bias.len()), (y.len(), y.len()), "gain and bias must be as long as the row");
        for ((y, gain), bias) in y.iter_mut().zip(gain).zip(bias) {
            *y = *y * gain + bias;
        }
    }
}

#[inline(always)]
fn sum(x: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    let (whole, tail) = x.as_chunks::<LANES>();
    for x in whole {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += of(f64::from(*x));
        }
    }
    for (sum, x) in sums.iter_mut().zip(tail) {
        *sum += of(f64::from(*x));
    }
    sums.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Tier;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_out_with_mean_zero_and_variance_one(x in proptest::collection::vec(-100f32..100.0, 2..200)) {
            prop_assume!(x.iter().any(|v| (v - x[0]).abs() > 1.0));
            let mut y = vec![0.0; x.len()];
            layer_norm(Tier::Plain, &x, &[], &[], 1e-5, &mut y);
            let mean = y.iter().sum::<f32>() / y.len() as f32;
            let variance = y.iter().map(|y| (y - mean).powi(2)).sum::<f32>() / y.len() as f32;
            prop_assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-2, "{mean} {variance}");

            let (gain, bias) = (vec![2.0; x.len()], vec![-1.0; x.len()]);
            let mut moved = vec![0.0; x.len()];
            for tier in Tier::available() {
                layer_norm(tier, &x, &gain, &bias, 1e-5, &mut moved);
                for (moved, y) in moved.iter().zip(&y) {
                    prop_assert_eq!(*moved, y * 2.0 - 1.0, "{:?}", tier);
                }
            }
        }
    }
}
