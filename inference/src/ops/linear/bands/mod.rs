//! Weights for inputs of which most are zero, as behind a ReLU: what meets nothing but zeros is not read.
//!
//! The same contract, the same numbers and the same bits as [`super`]; only the order in memory differs. A *band* is some panels of
//! rows in which the weights of one column lie together, so that a column is left out by the cache lines, and what is read lies in runs
//! of about [`RUN_BYTES`]. Products with zero add nothing, so leaving them out changes no bit. (ReLU's zeros: Mirzadeh et al., "ReLU Strikes
//! Back", arXiv 2310.04564; Liu et al., "Deja Vu", arXiv 2310.17157, who predict them. Here they are known.)
//!
//! * a few tokens: [`simd::multiply`] on the [`Columns`] in which any token has a number that is not zero
//! * many tokens, which meet nearly all columns: block by block some panels that lie side by side are taken out of their band ([`Bands::next`])
//!   and multiplied as any others

mod columns;
pub(crate) mod simd;
mod whole;

pub(crate) use columns::Columns;

use std::ops::Range;

use super::beside::simd::{Lines, Next, Seen};
use super::simd::Part;
use super::{Block, COLS_MAX, Format, GROUP, PAIR_BYTES, PANEL_ROWS, Source, pack_panel};
use crate::ops::Tier;
use crate::ops::simd::every_tier;

/// Bytes of one column in a band, about: shorter runs are read at half the speed of memory read in order, longer ones leave too few bands
/// to share among threads.
const RUN_BYTES: usize = 1024;
/// At four bits a band holds, for each 32 columns, the nibbles of each panel `[32][16]`, its scales and its zero points.
const GROUP_BYTES: usize = PAIR_BYTES / 2;

impl Format {
    /// Bytes of a panel's share of one column.
    fn column_bytes(self) -> usize {
        match self {
            Format::F32 => 128,
            Format::F16 | Format::Bf16Wide | Format::Bf16 => 64,
            Format::Int8 => 32,
            // Two rows in a byte: row i below, row 16 + i above.
            Format::Int4 => 16,
        }
    }

    /// Panels that share a cache line in a band.
    pub(crate) fn panels_of_a_line(self) -> usize {
        64_usize.div_ceil(self.column_bytes())
    }

    /// Where column `col` begins in a band of one panel; in a band of more, so many times as far.
    pub(super) fn column_at(self, col: usize) -> usize {
        match self {
            Format::Int4 => col / GROUP * GROUP_BYTES + col % GROUP * 16,
            format => col * format.column_bytes(),
        }
    }
}

/// A matrix packed in bands, as large as one packed in panels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bands<'a> {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    bytes: &'a [u8],
}

/// One band.
#[derive(Debug, Clone, Copy)]
struct Band<'a> {
    panels: usize,
    bytes: &'a [u8],
}

/// Panels of each band but the last, which may have fewer: an even number of bands, so that two threads, or four, have as much to do.
pub(crate) fn panels_of_a_band(format: Format, rows: usize) -> usize {
    let (panels, fit) = (rows.div_ceil(PANEL_ROWS), RUN_BYTES / format.column_bytes());
    let bands = 2 * ((panels + fit) / (2 * fit)).max(1);
    panels.div_ceil(bands)
}

impl<'a> Bands<'a> {
    /// `bytes` must be as long as the format says.
    pub(crate) fn new(format: Format, rows: usize, cols: usize, bytes: &'a [u8]) -> Self {
        assert!(cols <= COLS_MAX, "sums over {cols} columns do not fit 32 bits");
        assert_eq!(bytes.len(), format.bytes(rows, cols), "a {format:?} matrix of {rows} × {cols}");
        Self { format, rows, cols, bytes }
    }

    /// Panels of a band.
    pub(crate) fn panels(&self) -> usize {
        panels_of_a_band(self.format, self.rows)
    }

