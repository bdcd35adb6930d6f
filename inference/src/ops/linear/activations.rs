//! Activations made ready for the kernels: tiles of a few tokens, their words side by side, so that a kernel reads one stream.

use super::{Activation, GROUP, simd};
use crate::ops::Tier;

/// The largest number of signed upper and lower bytes: 127 · 256 + 127.
const SIGNED_MAX: f32 = 32_639.0;

/// (rows, cols) f32, packed. Memory is kept from use to use.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    kind: Option<Activation>,
    cols: usize,
    rows: usize,
    tile_rows: usize,
    /// Tile after tile: `[steps][rows of the tile][words]`
    words: Vec<u32>,
    /// What the whole numbers are to be multiplied by, for each row.
    scales: Vec<f32>,
    /// What was added to the upper bytes, for each row.
    offsets: Vec<i32>,
    /// Tile after tile: the sums of each group, `[groups][rows of the tile]`
    sums: Vec<i32>,
}

/// A few rows of activations, ready for a kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'a> {
    pub(crate) kind: Activation,
    pub(crate) cols: usize,
    pub(crate) rows: usize,
    pub(super) words: &'a [u32],
    pub(super) scales: &'a [f32],
    pub(super) offsets: &'a [i32],
    pub(super) sums: &'a [i32],
}

impl Activations {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Packs x (rows, cols).
    pub(crate) fn pack(&mut self, tier: Tier, kind: Activation, x: &[f32], cols: usize) {
        let rows = x.len() / cols;
        let tiles = rows.div_ceil(simd::tile_rows_max(tier, kind)).max(1);
        let steps = kind.steps(cols);
        self.kind = Some(kind);
        (self.cols, self.rows, self.tile_rows) = (cols, rows, rows.div_ceil(tiles).max(1));
        self.words.resize(rows * steps * kind.step_words(), 0);
        self.scales.resize(rows, 0.0);
        self.offsets.resize(rows, 0);
        self.sums.resize(if kind == Activation::Signed { rows * cols.div_ceil(GROUP) } else { 0 }, 0);

        let tile_words = self.tile_rows * steps * kind.step_words();
        for (number, tile) in self.words.chunks_mut(tile_words).enumerate() {
            let first = number * self.tile_rows;
            let width = self.tile_rows.min(rows - first);
            for m in 0..width {
                let row = &x[(first + m) * cols..][..cols];
                match kind {
                    Activation::Single => single(row, tile, m, width),
                    Activation::Bfloats => bfloats(row, tile, m, width),
                    Activation::Unsigned => (self.scales[first + m], self.offsets[first + m]) = unsigned(row, tile, m, width),
                    Activation::Signed => {
                        let groups = cols.div_ceil(GROUP);
                        let sums = &mut self.sums[first * groups..][..width * groups];
                        self.scales[first + m] = signed(row, tile, sums, m, width);
                    }
                }
            }
        }
    }

    /// Its tiles, in order.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = Tile<'_>> {
        self.kind.into_iter().flat_map(move |kind| {
            let row_words = kind.steps(self.cols) * kind.step_words();
            let groups = if kind == Activation::Signed { self.cols.div_ceil(GROUP) } else { 0 };
            (0..self.rows).step_by(self.tile_rows).map(move |first| {
                let rows = self.tile_rows.min(self.rows - first);
                Tile {
                    kind,
                    cols: self.cols,
                    rows,
                    words: &self.words[first * row_words..][..rows * row_words],
                    scales: &self.scales[first..][..rows],
                    offsets: &self.offsets[first..][..rows],
                    sums: &self.sums[first * groups..][..rows * groups],
                }
            })
        })
    }
}

fn single(row: &[f32], tile: &mut [u32], m: usize, width: usize) {
    for (step, number) in tile.chunks_exact_mut(width).zip(row) {
        step[m] = number.to_bits();
    }
}

fn bfloats(row: &[f32], tile: &mut [u32], m: usize, width: usize) {
    let (pairs, last) = row.as_chunks::<2>();
    let steps = tile.chunks_exact_mut(width);
    for (step, [first, second]) in steps.zip(pairs) {
        step[m] = bfloat(*first) << 16 | bfloat(*second);
    }
    if let [last] = last {
        tile[pairs.len() * width + m] = bfloat(*last) << 16;
    }
}

/// Rounded to the nearest, ties to even.
fn bfloat(number: f32) -> u32 {
    let bits = number.to_bits();
    if number.is_nan() { 0x7fc0 } else { (bits + 0x7fff + (bits >> 16 & 1)) >> 16 }
}

/// The largest |x|, and whether any is negative. What is not finite comes out larger than anything finite.
fn extent(row: &[f32]) -> (f32, bool) {
    let (mut highest, mut signs) = (0u32, 0u32);
    for number in row {
        let bits = number.to_bits();
        highest = highest.max(bits & 0x7fff_ffff);
        // −0 is no negative number.
        signs |= if *number < 0.0 { 1 } else { 0 };
    }
    (f32::from_bits(highest), signs != 0)
}

/// Scale, and what x is to be multiplied by so that the largest becomes `steps`. Numbers too small to matter become 0; a row with
/// numbers that are not finite has no answer, and gets NaN for a scale.
fn scale(highest: f32, steps: f32) -> (f32, f32) {
    match () {
        () if !highest.is_finite() => (f32::NAN, 0.0),
        () if highest < 1e-30 => (0.0, 0.0),
        () => (highest / steps, steps / highest),
    }
}

/// The nearest whole number, ties to even, for |x| < 2²²: what lies below the ones is rounded off by adding 1.5 · 2²³.
fn whole(number: f32) -> i32 {
    const ROUND: f32 = 12_582_912.0;
    ((number + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)
}

/// Gives the row's scale and what was added to the upper bytes.
fn unsigned(row: &[f32], tile: &mut [u32], m: usize, width: usize) -> (f32, i32) {
    let (highest, negative) = extent(row);
    let (steps, offset) = if negative { (32_767.0, 32_768) } else { (65_535.0, 0) };
    let (scale, inverse) = scale(highest, steps);
    for (step, quad) in tile.chunks_exact_mut(2 * width).zip(row.chunks(4)) {
        let (mut upper, mut lower) = (0, 0);
        for (place, number) in quad.iter().enumerate() {
            let number = (whole(number * inverse) + offset) as u32;
            upper |= (number >> 8) << (8 * place);
            lower |= (number & 0xff) << (8 * place);
        }
        (step[2 * m], step[2 * m + 1]) = (upper, lower);
    }
    (scale, offset / 256)
}

/// Gives the row's scale.
fn signed(row: &[f32], tile: &mut [u32], sums: &mut [i32], m: usize, width: usize) -> f32 {
    let (highest, _) = extent(row);
    let (scale, inverse) = scale(highest, SIGNED_MAX);
    for ((steps, sums), group) in tile.chunks_exact_mut(2 * width * (GROUP / 4)).zip(sums.chunks_exact_mut(width)).zip(row.chunks(GROUP)) {
        let mut sum = 0;
        let mut quads = group.chunks(4);
        for step in steps.chunks_exact_mut(2 * width) {
            let (mut upper, mut lower) = (0, 0);
            for (place, number) in quads.next().unwrap_or_default().iter().enumerate() {
                let number = whole(number * inverse);
                sum += number;
                let low = i32::from(number as i8);
                upper |= ((number - low) >> 8 & 0xff) << (8 * place);
                lower |= (low & 0xff) << (8 * place);
            }
            (step[2 * m], step[2 * m + 1]) = (upper as u32, lower as u32);
        }
        sums[m] = sum;
    }
    scale
}
