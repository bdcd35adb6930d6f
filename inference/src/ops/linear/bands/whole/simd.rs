//! See the room above. Inlined into the kernels of every tier.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "sums are told by number, so that the compiler gives each a register")]

use std::ops::Range;

use super::super::simd::{Ahead, Job, each};
use crate::ops::linear::{GROUP, PANEL_ROWS, STEPS};
use crate::ops::vector::simd::Vector;

/// Bytes of a panel's share of one column at eight bits.
const INT8_COLUMN_BYTES: usize = PANEL_ROWS;

/// Adds K steps, from number `first` on, whose words begin at `x`, to the sums of lower bytes, of pairs of panels, whose columns are 64 bytes, or of
/// panels alone: N vectors in each. (See `float`.)
#[inline(always)]
pub(in crate::ops::linear::bands) unsafe fn int8<V: Vector, const N: usize, const K: usize>(
    job: &Job<'_>,
    panels: Range<usize>,
    first: usize,
    x: *const u32,
) {
    const { assert!(4 * K <= 16, "columns that are asked for at once") };
    if panels.is_empty() {
        return;
    }
    // SAFETY: every place is that of a column of the band, which has 32 numbers for each panel; the tile has words of all its rows for every step;
    // raw has two numbers for each of out; N vectors are one panel or two, of which each column has a line.
    unsafe {
        let mut columns = [[job.band; 4]; K];
        for k in 0..K {
            columns[k] = job.four_columns(4 * (first + k), 0, INT8_COLUMN_BYTES);
        }
        let bytes = panels.start * INT8_COLUMN_BYTES..panels.end * INT8_COLUMN_BYTES;
        let mut ahead = Ahead::<16>::new(job, (4 * (first + job.ahead.next_multiple_of(K)), 4 * K), bytes, INT8_COLUMN_BYTES);
        for panel in panels.step_by(N * V::LANES / PANEL_ROWS) {
            ahead.ask::<V>(4 * K * (N * V::LANES).div_ceil(64));
            let at = panel * INT8_COLUMN_BYTES;
            let mut weights = [V::quads::<N>(columns[0], at); K];
            for k in 1..K {
                weights[k] = V::quads::<N>(columns[k], at);
            }
            for m in 0..job.x.rows {
                let raw = raw::<V>(job, m, panel, 0, 0);
                let mut words = [V::zero_i(); K];
                let mut sums = [V::zero_i(); N];
                for k in 0..K {
                    words[k] = V::splat_i(*x.add(m * STEPS + k));
                }
                for n in 0..N {
                    sums[n] = V::load_i(raw.add(n * V::LANES).cast());
                }
                each!(K, N, |k, n| sums[n] = V::dot_bytes(sums[n], words[k], weights[k][n]));
                for n in 0..N {
                    V::store_i(raw.add(n * V::LANES), sums[n]);
                }
            }
        }
    }
}

/// Where vector `n` of a panel's sums is kept: of lower bytes (half 0), or of upper ones.
#[inline(always)]
fn raw<V: Vector>(job: &Job<'_>, m: usize, panel: usize, n: usize, half: usize) -> *mut i32 {
    job.raw.wrapping_add((half * job.x.rows + m) * job.stride + panel * PANEL_ROWS + n * V::LANES)
}