    fn band(&self, number: usize) -> Band<'a> {
        let (panel, each) = (self.format.panel_bytes(self.cols), self.panels());
        let panels = each.min(self.rows.div_ceil(PANEL_ROWS) - number * each);
        Band { panels, bytes: &self.bytes[number * each * panel..][..panels * panel] }
    }

    /// The weights of a block of panel `number`, as [`super::pack_panel`] makes them.
    pub(crate) fn take(&self, tier: Tier, number: usize, block: &Block, out: &mut [u8]) {
        assert_eq!(out.len(), block.bytes(self.format), "weights of {block:?}");
        let Band { panels, bytes } = self.band(number / self.panels());
        take(tier, self.format, (number % self.panels(), panels), block.cols(self.format).start, bytes, out);
    }

    /// A block of panel `number`, which has been taken into `weights`, for `tiles` tiles; `next` is seen to meanwhile.
    pub(crate) fn part<'b>(&self, number: usize, block: &'b Block, weights: &'b [u8], tiles: usize, next: Option<Next<'b>>) -> Part<'b>
    where
        'a: 'b,
    {
        let (Band { panels, bytes }, inside) = (self.band(number / self.panels()), number % self.panels());
        let tails = if self.format == Format::Int8 { panels * 256 } else { 0 };
        let tail = bytes[bytes.len() - tails..].chunks_exact(256).nth(inside).unwrap_or_default();
        Part::new(self.format, (weights, tail), block, tiles, next.map_or(Seen::Lines(Lines::NONE), Seen::Next))
    }

    /// A share of a block of panels of one band, to be taken into `out`, where each panel has so much room, or else to be asked for.
    pub(crate) fn next<'b>(
        &self,
        these: Range<usize>,
        block: &'b Block,
        (share, of): (usize, usize),
        out: Option<(&'b mut [u8], usize)>,
    ) -> Next<'b>
    where
        'a: 'b,
    {
        let (Band { panels, bytes }, first) = (self.band(these.start / self.panels()), these.start % self.panels());
        let units = block.steps.len() / self.format.unit_steps() * these.len();
        let each = units.div_ceil(of);
        Next {
            band: bytes,
            panels: (first, these.len(), panels),
            block,
            units: (share * each).min(units)..((share + 1) * each).min(units),
            out,
        }
    }

    /// The first cache line of panel `number`, to ask memory for.
    fn first_line(&self, number: usize) -> *const u8 {
        if number >= self.rows.div_ceil(PANEL_ROWS) {
            return self.bytes.as_ptr_range().end;
        }
        self.band(number / self.panels()).bytes[number % self.panels() * self.format.column_bytes()..].as_ptr()
    }
}

/// Packs the band that begins at row `first` of a matrix (rows, cols), as long as `band` is. It must come zeroed.
pub(crate) fn pack_band(format: Format, source: &dyn Source, (rows, cols): (usize, usize), first: usize, band: &mut [u8]) {
    let mut panel = vec![0; format.panel_bytes(cols)];
    let panels = band.len() / panel.len();
    for number in 0..panels {
        panel.fill(0);
        pack_panel(format, source, (rows, cols), first + number * PANEL_ROWS, &mut panel);
        put(Tier::fastest(), format, (number, panels), cols, &panel, band);
    }
}

every_tier!(
    /// The weights of a panel from column `first` on, as many as there is room for.
    fn take(format: Format, place: (usize, usize), first: usize, band: &[u8], weights: &mut [u8]) = plain_take
);
every_tier!(
    fn put(format: Format, place: (usize, usize), cols: usize, panel: &[u8], band: &mut [u8]) = plain_put
);

/// N bytes of column `col`.
#[inline(always)]
fn column<const N: usize>(band: &[u8], col: usize, (number, of): (usize, usize)) -> &[u8; N] {
    &band.as_chunks().0[col * of + number]
}

#[inline(always)]
fn column_mut<const N: usize>(band: &mut [u8], col: usize, (number, of): (usize, usize)) -> &mut [u8; N] {
    &mut band.as_chunks_mut().0[col * of + number]
}

