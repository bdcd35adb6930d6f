//! The kernels on bands, written once for vectors of any width and compiled for every tier.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "sums are told by number, so that the compiler gives each a register")]

use std::cell::Cell;
use std::ops::Range;

use super::{Bands, Columns, whole};
use crate::ops::Tier;
use crate::ops::linear::{Activations, Format, PANEL_ROWS, STEPS, TILE_ROWS_MAX, Tile};
#[cfg(target_arch = "x86_64")]
use crate::ops::vector::simd::{Avx2, Avx512, Avx512Bf16Vnni};
use crate::ops::vector::simd::{Portable, Vector};

/// The most tokens of a tile here: as many as leave all sums in registers.
pub(crate) fn tile_rows_max(tier: Tier, format: Format) -> usize {
    match (tier, format) {
        (Tier::Plain | Tier::Avx2, _) => 1,
        (Tier::Avx512 | Tier::Avx512Bf16Vnni, Format::F32 | Format::F16 | Format::Bf16Wide | Format::Bf16) => TILE_ROWS_MAX,
        (Tier::Avx512Bf16Vnni, Format::Int8) => TILE_ROWS_MAX,
        (Tier::Avx512, Format::Int8) => 6,
        (Tier::Avx512 | Tier::Avx512Bf16Vnni, Format::Int4) => 1,
    }
}

/// Columns are taken block by block, so that all panels of a band, and all tiles, find in the second cache what was asked for while the
/// block before was multiplied. (Tests have small matrices and want several blocks.)
const BLOCK_BYTES: usize = if cfg!(test) { 1 << 10 } else { 128 << 10 };
/// At eight bits, the most rows for which two panels are multiplied together: so many as leave all sums in registers.
const PAIRED_ROWS_MAX: usize = 6;
/// What is asked for at once where a thread begins.
const FIRST_BYTES: usize = 32 << 10;

/// Which panels are multiplied, all of one band.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) panels: Range<usize>,
    /// What the same thread will multiply next: the first of those panels.
    pub(crate) next: usize,
    /// Nobody has asked for its first columns yet.
    pub(crate) is_first: bool,
}

