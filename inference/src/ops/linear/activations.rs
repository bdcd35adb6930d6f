//! Activations made ready for the kernels: tiles of a few tokens, their words side by side, so that a kernel reads one stream.

use std::ops::Range;

use super::{Activation, GROUP, STEPS, TILE_ROWS_MAX};
use crate::ops::simd::every_tier;

/// What is more than so many times the mean of a row (zeros aside, and signs) is no ordinary number of it. A normal distribution has hardly any.
const ORDINARY_MEANS: f32 = 6.0;
/// How finely that mean is measured: the row's highest number in so many steps.
const STEPS_OF_HIGHEST: f32 = 32_767.0;
/// The least that counts as ordinary, in those steps: then the highest number still has a signed upper byte.
const ORDINARY_MIN: f32 = 128.0;

/// (rows, cols) f32, packed. Memory is kept from use to use.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    shape: Option<Shape>,
    rows: usize,
    tile_rows: usize,
    /// Tile after tile, as `Shape` says.
    numbers: Vec<u32>,
}

/// What lies in a tile: words `[blocks][rows of the tile][words of a step][STEPS]`, a block being [`STEPS`] steps; then for each row what the
/// whole numbers are to be multiplied by; then for each row what was added to the upper bytes. At four bits the words are those of the
/// lower bytes, and behind all this lie those of the upper bytes, in the same order; for each block a bit for each row that has an upper
/// byte there; and the sums of each group, `[groups][rows of the tile]`.
#[derive(Debug, Clone, Copy)]
struct Shape {
    kind: Activation,
    cols: usize,
}

impl Shape {
    fn words(self) -> usize {
        self.kind.steps(self.cols).next_multiple_of(STEPS) * self.kind.step_words()
    }

    /// Blocks that are told apart by whether they have upper bytes, each of two groups.
    fn blocks(self) -> usize {
        if self.kind == Activation::Groups { self.words() / STEPS } else { 0 }
    }

    /// Numbers that each row of a tile takes.
    fn row(self) -> usize {
        self.words() + 2 + self.blocks() * (STEPS + 2)
    }

    /// Numbers of a tile of so many rows.
    fn tile(self, rows: usize) -> usize {
        rows * self.row() + self.blocks()
    }