#[inline(always)]
fn plain_take(format: Format, place: (usize, usize), first: usize, band: &[u8], weights: &mut [u8]) {
    match format {
        Format::F32 => {
            weights.as_chunks_mut().0.iter_mut().enumerate().for_each(|(col, out)| *out = *column::<128>(band, first + col, place))
        }
        Format::F16 | Format::Bf16Wide => {
            weights.as_chunks_mut().0.iter_mut().enumerate().for_each(|(col, out)| *out = *column::<64>(band, first + col, place));
        }
        Format::Bf16 => {
            for (step, out) in weights.as_chunks_mut::<128>().0.iter_mut().enumerate() {
                let [one, other]: [[u16; 32]; 2] = [0, 1].map(|col| bytemuck::cast(*column::<64>(band, first + 2 * step + col, place)));
                let mut words = [0_u32; 32];
                for lane in 0..32 {
                    words[lane] = (u32::from(u16::from_le(one[lane])) << 16 | u32::from(u16::from_le(other[lane]))).to_le();
                }
                *out = bytemuck::cast(words);
            }
        }
        Format::Int8 => {
            for (step, out) in weights.as_chunks_mut::<128>().0.iter_mut().enumerate() {
                let [a, b, c, d] = [0, 1, 2, 3].map(|col| column::<32>(band, first + 4 * step + col, place));
                let mut words = [0_u32; 32];
                for lane in 0..32 {
                    let word = u32::from(a[lane]) | u32::from(b[lane]) << 8 | u32::from(c[lane]) << 16 | u32::from(d[lane]) << 24;
                    words[lane] = word.to_le();
                }
                *out = bytemuck::cast(words);
            }
        }
        Format::Int4 => {
            let groups = band.chunks_exact(place.1 * GROUP_BYTES).skip(first / GROUP);
            for (number, group) in groups.enumerate().take(weights.len() / PAIR_BYTES * 2) {
                let (pair, half) = (&mut weights[number / 2 * PAIR_BYTES..][..PAIR_BYTES], number % 2);
                for (eight, out) in pair[512 * half..][..512].as_chunks_mut::<128>().0.iter_mut().enumerate() {
                    for j in 0..4 {
                        let [below, above] = [0, 4].map(|col| column::<16>(group, 8 * eight + col + j, place));
                        for lane in 0..16 {
                            out[4 * lane + j] = below[lane] & 15 | above[lane] << 4;
                            out[4 * (16 + lane) + j] = below[lane] >> 4 | above[lane] & 0xf0;
                        }
                    }
                }
                let (scales, zeros) = group[place.1 * 512..].split_at(place.1 * 64);
                pair[1024 + 64 * half..][..64].copy_from_slice(column::<64>(scales, 0, place));
                pair[1024 + 128 + 32 * half..][..32].copy_from_slice(column::<32>(zeros, 0, place));
            }
        }
    }
}

#[inline(always)]
fn plain_put(format: Format, place: (usize, usize), cols: usize, panel: &[u8], band: &mut [u8]) {
    match format {
        Format::F32 => panel.as_chunks().0.iter().enumerate().for_each(|(col, from)| *column_mut::<128>(band, col, place) = *from),
        Format::F16 | Format::Bf16Wide => {
            panel.as_chunks().0.iter().enumerate().for_each(|(col, from)| *column_mut::<64>(band, col, place) = *from);
        }
        Format::Bf16 => {
            for (step, from) in panel.as_chunks::<128>().0.iter().enumerate() {
                for (upper, col) in [(2, 2 * step), (0, 2 * step + 1)] {
                    let out = column_mut::<64>(band, col, place).as_chunks_mut::<2>().0;
                    out.iter_mut().zip(from.as_chunks::<4>().0).for_each(|(out, word)| *out = [word[upper], word[upper + 1]]);
                }
            }
        }
        Format::Int8 => {
            let (weights, tail) = panel.split_at(panel.len() - 256);
            let (columns, tails) = band.split_at_mut(place.1 * weights.len());
            for (step, from) in weights.as_chunks::<128>().0.iter().enumerate() {
                for col in 0..4 {
                    let out = column_mut::<32>(columns, 4 * step + col, place);
                    out.iter_mut().zip(from.as_chunks::<4>().0).for_each(|(out, word)| *out = word[col]);
                }
            }
            column_mut::<256>(tails, 0, place).copy_from_slice(tail);
        }
        Format::Int4 => {
            let groups = band.chunks_exact_mut(place.1 * GROUP_BYTES);
            for (number, group) in groups.enumerate().take(cols.div_ceil(2 * GROUP) * 2) {
                let (pair, half) = (&panel[number / 2 * PAIR_BYTES..][..PAIR_BYTES], number % 2);
                for (eight, from) in pair[512 * half..][..512].as_chunks::<128>().0.iter().enumerate() {
                    for j in 0..4 {
                        let below = column_mut::<16>(group, 8 * eight + j, place);
                        for (lane, out) in below.iter_mut().enumerate() {
                            *out = from[4 * lane + j] & 15 | from[4 * (16 + lane) + j] << 4;
                        }
                        let above = column_mut::<16>(group, 8 * eight + 4 + j, place);
                        for (lane, out) in above.iter_mut().enumerate() {
                            *out = from[4 * lane + j] >> 4 | from[4 * (16 + lane) + j] & 0xf0;
                        }
                    }
                }
                let (scales, zeros) = group[place.1 * 512..].split_at_mut(place.1 * 64);
                column_mut::<64>(scales, 0, place).copy_from_slice(&pair[1024 + 64 * half..][..64]);
                column_mut::<32>(zeros, 0, place).copy_from_slice(&pair[1024 + 128 + 32 * half..][..32]);
            }
        }
    }
}

