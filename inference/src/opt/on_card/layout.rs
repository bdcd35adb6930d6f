//! How a card holds a matrix: row by row, or column by column for what a ReLU gave; in halves, bfloats, bytes with a scale for each row, or
//! nibbles with a scale and zero point for every 32 columns. The numbers are those that the CPU holds in the same precision.

use half::{bf16, f16};

use crate::checkpoint::Dtype;
use crate::device::cuda::{HELD_BFLOAT, HELD_HALF, HELD_INT4, HELD_INT8};
use crate::ops::linear::{GROUP, Int4Group, int4, int4_group, int8, int8_scale};
use crate::options::Precision;

/// Where things begin.
pub(super) const ALIGNMENT: usize = 256;

/// How the weights of a matrix are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Half,
    Bfloat,
    Int8,
    Int4,
}

impl Held {
    /// Those of the layers. 16 bits as stored; singles, of which a card could make nothing of use, become halves.
    pub(super) fn of_layers(precision: Precision, dtype: Dtype) -> Self {
        match (precision, dtype) {
            (Precision::Exact, Dtype::F32 | Dtype::F16) => Held::Half,
            (Precision::Exact, Dtype::Bf16) | (Precision::Bf16, _) => Held::Bfloat,
            (Precision::Int8, _) => Held::Int8,
            (Precision::Int4, _) => Held::Int4,
        }
    }

    /// Those outside of the layers, which are few and sensitive: never below eight bits.
    pub(super) fn aside(precision: Precision, dtype: Dtype) -> Self {
        match Self::of_layers(precision, dtype) {
            Held::Int4 => Held::Int8,
            held => held,
        }
    }

    /// Its number for the kernels.
    pub(super) fn number(self) -> u32 {
        match self {
            Held::Half => HELD_HALF,
            Held::Bfloat => HELD_BFLOAT,
            Held::Int8 => HELD_INT8,
            Held::Int4 => HELD_INT4,
        }
    }

    /// Its name among the kernels.
    pub(super) fn name(self) -> &'static str {
        match self {
            Held::Half => "half",
            Held::Bfloat => "bfloat",
            Held::Int8 => "int8",
            Held::Int4 => "int4",
        }
    }

    /// Products of many tokens have it made halves first.
    pub(super) fn is_widened(self) -> bool {
        matches!(self, Held::Int8 | Held::Int4)
    }

    /// Columns that lie together in a row: its end is filled with zeros up to a multiple of so many.
    pub(super) fn chunk_cols(self) -> usize {
        match self {
            Held::Half | Held::Bfloat => 32,
            Held::Int8 => 64,
            Held::Int4 => 128,
        }
    }

    /// Bytes of so many columns of a row.
    fn row_bytes(self, cols: usize) -> usize {
        match self {
            Held::Half | Held::Bfloat => 2 * cols,
            Held::Int8 => cols,
            Held::Int4 => cols / 2,
        }
    }
}

/// In which order the weights of a matrix lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    ByRow,
    ByColumn,
}

/// A part that is made row by row: where it begins, the bytes it has for a row, and how they are made of the row's numbers.
pub(super) type Part = (usize, usize, fn(&Layout, &[f32], &mut [u8]));

/// The parts of a matrix (rows, cols) in memory: its weights, then what belongs to them, each with so many bytes for each row (or, of
/// weights by column, for each column).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) held: Held,
    pub(super) order: Order,
    pub(super) rows: usize,
    /// As the model has them.
    pub(super) cols: usize,
}

impl Layout {
    /// Columns that a row holds, zeros at its end included.
    pub(super) fn cols_held(&self) -> usize {
        match self.order {
            Order::ByRow => self.cols.next_multiple_of(self.held.chunk_cols()),
            Order::ByColumn => self.cols,
        }
    }

    /// Bytes from one row, or column, to the next.
    pub(super) fn stride_bytes(&self) -> usize {
        match self.order {
            Order::ByRow => self.held.row_bytes(self.cols_held()),
            Order::ByColumn => self.held.row_bytes(self.rows),
        }
    }

    fn weights_bytes(&self) -> usize {
        match self.order {
            Order::ByRow => self.rows * self.stride_bytes(),
            Order::ByColumn => self.cols * self.stride_bytes(),
        }
    }

    fn scale_bytes(&self) -> usize {
        match self.held {
            Held::Half | Held::Bfloat => 0,
            Held::Int8 => 4,
            Held::Int4 => 2 * self.groups_held(),
        }
    }

    fn zero_bytes(&self) -> usize {
        if self.held == Held::Int4 { self.groups_held() } else { 0 }
    }

