//! Weights as stored, made into panels; and rows read back out of them.

use half::{bf16, f16};

use super::{Format, GROUP, PANEL_ROWS, Panels};

/// Where the rows of a matrix come from.
pub(crate) trait Source: Sync {
    /// Row `n`, widened to f32 without loss.
    fn row(&self, n: usize, out: &mut [f32]);

    /// Row `n` as it is stored, little-endian, if that is what the format holds.
    fn stored(&self, _n: usize, _format: Format) -> Option<&[u8]> {
        None
    }
}

/// Packs the panel that begins at row `first` of a matrix (rows, cols). Rows past the end are zero. `panel` must come zeroed.
pub(crate) fn pack_panel(format: Format, source: &dyn Source, (rows, cols): (usize, usize), first: usize, panel: &mut [u8]) {
    let mut row = vec![0.0; cols];
    for lane in 0..PANEL_ROWS.min(rows - first) {
        if let Some(stored) = source.stored(first + lane, format) {
            let width = stored.len() / cols;
            match width {
                4 => place(panel, lane, stored.as_chunks::<4>().0, |bytes| bytes),
                _ => place(panel, lane, stored.as_chunks::<2>().0, |bytes| bytes),
            }
            continue;
        }
        source.row(first + lane, &mut row);
        match format {
            Format::F32 => place(panel, lane, &row, f32::to_le_bytes),
            Format::F16 => place(panel, lane, &row, |number| f16::from_f32(number).to_le_bytes()),
            Format::Bf16Wide => place(panel, lane, &row, |number| bf16::from_f32(number).to_le_bytes()),
            Format::Bf16 => pack_bf16(panel, lane, &row),
            Format::Int8 => pack_int8(panel, lane, &row),
            Format::Int4 => pack_int4(panel, lane, &row),
        }
    }
}

/// `[cols][32]`
fn place<T: Copy, const N: usize>(panel: &mut [u8], lane: usize, row: &[T], bytes: impl Fn(T) -> [u8; N]) {
    let (numbers, _) = panel.as_chunks_mut::<N>();
    for (step, number) in numbers.chunks_exact_mut(PANEL_ROWS).zip(row) {
        step[lane] = bytes(*number);
    }
}

/// `[cols / 2][32][2]`, the earlier column in the upper half of the word: the order in which the instruction adds.
fn pack_bf16(panel: &mut [u8], lane: usize, row: &[f32]) {
    for (step, pair) in panel.chunks_exact_mut(4 * PANEL_ROWS).zip(row.chunks(2)) {
        let word = &mut step[4 * lane..][..4];
        word[2..].copy_from_slice(&bf16::from_f32(pair[0]).to_le_bytes());
        word[..2].copy_from_slice(&bf16::from_f32(pair.get(1).copied().unwrap_or(0.0)).to_le_bytes());
    }
}

/// `[cols / 4][32][4]`, then the scales, then the sums of each row.
fn pack_int8(panel: &mut [u8], lane: usize, row: &[f32]) {
    let (scale, inverse) = int8_scale(row);
    let (weights, tail) = panel.split_at_mut(panel.len() - 256);
    let mut sum = 0;
    for (step, quad) in weights.chunks_exact_mut(4 * PANEL_ROWS).zip(row.chunks(4)) {
        for (byte, number) in step[4 * lane..].iter_mut().zip(quad) {
            let whole = int8(*number, inverse);
            sum += i32::from(whole);
            *byte = whole as u8;
        }
    }
    tail[4 * lane..][..4].copy_from_slice(&scale.to_le_bytes());
    tail[128 + 4 * lane..][..4].copy_from_slice(&sum.to_le_bytes());
}

/// The nibbles of each group `[4][32][4]`, of columns 8i + j below and 8i + 4 + j above; then all scales, then all zero points.
fn pack_int4(panel: &mut [u8], lane: usize, row: &[f32]) {
    let groups = row.len().div_ceil(GROUP);
    let (nibbles, tail) = panel.split_at_mut(groups * 512);
    let (scales, zeros) = tail.split_at_mut(groups * 64);
    for (number, group) in row.chunks(GROUP).enumerate() {
        let Int4Group { scale, zero, inverse } = int4_group(group);
        scales[64 * number + 2 * lane..][..2].copy_from_slice(&scale.to_le_bytes());
        zeros[32 * number + lane] = zero;
        for (col, weight) in group.iter().enumerate() {
            let byte = &mut nibbles[512 * number + 128 * (col / 8) + 4 * lane + col % 4];
            *byte |= int4(*weight, zero, inverse) << (if col % 8 < 4 { 0 } else { 4 });
        }
    }
}

