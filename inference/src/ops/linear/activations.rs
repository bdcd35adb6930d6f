//! Activations made ready for the kernels: tiles of a few tokens, their words side by side, so that a kernel reads one stream.

use super::{Activation, GROUP, simd};
use crate::ops::Tier;
use crate::ops::simd::every_tier;

/// The largest number of signed upper and lower bytes: 127 · 256 + 127.
const SIGNED_MAX: f32 = 32_639.0;
/// Columns that are packed at once.
const LANES: usize = 16;

/// (rows, cols) f32, packed. Memory is kept from use to use.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    shape: Option<Shape>,
    rows: usize,
    tile_rows: usize,
    /// Tile after tile, as `Shape` says.
    numbers: Vec<u32>,
}

/// What lies in a tile: words `[steps][rows of the tile][words]`, then for each row what the whole numbers are to be multiplied by, then
/// for each row what was added to the upper bytes, then at four bits the sums of each group, `[groups][rows of the tile]`.
#[derive(Debug, Clone, Copy)]
struct Shape {
    kind: Activation,
    cols: usize,
}

impl Shape {
    fn words(self) -> usize {
        self.kind.steps(self.cols) * self.kind.step_words()
    }

    fn groups(self) -> usize {
        if self.kind == Activation::Signed { self.cols.div_ceil(GROUP) } else { 0 }
    }

    /// Numbers that a row takes, in all.
    fn row(self) -> usize {
        self.words() + 2 + self.groups()
    }
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

    /// Makes room for (rows, cols). Gives the memory, how much of it is one tile, and how many rows that has: each tile, of which the
    /// last may be shorter, is then to be filled by [`pack_tile`].
    pub(crate) fn room(&mut self, tier: Tier, kind: Activation, rows: usize, cols: usize) -> (&mut [u32], usize, usize) {
        let tiles = rows.div_ceil(simd::tile_rows_max(tier, kind)).max(1);
        let shape = Shape { kind, cols };
        (self.shape, self.rows, self.tile_rows) = (Some(shape), rows, rows.div_ceil(tiles).max(1));
        self.numbers.resize(rows * shape.row(), 0);
        (&mut self.numbers, self.tile_rows * shape.row(), self.tile_rows)
    }

    /// Its tiles, in order.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = Tile<'_>> {
        self.shape.into_iter().flat_map(move |shape| {
            let Shape { kind, cols } = shape;
            self.numbers.chunks(self.tile_rows * shape.row()).map(move |numbers| {
                let rows = numbers.len() / shape.row();
                let (words, rest) = numbers.split_at(rows * shape.words());
                let (scales, rest) = rest.split_at(rows);
                let (offsets, sums) = rest.split_at(rows);
                let [offsets, sums] = [offsets, sums].map(bytemuck::cast_slice);
                Tile { kind, cols, rows, words, scales: bytemuck::cast_slice(scales), offsets, sums }
            })
        })
    }
}

every_tier!(
    /// Packs x (rows of the tile, cols) into a tile of [`Activations::room`]; every tier gives the same bits.
    fn pack_tile(kind: Activation, x: &[f32], cols: usize, tile: &mut [u32]) = plain
);

#[inline(always)]
fn plain(kind: Activation, x: &[f32], cols: usize, tile: &mut [u32]) {
    let (shape, width) = (Shape { kind, cols }, x.len() / cols);
    assert_eq!(tile.len(), width * shape.row(), "a tile of {width} rows");
    let (words, rest) = tile.split_at_mut(width * shape.words());
    let (scales, rest) = rest.split_at_mut(width);
    let (offsets, sums) = rest.split_at_mut(width);
    let sums: &mut [i32] = bytemuck::cast_slice_mut(sums);
    for (m, row) in x.chunks_exact(cols).enumerate() {
        let (scale, offset) = match kind {
            Activation::Single => single(row, words, m, width),
            Activation::Bfloats => bfloats(row, words, m, width),
            Activation::Unsigned => unsigned(row, words, m, width),
            Activation::Signed => signed(row, words, sums, m, width),
        };
        (scales[m], offsets[m]) = (scale.to_bits(), offset as u32);
    }
}

#[inline(always)]
fn single(row: &[f32], tile: &mut [u32], m: usize, width: usize) -> (f32, i32) {
    for (step, number) in tile.chunks_exact_mut(width).zip(row) {
        step[m] = number.to_bits();
    }
    (1.0, 0)
}

