//! The kernels on bands, written once for vectors of any width and compiled for every tier.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "sums are told by number, so that the compiler gives each a register")]

use std::ops::Range;

use super::{Bands, Columns, whole};
use crate::ops::Tier;
use crate::ops::linear::simd::Sums;
use crate::ops::linear::{Activations, Format, PANEL_ROWS, STEPS, TILE_ROWS_MAX, Tile};
#[cfg(target_arch = "x86_64")]
use crate::ops::vector::simd::{Avx2, Avx512, Avx512Bf16Vnni};
use crate::ops::vector::simd::{Portable, Vector};

/// The most tokens of a tile here, by so many panels at a time.
pub(crate) fn tile_rows_max(format: Format, panels: usize) -> usize {
    match format {
        Format::F32 | Format::F16 | Format::Bf16Wide | Format::Bf16 | Format::Int8 => TILE_ROWS_MAX,
        // Their sums of a group stay in the first cache.
        Format::Int4 => ((32 << 10) / (panels * PANEL_ROWS * size_of::<i32>())).clamp(1, 6),
    }
}

/// Columns are taken block by block, so that what else a tile needs of them, or other tiles, find them in the second cache. (Tests have
/// small matrices and want several blocks.)
const BLOCK_BYTES: usize = if cfg!(test) { 1 << 10 } else { 64 << 10 };
/// At eight bits, the most rows whose sums stay in the first cache; those of more are read and written for more steps at once.
const FEW_ROWS: usize = 8;
/// How far ahead columns are asked for, at least. (At four bits by phases of a group: see [`whole::simd::Phase`].)
const AHEAD_BYTES: usize = 8 << 10;

/// Which panels are multiplied, all of one band.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) panels: Range<usize>,
    /// What the same thread will multiply next: the first of those panels.
    pub(crate) next: usize,
}

/// Whole numbers that are kept for each sum: at eight bits those of lower bytes and of upper ones, at four of a group.
pub(crate) fn raw_numbers(format: Format) -> usize {
    match format {
        Format::F32 | Format::F16 | Format::Bf16Wide | Format::Bf16 => 0,
        Format::Int8 => 2,
        Format::Int4 => 1,
    }
}

/// From the sums of a token to those of the next, for so many panels. An odd number of lines, so that those of up to twelve tokens that are added to
/// together lie in different places of a cache, and a write of one never looks like what is read of another (by the last twelve bits).
pub(crate) fn stride(panels: usize) -> usize {
    const APART: usize = 80;
    panels * PANEL_ROWS + APART
}

