//! y[m, n] = Σ_k w[n, k] · x[m, k], for weights packed once into panels of 32 rows (n) and activations packed once for each use.
//!
//! * `w` (rows, cols), in one of the formats below    * `x` (batch, cols), f32    * `y` (batch, rows), f32
//!
//! What each format means is said by its reference in `reference.rs`. Sums run along the columns in order, each product added with one
//! rounding, or in whole numbers, which are exact. So every version gives the same bits: with any instructions, in any batch, on any
//! number of threads. (One exception: AVX-512 BF16 takes denormal numbers for zero.)

mod activations;
pub(crate) mod bands;
mod beside;
mod pack;
#[cfg(test)]
mod reference;
pub(crate) mod simd;
mod strips;

use std::ops::Range;

use beside::simd::{Lines, Seen};
use simd::Part;

pub(crate) use activations::{Activations, Tile, pack_tile};
pub(crate) use bands::{Bands, Columns};
pub(crate) use pack::{Int4Group, Source, int4, int4_group, int8, int8_scale, pack_panel};
pub(crate) use strips::simd::{Strip, pack_strip};

/// Changes with every change of what packed bytes are, so that those kept on a disk before are not taken for them.
pub(crate) const PACKING_VERSION: u32 = 3;
/// Rows of a panel.
pub(crate) const PANEL_ROWS: usize = 32;
/// The most tokens a tile of activations may have.
pub(crate) const TILE_ROWS_MAX: usize = 12;
/// Steps of a kernel whose activations lie side by side.
const STEPS: usize = 16;
/// Columns that share a scale and a zero point at four bits.
pub(crate) const GROUP: usize = 32;
/// At four bits a panel holds pairs of groups: the nibbles of both, then for each 32 scales (f16), then for each 32 zero points (u8);
/// whole cache lines, so that a panel is read in order.
const PAIR_BYTES: usize = 2 * (512 + 64 + 32);
/// The longest sum of bytes that fits an i32: cols · 255 · 127 < 2³¹.
const COLS_MAX: usize = 66_000;

/// How the weights of a matrix are held, and how it is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Singles, computed in f32.
    F32,
    /// Halves, widened to f32 and computed so.
    F16,
    /// Bfloats, widened to f32 and computed so.
    Bf16Wide,
    /// Bfloats, multiplied by activations rounded to bfloat; sums in f32.
    Bf16,
    /// Bytes with a scale for each row, multiplied by activations of 8 bits with a scale and zero point for each token, and of 16 where they
    /// stand out.
    Int8,
    /// Four bits with a scale and zero point for every 32 columns, multiplied by activations of 8 bits with a scale for each token, and of 16
    /// where they stand out.
    Int4,
}

impl Format {
    /// How it must be packed for: formats of the same activations can share them.
    pub(crate) fn activation(self) -> Activation {
        match self {
            Format::F32 | Format::F16 | Format::Bf16Wide => Activation::Single,
            Format::Bf16 => Activation::Bfloats,
            Format::Int8 => Activation::Bytes,
            Format::Int4 => Activation::Groups,
        }
    }

    /// Bytes of one panel over `cols` columns: a multiple of 64.
    pub(crate) fn panel_bytes(self, cols: usize) -> usize {
        match self {
            Format::F32 => 128 * cols,
            Format::F16 | Format::Bf16Wide => 64 * cols,
            Format::Bf16 => 128 * cols.div_ceil(2),
            // Four columns at a time, then 32 scales (f32) and 32 sums of a row (i32).
            Format::Int8 => 128 * cols.div_ceil(4) + 256,
            Format::Int4 => cols.div_ceil(2 * GROUP) * PAIR_BYTES,
        }
    }

    /// Bytes of a panel for [`STEPS`] steps of a kernel.
    fn steps_bytes(self) -> usize {
        match self {
            Format::F32 | Format::Bf16 | Format::Int8 => 128 * STEPS,
            Format::F16 | Format::Bf16Wide => 64 * STEPS,
            Format::Int4 => PAIR_BYTES,
        }
    }

    /// Steps of a kernel that share what is done beside them.
    fn unit_steps(self) -> usize {
        if self == Format::Int4 { GROUP / self.activation().step_cols() } else { 1 }
    }

    /// Bytes of a matrix.
    pub(crate) fn bytes(self, rows: usize, cols: usize) -> usize {
        rows.div_ceil(PANEL_ROWS) * self.panel_bytes(cols)
    }
}

/// What activations are made into before they are multiplied. All are words of 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// One f32.
    Single,
    /// Two bfloats, the earlier column in the upper half.
    Bfloats,
    /// Bytes of four columns: the lower ones of x / scale + offset; apart from them the upper ones, which few columns have.
    Bytes,
    /// Signed bytes of four columns: the lower ones of x / scale; apart from them the upper ones, which few columns have, and sums of groups.
    Groups,
}

