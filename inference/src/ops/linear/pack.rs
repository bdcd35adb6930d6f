//! Weights as stored, made into panels; and rows read back out of them.

use half::{bf16, f16};

use super::activations::{bfloat, whole};
use super::{Format, GROUP, PAIR_BYTES, PANEL_ROWS, Panels};

/// Columns packed at a time: 32 rows of them stay in the first cache while they are turned. Whole groups.
const BLOCK_COLS: usize = 256;

/// Where the rows of a matrix come from.
pub(crate) trait Source: Sync {
    /// Row `n` from column `first` on, as many columns as there is room for, widened to f32 without loss.
    fn row(&self, n: usize, first: usize, out: &mut [f32]);

    /// Row `n` as it is stored, little-endian, if that is what the format holds.
    fn stored(&self, _n: usize, _format: Format) -> Option<&[u8]> {
        None
    }
}

/// Packs the panel that begins at row `first` of a matrix (rows, cols). Rows past the end are zero. `panel` must come zeroed.
///
/// A panel is words side by side, one of each row; a row is words one behind the other. Blocks of both fit the cache, so that memory is
/// read and written in order.
pub(crate) fn pack_panel(format: Format, source: &dyn Source, (rows, cols): (usize, usize), first: usize, panel: &mut [u8]) {
    let panel_of = Rows { source, format, cols, first, count: PANEL_ROWS.min(rows - first) };
    match format {
        Format::F32 => panel_of.as_stored(panel, f32::to_le_bytes),
        Format::F16 => panel_of.as_stored(panel, |number| f16::from_f32(number).to_le_bytes()),
        Format::Bf16Wide => panel_of.as_stored(panel, |number| bf16::from_f32(number).to_le_bytes()),
        Format::Bf16 => panel_of.bf16(panel),
        Format::Int8 => panel_of.int8(panel),
        Format::Int4 => panel_of.int4(panel),
    }
}

/// The rows of one panel.
struct Rows<'a> {
    source: &'a dyn Source,
    format: Format,
    cols: usize,
    first: usize,
    count: usize,
}