/// Adds the upper bytes of this block, for a pair of panels or a panel alone: N vectors. With the last block, what the sums mean. No number is
/// negative, so that upper bytes are as unsigned as lower ones, and nothing was added that would have to be taken off.
#[inline(always)]
pub(in crate::ops::linear::bands) unsafe fn complete_int8<V: Vector, const N: usize>(job: &Job<'_>, panel: usize) {
    let (rows, steps) = (job.x.rows, &job.block.steps);
    // SAFETY: as in `int8`; a row and a step are looked at before they are believed; the band ends with 32 scales and 32 sums for each panel.
    unsafe {
        for [place, x] in job.x.upper_words(steps) {
            let (m, step) = ((place >> 16) as usize, (place & 0xffff) as usize);
            assert!(m < rows && steps.contains(&step), "an upper byte of the tile, in this block");
            let weights: [V::I; N] = V::quads(job.four_columns(step * 4, panel, INT8_COLUMN_BYTES), 0);
            for n in 0..N {
                let raw = raw::<V>(job, m, panel, n, 1);
                V::store_i(raw, V::dot_bytes(V::load_i(raw.cast()), V::splat_i(*x), weights[n]));
            }
        }
        for m in if job.block.ends { 0..rows } else { 0..0 } {
            let (mut uppers, mut lowers) = ([V::zero_i(); N], [V::zero_i(); N]);
            for n in 0..N {
                lowers[n] = V::load_i(raw::<V>(job, m, panel, n, 0).cast());
                uppers[n] = V::load_i(raw::<V>(job, m, panel, n, 1).cast());
            }
            let (uppers, lowers, scale) = (V::in_order(uppers), V::in_order(lowers), V::splat(job.x.scales[m]));
            for n in 0..N {
                let (number, lane) = (panel + n * V::LANES / PANEL_ROWS, n * V::LANES % PANEL_ROWS);
                let row_scale = V::load_f32(job.band.add(job.band_bytes - (job.of - job.first - number) * 256 + lane * 4));
                let sum = V::fma(V::to_f(uppers[n]), V::splat(256.0), V::to_f(lowers[n]));
                V::store(job.out.add(m * job.stride + panel * PANEL_ROWS + n * V::LANES), V::mul(V::mul(sum, row_scale), scale));
            }
        }
    }
}

/// Bytes of a panel's share of one column at four bits: two rows a byte.
const INT4_COLUMN_BYTES: usize = PANEL_ROWS / 2;

/// What is read of groups of columns: up to K steps of one, or its scales and zero points, which lie behind its columns.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops::linear::bands) struct Phase<const K: usize> {
    group: usize,
    step: usize,
    /// Behind the group's last step.
    end: usize,
}

impl<const K: usize> Phase<K> {
    /// The first of a block.
    #[inline(always)]
    pub(in crate::ops::linear::bands) fn first(job: &Job<'_>) -> Self {
        let (group, step) = (job.block.groups.start, job.block.steps.start);
        Self { group, step, end: step + job.columns.groups[group].1 as usize }
    }

    #[inline(always)]
    pub(in crate::ops::linear::bands) fn group(self) -> usize {
        self.group
    }

    #[inline(always)]
    pub(in crate::ops::linear::bands) fn first_step(self) -> usize {
        self.step
    }

    /// How many: as many as there are and have their words side by side, or one; or none, of which are scales and zero points.
    #[inline(always)]
    pub(in crate::ops::linear::bands) fn steps(self) -> usize {
        match self.end - self.step {
            0 => 0,
            left if left >= K && self.step % STEPS + K <= STEPS => K,
            _ => 1,
        }
    }

    /// What follows. Behind the last group come columns of the first of what the thread multiplies next.
    #[inline(always)]
    pub(in crate::ops::linear::bands) fn next(self, job: &Job<'_>) -> Self {
        match self.steps() {
            0 => {
                let (group, groups) = (self.group + 1, &job.columns.groups);
                Self { group, step: self.end, end: self.end + groups[group % groups.len()].1 as usize }
            }
            steps => Self { step: self.step + steps, ..self },
        }
    }