impl Activation {
    /// Each row has a scale, which is known when all of it is.
    pub(crate) fn is_scaled(self) -> bool {
        match self {
            Activation::Single | Activation::Bfloats => false,
            Activation::Bytes | Activation::Groups => true,
        }
    }

    /// Columns that one step of a kernel takes.
    fn step_cols(self) -> usize {
        match self {
            Activation::Single => 1,
            Activation::Bfloats => 2,
            Activation::Bytes | Activation::Groups => 4,
        }
    }

    /// Steps over `cols` columns; at four bits whole pairs of groups.
    fn steps(self, cols: usize) -> usize {
        match self {
            Activation::Single | Activation::Bfloats | Activation::Bytes => cols.div_ceil(self.step_cols()),
            Activation::Groups => cols.div_ceil(2 * GROUP) * (2 * GROUP / 4),
        }
    }
}

/// Steps of a kernel that follow one another, of all that lead over the columns of a matrix. Where several tiles are multiplied by a panel,
/// it may be done block by block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    steps: Range<usize>,
    all: usize,
}

impl Block {
    /// The blocks of a matrix of `cols` columns, in order, each of about so many bytes of a panel; or all of it as one.
    pub(crate) fn all(format: Format, cols: usize, bytes: Option<usize>) -> impl Iterator<Item = Self> {
        let all = format.activation().steps(cols);
        Self::of_steps(all, bytes.map_or(all.max(1), |bytes| (bytes / format.steps_bytes()).max(1) * STEPS))
    }

    /// Of so many steps each, for `all` steps.
    fn of_steps(all: usize, each: usize) -> impl Iterator<Item = Self> {
        (0..all).step_by(each).map(move |first| Self { steps: first..(first + each).min(all), all })
    }

    fn begins(&self) -> bool {
        self.steps.start == 0
    }

    /// It is the last.
    pub(crate) fn ends(&self) -> bool {
        self.steps.end == self.all
    }

    /// Bytes of its weights in a panel.
    pub(crate) fn bytes(&self, format: Format) -> usize {
        Self::bytes_before(format, self.steps.len())
    }

    /// Bytes of the first `steps` steps.
    fn bytes_before(format: Format, steps: usize) -> usize {
        steps * format.steps_bytes() / STEPS
    }

    /// Its columns; behind the matrix's last there may be some more, whose weights are 0.
    fn cols(&self, format: Format) -> Range<usize> {
        let each = format.activation().step_cols();
        self.steps.start * each..self.steps.end * each
    }
}

/// A packed matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panels<'a> {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    bytes: &'a [u8],
}

impl<'a> Panels<'a> {
    /// `bytes` must be as long as the format says.
    pub(crate) fn new(format: Format, rows: usize, cols: usize, bytes: &'a [u8]) -> Self {
        assert!(cols <= COLS_MAX, "sums over {cols} columns do not fit 32 bits");
        assert_eq!(bytes.len(), format.bytes(rows, cols), "a {format:?} matrix of {rows} × {cols}");
        Self { format, rows, cols, bytes }
    }

    /// Panel `number`.
    fn panel(&self, number: usize) -> &'a [u8] {
        let size = self.format.panel_bytes(self.cols);
        &self.bytes[number * size..][..size]
    }

    /// A block of panel `number`, for `tiles` tiles.
    pub(crate) fn part<'b>(&self, number: usize, block: &'b Block, tiles: usize) -> Part<'b>
    where
        'a: 'b,
    {
        let panel = self.panel(number);
        let (weights, tail) = panel.split_at(if self.format == Format::Int8 { panel.len() - 256 } else { panel.len() });
        let weights = &weights[Block::bytes_before(self.format, block.steps.start)..][..block.bytes(self.format)];
        // The next panel.
        let unit = self.format.unit_steps();
        let stride = self.format.steps_bytes() * unit / STEPS;
        let lines = Lines { at: weights.as_ptr_range().end, units: block.steps.len() / unit, stride };
        Part::new(self.format, (weights, tail), block, tiles, if tiles > 1 { Seen::Lines(lines) } else { Seen::Ahead })
    }
}