/// out (tokens, 32 · panels) = x, which are the numbers of `columns`, by the panels of a unit; without bias. The tier must come from
/// [`Tier::available`]. Rows past the matrix give 0.
pub(crate) fn multiply(tier: Tier, w: &Bands<'_>, unit: &Unit, columns: &Columns, x: &Activations, out: &mut [f32]) {
    let (panels, column_bytes) = (unit.panels.len(), w.format.column_bytes());
    let (number, first) = (unit.panels.start / w.panels(), unit.panels.start % w.panels());
    let band = w.band(number);
    assert!(panels > 0 && first + panels <= band.panels, "panels {:?} must be of one band", unit.panels);
    assert_eq!(out.len(), x.rows() * panels * PANEL_ROWS, "out must be tokens × {PANEL_ROWS} × panels");
    let kind = w.format.activation();
    assert_eq!(columns.count() % kind.step_cols(), 0, "columns must be whole steps");
    let steps = columns.count() / kind.step_cols();
    // Invariant: places ascend (`Columns::find`), so all lie in the band if the last does.
    let last = columns.places.last().map_or(0, |place| *place as usize);
    assert!(band.panels * (last + column_bytes) <= band.bytes.len(), "columns must lie in the band");
    let run_bytes = panels * column_bytes;
    let mut raw = vec![0; if w.format == Format::Int8 { 2 * out.len() } else { 0 }];
    out.fill(0.0);
    let steps_max = (BLOCK_BYTES / run_bytes / kind.step_cols()).max(1);
    let asking = Cell::new(Asking { number: if unit.is_first { 0 } else { steps_max.min(steps) * kind.step_cols() }, line: 0 });
    let first_lines = if unit.is_first { FIRST_BYTES / 64 } else { 0 };
    let mut block = Block::default();
    while !block.ends {
        block = block.next(columns, steps, steps_max);
        // By the end of this block the next should have been asked for.
        let columns_left =
            (block.steps.end + block.steps.len()) * kind.step_cols() - asking.get().number.min(block.steps.end * kind.step_cols());
        let lines = columns_left * run_bytes.div_ceil(64);
        let mut at = 0;
        for (turn, tile) in x.tiles().enumerate() {
            assert_eq!((tile.kind, tile.cols), (kind, columns.count()), "activations packed from these columns");
            assert_eq!(tile.words.len(), steps.next_multiple_of(STEPS) * tile.rows, "words of a tile");
            assert!(w.format != Format::Int4 || tile.uppers.len() == tile.words.len(), "upper bytes of a tile");
            assert!(tile.offsets.iter().all(|offset| *offset == 0), "no number is negative, so nothing was added to any");
            let length = tile.rows * panels * PANEL_ROWS;
            let job = Job {
                band: band.bytes.as_ptr(),
                band_bytes: band.bytes.len(),
                of: band.panels,
                first,
                panels,
                next: w.first_line(unit.next),
                run_bytes,
                at_once: if turn == 0 && block.steps.start == 0 { first_lines } else { 0 },
                lines: lines.div_ceil(x.tiles().count() * block.steps.len()),
                asking: &asking,
                columns,
                x: &tile,
                out: out[at..at + length].as_mut_ptr(),
                raw: raw.get_mut(2 * at..2 * (at + length)).map_or(std::ptr::null_mut(), <[i32]>::as_mut_ptr),
                block: &block,
            };
            // SAFETY: a tier is only made where this CPU was seen to have its instructions; the band is as long as format and cols say,
            // the columns lie in it, and tile, out and raw are as long as columns, rows and panels say (checked above).
            unsafe {
                match tier {
                    Tier::Plain => plain::run(w.format, &job),
                    #[cfg(target_arch = "x86_64")]
                    Tier::Avx2 => avx2::run(w.format, &job),
                    #[cfg(target_arch = "x86_64")]
                    Tier::Avx512 => avx512::run(w.format, &job),
                    #[cfg(target_arch = "x86_64")]
                    Tier::Avx512Bf16Vnni => avx512_bf16_vnni::run(w.format, &job),
                    #[cfg(not(target_arch = "x86_64"))]
                    Tier::Avx2 | Tier::Avx512 | Tier::Avx512Bf16Vnni => {
                        unreachable!("a tier is only made where its instructions were seen")
                    }
                }
            }
            at += length;
        }
    }
}

/// The columns that are taken at once: steps, of a group or of several at four bits.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) steps: Range<usize>,
    pub(super) groups: Range<usize>,
    /// It is the last.
    pub(super) ends: bool,
}

impl Block {
    /// The one behind it, of about `steps_max` steps.
    fn next(&self, columns: &Columns, steps: usize, steps_max: usize) -> Self {
        let first = self.steps.end;
        if columns.groups.is_empty() {
            // Whole blocks of words.
            let end = (first + steps_max.next_multiple_of(STEPS)).min(steps);
            return Self { steps: first..end, groups: 0..0, ends: end == steps };
        }
        let (mut end, mut group) = (first, self.groups.end);
        while group < columns.groups.len() && end - first < steps_max {
            end += columns.groups[group].1 as usize;
            group += 1;
        }
        Self { steps: first..end, groups: self.groups.end..group, ends: group == columns.groups.len() }
    }
}

/// What a kernel works on.
pub(super) struct Job<'a> {
    pub(super) band: *const u8,
    pub(super) band_bytes: usize,
    /// Panels of the band.
    pub(super) of: usize,
    /// The first to multiply, and how many.
    pub(super) first: usize,
    pub(super) panels: usize,
    /// The first line of what is multiplied next, if anything is.
    next: *const u8,
    /// Bytes of a column in these panels.
    run_bytes: usize,
    /// Cache lines to ask for before anything is done.
    pub(super) at_once: usize,
    /// Cache lines to ask for beside one step of all panels.
    pub(super) lines: usize,
    pub(super) asking: &'a Cell<Asking>,
    pub(super) columns: &'a Columns,
    pub(super) x: &'a Tile<'a>,
    /// (rows, 32 · panels), to which is added
    pub(super) out: *mut f32,
    /// At eight bits, to which is added instead: two sums for each number of `out`, those of a pair of panels together.
    pub(super) raw: *mut i32,
    pub(super) block: &'a Block,
}

