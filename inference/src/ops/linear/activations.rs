//! Activations made ready for the kernels: tiles of a few tokens, their words side by side, so that a kernel reads one stream.

use std::ops::Range;

use super::strips::simd::{Strip, pack_strip};
use super::{Activation, GROUP, STEPS, TILE_ROWS_MAX};
use crate::ops::Tier;
use crate::ops::aligned::Aligned;
use crate::ops::pointwise::Finish;
use crate::ops::simd::every_tier;

/// What is more than so many times the mean of a row (zeros aside, and signs) does not count towards the mean that follows.
const COUNTED_MEANS: f32 = 2.5;
/// What is more than so many times the mean of those is no ordinary number. In bytes, of which an upper one costs four columns: of a normal
/// distribution these are 4 in 1,000.
const ORDINARY_IN_BYTES: f32 = 4.0;
/// In groups, of which an upper byte costs 64 columns: 3 in a million.
const ORDINARY_IN_GROUPS: f32 = 6.5;
/// How finely means are measured: the row's highest number in so many steps.
const STEPS_OF_HIGHEST: f32 = 32_767.0;
/// The least that counts as ordinary, in those steps: then the highest number still has a signed upper byte (254 · 32,767 / 264 + 255 < 2¹⁵).
const ORDINARY_MIN: f32 = 264.0;

/// (rows, cols) f32, packed. Memory is kept from use to use.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    shape: Option<Shape>,
    rows: usize,
    tile_rows: usize,
    /// Tile after tile, as `Shape` says.
    numbers: Aligned<u32>,
}

/// What lies in a tile: words `[blocks][rows of the tile][STEPS]`, a block being [`STEPS`] steps; then for each row what the whole numbers are
/// to be multiplied by; then for each row what was added to them. Of whole numbers the words are the lower bytes, and behind all this lie
/// the upper ones.
///
/// * in bytes: each word of upper bytes that are not all zero, block after block, behind its place (`row << 16 | step`), with room for all;
///   how many of them lie before the end of each block; the sum of each row's upper bytes
/// * in groups: the words of upper bytes, in the order of the lower ones; for each block a bit for each row that has any; the sums of each
///   group, `[groups][rows of the tile]`
#[derive(Debug, Clone, Copy)]
struct Shape {
    kind: Activation,
    cols: usize,
}

impl Shape {
    fn words(self) -> usize {
        self.kind.steps(self.cols).next_multiple_of(STEPS)
    }

    /// Blocks of which it is said what upper bytes they have.
    fn blocks(self) -> usize {
        if self.kind.is_scaled() { self.words() / STEPS } else { 0 }
    }

    /// Numbers of each row's upper bytes.
    fn uppers(self) -> usize {
        match self.kind {
            Activation::Single | Activation::Bfloats => 0,
            Activation::Bytes => 2 * self.words(),
            Activation::Groups => self.words(),
        }
    }

    /// Sums of each row.
    fn sums(self) -> usize {
        match self.kind {
            Activation::Single | Activation::Bfloats => 0,
            Activation::Bytes => 1,
            Activation::Groups => 2 * self.blocks(),
        }
    }

    /// Numbers that each row of a tile takes.
    fn row(self) -> usize {
        self.words() + 2 + self.uppers() + self.sums()
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
    /// Of whole numbers, as [`Shape`] says: the upper bytes; of each block how many lie before its end, or in groups which rows have some;
    /// and the sums.
    pub(super) uppers: &'a [u32],
    pub(super) marks: &'a [u32],
    pub(super) sums: &'a [i32],
}

impl Tile<'_> {
    /// Upper bytes in these steps, which are whole blocks: where, and which.
    pub(super) fn upper_words(&self, steps: &Range<usize>) -> &[[u32; 2]] {
        let before = |step: usize| step.div_ceil(STEPS).checked_sub(1).map_or(0, |block| self.marks[block] as usize);
        &self.uppers.as_chunks().0[before(steps.start)..before(steps.end)]
    }

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
        self.numbers.resize(rows * shape.row() + rows.div_ceil(self.tile_rows) * shape.blocks());
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
            fill_unscaled(&mut tile_memory[words..], rows);
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
                let (uppers, rest) = rest.split_at(rows * shape.uppers());
                let (marks, sums) = rest.split_at(shape.blocks());
                let [offsets, sums] = [offsets, sums].map(bytemuck::cast_slice);
                Tile { kind, cols, rows, words, scales: bytemuck::cast_slice(scales), offsets, uppers, marks, sums }
            })
        })
    }
}