/// sums (tokens, 32 · panels) = x, which are the numbers of `columns`, by the panels of a unit; without bias. The tier must come from
/// [`Tier::available`]. Rows past the matrix give 0. Sums need not be zeroed; `raw` has [`raw_numbers`] for each: at eight
/// bits, of a tile, those of lower bytes, then those of upper ones.
pub(crate) fn multiply(tier: Tier, w: &Bands<'_>, unit: &Unit, columns: &Columns, x: &Activations, sums: &mut Sums<'_>) {
    let (panels, column_bytes) = (unit.panels.len(), w.format.column_bytes());
    let (number, first) = (unit.panels.start / w.panels(), unit.panels.start % w.panels());
    let band = w.band(number);
    assert!(panels > 0 && first + panels <= band.panels, "panels {:?} must be of one band", unit.panels);
    let Sums { out, stride, raw } = sums;
    let raw_numbers = raw_numbers(w.format);
    assert!(*stride >= panels * PANEL_ROWS && out.len() == x.rows() * *stride, "out must be tokens × {stride}");
    assert_eq!(raw.len(), raw_numbers * out.len(), "whole numbers for each of out");
    let kind = w.format.activation();
    assert_eq!(columns.count() % kind.step_cols(), 0, "columns must be whole steps");
    let steps = columns.count() / kind.step_cols();
    assert!(w.format != Format::Int4 || !columns.groups.is_empty(), "columns of a four bit matrix come in groups");
    // Invariant: places ascend (`Columns::find`), so all lie in the band if the last does.
    let last = columns.places.last().map_or(0, |place| *place as usize);
    assert!(band.panels * (last + column_bytes) <= band.bytes.len(), "columns must lie in the band");
    let run_bytes = panels * column_bytes;
    out.fill(0.0);
    raw.fill(0);
    let steps_max = (BLOCK_BYTES / run_bytes / kind.step_cols()).max(1);
    let mut block = Block::default();
    while !block.ends {
        block = block.next(columns, steps, steps_max);
        let mut at = 0;
        for tile in x.tiles() {
            assert_eq!((tile.kind, tile.cols), (kind, columns.count()), "activations packed from these columns");
            assert_eq!(tile.words.len(), steps.next_multiple_of(STEPS) * tile.rows, "words of a tile");
            assert!(w.format != Format::Int4 || tile.uppers.len() == tile.words.len(), "upper bytes of a tile");
            assert!(tile.offsets.iter().all(|offset| *offset == 0), "no number is negative, so nothing was added to any");
            let length = tile.rows * *stride;
            let job = Job {
                band: band.bytes.as_ptr(),
                band_bytes: band.bytes.len(),
                of: band.panels,
                first,
                panels,
                next: w.first_line(unit.next),
                ahead: AHEAD_BYTES.div_ceil(run_bytes * kind.step_cols()),
                columns,
                x: &tile,
                out: out[at..at + length].as_mut_ptr(),
                raw: raw.get_mut(raw_numbers * at..raw_numbers * (at + length)).map_or(std::ptr::null_mut(), <[i32]>::as_mut_ptr),
                stride: *stride,
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
    /// How many steps ahead columns are asked for, at least.
    pub(super) ahead: usize,
    pub(super) columns: &'a Columns,
    pub(super) x: &'a Tile<'a>,
    /// (rows, stride), to which is added
    pub(super) out: *mut f32,
    /// In whole numbers, to which is added first: at eight bits (2, rows, stride), lower bytes and upper ones; at four (rows, stride), those of a group
    pub(super) raw: *mut i32,
    pub(super) stride: usize,
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

    /// What is asked for of the column at place `number`, or if there are no more, of that of the next unit which is so many behind.
    #[inline(always)]
    unsafe fn column_ahead(&self, number: usize, column_bytes: usize) -> *const u8 {
        let places = &self.columns.places;
        match places.get(number) {
            // SAFETY: places lie in the band.
            Some(place) => unsafe { self.column(*place, 0, column_bytes) },
            None => {
                let place = places.get(number - places.len()).copied().unwrap_or_default();
                self.next.wrapping_add(place as usize * self.of)
            }
        }
    }
}

/// Asks for up to C columns that are farther on, line by line in the order in which they lie: in another order, memory is read at four fifths
/// of its speed.
pub(super) struct Ahead<const C: usize> {
    columns: [*const u8; C],
    column: usize,
    /// How far in it.
    at: usize,
    /// Bytes of each.
    bytes: usize,
}

impl<const C: usize> Ahead<C> {
    /// Of `count` columns, from that of place `number` on, these bytes. Behind the last come the first of the unit that is next.
    #[inline(always)]
    pub(super) unsafe fn new(job: &Job<'_>, (number, count): (usize, usize), bytes: Range<usize>, column_bytes: usize) -> Self {
        let mut columns = [job.next; C];
        // (No iterators here: with them a kernel was 5 % slower.)
        for c in 0..count.min(C) {
            // SAFETY: places lie in the band.
            columns[c] = unsafe { job.column_ahead(number + c, column_bytes) }.wrapping_add(bytes.start);
        }
        Self { columns, column: 0, at: 0, bytes: bytes.len() }
    }

    /// Of so many bytes from each of three places on.
    #[inline(always)]
    pub(super) fn of(places: [*const u8; 3], bytes: usize) -> Self {
        let mut columns = [places[2]; C];
        columns[..3].copy_from_slice(&places);
        Self { columns, column: 0, at: 0, bytes }
    }

    /// Asks for so many lines; behind the last of C columns for the first again.
    #[inline(always)]
    pub(super) unsafe fn ask<V: Vector>(&mut self, lines: usize) {
        for _ in 0..lines {
            // SAFETY: the caller's; the tier's instructions are its promise, too, and asking needs no memory of ours.
            unsafe { V::prefetch(self.columns.get_unchecked(self.column % C).wrapping_add(self.at)) };
            self.at += 64;
            if self.at >= self.bytes {
                (self.column, self.at) = (self.column + 1, 0);
            }
        }
    }
}

/// Does something for each pair of numbers.
macro_rules! each {
    ($many:expr, $more:expr, |$k:ident, $n:ident| $body:expr) => {
        for $k in 0..$many {
            for $n in 0..$more {
                $body
            }
        }
    };
}
pub(super) use each;

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
fn blocks<'a>(job: &Job<'a>, words: usize) -> impl Iterator<Item = (usize, *const u32, usize)> + use<'a> {
    let Range { start, end } = job.block.steps;
    let blocks = job.x.words.chunks_exact(words).enumerate().skip(start / STEPS).take((end - start).div_ceil(STEPS));
    blocks.map(move |(number, words)| (number * STEPS, words.as_ptr(), STEPS.min(end - number * STEPS)))
}

/// Adds K steps, from number `first` on, whose words begin at `x`, to the sums of some panels, N vectors at a time. Sums lie in the first cache, so
/// that columns can be read in the order in which they lie, whole; several steps at once, as sums are read and written with each.
#[inline(always)]
unsafe fn float<V: Vector, S: Step, const N: usize, const K: usize>(job: &Job<'_>, panels: Range<usize>, first: usize, x: *const u32) {
    const { assert!(K * S::COLS <= 8, "columns that are asked for at once") };
    if panels.is_empty() {
        return;
    }
    let column_bytes = PANEL_ROWS * S::BYTES;
    let (bytes, begin) = (N * V::LANES * S::BYTES, panels.start * column_bytes);
    // SAFETY: every place is that of a column of the band, which has 32 numbers for each panel; the tile has words of all its rows for every step,
    // and out so many rows of the unit's width; N vectors are whole lines of each column.
    unsafe {
        let mut columns = [[job.band; 2]; K];
        for k in 0..K {
            for c in 0..S::COLS {
                columns[k][c] = job.column(*job.columns.places.get_unchecked((first + k) * S::COLS + c), 0, column_bytes);
            }
        }
        let first_ahead = (first + job.ahead.next_multiple_of(K)) * S::COLS;
        let mut ahead = Ahead::<8>::new(job, (first_ahead, K * S::COLS), begin..panels.end * column_bytes, column_bytes);
        for at in (begin..panels.end * column_bytes).step_by(bytes) {
            ahead.ask::<V>(K * S::COLS * bytes / 64);
            let mut weights = [[S::load::<V>(columns[0], at); N]; K];
            each!(K, N, |k, n| weights[k][n] = S::load::<V>(columns[k], at + n * V::LANES * S::BYTES));
            for m in 0..job.x.rows {
                let (out, x) = (job.out.add(m * job.stride + at / S::BYTES), x.add(m * STEPS));
                let mut sums = [V::zero(); N];
                for n in 0..N {
                    sums[n] = V::load_f32(out.add(n * V::LANES).cast());
                }
                each!(K, N, |k, n| sums[n] = S::add::<V>(sums[n], weights[k][n], *x.add(k)));
                for n in 0..N {
                    V::store(out.add(n * V::LANES), sums[n]);
                }
            }
        }
    }
}

/// The kernels of one tier. Panels at once and their vectors, and steps at once, for sums in f32; vectors of 64 bytes, and steps at once, for few
/// rows and for more, for sums in whole numbers.
macro_rules! tier {
    ($module:ident, $vector:ty, [$(#[$features:meta])?], ($panels:literal, $vectors:literal, $steps:literal), ($byte_vectors:literal, $byte_steps:literal, $more_byte_steps:literal)) => {
        mod $module {
            use super::*;

            $(#[$features])?
            unsafe fn float<S: Step>(job: &Job<'_>) {
                let together = job.panels / $panels * $panels;
                for (first, x, steps) in blocks(job, job.x.rows * STEPS) {
                    let whole = steps / $steps * $steps;
                    // SAFETY: passed on to the caller.
                    unsafe {
                        for step in (0..whole).step_by($steps) {
                            super::float::<$vector, S, $vectors, $steps>(job, 0..together, first + step, x.add(step));
                            super::float::<$vector, S, { $vectors / $panels }, $steps>(job, together..job.panels, first + step, x.add(step));
                        }
                        for step in whole..steps {
                            super::float::<$vector, S, $vectors, 1>(job, 0..together, first + step, x.add(step));
                            super::float::<$vector, S, { $vectors / $panels }, 1>(job, together..job.panels, first + step, x.add(step));
                        }
                    }
                }
            }

            $(#[$features])?
            unsafe fn int8<const K: usize>(job: &Job<'_>) {
                let paired = job.panels / 2 * 2;
                for (first, x, steps) in blocks(job, job.x.rows * STEPS) {
                    let whole = steps / K * K;
                    // SAFETY: passed on to the caller.
                    unsafe {
                        for step in (0..whole).step_by(K) {
                            whole::simd::int8::<$vector, $byte_vectors, K>(job, 0..paired, first + step, x.add(step));
                            whole::simd::int8::<$vector, { $byte_vectors / 2 }, K>(job, paired..job.panels, first + step, x.add(step));
                        }
                        for step in whole..steps {
                            whole::simd::int8::<$vector, $byte_vectors, 1>(job, 0..paired, first + step, x.add(step));
                            whole::simd::int8::<$vector, { $byte_vectors / 2 }, 1>(job, paired..job.panels, first + step, x.add(step));
                        }
                    }
                }
            }

            /// What is left of a tile at eight bits when lower bytes have been multiplied: the upper ones, and behind the last block what it
            /// all means. In pairs of panels as before, since their lanes lie in another order.
            $(#[$features])?
            unsafe fn complete_int8(job: &Job<'_>) {
                let paired = job.panels / 2 * 2;
                // SAFETY: passed on to the caller.
                unsafe {
                    (0..paired).step_by(2).for_each(|panel| whole::simd::complete_int8::<$vector, $byte_vectors>(job, panel));
                    (paired..job.panels).for_each(|panel| whole::simd::complete_int8::<$vector, { $byte_vectors / 2 }>(job, panel));
                }
            }

            $(#[$features])?
            unsafe fn int4(job: &Job<'_>) {
                let (fours, others) = (0..job.panels / 4 * 4, job.panels / 4 * 4..job.panels);
                let mut phase = whole::simd::Phase::<$byte_steps>::first(job);
                // The one after the next is asked for, so that memory has something to do in all of them.
                let (mut asked, mut begin) = (phase.next(job).next(job), phase.first_step());
                while phase.group() < job.block.groups.end {
                    let first = phase.first_step();
                    // SAFETY: passed on to the caller.
                    unsafe {
                        let (ahead, of_others) = (asked.ahead(job, &fours, 4), asked.ahead(job, &others, 1));
                        match phase.steps() {
                            0 => {
                                let group = (phase.group(), begin..first);
                                whole::simd::complete_int4::<$vector, $byte_vectors>(job, fours.clone(), group.clone(), ahead);
                                whole::simd::complete_int4::<$vector, { $byte_vectors / 4 }>(job, others.clone(), group, of_others);
                                begin = first;
                            }
                            1 => {
                                whole::simd::int4::<$vector, $byte_vectors, 1>(job, fours.clone(), first, ahead);
                                whole::simd::int4::<$vector, { $byte_vectors / 4 }, 1>(job, others.clone(), first, of_others);
                            }
                            _ => {
                                whole::simd::int4::<$vector, $byte_vectors, $byte_steps>(job, fours.clone(), first, ahead);
                                whole::simd::int4::<$vector, { $byte_vectors / 4 }, $byte_steps>(job, others.clone(), first, of_others);
                            }
                        }
                    }
                    (phase, asked) = (phase.next(job), asked.next(job));
                }
            }

            /// # Safety
            /// The tier's instructions, and a job whose lengths are those of the format.
            pub(super) unsafe fn run(format: Format, job: &Job<'_>) {
                // SAFETY: passed on to the caller.
                unsafe {
                    match format {
                        Format::F32 => float::<Singles>(job),
                        Format::F16 => float::<Halves>(job),
                        Format::Bf16Wide => float::<Bfloats>(job),
                        Format::Bf16 => float::<Pairs>(job),
                        Format::Int8 => {
                            if job.x.rows > FEW_ROWS { int8::<$more_byte_steps>(job) } else { int8::<$byte_steps>(job) }
                            complete_int8(job);
                        }
                        Format::Int4 => int4(job),
                    }
                }
            }
        }
    };
}

tier!(plain, Portable, [], (1, 4, 1), (8, 1, 1));
#[cfg(target_arch = "x86_64")]
tier!(avx2, Avx2, [#[target_feature(enable = "avx2,fma,f16c")]], (1, 4, 2), (8, 1, 1));
#[cfg(target_arch = "x86_64")]
tier!(avx512, Avx512, [#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]], (2, 4, 4), (4, 2, 4));
#[cfg(target_arch = "x86_64")]
tier!(
    avx512_bf16_vnni, Avx512Bf16Vnni,
    [#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c")]],
    (2, 4, 4), (4, 2, 4)
);