    /// To ask for it, of some panels, and how many lines of so many of them at a time.
    #[inline(always)]
    pub(in crate::ops::linear::bands) unsafe fn ahead(self, job: &Job<'_>, panels: &Range<usize>, at_once: usize) -> (Ahead<16>, usize) {
        const { assert!(4 * K <= 16, "columns that are asked for at once") };
        let bytes = panels.start * INT4_COLUMN_BYTES..panels.end * INT4_COLUMN_BYTES;
        if self.steps() > 0 {
            // SAFETY: passed on to the caller.
            let ahead = unsafe { Ahead::new(job, (4 * self.step, 4 * self.steps()), bytes, INT4_COLUMN_BYTES) };
            return (ahead, self.steps() * at_once);
        }
        let ahead = match job.columns.groups.get(self.group) {
            Some((place, _)) => {
                let (number, half) = (job.first + panels.start, 32 * panels.len());
                let tail = job.band.wrapping_add((*place as usize + GROUP * INT4_COLUMN_BYTES) * job.of);
                let (scales, zeros) = (tail.wrapping_add(64 * number), tail.wrapping_add(64 * job.of + 32 * number));
                Ahead::of([scales, scales.wrapping_add(half), zeros], half)
            }
            None => Ahead::of([job.band; 3], 0),
        };
        (ahead, (at_once * 96).div_ceil(64))
    }
}

/// Adds K steps, from number `first` on, to the sums of a group of columns, of four panels at a time, whose columns are 64 bytes, or of panels alone:
/// N vectors of two rows a byte. Asks for so many lines each time. (See `float`.)
#[inline(always)]
pub(in crate::ops::linear::bands) unsafe fn int4<V: Vector, const N: usize, const K: usize>(
    job: &Job<'_>,
    panels: Range<usize>,
    first: usize,
    (mut ahead, lines): (Ahead<16>, usize),
) {
    if panels.is_empty() {
        return;
    }
    // SAFETY: every place is that of a column of the band, which has 32 numbers for each panel, two a byte; the tile has words of all its rows for
    // every step, and those of K steps lie together; raw has a number for each of out; N vectors are one panel or four.
    unsafe {
        let mut columns = [[job.band; 4]; K];
        for k in 0..K {
            columns[k] = job.four_columns(4 * (first + k), 0, INT4_COLUMN_BYTES);
        }
        let x = job.x.words.as_ptr().add(first / STEPS * STEPS * job.x.rows + first % STEPS);
        for panel in panels.step_by(N * V::LANES / 16) {
            ahead.ask::<V>(lines);
            let at = panel * INT4_COLUMN_BYTES;
            let mut weights = [V::quads::<N>(columns[0], at); K];
            for k in 1..K {
                weights[k] = V::quads::<N>(columns[k], at);
            }
            for m in 0..job.x.rows {
                let (below, above) = raw4::<V, N>(job, m, panel);
                let mut words = [V::zero_i(); K];
                let mut sums = [[V::zero_i(); 2]; N];
                for k in 0..K {
                    words[k] = V::splat_i(*x.add(m * STEPS + k));
                }
                for n in 0..N {
                    sums[n] = [V::load_i(below.add(n * V::LANES).cast()), V::load_i(above.add(n * V::LANES).cast())];
                }
                each!(K, N, |k, n| {
                    sums[n][0] = V::dot_bytes(sums[n][0], V::low_nibbles(weights[k][n]), words[k]);
                    sums[n][1] = V::dot_bytes(sums[n][1], V::high_nibbles(weights[k][n]), words[k]);
                });
                for n in 0..N {
                    V::store_i(below.add(n * V::LANES), sums[n][0]);
                    V::store_i(above.add(n * V::LANES), sums[n][1]);
                }
            }
        }
    }
}

/// Where the sums of rows below are kept, of N vectors of panels, and those above.
#[inline(always)]
fn raw4<V: Vector, const N: usize>(job: &Job<'_>, m: usize, panel: usize) -> (*mut i32, *mut i32) {
    let below = job.raw.wrapping_add(m * job.stride + panel * PANEL_ROWS);
    (below, below.wrapping_add(N * V::LANES))
}