    /// Rows of a tile of so many numbers.
    fn rows(self, numbers: usize) -> usize {
        (numbers - self.blocks()) / self.row()
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
    /// At four bits: the upper bytes, for each block the rows that have any, and for each group the rows' sums.
    pub(super) uppers: &'a [u32],
    pub(super) upper_rows: &'a [u32],
    pub(super) sums: &'a [i32],
}

impl Tile<'_> {
    /// Bytes that a product reads of it, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.words).max(1)
    }
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
        self.numbers.resize(rows * shape.row() + rows.div_ceil(self.tile_rows) * shape.blocks(), 0);
        (&mut self.numbers, shape.tile(self.tile_rows), self.tile_rows)
    }

    /// The same, to be filled by [`pack_strip`] with strips of `width` columns: gives the memory, and for each tile the pieces of it that
    /// the strips fill. Only for kinds without a scale, which would have to be known first.
    pub(crate) fn room_in_strips(
        &mut self,
        kind: Activation,
        (rows, cols): (usize, usize),
        tile_rows_max: usize,
        width: usize,
    ) -> (&mut [u32], Vec<Range<usize>>) {
        assert!(!kind.is_scaled() && width.is_multiple_of(STEPS * kind.step_cols()), "strips of {width} for {kind:?}");
        let (memory, tile, _) = self.room(kind, rows, cols, tile_rows_max);
        let shape = Shape { kind, cols };
        let (strip_words, mut pieces) = (width / kind.step_cols(), Vec::new());
        for (number, tile_memory) in memory.chunks_mut(tile).enumerate() {
            let rows = shape.rows(tile_memory.len());
            let words = shape.words() * rows;
            let (scales, offsets) = tile_memory[words..].split_at_mut(rows);
            scales.fill(1f32.to_bits());
            offsets.fill(0);
            let strips = (0..words).step_by(strip_words * rows);
            pieces.extend(strips.map(|first| number * tile + first..number * tile + (first + strip_words * rows).min(words)));
        }
        (memory, pieces)
    }

    /// Its tiles, in order.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = Tile<'_>> {
        self.shape.into_iter().flat_map(move |shape| {
            let Shape { kind, cols } = shape;
            self.numbers.chunks(shape.tile(self.tile_rows)).map(move |numbers| {
                let rows = shape.rows(numbers.len());
                let (words, rest) = numbers.split_at(rows * shape.words());
                let (scales, rest) = rest.split_at(rows);
                let (offsets, rest) = rest.split_at(rows);
                let (uppers, rest) = rest.split_at(rows * shape.blocks() * STEPS);
                let (upper_rows, sums) = rest.split_at(shape.blocks());
                let [offsets, sums] = [offsets, sums].map(bytemuck::cast_slice);
                Tile { kind, cols, rows, words, scales: bytemuck::cast_slice(scales), offsets, uppers, upper_rows, sums }
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
    assert_eq!(tile.len(), shape.tile(width), "a tile of {width} rows");
    let (words, rest) = tile.split_at_mut(width * shape.words());
    let (scales, rest) = rest.split_at_mut(width);
    let (offsets, rest) = rest.split_at_mut(width);
    let block_words = STEPS * kind.step_words();
    let mut wholes = [Whole::default(); TILE_ROWS_MAX];
    for (m, row) in x.chunks_exact(cols).enumerate() {
        wholes[m] = Whole::of(kind, row);
        (scales[m], offsets[m]) = (wholes[m].scale.to_bits(), (wholes[m].offset / 256) as u32);
    }
    // Written in order: memory that another thread had before is waited for far longer where lines lie apart.
    for (number, block) in words.chunks_exact_mut(width * block_words).enumerate() {
        let first = number * STEPS * kind.step_cols();
        let end = (first + STEPS * kind.step_cols()).min(cols);
        if kind == Activation::Groups {
            let (uppers, rest) = rest.split_at_mut(width * shape.blocks() * STEPS);
            let (upper_rows, sums) = rest.split_at_mut(shape.blocks());
            let uppers = &mut uppers[number * block.len()..][..block.len()];
            let sums = bytemuck::cast_slice_mut(&mut sums[2 * number * width..][..2 * width]);
            upper_rows[number] = pack_groups(&x[first..], (cols, end - first), &wholes[..width], block, uppers, sums);
            continue;
        }
        for (m, words) in block.chunks_exact_mut(block_words).enumerate() {
            pack_block(kind, &x[m * cols + first..m * cols + end], wholes[m], words);
        }
    }
}

/// Packs a block of two groups, of so many columns of the `cols` that rows lie apart, for rows that become whole numbers so; gives the rows
/// that have an upper byte there.
#[inline(always)]
fn pack_groups(
    x: &[f32],
    (cols, count): (usize, usize),
    wholes: &[Whole],
    lowers: &mut [u32],
    uppers: &mut [u32],
    sums: &mut [i32],
) -> u32 {
    let mut upper_rows = 0;
    for (m, (lower, upper)) in lowers.chunks_exact_mut(STEPS).zip(uppers.chunks_exact_mut(STEPS)).enumerate() {
        let numbers = each(&x[m * cols..][..count], |number| wholes[m].number(number), [0; 4 * STEPS]);
        for (group, sums) in numbers.as_chunks::<GROUP>().0.iter().zip(sums.chunks_exact_mut(wholes.len())) {
            // A row that is not finite has no numbers worth the name; its scale is NaN.
            sums[m] = group.iter().fold(0, |sum: i32, number| sum.wrapping_add(*number));
        }
        let [lower, upper] = [lower, upper].map(bytemuck::cast_slice_mut::<_, u8>);
        let mut any = 0;
        for ((low, up), number) in lower.iter_mut().zip(upper).zip(numbers) {
            (*low, *up) = (number as u8, (number.wrapping_sub(i32::from(number as i8)) >> 8) as u8);
            any |= *up;
        }
        upper_rows |= u32::from(any != 0) << m;
    }
    upper_rows
}

every_tier!(
    /// Packs a strip of some columns, x (rows of the tile, `width`) of which the last may be none of the matrix's, into the piece of a tile
    /// that [`Activations::room_in_strips`] has for it. Gives the bits that [`pack_tile`] gives.
    fn pack_strip(kind: Activation, x: &[f32], width: usize, cols: usize, piece: &mut [u32]) = plain_strip
);

#[inline(always)]
fn plain_strip(kind: Activation, x: &[f32], width: usize, cols: usize, piece: &mut [u32]) {
    let rows = x.len() / width;
    for (block, words) in piece.chunks_exact_mut(rows * STEPS).enumerate() {
        let first = block * STEPS * kind.step_cols();
        let end = (first + STEPS * kind.step_cols()).min(cols);
        for (words, row) in words.chunks_exact_mut(STEPS).zip(x.chunks_exact(width)) {
            pack_block(kind, &row[first..end], Whole::default(), words);
        }
    }
}

/// Packs what one row has for [`STEPS`] steps of a kernel, but not at four bits.
#[inline(always)]
fn pack_block(kind: Activation, numbers: &[f32], whole: Whole, words: &mut [u32]) {
    match kind {
        Activation::Single => words.copy_from_slice(&each(numbers, f32::to_bits, [0; STEPS])),
        Activation::Bfloats => {
            // Two at a time as one number, which vectors do without taking even from odd places, and in registers: what went through memory
            // in parts of another size would wait for all that was written before it.
            let pairs: [u64; STEPS] = bytemuck::cast(each(numbers, f32::to_bits, [0; 2 * STEPS]));
            let mut rounded = [0; STEPS];
            for (word, pair) in rounded.iter_mut().zip(pairs) {
                let [first, second] = if cfg!(target_endian = "little") { [pair, pair >> 32] } else { [pair >> 32, pair] };
                *word = bfloat(first as u32) & 0xffff_0000 | bfloat(second as u32) >> 16;
            }
            words.copy_from_slice(&rounded);
        }
        Activation::Unsigned => {
            let numbers = each(numbers, |number| whole.number(number), [whole.offset; 4 * STEPS]);
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
            let (uppers, lowers) = bytes.split_at_mut(4 * STEPS);
            for ((upper, lower), number) in uppers.iter_mut().zip(lowers).zip(numbers) {
                (*upper, *lower) = ((number >> 8) as u8, number as u8);
            }
        }
        Activation::Groups => unreachable!("groups are packed with their sums"),
    }
}

/// How a row becomes whole numbers: x · inverse + offset, where x = number · scale. At four bits, ordinary numbers have eight bits and those
/// that stand out sixteen.
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
            Activation::Groups => (127.0, 0),
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
            () => {
                let reach = if kind == Activation::Groups { Self::ordinary(row, highest) } else { highest };
                Self { scale: reach / steps, inverse: steps / reach, offset }
            }
        }
    }

    /// Up to where numbers of a row are ordinary. In whole numbers, whose sum is the same in any order and wherever zeros are left out.
    #[inline(always)]
    fn ordinary(row: &[f32], highest: f32) -> f32 {
        let steps = STEPS_OF_HIGHEST / highest;
        let (sum, count) = row.iter().fold((0u32, 0u32), |(sum, count), x| {
            let part = whole(x.abs() * steps) as u32;
            (sum + part, count + u32::from(part != 0))
        });
        highest * ((ORDINARY_MEANS * (sum as f32 / count as f32)).clamp(ORDINARY_MIN, STEPS_OF_HIGHEST) / STEPS_OF_HIGHEST)
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

/// The bits of a single, rounded to those of the nearest bfloat, ties to even; what lies below them is of no meaning.
#[inline(always)]
pub(super) fn bfloat(bits: u32) -> u32 {
    if bits & 0x7fff_ffff > 0x7f80_0000 { 0x7fc0_0000 } else { bits.wrapping_add(0x7fff + (bits >> 16 & 1)) }
}

/// The nearest whole number, ties to even, for |x| < 2²²: what lies below the ones is rounded off by adding 1.5 · 2²³.
#[inline(always)]
pub(super) fn whole(number: f32) -> i32 {
    const ROUND: f32 = 12_582_912.0;
    ((number + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Tier;
    use proptest::prelude::*;

    #[test]
    fn there_is_as_much_room_as_the_tiles_of_any_number_of_rows_take() {
        for kind in [Activation::Single, Activation::Bfloats, Activation::Unsigned, Activation::Groups] {
            for (rows, tile_rows_max) in (0..40).flat_map(|rows| (1..=TILE_ROWS_MAX).map(move |most| (rows, most))) {
                let mut activations = Activations::default();
                let (memory, tile, tile_rows) = activations.room(kind, rows, 70, tile_rows_max);
                assert_eq!(memory.chunks(tile).count(), rows.div_ceil(tile_rows), "{kind:?}, {rows} rows");
                let tiles: Vec<usize> = activations.tiles().map(|tile| tile.rows).collect();
                assert!(tiles.iter().sum::<usize>() == rows && tiles.iter().all(|rows| *rows <= tile_rows_max), "{kind:?}: {tiles:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_in_strips_is_what_is_packed_at_once(cols in 1usize..140, rows in 1usize..30, panels in 1usize..3, seed: u32) {
            let width = panels * 32;
            let x: Vec<f32> = (0..rows * cols).map(|place| f32::from_bits(seed.wrapping_mul(place as u32 | 1).rotate_left(7))).collect();
            for (kind, tier) in [Activation::Single, Activation::Bfloats].into_iter().flat_map(|kind| Tier::available().into_iter().map(move |tier| (kind, tier))) {
                let (mut whole, mut strips) = (Activations::default(), Activations::default());
                let (memory, tile, tile_rows) = whole.room(kind, rows, cols, TILE_ROWS_MAX);
                for (tile, x) in memory.chunks_mut(tile).zip(x.chunks(tile_rows * cols)) {
                    pack_tile(tier, kind, x, cols, tile);
                }
                let count = cols.div_ceil(width);
                let (memory, pieces) = strips.room_in_strips(kind, (rows, cols), TILE_ROWS_MAX, width);
                prop_assert_eq!(pieces.len() % count, 0);
                for (number, piece) in pieces.into_iter().enumerate() {
                    let (rows, first) = (number / count * tile_rows..rows.min((number / count + 1) * tile_rows), number % count * width);
                    let strip: Vec<f32> = rows
                        .flat_map(|row| (first..first + width).map(move |col| (row, col)))
                        .map(|(row, col)| if col < cols { x[row * cols + col] } else { f32::NAN })
                        .collect();
                    pack_strip(tier, kind, &strip, width, width.min(cols - first), &mut memory[piece]);
                }
                prop_assert_eq!(&whole.numbers, &strips.numbers, "{:?} {:?}", kind, tier);
            }
        }
    }
}
