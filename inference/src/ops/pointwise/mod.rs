//! Number by number: y += x, y = max(y, 0), y = gelu(y), y *= factor.
//!
//! Each output depends on its own inputs alone, and the loops are plain enough for the compiler to vectorise.

/// y[i] += x[i].
pub(crate) fn add(x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "x and y must be of one length");
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// y[i] *= factor.
pub(crate) fn scale(factor: f32, y: &mut [f32]) {
    for y in y {
        *y *= factor;
    }
}

/// y[i] = max(y[i], 0).
pub(crate) fn relu(y: &mut [f32]) {
    for y in y {
        *y = y.max(0.0);
    }
}

/// y[i] = y[i] · Φ(y[i]), with Φ the normal distribution: the exact gelu, not the tanh one. (Hendrycks, Gimpel 2016.)
pub(crate) fn gelu(y: &mut [f32]) {
    for y in y {
        *y = (f64::from(*y) * 0.5 * erfc(-f64::from(*y) * std::f64::consts::FRAC_1_SQRT_2)) as f32;
    }
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
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gelu_gives_the_known_values() {
        // From x · Φ(x), to eight digits.
        let known = [(0.0, 0.0), (1.0, 0.841_344_8), (-1.0, -0.158_655_25), (2.5, 2.484_475_8), (-3.0, -0.004_049_694), (9.0, 9.0)];
        for (x, expected) in known {
            let mut y = [x];
            gelu(&mut y);
            assert!((y[0] - expected).abs() <= 1e-6 * expected.abs() + 1e-9, "gelu({x}) = {} should be {expected}", y[0]);
        }
    }

    proptest! {
        #[test]
        fn relu_add_and_scale_are_what_they_say(x in proptest::collection::vec(-9f32..9.0, 0..70)) {
            let mut y = x.clone();
            add(&x, &mut y);
            scale(0.5, &mut y);
            prop_assert_eq!(&y, &x);
            relu(&mut y);
            let expected: Vec<f32> = x.iter().map(|x| if *x > 0.0 { *x } else { 0.0 }).collect();
            prop_assert_eq!(y, expected);
        }
    }
}