/// Adds the upper bytes of a group, then what its sums mean to those of all, and clears them for the next.
#[inline(always)]
pub(in crate::ops::linear::bands) unsafe fn complete_int4<V: Vector, const N: usize>(
    job: &Job<'_>,
    panels: Range<usize>,
    (group, steps): (usize, Range<usize>),
    (mut ahead, lines): (Ahead<16>, usize),
) {
    if panels.is_empty() {
        return;
    }
    const ONES: u32 = 0x0101_0101;
    let (word, rows) = (|m: usize, step: usize| step / STEPS * STEPS * job.x.rows + m * STEPS + step % STEPS, job.x.rows);
    // SAFETY: as in `int4`; the group's steps are those of the tile, which has as many upper words as lower ones; a group has scales and zero points
    // for each panel.
    unsafe {
        let (place, _) = *job.columns.groups.get_unchecked(group);
        let tail = job.band.add((place as usize + GROUP * INT4_COLUMN_BYTES) * job.of);
        for m in 0..rows {
            let (mut upper_x, mut lower_x) = (V::zero_i(), V::zero_i());
            for step in steps.clone() {
                let upper = *job.x.uppers.get_unchecked(word(m, step));
                lower_x = V::dot_bytes(lower_x, V::splat_i(ONES), V::splat_i(*job.x.words.get_unchecked(word(m, step))));
                if upper != 0 {
                    upper_x = V::dot_bytes(upper_x, V::splat_i(ONES), V::splat_i(upper));
                    for panel in panels.clone().step_by(N * V::LANES / 16) {
                        let both: [V::I; N] = V::quads(job.four_columns(4 * step, panel, INT4_COLUMN_BYTES), 0);
                        let (below, above) = raw4::<V, N>(job, m, panel);
                        for n in 0..N {
                            for (sums, weights) in [(below, V::low_nibbles(both[n])), (above, V::high_nibbles(both[n]))] {
                                let (at, sum) = (sums.add(n * V::LANES), V::dot_bytes(V::zero_i(), weights, V::splat_i(upper)));
                                V::store_i(at, V::add_i(V::load_i(at.cast()), V::shift_byte(sum)));
                            }
                        }
                    }
                }
            }
            let x_sum = V::add_i(V::shift_byte(upper_x), lower_x);
            // Behind the last group, by the token's scale.
            let scale = V::splat(if job.block.ends && group + 1 == job.block.groups.end { job.x.scales[m] } else { 1.0 });
            for panel in panels.clone().step_by(N * V::LANES / 16) {
                if m == 0 {
                    ahead.ask::<V>(lines);
                }
                let number = job.first + panel;
                let (scales, zeros) = (tail.add(64 * number), tail.add(64 * job.of + 32 * number));
                let (from, out) = (raw4::<V, N>(job, m, panel), job.out.add(m * job.stride + panel * PANEL_ROWS));
                let (mut below, mut above) = ([V::zero_i(); N], [V::zero_i(); N]);
                for n in 0..N {
                    below[n] = V::load_i(from.0.add(n * V::LANES).cast());
                    above[n] = V::load_i(from.1.add(n * V::LANES).cast());
                    V::store_i(from.0.add(n * V::LANES), V::zero_i());
                    V::store_i(from.1.add(n * V::LANES), V::zero_i());
                }
                let (below, above) = (V::in_order(below), V::in_order(above));
                for n in 0..N {
                    // A vector's bytes are rows of one panel: those below are its first sixteen.
                    let row = n * V::LANES / 16 * PANEL_ROWS + n * V::LANES % 16;
                    for (row, sums) in [(row, below[n]), (row + 16, above[n])] {
                        let zero = V::mul_i(V::load_u8(zeros.add(row)), x_sum);
                        let sum = V::to_f(V::sub_i(sums, zero));
                        let total = V::fma(V::load_f16(scales.add(2 * row)), sum, V::load_f32(out.add(row).cast()));
                        V::store(out.add(row), V::mul(total, scale));
                    }
                }
            }
        }
    }
}