#[inline(always)]
fn bfloats(row: &[f32], tile: &mut [u32], m: usize, width: usize) -> (f32, i32) {
    let (whole, tail) = row.as_chunks::<LANES>();
    let (tiles, last) = tile.split_at_mut(whole.len() * LANES / 2 * width);
    for (steps, numbers) in tiles.chunks_exact_mut(LANES / 2 * width).zip(whole) {
        let halves = numbers.map(bfloat);
        for (step, pair) in steps.chunks_exact_mut(width).zip(halves.as_chunks::<2>().0) {
            step[m] = pair[0] << 16 | pair[1];
        }
    }
    for (step, pair) in last.chunks_exact_mut(width).zip(tail.chunks(2)) {
        step[m] = bfloat(pair[0]) << 16 | pair.get(1).map_or(0, |second| bfloat(*second));
    }
    (1.0, 0)
}

/// Rounded to the nearest, ties to even.
#[inline(always)]
pub(super) fn bfloat(number: f32) -> u32 {
    let bits = number.to_bits();
    if number.is_nan() { 0x7fc0 } else { (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) >> 16 }
}

/// The largest |x|, and whether any is negative. What is not finite comes out larger than anything finite.
#[inline(always)]
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
#[inline(always)]
pub(super) fn whole(number: f32) -> i32 {
    const ROUND: f32 = 12_582_912.0;
    ((number + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)
}

/// The first numbers of a row that may have fewer, the others 0.
#[inline(always)]
fn padded(numbers: &[f32]) -> [f32; LANES] {
    let mut padded = [0.0; LANES];
    padded[..numbers.len()].copy_from_slice(numbers);
    padded
}

/// Writes upper and lower bytes of a few columns, four to a step.
#[inline(always)]
fn write_bytes(upper: [u8; LANES], lower: [u8; LANES], steps: &mut [u32], m: usize, width: usize) {
    let (upper, lower) = (upper.as_chunks::<4>().0, lower.as_chunks::<4>().0);
    for ((step, upper), lower) in steps.chunks_exact_mut(2 * width).zip(upper).zip(lower) {
        (step[2 * m], step[2 * m + 1]) = (u32::from_le_bytes(*upper), u32::from_le_bytes(*lower));
    }
}

/// Gives the row's scale and what was added to the upper bytes.
#[inline(always)]
fn unsigned(row: &[f32], tile: &mut [u32], m: usize, width: usize) -> (f32, i32) {
    let (highest, negative) = extent(row);
    let (steps, offset) = if negative { (32_767.0, 32_768) } else { (65_535.0, 0) };
    let (scale, inverse) = scale(highest, steps);
    for (steps, part) in tile.chunks_mut(LANES / 4 * 2 * width).zip(row.chunks(LANES)) {
        let mut numbers = <[f32; LANES]>::try_from(part).unwrap_or_else(|_| padded(part)).map(|number| whole(number * inverse));
        numbers.iter_mut().for_each(|number| *number += offset);
        write_bytes(numbers.map(|number| (number >> 8) as u8), numbers.map(|number| number as u8), steps, m, width);
    }
    (scale, offset / 256)
}

/// Gives the row's scale.
#[inline(always)]
fn signed(row: &[f32], tile: &mut [u32], sums: &mut [i32], m: usize, width: usize) -> (f32, i32) {
    let (highest, _) = extent(row);
    let (scale, inverse) = scale(highest, SIGNED_MAX);
    let groups = tile.chunks_exact_mut(GROUP / 4 * 2 * width).zip(sums.chunks_exact_mut(width)).zip(row.chunks(GROUP));
    for ((steps, sums), group) in groups {
        let mut sum = 0;
        let mut parts = group.chunks(LANES);
        for steps in steps.chunks_exact_mut(LANES / 4 * 2 * width) {
            let numbers = match parts.next() {
                Some(part) => <[f32; LANES]>::try_from(part).unwrap_or_else(|_| padded(part)),
                None => [0.0; LANES],
            };
            let numbers = numbers.map(|number| whole(number * inverse));
            sum += numbers.iter().sum::<i32>();
            let lower = numbers.map(|number| number as u8);
            write_bytes(numbers.map(|number| ((number - i32::from(number as i8)) >> 8) as u8), lower, steps, m, width);
        }
        sums[m] = sum;
    }
    (scale, 0)
}
