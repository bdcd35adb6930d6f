//! out[c] = table[row, c], widened to f32: one row of a table.
//!
//! * `table` (rows, cols), row-major, as stored    * `out` (cols,), overwritten
//!
//! Widening is exact, so there is one version.

use half::{bf16, f16};

/// Copies row `row` of the table, f32.
pub(crate) fn embed_f32(table: &[f32], row: usize, out: &mut [f32]) {
    out.copy_from_slice(&table[row * out.len()..][..out.len()]);
}

/// The same from halves.
pub(crate) fn embed_f16(table: &[f16], row: usize, out: &mut [f32]) {
    let cols = out.len();
    for (out, number) in out.iter_mut().zip(&table[row * cols..][..cols]) {
        *out = number.to_f32();
    }
}

/// The same from bfloats.
pub(crate) fn embed_bf16(table: &[bf16], row: usize, out: &mut [f32]) {
    let cols = out.len();
    for (out, number) in out.iter_mut().zip(&table[row * cols..][..cols]) {
        *out = number.to_f32();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_type_gives_the_row(numbers in proptest::collection::vec(-8i8..8, 12), row in 0usize..4) {
            // Small whole numbers are exact in every type.
            let table: Vec<f32> = numbers.iter().map(|n| f32::from(*n)).collect();
            let halves: Vec<f16> = table.iter().copied().map(f16::from_f32).collect();
            let bfloats: Vec<bf16> = table.iter().copied().map(bf16::from_f32).collect();
            let mut out = [[f32::NAN; 3]; 3];
            embed_f32(&table, row, &mut out[0]);
            embed_f16(&halves, row, &mut out[1]);
            embed_bf16(&bfloats, row, &mut out[2]);
            for out in out {
                prop_assert_eq!(&out, &table[row * 3..][..3]);
            }
        }
    }
}