/// Packs x (rows of the tile, cols) into a tile of [`Activations::room`]; every tier gives the same bits.
pub(crate) fn pack_tile(tier: Tier, kind: Activation, x: &[f32], cols: usize, tile: &mut [u32]) {
    let (shape, rows) = (Shape { kind, cols }, x.len() / cols);
    assert_eq!(tile.len(), shape.tile(rows), "a tile of {rows} rows");
    if kind.is_scaled() {
        return pack_whole(tier, kind, x, cols, tile);
    }
    let (words, rest) = tile.split_at_mut(rows * shape.words());
    fill_unscaled(rest, rows);
    pack_strip(tier, kind, &Strip { sums: x, stride: cols, cols, bias: &[], finish: Finish::Store }, words);
}

/// What lies behind the words of so many rows that are multiplied by nothing.
fn fill_unscaled(rest: &mut [u32], rows: usize) {
    let (scales, offsets) = rest.split_at_mut(rows);
    scales.fill(1f32.to_bits());
    offsets.fill(0);
}

every_tier!(
    /// The same in whole numbers.
    fn pack_whole(kind: Activation, x: &[f32], cols: usize, tile: &mut [u32]) = plain
);

#[inline(always)]
fn plain(kind: Activation, x: &[f32], cols: usize, tile: &mut [u32]) {
    let (shape, width) = (Shape { kind, cols }, x.len() / cols);
    let (words, rest) = tile.split_at_mut(width * shape.words());
    let (scales, rest) = rest.split_at_mut(width);
    let (offsets, rest) = rest.split_at_mut(width);
    let (uppers, rest) = rest.split_at_mut(width * shape.uppers());
    let (marks, sums) = rest.split_at_mut(shape.blocks());
    let sums: &mut [i32] = bytemuck::cast_slice_mut(sums);
    sums.fill(0);
    let (mut wholes, mut found) = ([Whole::default(); TILE_ROWS_MAX], 0);
    for (m, row) in x.chunks_exact(cols).enumerate() {
        wholes[m] = Whole::of(kind, row);
        (scales[m], offsets[m]) = (wholes[m].scale.to_bits(), wholes[m].offset as u32);
    }
    // Written in order: memory that another thread had before is waited for far longer where lines lie apart.
    for (number, block) in words.chunks_exact_mut(width * STEPS).enumerate() {
        let first = number * STEPS * kind.step_cols();
        let end = (first + STEPS * kind.step_cols()).min(cols);
        let rows = (0..width).map(|m| &x[m * cols + first..m * cols + end]).zip(block.as_chunks_mut().0);
        match kind {
            Activation::Single | Activation::Bfloats => unreachable!("these have no scales"),
            Activation::Bytes => {
                // (No `for_each`: its closure was compiled on its own, for any CPU.)
                for (m, (row, words)) in rows.enumerate() {
                    pack_bytes(row, &wholes[m], words, &mut sums[m], |step, word| {
                        if let Some(upper) = uppers.as_chunks_mut().0.get_mut(found) {
                            *upper = [((m << 16) | (number * STEPS + step)) as u32, word];
                        }
                        found += usize::from(word != 0);
                    });
                }
                marks[number] = found as u32;
            }
            Activation::Groups => {
                let uppers = &mut uppers[number * width * STEPS..][..width * STEPS];
                let sums = &mut sums[2 * number * width..][..2 * width];
                marks[number] = 0;
                for (m, ((row, words), uppers)) in rows.zip(uppers.as_chunks_mut().0).enumerate() {
                    let (any, [one, other]) = pack_groups(row, &wholes[m], words, uppers);
                    marks[number] |= u32::from(any) << m;
                    (sums[m], sums[width + m]) = (one, other);
                }
            }
        }
    }
}