impl Rows<'_> {
    /// `[cols][32]`
    fn as_stored<const N: usize>(&self, panel: &mut [u8], bytes: impl Fn(f32) -> [u8; N]) {
        let stored: Option<Vec<&[[u8; N]]>> =
            (0..self.count).map(|lane| Some(self.source.stored(self.first + lane, self.format)?.as_chunks().0)).collect();
        match stored {
            Some(rows) => self.turn(panel, 1, |lane, first, words| words.copy_from_slice(&rows[lane][first..][..words.len()])),
            None => self.convert(panel, 1, |_, _, numbers, words| {
                for (word, number) in words.iter_mut().zip(numbers) {
                    *word = bytes(*number);
                }
            }),
        }
    }

    /// `[cols / 2][32][2]`, the earlier column in the upper half of the word: the order in which the instruction adds.
    fn bf16(&self, panel: &mut [u8]) {
        self.convert(panel, 2, |_, _, numbers, words: &mut [[u8; 4]]| {
            for (word, [upper, lower]) in words.iter_mut().zip(numbers.as_chunks().0) {
                *word = (bfloat(upper.to_bits()) & 0xffff_0000 | bfloat(lower.to_bits()) >> 16).to_le_bytes();
            }
        });
    }

    /// `[cols / 4][32][4]`, then the scales, then the sums of each row.
    fn int8(&self, panel: &mut [u8]) {
        let (weights, tail) = panel.split_at_mut(panel.len() - 256);
        let (scales, sums) = tail.split_at_mut(128);
        let mut row = vec![0.0; self.cols];
        let mut inverses = [0.0; PANEL_ROWS];
        for ((lane, inverse), bytes) in inverses.iter_mut().enumerate().take(self.count).zip(scales.as_chunks_mut().0) {
            self.source.row(self.first + lane, 0, &mut row);
            let (scale, one_over) = int8_scale(&row);
            (*inverse, *bytes) = (one_over, scale.to_le_bytes());
        }
        let mut totals = [0; PANEL_ROWS];
        self.convert(weights, 4, |lane, _, numbers, words| {
            let mut bytes = [0; BLOCK_COLS];
            for (byte, number) in bytes.iter_mut().zip(numbers) {
                let whole = int8(*number, inverses[lane]);
                totals[lane] += i32::from(whole);
                *byte = whole as u8;
            }
            words.copy_from_slice(&bytes.as_chunks::<4>().0[..words.len()]);
        });
        for (bytes, total) in sums.as_chunks_mut().0.iter_mut().zip(totals) {
            *bytes = total.to_le_bytes();
        }
    }

    /// Pairs of groups: the nibbles of each `[4][32][4]`, of columns 8i + j below and 8i + 4 + j above; then scales; then zero points.
    fn int4(&self, panel: &mut [u8]) {
        let groups = self.cols.div_ceil(GROUP).next_multiple_of(2);
        let mut apart = vec![0; groups * (512 + 64 + 32)];
        let (nibbles, tail) = apart.split_at_mut(groups * 512);
        let (scales, zeros) = tail.split_at_mut(groups * 64);
        self.convert(nibbles, 8, |lane, first, numbers, words: &mut [[u8; 4]]| {
            let groups = numbers[..BLOCK_COLS.min(self.cols - first)].chunks(GROUP);
            for ((number, group), words) in (first / GROUP..).zip(groups).zip(words.chunks_exact_mut(GROUP / 8)) {
                let Int4Group { scale, zero, inverse } = int4_group(group);
                scales[64 * number + 2 * lane..][..2].copy_from_slice(&scale.to_le_bytes());
                zeros[32 * number + lane] = zero;
                let mut all = [0; GROUP];
                for (nibble, weight) in all.iter_mut().zip(group) {
                    *nibble = int4(*weight, zero, inverse);
                }
                for (word, [a, b, c, d, e, f, g, h]) in words.iter_mut().zip(all.as_chunks().0) {
                    *word = [a | e << 4, b | f << 4, c | g << 4, d | h << 4];
                }
            }
        });
        for (number, pair) in panel.chunks_exact_mut(PAIR_BYTES).enumerate() {
            let parts = [(&*nibbles, 0, 1024), (&*scales, 1024, 128), (&*zeros, 1024 + 128, 64)];
            for (from, at, length) in parts {
                pair[at..][..length].copy_from_slice(&from[number * length..][..length]);
            }
        }
    }

    /// Words made from `word_cols` numbers each: `make` gets a row's lane, its first column in this block, the numbers from there on (zero
    /// past the end), and as many words as they are to fill.
    fn convert<const N: usize>(&self, panel: &mut [u8], word_cols: usize, mut make: impl FnMut(usize, usize, &[f32], &mut [[u8; N]])) {
        let mut numbers = [0.0; BLOCK_COLS];
        self.turn(panel, word_cols, |lane, first, words| {
            let (inside, past) = numbers.split_at_mut(BLOCK_COLS.min(self.cols - first));
            self.source.row(self.first + lane, first, inside);
            past.fill(0.0);
            words.fill([0; N]);
            make(lane, first, &numbers, words);
        });
    }

    /// Blocks of rows of words made into steps of one word of each row.
    fn turn<const N: usize>(&self, panel: &mut [u8], word_cols: usize, mut make: impl FnMut(usize, usize, &mut [[u8; N]])) {
        let block_words = BLOCK_COLS / word_cols;
        let mut block = vec![[0; N]; PANEL_ROWS * block_words];
        for (number, out) in panel.as_chunks_mut::<N>().0.chunks_mut(PANEL_ROWS * block_words).enumerate() {
            let words = out.len() / PANEL_ROWS;
            for (lane, line) in block.chunks_exact_mut(block_words).enumerate().take(self.count) {
                make(lane, number * BLOCK_COLS, &mut line[..words]);
            }
            for (place, step) in out.as_chunks_mut::<PANEL_ROWS>().0.iter_mut().enumerate() {
                for (word, line) in step.iter_mut().zip(block.chunks_exact(block_words)) {
                    *word = line[place];
                }
            }
        }
    }
}