/// A packed matrix, however it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layout<'a> {
    Panels(Panels<'a>),
    Bands(Bands<'a>),
}

impl Layout<'_> {
    pub(crate) fn format(&self) -> Format {
        match self {
            Layout::Panels(panels) => panels.format,
            Layout::Bands(bands) => bands.format,
        }
    }

    /// (rows, cols)
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            Layout::Panels(panels) => (panels.rows, panels.cols),
            Layout::Bands(bands) => (bands.rows, bands.cols),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ops::Tier;
    use half::bf16;
    use proptest::prelude::*;

    pub(super) const FORMATS: [Format; 6] = [Format::F32, Format::F16, Format::Bf16Wide, Format::Bf16, Format::Int8, Format::Int4];

    #[derive(Debug, Clone)]
    pub(super) struct Case {
        pub(super) rows: usize,
        pub(super) cols: usize,
        pub(super) w: Vec<f32>,
        pub(super) x: Vec<f32>,
    }

    /// Odd sizes included: 1, a step − 1, a step, a step + 1, a group and a tail, more rows than a panel.
    pub(super) fn any_case() -> impl Strategy<Value = Case> {
        let cols = prop_oneof![
            Just(1usize),
            Just(3),
            Just(4),
            Just(5),
            Just(31),
            Just(32),
            Just(33),
            Just(255),
            Just(256),
            Just(257),
            Just(515),
            1usize..150
        ];
        let rows = prop_oneof![Just(1usize), Just(31), Just(32), Just(33), 1usize..70, Just(290)];
        // Some columns may stand out.
        let outlier = prop_oneof![Just(1f32), Just(20.0), Just(1e3), Just(1e6)];
        (rows, cols, 1usize..30, any::<bool>(), -3i32..4, outlier, 2usize..90).prop_flat_map(
            |(rows, cols, batch, relu, size, outlier, every)| {
                let scale = 10f32.powi(size);
                let numbers = move |n| proptest::collection::vec((-1f32..1.0).prop_map(move |v| v * scale), n);
                (numbers(rows * cols), numbers(batch * cols)).prop_map(move |(w, mut x)| {
                    x.iter_mut().enumerate().filter(|(place, _)| (place % cols).is_multiple_of(every)).for_each(|(_, x)| *x *= outlier);
                    Case { rows, cols, w, x: if relu { x.into_iter().map(|x| x.max(0.0)).collect() } else { x } }
                })
            },
        )
    }

    /// (batch, rows), computed panel by panel.
    fn run(tier: Tier, w: &Panels<'_>, x: &[f32]) -> Vec<f32> {
        let (mut packed, kind) = (Activations::default(), w.format.activation());
        let (memory, tile, rows) = packed.room(kind, x.len() / w.cols, w.cols, simd::tile_rows_max(tier, kind));
        for (tile, x) in memory.chunks_mut(tile).zip(x.chunks(rows * w.cols)) {
            pack_tile(tier, kind, x, w.cols, tile);
        }
        let mut y = vec![f32::NAN; packed.rows() * w.rows];
        let tiles = packed.tiles().count();
        for panel in 0..w.rows.div_ceil(PANEL_ROWS) {
            // As a panel among two.
            let stride = 2 * PANEL_ROWS;
            let mut out = vec![f32::NAN; packed.rows() * stride];
            let mut raw = vec![i32::MAX; 2 * out.len()];
            for block in Block::all(w.format, w.cols, (tiles > 1).then_some(1 << 10)) {
                let (mut first, mut part) = (0, w.part(panel, &block, tiles));
                for tile in packed.tiles() {
                    let at = first * stride + PANEL_ROWS;
                    let mut sums = simd::Sums { out: &mut out[at..], stride, raw: &mut raw[2 * at..] };
                    simd::multiply(tier, &mut part, (&tile, None), &mut sums);
                    first += tile.rows;
                }
            }
            for (m, out) in out.chunks(stride).enumerate() {
                let n = panel * PANEL_ROWS;
                let width = (w.rows - n).min(PANEL_ROWS);
                y[m * w.rows + n..][..width].copy_from_slice(&out[PANEL_ROWS..][..width]);
            }
        }
        y
    }

    proptest! {
        #[test]
        fn every_tier_gives_the_bits_of_the_reference_in_any_batch(case in any_case()) {
            for format in FORMATS {
                let mut bytes = vec![0; format.bytes(case.rows, case.cols)];
                pack::pack_rows(format, &case.w, case.rows, case.cols, &mut bytes);
                let w = Panels::new(format, case.rows, case.cols, &bytes);
                let expected: Vec<f32> = case.x.chunks(case.cols).flat_map(|x| reference::linear(format, &case.w, x)).collect();
                for tier in Tier::available() {
                    let found = run(tier, &w, &case.x);
                    prop_assert_eq!(&found, &expected, "{:?} {:?}", format, tier);
                }
            }
        }

        #[test]
        fn a_row_is_read_back_as_it_was_rounded(case in any_case()) {
            for format in FORMATS {
                let mut bytes = vec![0; format.bytes(case.rows, case.cols)];
                pack::pack_rows(format, &case.w, case.rows, case.cols, &mut bytes);
                let w = Panels::new(format, case.rows, case.cols, &bytes);
                for (n, row) in case.w.chunks(case.cols).enumerate() {
                    let mut found = vec![f32::NAN; case.cols];
                    w.row(n, &mut found);
                    prop_assert_eq!(found, reference::rounded(format, row), "{:?}", format);
                }
            }
        }

        #[test]
        fn rounding_stays_within_what_the_format_promises(row in proptest::collection::vec(-1f32..1.0, 1..200)) {
            let highest = row.iter().fold(0f32, |highest, w| highest.max(w.abs()));
            for (format, bound) in [
                (Format::F32, 0.0), (Format::F16, 2f32.powi(-11)), (Format::Bf16, 2f32.powi(-8)),
                // Half a step, and at four bits the rounding of scale and zero point besides.
                (Format::Int8, 0.501 / 127.0 * highest), (Format::Int4, 1.01 / 15.0 * 2.0 * highest),
            ] {
                for (rounded, w) in reference::rounded(format, &row).iter().zip(&row) {
                    prop_assert!((rounded - w).abs() <= bound, "{format:?}: {w} became {rounded}");
                }
            }
        }
    }

    #[test]
    fn rows_that_are_no_numbers_or_as_good_as_zero_leave_those_beside_them_alone() {
        let (rows, cols) = (40, 70);
        let w: Vec<f32> = (0..rows * cols).map(|place| (place * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let ordinary: Vec<f32> = (0..cols).map(|col| if col == 9 { -700.0 } else { (col * 29 % 31) as f32 - 15.0 }).collect();
        let with = |number: f32| ordinary.iter().enumerate().map(move |(col, x)| if col == 40 { number } else { *x }).collect::<Vec<f32>>();
        let none = [[-0.0; 70], [1e-40; 70], [0.0; 70], [-1e-31; 70]];
        for format in [Format::Int8, Format::Int4] {
            let mut bytes = vec![0; format.bytes(rows, cols)];
            pack::pack_rows(format, &w, rows, cols, &mut bytes);
            let panels = Panels::new(format, rows, cols, &bytes);
            let expected = reference::linear(format, &w, &ordinary);
            for tier in Tier::available() {
                for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let x = [&with(wrong)[..], &ordinary, &with(-wrong)].concat();
                    let found = run(tier, &panels, &x);
                    assert_eq!(&found[rows..2 * rows], &expected, "{format:?} {tier:?} beside {wrong}");
                    let others = found[..rows].iter().chain(&found[2 * rows..]);
                    assert!(others.clone().all(|y| y.is_nan()), "{format:?} {tier:?} with {wrong}: {others:?}");
                }
                let found = run(tier, &panels, &[none.as_flattened(), &ordinary].concat());
                assert_eq!(&found[4 * rows..], &expected, "{format:?} {tier:?} beside zeros");
                assert!(found[..4 * rows].iter().all(|y| *y == 0.0), "{format:?} {tier:?}: {found:?}");
            }
        }
    }

    /// By scaling to the highest alone the error would be five times the bound.
    #[test]
    fn columns_that_stand_out_keep_their_bits_and_leave_the_others_theirs() {
        let (rows, cols) = (64, 1024);
        let number = |place: usize| ((place as u32).wrapping_mul(0x9e37_79b9) >> 8) as f32 / (1 << 23) as f32 - 1.0;
        let w: Vec<f32> = (0..rows * cols).map(number).collect();
        let x: Vec<f32> = (0..cols).map(|col| number(rows * cols + col) * if col % 200 == 7 { 90.0 } else { 1.0 }).collect();
        for format in [Format::Int8, Format::Int4] {
            let found = reference::linear(format, &w, &x);
            let (mut error, mut weight) = (0.0, 0.0);
            for (row, found) in w.chunks(cols).zip(found) {
                let row = reference::rounded(format, row);
                let exact: f64 = row.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                error += (f64::from(found) - exact).powi(2);
                weight += row.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>();
            }
            // The root mean square, of each number of x.
            assert!((error / weight).sqrt() < 0.04, "{format:?}: {}", (error / weight).sqrt());
        }
    }

    #[test]
    fn packed_bytes_are_those_of_their_version() {
        let (rows, cols) = (40, 300);
        let w: Vec<f32> = (0..rows * cols).map(|place| bf16::from_f32((place * 7919 % 2003) as f32 / 1024.0 - 0.97).to_f32()).collect();
        let mut all = blake3::Hasher::new();
        for format in FORMATS {
            let mut bytes = vec![0; format.bytes(rows, cols)];
            pack::pack_rows(format, &w, rows, cols, &mut bytes);
            all.update(&bytes);
            bytes.fill(0);
            bands::pack_rows(format, &w, rows, cols, &mut bytes);
            all.update(&bytes);
        }
        // Where this fails, what users have kept on their disks is no longer what the kernels read: raise PACKING_VERSION.
        assert_eq!((PACKING_VERSION, &all.finalize().to_hex()[..16]), (3, "3a1e3224af25e99c"));
    }
}
