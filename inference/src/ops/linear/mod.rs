//! y[m, r] = bias[r] + Σ_c w[r, c] · x[m, c], for a few rows of x at once.
//!
//! * `w` (rows, cols), row-major, f32, f16 or bf16 and widened exactly    * `x` (batch, cols)    * `bias` (rows,), or empty for 0
//! * `y` one slice of (rows,) for each row of x, overwritten: so that threads can share out the columns of a wider result
//!
//! Sums run in f32. Faster versions may reorder a sum, and agree within 2 · cols · ε · Σ|w·x|, the rounding bound; but the order
//! of one version is fixed by cols alone. So a row of x gives the same bits whatever stands beside it: results do not depend on the batch.

pub(crate) mod simd;

use half::{bf16, f16};

/// How a weight is stored.
pub(crate) trait Weight: Copy + Send + Sync {
    fn widen(self) -> f32;
}

impl Weight for f32 {
    fn widen(self) -> f32 {
        self
    }
}

impl Weight for f16 {
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

impl Weight for bf16 {
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

/// The reference: as plain as can be, and the meaning of every other version.
pub(crate) fn linear<W: Weight>(w: &[W], x: &[f32], cols: usize, bias: &[f32], y: &mut [&mut [f32]]) {
    check(w, x, cols, bias, y);
    for (x, y) in x.chunks_exact(cols).zip(y) {
        for (r, out) in y.iter_mut().enumerate() {
            let row = &w[r * cols..][..cols];
            let sum: f32 = row.iter().zip(x).map(|(w, x)| w.widen() * x).sum();
            *out = sum + bias.get(r).copied().unwrap_or(0.0);
        }
    }
}

/// The contract's shapes, checked once for all versions.
fn check<W>(w: &[W], x: &[f32], cols: usize, bias: &[f32], y: &[&mut [f32]]) {
    let rows = y.first().map_or(0, |y| y.len());
    assert_eq!(x.len(), y.len() * cols, "x must be batch × cols, {} × {cols}", y.len());
    assert!(y.iter().all(|y| y.len() == rows), "every row of y must have {rows} numbers");
    assert!(y.is_empty() || w.len() == rows * cols, "w of {} must be rows × cols, {rows} × {cols}", w.len());
    assert!(bias.is_empty() || bias.len() == rows, "bias of {} must have {rows} numbers, or none", bias.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Tier;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    struct Case {
        rows: usize,
        cols: usize,
        w: Vec<f32>,
        x: Vec<f32>,
        bias: Vec<f32>,
    }

    /// Odd lengths included: 1, lane − 1, lane, lane + 1, several lanes and a tail.
    fn any_case() -> impl Strategy<Value = Case> {
        let cols = prop_oneof![Just(1usize), Just(7), Just(8), Just(9), Just(15), Just(16), Just(17), 1usize..140];
        (1usize..11, cols, 1usize..8, any::<bool>()).prop_flat_map(|(rows, cols, batch, biased)| {
            let numbers = |n| proptest::collection::vec(-2f32..2.0, n);
            (numbers(rows * cols), numbers(batch * cols), numbers(if biased { rows } else { 0 })).prop_map(move |(w, x, bias)| Case {
                rows,
                cols,
                w,
                x,
                bias,
            })
        })
    }

    fn run<W>(case: &Case, w: &[W], x: &[f32], version: impl Fn(&[W], &[f32], usize, &[f32], &mut [&mut [f32]])) -> Vec<f32> {
        let mut y = vec![f32::NAN; x.len() / case.cols * case.rows];
        version(w, x, case.cols, &case.bias, &mut y.chunks_mut(case.rows).collect::<Vec<_>>());
        y
    }

    fn agree<W: simd::WideWeight>(case: &Case, w: &[W]) -> Result<(), TestCaseError> {
        let reference = run(case, w, &case.x, linear);
        for tier in Tier::available() {
            let fast = run(case, w, &case.x, |w, x, cols, bias, y| simd::linear(tier, w, x, cols, bias, y));
            // |w·x| is at most 4, so this is the contract's bound.
            let bound = 2.0 * case.cols as f32 * f32::EPSILON * 4.0 * case.cols as f32 + 1e-6;
            for (fast, reference) in fast.iter().zip(&reference) {
                prop_assert!((fast - reference).abs() <= bound, "{tier:?}: {fast} should be {reference}");
            }
            let alone: Vec<f32> = case
                .x
                .chunks(case.cols)
                .flat_map(|x| run(case, w, x, |w, x, cols, bias, y| simd::linear(tier, w, x, cols, bias, y)))
                .collect();
            prop_assert_eq!(alone, fast, "{:?}: a row must not depend on the batch", tier);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn every_tier_agrees_with_the_reference_and_ignores_the_batch(case in any_case()) {
            agree(&case, &case.w)?;
            agree(&case, &case.w.iter().copied().map(f16::from_f32).collect::<Vec<_>>())?;
            agree(&case, &case.w.iter().copied().map(bf16::from_f32).collect::<Vec<_>>())?;
        }
    }
}