impl Job<'_> {
    /// The numbers of `panel` (one of those to multiply) in the column at `place`.
    #[inline(always)]
    unsafe fn column(&self, place: u32, panel: usize, column_bytes: usize) -> *const u8 {
        // SAFETY: places lie in the band.
        unsafe { self.band.add(place as usize * self.of + (self.first + panel) * column_bytes) }
    }

    /// The same of four columns, the first of them that of place `number`.
    #[inline(always)]
    pub(super) unsafe fn four_columns(&self, number: usize, panel: usize, column_bytes: usize) -> [*const u8; 4] {
        let places = &self.columns.places;
        // SAFETY: there is a place for every column of a step.
        unsafe {
            [
                self.column(*places.get_unchecked(number), panel, column_bytes),
                self.column(*places.get_unchecked(number + 1), panel, column_bytes),
                self.column(*places.get_unchecked(number + 2), panel, column_bytes),
                self.column(*places.get_unchecked(number + 3), panel, column_bytes),
            ]
        }
    }

    /// Asks for so many cache lines from `asking` on, of columns in this unit, then of the next. (No closures here: one that is compiled by
    /// itself is called, and a call costs all vectors their registers.)
    #[inline(always)]
    pub(super) unsafe fn ask<V: Vector>(&self, asking: &mut Asking, lines: usize, column_bytes: usize) {
        let places = &self.columns.places;
        for _ in 0..lines {
            // SAFETY: the tier's instructions, passed on to the caller; the column lies in the band, and asking for anything else does
            // nothing.
            unsafe {
                let run = if let Some(place) = places.get(asking.number) {
                    self.column(*place, 0, column_bytes)
                } else if let Some(place) = places.get(asking.number - places.len()) {
                    self.next.wrapping_add(*place as usize * self.of)
                } else {
                    return;
                };
                V::prefetch_l2(run.wrapping_add(asking.line));
            }
            asking.line += 64;
            if asking.line >= self.run_bytes {
                *asking = Asking { number: asking.number + 1, line: 0 };
            }
        }
    }
}

/// What is asked for next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    /// Which of the columns.
    number: usize,
    /// How far in it.
    line: usize,
}

/// One step of a kernel that sums in f32.
trait Step {
    /// Bytes of one number.
    const BYTES: usize;
    /// Columns.
    const COLS: usize;
    type Weight<V: Vector>: Copy;
    /// As many lanes of each of its columns, which begin at `columns`.
    unsafe fn load<V: Vector>(columns: [*const u8; 2], at: usize) -> Self::Weight<V>;
    unsafe fn add<V: Vector>(sum: V::F, weight: Self::Weight<V>, x: u32) -> V::F;
}

macro_rules! widened {
    ($name:ident, $bytes:literal, $load:ident) => {
        struct $name;
        impl Step for $name {
            const BYTES: usize = $bytes;
            const COLS: usize = 1;
            type Weight<V: Vector> = V::F;
            #[inline(always)]
            unsafe fn load<V: Vector>(columns: [*const u8; 2], at: usize) -> V::F {
                unsafe { V::$load(columns[0].add(at)) }
            }
            #[inline(always)]
            unsafe fn add<V: Vector>(sum: V::F, weight: V::F, x: u32) -> V::F {
                unsafe { V::fma(weight, V::splat(f32::from_bits(x)), sum) }
            }
        }
    };
}
widened!(Singles, 4, load_f32);
widened!(Halves, 2, load_f16);
widened!(Bfloats, 2, load_bf16);

/// Two bfloats at once, by the same instruction as on panels.
struct Pairs;
impl Step for Pairs {
    const BYTES: usize = 2;
    const COLS: usize = 2;
    type Weight<V: Vector> = V::I;
    #[inline(always)]
    unsafe fn load<V: Vector>(columns: [*const u8; 2], at: usize) -> V::I {
        unsafe { V::upper_and_lower(V::load_u16(columns[0].add(at)), V::load_u16(columns[1].add(at))) }
    }
    #[inline(always)]
    unsafe fn add<V: Vector>(sum: V::F, weight: V::I, x: u32) -> V::F {
        unsafe { V::dot_bf16(sum, weight, V::splat_i(x)) }
    }
}

