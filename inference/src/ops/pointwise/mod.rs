//! Number by number: y += x, and what is done with the sums of a product on their way into the result.
//!
//! Each output depends on its own inputs alone.

pub(crate) mod simd;

/// What becomes of a sum s, bias included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Finish {
    /// y = s
    Store,
    /// y = max(s, 0)
    Relu,
    /// y = s · Φ(s)
    Gelu,
    /// y += s
    Add,
    /// y = s · factor
    Scale(f32),
}

/// y[i] += x[i].
pub(crate) fn add(x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "x and y must be of one length");
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// x · Φ(x), with Φ the normal distribution: the exact gelu, not the tanh one. (Hendrycks, Gimpel 2016.)
fn gelu(x: f32) -> f32 {
    (f64::from(x) * 0.5 * erfc(-f64::from(x) * std::f64::consts::FRAC_1_SQRT_2)) as f32
}

/// The complementary error function, within 1.2e-7 of its value everywhere: a Chebyshev fit of erfc(z) · eᶻ² · (1 + z/2)
/// (Numerical Recipes, §6.2).
fn erfc(z: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * z.abs());
    let exponent = COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    let tail = t * (exponent - z * z).exp();
    if z >= 0.0 { tail } else { 2.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::simd::finish;
    use super::*;
    use crate::ops::Tier;
    use proptest::prelude::*;

    #[test]
    fn gelu_gives_the_known_values() {
        // From x · Φ(x), to eight digits.
        let known = [(0.0, 0.0), (1.0, 0.841_344_8), (-1.0, -0.158_655_25), (2.5, 2.484_475_8), (-3.0, -0.004_049_694), (9.0, 9.0)];
        for (x, expected) in known {
            let found = gelu(x);
            assert!((found - expected).abs() <= 1e-6 * expected.abs() + 1e-9, "gelu({x}) = {found} should be {expected}");
        }
    }

    proptest! {
        #[test]
        fn sums_are_finished_as_they_should_be_by_every_tier(
            x in prop_oneof![proptest::collection::vec(-9f32..9.0, 32), proptest::collection::vec(-9f32..9.0, 0..70)],
            with_bias: bool,
        ) {
            let bias: Vec<f32> = if with_bias { x.iter().rev().copied().collect() } else { Vec::new() };
            let sum = |i: usize| x[i] + if with_bias { bias[i] } else { 0.0 };
            for (kind, expected) in [
                (Finish::Store, &(|i| sum(i)) as &dyn Fn(usize) -> f32),
                (Finish::Relu, &|i| if sum(i) > 0.0 { sum(i) } else { 0.0 }),
                (Finish::Gelu, &|i| gelu(sum(i))),
                (Finish::Add, &|i| 1.5 + sum(i)),
                (Finish::Scale(0.5), &|i| sum(i) * 0.5),
            ] {
                for tier in Tier::available() {
                    let mut y = vec![1.5; x.len()];
                    // Two rows, the second one number behind the first.
                    let mut other = y.clone();
                    let both = [&x[..], &[7.0], &x].concat();
                    finish(tier, kind, (&both, x.len() + 1), &bias, &mut [&mut y, &mut other]);
                    prop_assert_eq!(&y, &other);
                    prop_assert_eq!(y, (0..x.len()).map(expected).collect::<Vec<_>>(), "{:?} {:?}", kind, tier);
                }
            }
        }

        #[test]
        fn add_adds(x in proptest::collection::vec(-9f32..9.0, 0..70)) {
            let mut y = x.clone();
            add(&x, &mut y);
            prop_assert_eq!(y, x.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
        }
    }
}