/// Where in a pair the scale of one of its groups lies, and the zero point.
fn int4_places(group: usize, lane: usize) -> (usize, usize) {
    (1024 + 64 * group + 2 * lane, 1024 + 128 + 32 * group + lane)
}

/// Where in a pair the nibble of a column of one of its groups lies, and by how many bits it is shifted.
fn int4_place(group: usize, lane: usize, col: usize) -> (usize, usize) {
    (512 * group + 128 * (col / 8) + 4 * lane + col % 4, if col % 8 < 4 { 0 } else { 4 })
}

/// Scale of a row and its inverse: the largest weight becomes ±127. A row of nothing but zeros (or so small that the inverse would
/// overflow) has scale 0.
pub(crate) fn int8_scale(row: &[f32]) -> (f32, f32) {
    let highest = row.iter().fold(0f32, |highest, weight| highest.max(weight.abs()));
    if highest < 1e-35 { (0.0, 0.0) } else { (highest / 127.0, 127.0 / highest) }
}

pub(crate) fn int8(weight: f32, inverse: f32) -> i8 {
    // Never −128, whose negative is no byte.
    whole((weight * inverse).clamp(-127.0, 127.0)) as i8
}

/// How a group of weights is written with four bits: weight ≈ scale · (nibble − zero).
pub(crate) struct Int4Group {
    pub(crate) scale: f16,
    pub(crate) zero: u8,
    pub(crate) inverse: f32,
}

/// The range of the group, which always includes 0, in fifteen steps.
pub(crate) fn int4_group(group: &[f32]) -> Int4Group {
    let lowest = group.iter().copied().fold(0f32, f32::min);
    let highest = group.iter().copied().fold(0f32, f32::max);
    let scale = f16::from_f32(((highest - lowest) / 15.0).min(f16::MAX.to_f32()));
    if scale == f16::ZERO {
        return Int4Group { scale, zero: 0, inverse: 0.0 };
    }
    let inverse = 1.0 / scale.to_f32();
    Int4Group { scale, zero: (-lowest * inverse).round_ties_even().clamp(0.0, 15.0) as u8, inverse }
}

pub(crate) fn int4(weight: f32, zero: u8, inverse: f32) -> u8 {
    (whole((weight * inverse).clamp(-64.0, 64.0)) + i32::from(zero)).clamp(0, 15) as u8
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
                for (numbers, pair) in out.chunks_mut(2 * GROUP).zip(panel.chunks_exact(PAIR_BYTES)) {
                    for (number, group) in numbers.chunks_mut(GROUP).enumerate() {
                        let (scale_at, zero_at) = int4_places(number, lane);
                        let scale = f16::from_le_bytes([pair[scale_at], pair[scale_at + 1]]).to_f32();
                        for (col, out) in group.iter_mut().enumerate() {
                            let (at, shift) = int4_place(number, lane, col);
                            *out = scale * (f32::from(pair[at] >> shift & 15) - f32::from(pair[zero_at]));
                        }
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

/// Rows of a matrix that is there already.
#[cfg(test)]
pub(super) struct Plain<'a>(pub(super) &'a [f32], pub(super) usize);

#[cfg(test)]
impl Source for Plain<'_> {
    fn row(&self, n: usize, first: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.0[n * self.1 + first..][..out.len()]);
    }
}

#[cfg(test)]
pub(super) fn pack_rows(format: Format, w: &[f32], rows: usize, cols: usize, out: &mut [u8]) {
    for (number, panel) in out.chunks_exact_mut(format.panel_bytes(cols)).enumerate() {
        pack_panel(format, &Plain(w, cols), (rows, cols), number * PANEL_ROWS, panel);
    }
}