/// The tile's words of the steps of this block, so many at a time, with the first of the steps they are for and their number.
#[inline(always)]
pub(super) fn blocks<'a>(job: &Job<'a>, words: usize) -> impl Iterator<Item = (usize, *const u32, usize)> + use<'a> {
    let Range { start, end } = job.block.steps;
    let blocks = job.x.words.chunks_exact(words).enumerate().skip(start / STEPS).take((end - start).div_ceil(STEPS));
    blocks.map(move |(number, words)| (number * STEPS, words.as_ptr(), STEPS.min(end - number * STEPS)))
}

/// Which number of `out` is the first of lane `n` of panel `panel` for row m of the tile.
#[inline(always)]
pub(super) fn place<V: Vector>(job: &Job<'_>, m: usize, panel: usize, n: usize) -> usize {
    (m * job.panels + panel) * PANEL_ROWS + n * V::LANES
}

/// Does something for every row, panel and vector.
macro_rules! each {
    ($rows:expr, $panels:expr, $vectors:expr, |$m:ident, $b:ident, $n:ident| $body:expr) => {
        for $m in 0..$rows {
            for $b in 0..$panels {
                for $n in 0..$vectors {
                    $body
                }
            }
        }
    };
}
pub(super) use each;

/// B panels from `panel` on, N vectors in each; M rows of activations.
#[inline(always)]
unsafe fn float<V: Vector, S: Step, const N: usize, const M: usize, const B: usize>(job: &Job<'_>, panel: usize) {
    let column_bytes = PANEL_ROWS * S::BYTES;
    let places = &job.columns.places;
    // SAFETY: every place is that of a column of the band, which has 32 numbers for each panel; the tile has M words for every step.
    unsafe {
        let (mut asking, lines) = (job.asking.get(), (job.lines * B).div_ceil(job.panels));
        if panel == 0 {
            job.ask::<V>(&mut asking, job.at_once, column_bytes);
        }
        let mut sums = [[[V::zero(); N]; B]; M];
        each!(M, B, N, |m, b, n| sums[m][b][n] = V::load_f32(job.out.add(place::<V>(job, m, panel + b, n)).cast()));
        for (first, x, steps) in blocks(job, M * STEPS) {
            for step in 0..steps {
                let number = (first + step) * S::COLS;
                job.ask::<V>(&mut asking, lines, column_bytes);
                let [one, other] = [*places.get_unchecked(number), *places.get_unchecked(number + S::COLS - 1)];
                let columns = [job.column(one, panel, column_bytes), job.column(other, panel, column_bytes)];
                for b in 0..B {
                    let mut weights = [S::load::<V>(columns, b * column_bytes); N];
                    for n in 1..N {
                        weights[n] = S::load::<V>(columns, b * column_bytes + n * V::LANES * S::BYTES);
                    }
                    for m in 0..M {
                        let x = *x.add(m * STEPS + step);
                        for n in 0..N {
                            sums[m][b][n] = S::add::<V>(sums[m][b][n], weights[n], x);
                        }
                    }
                }
            }
        }
        job.asking.set(asking);
        each!(M, B, N, |m, b, n| V::store(job.out.add(place::<V>(job, m, panel + b, n)), sums[m][b][n]));
    }
}