/// Packs what one row has for [`STEPS`] steps, in bytes: the lower ones. Adds up the upper ones and tells each step's, at least where there
/// are any.
#[inline(always)]
fn pack_bytes(row: &[f32], whole: &Whole, lowers: &mut [u32; STEPS], sum: &mut i32, mut tell: impl FnMut(usize, u32)) {
    let numbers = each(row, |number| whole.number(number), [0; 4 * STEPS]);
    let mut any = 0;
    for (lower, number) in bytemuck::cast_slice_mut::<_, u8>(lowers).iter_mut().zip(numbers) {
        *lower = number as u8;
        any |= number >> 8;
    }
    if any != 0 {
        let mut uppers = [0; STEPS];
        for (upper, number) in bytemuck::cast_slice_mut::<u32, u8>(&mut uppers).iter_mut().zip(numbers) {
            *upper = (number >> 8) as u8;
        }
        uppers.into_iter().enumerate().for_each(|(step, word)| tell(step, word));
        // A row that is not finite has no numbers worth the name; its scale is NaN.
        *sum = numbers.iter().fold(*sum, |sum, number| sum.wrapping_add(number >> 8));
    }
}

/// The same in two groups, all words of upper bytes: whether there are any, and the sums of both groups.
#[inline(always)]
fn pack_groups(row: &[f32], whole: &Whole, lowers: &mut [u32; STEPS], uppers: &mut [u32; STEPS]) -> (bool, [i32; 2]) {
    let numbers = each(row, |number| whole.number(number), [0; 4 * STEPS]);
    let mut sums = [0; 2];
    for (sum, group) in sums.iter_mut().zip(numbers.as_chunks::<GROUP>().0) {
        *sum = group.iter().fold(0, |sum: i32, number| sum.wrapping_add(*number));
    }
    let [lowers, uppers] = [lowers, uppers].map(|words| bytemuck::cast_slice_mut::<_, u8>(words));
    let mut any = 0;
    for ((lower, upper), number) in lowers.iter_mut().zip(uppers).zip(numbers) {
        (*lower, *upper) = (number as u8, (number.wrapping_sub(i32::from(number as i8)) >> 8) as u8);
        any |= *upper;
    }
    (any != 0, sums)
}

/// How a row becomes whole numbers: x · inverse + offset, where x = (number − offset) · scale. Ordinary numbers have eight bits and those that
/// stand out sixteen. In bytes the range of the ordinary ones, which always includes 0, is cut into 254 steps, so that the two ends, each rounded, are
/// at most 255 apart; in groups the lower bytes are signed.
#[derive(Debug, Clone, Copy, Default)]
struct Whole {
    scale: f32,
    inverse: f32,
    offset: i32,
}

impl Whole {
    #[inline(always)]
    fn of(kind: Activation, row: &[f32]) -> Self {
        // As bits, whose order is that of sizes: what is not finite comes out larger than anything finite. The largest of all as signed numbers
        // is that of the positive ones; as unsigned ones, that of the negative ones, if there is any.
        let above = row.iter().fold(0, |above: i32, x| above.max(x.to_bits() as i32)) as u32;
        let below = row.iter().fold(0, |below: u32, x| below.max(x.to_bits()));
        let below = if below >> 31 == 0 { 0 } else { below & 0x7fff_ffff };
        let highest = f32::from_bits(below.max(above));
        // Numbers too small to matter become 0; a row with numbers that are not finite has no answer, and gets NaN for a scale.
        // (So does one whose range is no finite number.)
        match () {
            () if !highest.is_finite() => Self { scale: f32::NAN, inverse: 0.0, offset: 0 },
            () if highest < 1e-30 => Self { scale: 0.0, inverse: 0.0, offset: 0 },
            () => {
                let reach = Self::ordinary(kind, row, highest);
                let [below, above] = [below, above].map(|size| f32::from_bits(size).min(reach));
                let (range, steps) = if kind == Activation::Groups { (reach, 127.0) } else { (below + above, 254.0) };
                let inverse = steps / range;
                Self { scale: range / steps, inverse, offset: if kind == Activation::Groups { 0 } else { whole(below * inverse) } }
            }
        }
    }