#[cfg(test)]
pub(super) fn pack_rows(format: Format, w: &[f32], rows: usize, cols: usize, out: &mut [u8]) {
    let each = panels_of_a_band(format, rows);
    for (number, band) in out.chunks_mut(each * format.panel_bytes(cols)).enumerate() {
        pack_band(format, &super::pack::Plain(w, cols), (rows, cols), number * each * PANEL_ROWS, band);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, FORMATS, any_case};
    use super::super::{Activations, STEPS, TILE_ROWS_MAX, pack, pack_tile, reference, simd as panel_simd};
    use super::*;
    use proptest::prelude::*;

    fn packed(format: Format, Case { rows, cols, w, .. }: &Case) -> Vec<u8> {
        let mut bytes = vec![0; format.bytes(*rows, *cols)];
        pack_rows(format, w, *rows, *cols, &mut bytes);
        bytes
    }

    /// What a ReLU leaves, with some columns that nobody has a number in: those whose remainder by `every` is not 0.
    fn behind_relu(case: &Case, every: usize) -> Vec<f32> {
        let kept = |place: usize| (place % case.cols).is_multiple_of(every);
        case.x.iter().enumerate().map(|(place, x)| if kept(place) { x.max(0.0) } else { 0.0 }).collect()
    }

    /// (batch, rows), so many panels of a band at a time; all columns if there are more than `most` with a number.
    fn run(tier: Tier, w: &Bands<'_>, x: &[f32], (unit, most): (usize, usize)) -> Vec<f32> {
        let (mut columns, mut packed, kind) = (Columns::default(), Activations::default(), w.format.activation());
        assert!(columns.find(tier, w.format, x, w.cols, most));
        let tokens = x.len() / w.cols;
        let (memory, tile, rows) = packed.room(kind, tokens, columns.count(), simd::tile_rows_max(w.format, unit));
        for (tile, x) in memory.chunks_mut(tile).zip(columns.numbers().chunks(rows * columns.count())) {
            pack_tile(tier, kind, x, columns.count(), tile);
        }
        let panels = w.rows.div_ceil(PANEL_ROWS);
        let mut y = vec![f32::NAN; tokens * w.rows];
        let in_bands = (0..panels).step_by(w.panels()).flat_map(|band| {
            let end = (band + w.panels()).min(panels);
            (band..end).step_by(unit).map(move |first| first..(first + unit).min(end))
        });
        for these in in_bands {
            let (width, stride) = (these.len() * PANEL_ROWS, simd::stride(these.len()));
            let mut out = vec![f32::NAN; tokens * stride];
            let mut raw = vec![i32::MAX; simd::raw_numbers(w.format) * out.len()];
            let unit = simd::Unit { panels: these.clone(), next: these.end };
            simd::multiply(tier, w, &unit, &columns, &packed, &mut panel_simd::Sums { out: &mut out, stride, raw: &mut raw });
            for (m, out) in out.chunks(stride).enumerate() {
                let n = these.start * PANEL_ROWS;
                let width = width.min(w.rows - n);
                y[m * w.rows + n..][..width].copy_from_slice(&out[..width]);
            }
        }
        y
    }

    proptest! {
        #[test]
        fn a_panel_comes_out_of_its_band_as_it_was_packed_at_once_and_while_the_block_before_is_multiplied(case in any_case(), pairs in 1usize..4) {
            for format in FORMATS {
                let bytes = packed(format, &case);
                let bands = Bands::new(format, case.rows, case.cols, &bytes);
                let mut panels = vec![0; format.bytes(case.rows, case.cols)];
                pack::pack_rows(format, &case.w, case.rows, case.cols, &mut panels);
                let blocks: Vec<Block> = Block::of_steps(format.activation().steps(case.cols), pairs * STEPS).collect();
                for tier in Tier::available() {
                    let (mut activations, kind) = (Activations::default(), format.activation());
                    let (memory, tile, rows) =
                        activations.room(kind, case.x.len() / case.cols, case.cols, panel_simd::tile_rows_max(tier, kind));
                    for (tile, x) in memory.chunks_mut(tile).zip(case.x.chunks(rows * case.cols)) {
                        pack_tile(tier, kind, x, case.cols, tile);
                    }
                    let tiles: Vec<_> = activations.tiles().collect();
                    let all: Vec<_> = panels.chunks(format.panel_bytes(case.cols)).collect();
                    // Parts of a band, and whole ones.
                    let counts: Vec<usize> = (1..=bands.panels()).rev().filter(|count| bands.panels().is_multiple_of(*count)).collect();
                    let count = counts[(pairs - 1) % counts.len()];
                    for these in (0..all.len()).step_by(count).map(|first| first..(first + count).min(all.len())) {
                        let mut before = 0;
                        for (at, block) in blocks.iter().enumerate() {
                            let size = block.bytes(format);
                            // A little apart, and nothing is written there.
                            let behind = blocks.get(at + 1).map_or(0, |block| block.bytes(format));
                            let mut next = vec![0xa5; these.len() * (behind + 64)];
                            for (place, number) in these.clone().enumerate() {
                                let expected = all[number];
                                let mut taken = vec![0xa5; size];
                                bands.take(tier, number, block, &mut taken);
                                prop_assert_eq!(&expected[before..][..size], &taken, "{:?} {:?}", format, tier);
                                let share = (place, these.len());
                                let beside = blocks.get(at + 1).map(|block| bands.next(these.clone(), block, share, Some((&mut next, behind + 64))));
                                let mut part = bands.part(number, block, &taken, tiles.len(), beside);
                                prop_assert_eq!(part.tail, &expected[expected.len() - part.tail.len()..]);
                                let (mut out, mut raw) = (vec![0.0; TILE_ROWS_MAX * PANEL_ROWS], vec![0; 2 * TILE_ROWS_MAX * PANEL_ROWS]);
                                for tile in &tiles {
                                    let mut sums = panel_simd::Sums { out: &mut out, stride: PANEL_ROWS, raw: &mut raw };
                                    panel_simd::multiply(tier, &mut part, (tile, None), &mut sums);
                                }
                            }
                            before += size;
                            for (number, next) in these.clone().zip(next.chunks(behind + 64)) {
                                prop_assert_eq!(&all[number][before..][..behind], &next[..behind], "{:?} {:?}", format, tier);
                                prop_assert_eq!(&next[behind..], &[0xa5; 64]);
                            }
                        }
                    }
                }
            }
        }

        #[test]
        fn columns_left_out_change_no_bit_on_any_tier(case in any_case(), every in 1usize..12, unit in 1usize..6, are_left_out: bool) {
            let x = behind_relu(&case, every);
            for format in FORMATS {
                let bytes = packed(format, &case);
                let bands = Bands::new(format, case.rows, case.cols, &bytes);
                let expected: Vec<f32> = x.chunks(case.cols).flat_map(|x| reference::linear(format, &case.w, x)).collect();
                for tier in Tier::available() {
                    let most = if are_left_out { case.cols } else { 0 };
                    prop_assert_eq!(&run(tier, &bands, &x, (unit, most)), &expected, "{:?} {:?}", format, tier);
                }
            }
        }

        #[test]
        fn numbers_that_no_relu_gives_are_told(case in any_case(), wrong in prop_oneof![Just(-1e-9f32), Just(f32::NAN), Just(f32::INFINITY)], place: prop::sample::Index) {
            let mut x = behind_relu(&case, 3);
            x[place.index(case.x.len())] = wrong;
            for tier in Tier::available() {
                prop_assert!(!Columns::default().find(tier, Format::Int8, &x, case.cols, case.cols), "{:?}", tier);
            }
        }
    }

    /// Ten panels in one band and nine in the other: twice four and some, pairs and one alone. With every third column, groups have an odd number of
    /// steps.
    #[test]
    fn bands_of_many_panels_are_multiplied_in_units_of_any_size() {
        let number = |place: usize| (place * 7919 % 2003) as f32 / 1024.0 - 0.97;
        for (rows, cols, tokens) in [(600, 70, 1), (600, 70, 12), (600, 260, 5)] {
            // Some stand out, so that they have upper bytes.
            let x = |place: usize| if (place % cols).is_multiple_of(27) { 60.0 } else { number(place) };
            let case = Case { rows, cols, w: (0..rows * cols).map(number).collect(), x: (0..tokens * cols).map(x).collect() };
            for (format, most) in FORMATS.into_iter().flat_map(|format| [(format, 0), (format, cols)]) {
                let bytes = packed(format, &case);
                let (bands, x) = (Bands::new(format, rows, cols, &bytes), behind_relu(&case, 3));
                let expected: Vec<f32> = x.chunks(cols).flat_map(|x| reference::linear(format, &case.w, x)).collect();
                for (tier, unit) in Tier::available().into_iter().flat_map(|tier| [1, 2, 3, 4, 5, 10].map(|unit| (tier, unit))) {
                    let y = run(tier, &bands, &x, (unit, most));
                    assert!(y == expected, "{format:?} {tier:?} of {rows} × {cols}, {tokens} tokens, units of {unit}, columns {most}");
                }
            }
        }
    }

    #[test]
    fn of_zeros_come_zeros() {
        let case = Case { rows: 70, cols: 40, w: vec![0.5; 70 * 40], x: vec![0.0; 3 * 40] };
        for format in FORMATS {
            let bytes = packed(format, &case);
            for tier in Tier::available() {
                let y = run(tier, &Bands::new(format, case.rows, case.cols, &bytes), &case.x, (3, 40));
                assert!(y.len() == 3 * 70 && y.iter().all(|y| *y == 0.0), "{format:?} {tier:?}");
            }
        }
    }

    #[test]
    fn columns_are_found_anew_whatever_was_found_before() {
        let x = |cols: usize, every: usize| {
            (0..2 * cols).map(|place| if (place % cols).is_multiple_of(every) { 1.0 } else { 0.0 }).collect::<Vec<f32>>()
        };
        let wrong = [vec![1.0; 69], vec![-1.0]].concat();
        let mut columns = Columns::default();
        // Few, all, all again, other numbers that no ReLU gives, all, of another matrix, as another format, none, few.
        let finds = [(70, 9, Format::Int8), (70, 1, Format::Int8), (70, 2, Format::Int8), (33, 1, Format::Int8), (33, 1, Format::Bf16)];
        for (cols, every, format) in
            finds.into_iter().chain([(70, 1, Format::Int4), (70, 1, Format::F16), (70, 100, Format::F16), (70, 9, Format::Int4)])
        {
            let (x, mut fresh) = (x(cols, every), Columns::default());
            for columns in [&mut columns, &mut fresh] {
                assert!(columns.find(Tier::fastest(), format, &x, cols, cols / 3));
            }
            let told = |columns: &Columns| format!("{:?}", (&columns.places, &columns.groups, columns.numbers(), columns.are_all()));
            assert_eq!(told(&columns), told(&fresh), "{format:?}, {cols} columns, every {every}th");
            assert!(!columns.find(Tier::fastest(), format, &wrong, 70, 20));
        }
    }

    #[test]
    fn bands_are_of_a_size_and_even_in_number() {
        for (format, rows, panels) in [
            (Format::Bf16, 768, 12),
            (Format::Int8, 768, 12),
            (Format::Int4, 768, 12),
            (Format::Bf16, 2048, 16),
            (Format::Int8, 2560, 40),
            (Format::F32, 12_288, 8),
            (Format::Int8, 16, 1),
        ] {
            assert_eq!(panels_of_a_band(format, rows), panels, "{format:?} of {rows} rows");
        }
    }
}