/// Scale of a row and its inverse: the largest weight becomes ±127. A row of nothing but zeros (or so small that the inverse would
/// overflow) has scale 0.
pub(super) fn int8_scale(row: &[f32]) -> (f32, f32) {
    let highest = row.iter().fold(0f32, |highest, weight| highest.max(weight.abs()));
    if highest < 1e-35 { (0.0, 0.0) } else { (highest / 127.0, 127.0 / highest) }
}

pub(super) fn int8(weight: f32, inverse: f32) -> i8 {
    // Never −128, whose negative is no byte.
    (weight * inverse).round_ties_even().clamp(-127.0, 127.0) as i8
}

/// How a group of weights is written with four bits: weight ≈ scale · (nibble − zero).
pub(super) struct Int4Group {
    pub(super) scale: f16,
    pub(super) zero: u8,
    pub(super) inverse: f32,
}

/// The range of the group, which always includes 0, in fifteen steps.
pub(super) fn int4_group(group: &[f32]) -> Int4Group {
    let lowest = group.iter().copied().fold(0f32, f32::min);
    let highest = group.iter().copied().fold(0f32, f32::max);
    let scale = f16::from_f32(((highest - lowest) / 15.0).min(f16::MAX.to_f32()));
    if scale == f16::ZERO {
        return Int4Group { scale, zero: 0, inverse: 0.0 };
    }
    let inverse = 1.0 / scale.to_f32();
    Int4Group { scale, zero: (-lowest * inverse).round_ties_even().clamp(0.0, 15.0) as u8, inverse }
}

pub(super) fn int4(weight: f32, zero: u8, inverse: f32) -> u8 {
    ((weight * inverse).round_ties_even() + f32::from(zero)).clamp(0.0, 15.0) as u8
}

impl Panels<'_> {
    /// Row `n`, as it was rounded.
    pub(crate) fn row(&self, n: usize, out: &mut [f32]) {
        let panel = self.panel(n / PANEL_ROWS);
        let lane = n % PANEL_ROWS;
        match self.format {
            Format::F32 => read(panel, lane, out, f32::from_le_bytes),
            Format::F16 => read(panel, lane, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Format::Bf16Wide => read(panel, lane, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Format::Bf16 => {
                for (pair, step) in out.chunks_mut(2).zip(panel.chunks_exact(4 * PANEL_ROWS)) {
                    for (number, at) in pair.iter_mut().zip([4 * lane + 2, 4 * lane]) {
                        *number = bf16::from_le_bytes([step[at], step[at + 1]]).to_f32();
                    }
                }
            }
            Format::Int8 => {
                let (weights, tail) = panel.split_at(panel.len() - 256);
                let scale: [u8; 4] = std::array::from_fn(|byte| tail[4 * lane + byte]);
                let scale = f32::from_le_bytes(scale);
                for (quad, step) in out.chunks_mut(4).zip(weights.chunks_exact(4 * PANEL_ROWS)) {
                    for (number, byte) in quad.iter_mut().zip(&step[4 * lane..]) {
                        *number = f32::from(*byte as i8) * scale;
                    }
                }
            }
            Format::Int4 => {
                let groups = self.cols.div_ceil(GROUP);
                for (number, group) in out.chunks_mut(GROUP).enumerate() {
                    let at = groups * 512 + 64 * number + 2 * lane;
                    let scale = f16::from_le_bytes([panel[at], panel[at + 1]]).to_f32();
                    let zero = panel[groups * (512 + 64) + 32 * number + lane];
                    for (col, out) in group.iter_mut().enumerate() {
                        let byte = panel[512 * number + 128 * (col / 8) + 4 * lane + col % 4];
                        let nibble = if col % 8 < 4 { byte & 15 } else { byte >> 4 };
                        *out = scale * (f32::from(nibble) - f32::from(zero));
                    }
                }
            }
        }
    }
}

fn read<const N: usize>(panel: &[u8], lane: usize, out: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    let (numbers, _) = panel.as_chunks::<N>();
    for (out, step) in out.iter_mut().zip(numbers.chunks_exact(PANEL_ROWS)) {
        *out = number(step[lane]);
    }
}

#[cfg(test)]
pub(super) fn pack_rows(format: Format, w: &[f32], rows: usize, cols: usize, out: &mut [u8]) {
    struct Rows<'a>(&'a [f32]);
    impl Source for Rows<'_> {
        fn row(&self, n: usize, out: &mut [f32]) {
            out.copy_from_slice(&self.0[n * out.len()..][..out.len()]);
        }
    }
    for (number, panel) in out.chunks_exact_mut(format.panel_bytes(cols)).enumerate() {
        pack_panel(format, &Rows(w), (rows, cols), number * PANEL_ROWS, panel);
    }
}