/// The kernels of one tier: for each number of rows a tile may have, for how many panels at once, the most first. Vectors: of 32
/// numbers, and of 64 bytes.
macro_rules! tier {
    ($module:ident, $vector:ty, $vectors:literal, $byte_vectors:literal, [$(#[$features:meta])?], [$($float:literal: $($panels:literal)+),+], [$($int8:literal: $($pairs:literal)*),+]) => {
        mod $module {
            use super::*;

            $(#[$features])?
            unsafe fn float<S: Step, const M: usize, const B: usize>(job: &Job<'_>, panel: usize) {
                // SAFETY: passed on to the caller.
                unsafe { super::float::<$vector, S, $vectors, M, B>(job, panel) }
            }

            $(#[$features])?
            unsafe fn int8<const M: usize, const B: usize>(job: &Job<'_>, panel: usize) {
                // SAFETY: passed on to the caller.
                unsafe { whole::simd::int8::<$vector, $byte_vectors, M, B>(job, panel) }
            }

            /// A panel that has no other beside it, or too many rows for two.
            $(#[$features])?
            unsafe fn int8_alone<const M: usize>(job: &Job<'_>, panel: usize) {
                // SAFETY: passed on to the caller.
                unsafe { whole::simd::int8::<$vector, { $byte_vectors / 2 }, M, 1>(job, panel) }
            }

            /// What is left of a tile at eight bits when lower bytes have been multiplied: the upper ones, and behind the last block what it
            /// all means. In pairs of panels as before, since their lanes lie in another order.
            $(#[$features])?
            unsafe fn complete_int8(job: &Job<'_>) {
                let paired = if job.x.rows > PAIRED_ROWS_MAX { 0 } else { job.panels / 2 * 2 };
                // SAFETY: passed on to the caller.
                unsafe {
                    (0..paired).step_by(2).for_each(|panel| whole::simd::complete_int8::<$vector, $byte_vectors>(job, panel));
                    (paired..job.panels).for_each(|panel| whole::simd::complete_int8::<$vector, { $byte_vectors / 2 }>(job, panel));
                }
            }

            $(#[$features])?
            unsafe fn int4(job: &Job<'_>, panel: usize) {
                // SAFETY: passed on to the caller.
                unsafe { whole::simd::int4::<$vector, $byte_vectors>(job, panel) }
            }

            $(#[$features])?
            unsafe fn int4_last(job: &Job<'_>, panel: usize) {
                // SAFETY: passed on to the caller.
                unsafe { whole::simd::int4::<$vector, { $byte_vectors / 4 }>(job, panel) }
            }

            unsafe fn floats<S: Step>(job: &Job<'_>) {
                let mut panel = 0;
                match job.x.rows {
                    // SAFETY: passed on to the caller.
                    $($float => unsafe { $(while job.panels - panel >= $panels {
                        float::<S, $float, $panels>(job, panel);
                        panel += $panels;
                    })+ },)+
                    rows => unreachable!("a tile of {rows} rows"),
                }
            }

            /// # Safety
            /// The tier's instructions, and a job whose lengths are those of the format.
            pub(super) unsafe fn run(format: Format, job: &Job<'_>) {
                let mut panel = 0;
                // SAFETY: passed on to the caller.
                unsafe {
                    match format {
                        Format::F32 => floats::<Singles>(job),
                        Format::F16 => floats::<Halves>(job),
                        Format::Bf16Wide => floats::<Bfloats>(job),
                        Format::Bf16 => floats::<Pairs>(job),
                        Format::Int8 => {
                            match job.x.rows {
                                $($int8 => {
                                    $(while job.panels - panel >= 2 * $pairs {
                                        int8::<$int8, $pairs>(job, panel);
                                        panel += 2 * $pairs;
                                    })*
                                    while panel < job.panels {
                                        int8_alone::<$int8>(job, panel);
                                        panel += 1;
                                    }
                                })+
                                rows => unreachable!("a tile of {rows} rows"),
                            }
                            complete_int8(job);
                        }
                        Format::Int4 => {
                            while job.panels - panel >= 4 {
                                int4(job, panel);
                                panel += 4;
                            }
                            while panel < job.panels {
                                int4_last(job, panel);
                                panel += 1;
                            }
                        }
                    }
                }
            }
        }
    };
}

tier!(plain, Portable, 4, 8, [], [1: 1], [1: 1]);
#[cfg(target_arch = "x86_64")]
tier!(avx2, Avx2, 4, 8, [#[target_feature(enable = "avx2,fma,f16c")]], [1: 2 1], [1: 1]);
#[cfg(target_arch = "x86_64")]
tier!(
    avx512, Avx512, 2, 4, [#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]],
    [1: 8 4 2 1, 2: 4 2 1, 3: 4 2 1, 4: 2 1, 5: 2 1, 6: 2 1, 7: 1, 8: 1, 9: 1, 10: 1, 11: 1, 12: 1], [1: 2 1, 2: 2 1, 3: 2 1, 4: 1, 5: 1, 6: 1]
);
#[cfg(target_arch = "x86_64")]
tier!(
    avx512_bf16_vnni, Avx512Bf16Vnni, 2, 4,
    [#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c")]],
    [1: 8 4 2 1, 2: 4 2 1, 3: 4 2 1, 4: 2 1, 5: 2 1, 6: 2 1, 7: 1, 8: 1, 9: 1, 10: 1, 11: 1, 12: 1], [1: 2 1, 2: 2 1, 3: 2 1, 4: 1, 5: 1, 6: 1, 7:, 8:, 9:, 10:, 11:, 12:]
);