    /// Up to where numbers of a row are ordinary. In whole numbers, whose sum is the same in any order and wherever zeros are left out.
    #[inline(always)]
    fn ordinary(kind: Activation, row: &[f32], highest: f32) -> f32 {
        let steps = STEPS_OF_HIGHEST / highest;
        let mean = |most: u32| {
            let (sum, count) = row.iter().fold((0u32, 0u32), |(sum, count), x| {
                let part = whole(x.abs() * steps) as u32;
                let part = if part > most { 0 } else { part };
                (sum + part, count + u32::from(part != 0))
            });
            // The smallest is no more than the mean, so that something counts.
            sum as f32 / count as f32
        };
        let means = if kind == Activation::Groups { ORDINARY_IN_GROUPS } else { ORDINARY_IN_BYTES };
        let mean = mean((COUNTED_MEANS * mean(u32::MAX)) as u32);
        highest * ((means * mean).clamp(ORDINARY_MIN, STEPS_OF_HIGHEST) / STEPS_OF_HIGHEST)
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
    use crate::kernels::normal;
    use crate::ops::Tier;
    use proptest::prelude::*;

    #[test]
    fn there_is_as_much_room_as_the_tiles_of_any_number_of_rows_take() {
        for kind in [Activation::Single, Activation::Bfloats, Activation::Bytes, Activation::Groups] {
            for (rows, tile_rows_max) in (0..40).flat_map(|rows| (1..=TILE_ROWS_MAX).map(move |most| (rows, most))) {
                let mut activations = Activations::default();
                let (memory, tile, tile_rows) = activations.room(kind, rows, 70, tile_rows_max);
                assert_eq!(memory.chunks(tile).count(), rows.div_ceil(tile_rows), "{kind:?}, {rows} rows");
                let tiles: Vec<usize> = activations.tiles().map(|tile| tile.rows).collect();
                assert!(tiles.iter().sum::<usize>() == rows && tiles.iter().all(|rows| *rows <= tile_rows_max), "{kind:?}: {tiles:?}");
            }
        }
    }

    /// A step that has upper bytes costs several times what another does, so hardly any may.
    #[test]
    fn ordinary_numbers_have_no_upper_byte_and_those_that_stand_out_do_not_give_them_one() {
        let even = |place: usize| (place as u32).wrapping_mul(0x9e37_79b9) as f32 / u32::MAX as f32 - 0.5;
        let normal: Vec<f32> = (0..4096).map(normal).collect();
        let of = |change: &dyn Fn(usize, f32) -> f32| normal.iter().enumerate().map(|(place, x)| change(place, *x)).collect::<Vec<f32>>();
        let rows = [
            (of(&|place, _| even(place)), 0..=0),
            // Both ends lie half way between two whole numbers, if the range is cut into an odd number of steps.
            (of(&|place, _| if place % 2 == 0 { 1.0 } else { -1.0 }), 0..=0),
            (of(&|place, _| even(place).max(0.0)), 0..=0),
            // 1.5 % of 1,024 steps.
            (of(&|_, x| x), 5..=30),
            (of(&|_, x| x.max(0.0)), 2..=20),
            // One column in 128.
            (of(&|place, x| if place % 128 == 5 { x + 80.0 } else { x }), 37..=62),
            (of(&|place, x| if place == 9 { -3e3 } else { x }), 1..=1),
        ];
        for (number, (row, wanted)) in rows.into_iter().enumerate() {
            for tier in Tier::available() {
                let mut activations = Activations::default();
                let (memory, ..) = activations.room(Activation::Bytes, 1, row.len(), 1);
                pack_tile(tier, Activation::Bytes, &row, row.len(), memory);
                let tile = activations.tiles().next().expect("a tile of one row");
                let found = tile.upper_words(&(0..row.len() / 4)).len();
                assert!(wanted.contains(&found), "row {number}, {tier:?}: {found} of {} steps have upper bytes", row.len() / 4);
            }
        }
    }

    #[test]
    fn pairs_of_bfloats_are_the_nearest_by_every_tier_whatever_they_are() {
        let odd = [
            f32::NAN,
            -f32::NAN,
            f32::from_bits(0x7f80_0001),
            f32::INFINITY,
            f32::NEG_INFINITY,
            0.0,
            -0.0,
            f32::MAX,
            f32::MIN,
            1e-40,
            -1e-45,
            // Ties, to even below and above.
            f32::from_bits(0x3f80_8000),
            f32::from_bits(0x3f81_8000),
            f32::from_bits(0xbf80_8001),
            f32::from_bits(0x3f80_7fff),
        ];
        for cols in [1, 2, 15, 31, 32, 33, 64, 70] {
            let x: Vec<f32> = (0..2 * cols).map(|place| if place % 3 == 0 { place as f32 / 7.0 } else { odd[place % odd.len()] }).collect();
            for tier in Tier::available() {
                let mut activations = Activations::default();
                let (memory, ..) = activations.room(Activation::Bfloats, 2, cols, 2);
                pack_tile(tier, Activation::Bfloats, &x, cols, memory);
                let tile = activations.tiles().next().expect("a tile of two rows");
                for (row, col) in (0..2).flat_map(|row| (0..cols).map(move |col| (row, col))) {
                    let word = tile.words[col / 32 * 2 * STEPS + row * STEPS + col % 32 / 2];
                    let found = if col % 2 == 0 { word >> 16 } else { word & 0xffff };
                    let x = x[row * cols + col];
                    assert_eq!(found, bfloat(x.to_bits()) >> 16, "{x:?} in column {col} of {cols}, {tier:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_in_strips_is_what_is_packed_at_once(cols in 1usize..140, rows in 1usize..30, panels in 1usize..3, seed: u32) {
            let width = panels * 32;
            let x: Vec<f32> = (0..rows * cols).map(|place| f32::from_bits(seed.wrapping_mul(place as u32 | 1).rotate_left(7))).collect();
            let bias: Vec<f32> = (0..cols).map(|col| col as f32 / 7.0 - 1.0).collect();
            let finished: Vec<f32> = x.iter().zip(bias.iter().cycle()).map(|(x, bias)| (x + bias).max(0.0)).collect();
            for (kind, tier) in [Activation::Single, Activation::Bfloats].into_iter().flat_map(|kind| Tier::available().into_iter().map(move |tier| (kind, tier))) {
                let (mut whole, mut strips) = (Activations::default(), Activations::default());
                let (memory, tile, tile_rows) = whole.room(kind, rows, cols, TILE_ROWS_MAX);
                for (tile, x) in memory.chunks_mut(tile).zip(finished.chunks(tile_rows * cols)) {
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
                    let bias = &bias[first..][..width.min(cols - first)];
                    let strip = Strip { sums: &strip, stride: width, cols: bias.len(), bias, finish: Finish::Relu };
                    pack_strip(tier, kind, &strip, &mut memory[piece]);
                }
                prop_assert_eq!(&whole.numbers[..], &strips.numbers[..], "{:?} {:?}", kind, tier);
            }
        }
    }
}