    /// Groups of a row for which there is room: so many that rows of scales and of zero points begin at multiples of 16 bytes.
    fn groups_held(&self) -> usize {
        (self.cols_held() / GROUP).next_multiple_of(16)
    }

    /// Bytes from one row of scales to the next, and of zero points.
    pub(super) fn group_bytes(&self) -> (usize, usize) {
        (self.scale_bytes(), self.zero_bytes())
    }

    /// Where scales and zero points begin, and where all ends.
    pub(super) fn parts(&self) -> (usize, usize, usize) {
        let scales = self.weights_bytes().next_multiple_of(ALIGNMENT);
        let zeros = (scales + self.rows * self.scale_bytes()).next_multiple_of(ALIGNMENT);
        (scales, zeros, (zeros + self.rows * self.zero_bytes()).next_multiple_of(ALIGNMENT))
    }

    /// The parts that are made row by row.
    pub(super) fn by_row(&self) -> Vec<Part> {
        let (scales, zeros, _) = self.parts();
        let mut parts: Vec<Part> = Vec::new();
        if self.order == Order::ByRow {
            parts.push((0, self.stride_bytes(), Self::row));
        }
        if self.scale_bytes() > 0 {
            parts.push((scales, self.scale_bytes(), Self::scales));
        }
        if self.zero_bytes() > 0 {
            parts.push((zeros, self.zero_bytes(), Self::zeros));
        }
        parts
    }

    fn row(&self, row: &[f32], out: &mut [u8]) {
        match self.held {
            Held::Half | Held::Bfloat => {
                for (out, weight) in out.as_chunks_mut().0.iter_mut().zip(row) {
                    *out = self.narrow(*weight).to_le_bytes();
                }
            }
            Held::Int8 => {
                let (_, inverse) = int8_scale(row);
                out.iter_mut().zip(row).for_each(|(out, weight)| *out = int8(*weight, inverse) as u8);
            }
            // Chunks of 128 columns: sixteen bytes for each quarter of four groups, a word for each group. See `widen_rows`.
            Held::Int4 => {
                out.fill(0);
                for (number, group) in row.chunks(GROUP).enumerate() {
                    let Int4Group { zero, inverse, .. } = int4_group(group);
                    let chunk = &mut out[number / 4 * 64..][..64];
                    for (place, weight) in group.iter().enumerate() {
                        let (quarter, place) = (place / 8, place % 8);
                        let bit = place / 2 * 4 + place % 2 * 16;
                        chunk[quarter * 16 + number % 4 * 4 + bit / 8] |= int4(*weight, zero, inverse) << (bit % 8);
                    }
                }
            }
        }
    }

    fn scales(&self, row: &[f32], out: &mut [u8]) {
        if self.held == Held::Int8 {
            out.copy_from_slice(&int8_scale(row).0.to_le_bytes());
            return;
        }
        out.fill(0);
        for (out, group) in out.as_chunks_mut().0.iter_mut().zip(row.chunks(GROUP)) {
            *out = int4_group(group).scale.to_le_bytes();
        }
    }

    fn zeros(&self, row: &[f32], out: &mut [u8]) {
        out.fill(0);
        out.iter_mut().zip(row.chunks(GROUP)).for_each(|(out, group)| *out = int4_group(group).zero);
    }

    /// 16 bits of a number. What no half can hold becomes the largest there is, as an activation does.
    pub(super) fn narrow(&self, number: f32) -> u16 {
        if self.held == Held::Bfloat {
            bf16::from_f32(number).to_bits()
        } else {
            f16::from_f32(number.clamp(-65_504.0, 65_504.0)).to_bits()
        }
    }

    /// One weight of a matrix by column, given what its row is multiplied by to become whole numbers.
    pub(super) fn single(&self, weight: f32, inverse: f32, out: &mut [u8]) {
        match self.held {
            Held::Half | Held::Bfloat => out.copy_from_slice(&self.narrow(weight).to_le_bytes()),
            Held::Int8 | Held::Int4 => out[0] = int8(weight, inverse) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another_and_hold_what_they_must() {
        let layout = Layout { held: Held::Int4, order: Order::ByRow, rows: 5, cols: 200 };
        assert_eq!((layout.cols_held(), layout.stride_bytes()), (256, 128));
        assert_eq!(layout.parts(), (768, 1024, 1280));
        let by_column = Layout { held: Held::Int8, order: Order::ByColumn, rows: 64, cols: 256 };
        assert_eq!((by_column.stride_bytes(), by_column.parts()), (64, (16384, 16640, 16640)));
    }
}
