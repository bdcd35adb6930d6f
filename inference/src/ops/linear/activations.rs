//! Activations made ready for the kernels: tiles of a few tokens, their words side by side, so that a kernel reads one stream.

use super::{Activation, GROUP, STEPS};
use crate::ops::simd::every_tier;

/// The largest number of signed upper and lower bytes: 127 · 256 + 127.
const SIGNED_MAX: f32 = 32_639.0;

/// (rows, cols) f32, packed. Memory is kept from use to use.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    shape: Option<Shape>,
    rows: usize,
    tile_rows: usize,
    /// Tile after tile, as `Shape` says.
    numbers: Vec<u32>,
}

/// What lies in a tile: words `[steps / STEPS][rows of the tile][words of a step][STEPS]`, then for each row what the whole numbers are to
/// be multiplied by, then for each row what was added to the upper bytes, then at four bits the sums of each group,
/// `[groups][rows of the tile]`.
#[derive(Debug, Clone, Copy)]
struct Shape {
    kind: Activation,
    cols: usize,
}

impl Shape {
    fn words(self) -> usize {
        self.kind.steps(self.cols).next_multiple_of(STEPS) * self.kind.step_words()
    }

    fn groups(self) -> usize {
        if self.kind == Activation::Signed { 2 * self.cols.div_ceil(2 * GROUP) } else { 0 }
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

    /// Makes room for (rows, cols) in tiles of at most `tile_rows_max` rows. Gives the memory, how much of it is one tile, and how many
    /// rows that has: each tile, of which the last may be shorter, is then to be filled by [`pack_tile`].
    pub(crate) fn room(&mut self, kind: Activation, rows: usize, cols: usize, tile_rows_max: usize) -> (&mut [u32], usize, usize) {
        let tiles = rows.div_ceil(tile_rows_max).max(1);
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
    let block_words = STEPS * kind.step_words();
    for (m, row) in x.chunks_exact(cols).enumerate() {
        let whole = Whole::of(kind, row);
        (scales[m], offsets[m]) = (whole.scale.to_bits(), (whole.offset / 256) as u32);
        let blocks = words.chunks_exact_mut(width * block_words).map(|block| &mut block[m * block_words..][..block_words]);
        for (number, (words, numbers)) in blocks.zip(row.chunks(STEPS * kind.step_cols())).enumerate() {
            match kind {
                Activation::Single => words.copy_from_slice(&each(numbers, f32::to_bits, [0; STEPS])),
                Activation::Bfloats => {
                    let halves = each(numbers, bfloat, [0; 2 * STEPS]);
                    // Two at a time as one number, which vectors do without taking even from odd places.
                    let pairs: [u64; STEPS] = bytemuck::cast(halves);
                    for (word, pair) in words.iter_mut().zip(pairs) {
                        let [first, second] = if cfg!(target_endian = "little") { [pair << 16, pair >> 32] } else { [pair >> 16, pair] };
                        *word = (first as u32 & 0xffff_0000) | (second as u32 & 0xffff);
                    }
                }
                Activation::Unsigned => {
                    let numbers = each(numbers, |number| whole.number(number), [whole.offset; 4 * STEPS]);
                    write_bytes(&numbers, |number| (number >> 8) as u8, |number| number as u8, words);
                }
                Activation::Signed => {
                    let numbers = each(numbers, |number| whole.number(number), [0; 4 * STEPS]);
                    let groups = sums.chunks_exact_mut(width).skip(number * 4 * STEPS / GROUP);
                    for (sums, group) in groups.zip(numbers.as_chunks::<GROUP>().0) {
                        // A row that is not finite has no numbers worth the name; its scale is NaN.
                        sums[m] = group.iter().fold(0, |sum: i32, number| sum.wrapping_add(*number));
                    }
                    write_bytes(&numbers, |number| (number.wrapping_sub(i32::from(number as i8)) >> 8) as u8, |number| number as u8, words);
                }
            }
        }
    }
}

/// How a row becomes whole numbers: x · inverse + offset, where x = number · scale.
#[derive(Debug, Clone, Copy, Default)]
struct Whole {
    scale: f32,
    inverse: f32,
    offset: i32,
}

impl Whole {
    #[inline(always)]
    fn of(kind: Activation, row: &[f32]) -> Self {
        let (steps, offset) = match kind {
            Activation::Single | Activation::Bfloats => return Self { scale: 1.0, inverse: 1.0, offset: 0 },
            Activation::Signed => (SIGNED_MAX, 0),
            Activation::Unsigned => {
                // −0 is no negative number.
                let negative = row.iter().fold(0u32, |signs, number| signs | u32::from(*number < 0.0));
                if negative == 0 { (65_535.0, 0) } else { (32_767.0, 32_768) }
            }
        };
        // What is not finite comes out larger than anything finite.
        let highest = f32::from_bits(row.iter().fold(0, |highest: u32, number| highest.max(number.to_bits() & 0x7fff_ffff)));
        // Numbers too small to matter become 0; a row with numbers that are not finite has no answer, and gets NaN for a scale.
        match () {
            () if !highest.is_finite() => Self { scale: f32::NAN, inverse: 0.0, offset },
            () if highest < 1e-30 => Self { scale: 0.0, inverse: 0.0, offset },
            () => Self { scale: highest / steps, inverse: steps / highest, offset },
        }
    }

    #[inline(always)]
    fn number(&self, x: f32) -> i32 {
        whole(x * self.inverse).wrapping_add(self.offset)
    }
}

/// What becomes of each number; `none` where there are fewer. (`map` of an array is compiled on its own, for any CPU, if it is long.)
#[inline(always)]
fn each<T, const N: usize>(numbers: &[f32], of: impl Fn(f32) -> T, none: [T; N]) -> [T; N] {
    let mut result = none;
    if let Ok(numbers) = <&[f32; N]>::try_from(numbers) {
        for i in 0..N {
            result[i] = of(numbers[i]);
        }
    } else {
        result.iter_mut().zip(numbers).for_each(|(result, number)| *result = of(*number));
    }
    result
}

/// Upper bytes, then lower bytes, four to a word.
#[inline(always)]
fn write_bytes(numbers: &[i32; 4 * STEPS], upper: impl Fn(i32) -> u8, lower: impl Fn(i32) -> u8, words: &mut [u32]) {
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
    let (uppers, lowers) = bytes.split_at_mut(4 * STEPS);
    for ((up, low), number) in uppers.iter_mut().zip(lowers).zip(numbers) {
        (*up, *low) = (upper(*number), lower(*number));
    }
}

/// Rounded to the nearest, ties to even.
#[inline(always)]
pub(super) fn bfloat(number: f32) -> u32 {
    let bits = number.to_bits();
    if number.is_nan() { 0x7fc0 } else { (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) >> 16 }
}

/// The nearest whole number, ties to even, for |x| < 2²²: what lies below the ones is rounded off by adding 1.5 · 2²³.
#[inline(always)]
pub(super) fn whole(number: f32) -> i32 {
    const ROUND: f32 = 12_582_912.0;
    ((number + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)
}
