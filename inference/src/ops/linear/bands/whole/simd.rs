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

/// A token by some panels, by a group of columns, whose first step is `step`: by four at a time, whose columns are 64 bytes, or by one: N vectors of
/// two rows a byte.
#[inline(always)]
pub(in crate::ops::linear::bands) unsafe fn int4<V: Vector, const N: usize>(
    job: &Job<'_>,
    panels: Range<usize>,
    group: usize,
    step: usize,
) {
    const COLUMN_BYTES: usize = PANEL_ROWS / 2;
    const ONES: u32 = 0x0101_0101;
    let at_once = N * V::LANES / 16;
    let groups = &job.columns.groups;
    if panels.is_empty() {
        return;
    }
    // SAFETY: as in `int8`; the groups' steps are those of the tile, at most eight, and a group has scales and zero points for each panel.
    unsafe {
        let (place, steps) = *groups.get_unchecked(group);
        let (next_place, next_steps) = *groups.get_unchecked((group + 1) % groups.len());
        let bytes = panels.start * COLUMN_BYTES..panels.end * COLUMN_BYTES;
        let mut lines = 4 * next_steps as usize * bytes.len().div_ceil(64);
        let now = lines.div_ceil(panels.len() / at_once * steps as usize);
        let mut ahead = Ahead::<{ GROUP }>::new(job, (4 * (step + steps as usize), 4 * next_steps as usize), bytes, COLUMN_BYTES);
        let tail = |place: u32| job.band.wrapping_add((place as usize + GROUP * COLUMN_BYTES) * job.of);
        for panel in panels.step_by(at_once) {
            // Its scales and zero points, and those of the next group. (Behind the last they are those of the first, asked for in vain.)
            let of_panel = |tail: *const u8| {
                let number = job.first + panel;
                (tail.wrapping_add(64 * number), tail.wrapping_add(64 * job.of + 32 * number))
            };
            let ((scales, zeros), next) = (of_panel(tail(place)), of_panel(tail(next_place)));
            (0..at_once).for_each(|number| V::prefetch(next.0.wrapping_add(64 * number)));
            (0..at_once).step_by(2).for_each(|number| V::prefetch(next.1.wrapping_add(32 * number)));

            let [mut upper_below, mut lower_below] = [[V::zero_i(); N]; 2];
            let [mut upper_above, mut lower_above] = [[V::zero_i(); N]; 2];
            let (mut upper_x, mut lower_x) = (V::zero_i(), V::zero_i());
            for step in step..step + steps as usize {
                ahead.ask::<V>(now.min(lines));
                lines -= now.min(lines);
                let columns = job.four_columns(step * 4, panel, COLUMN_BYTES);
                let (lower, ones) = (V::splat_i(*job.x.words.get_unchecked(step)), V::splat_i(ONES));
                lower_x = V::dot_bytes(lower_x, ones, lower);
                let both: [V::I; N] = V::quads(columns, 0);
                for n in 0..N {
                    lower_below[n] = V::dot_bytes(lower_below[n], V::low_nibbles(both[n]), lower);
                    lower_above[n] = V::dot_bytes(lower_above[n], V::high_nibbles(both[n]), lower);
                }
                let upper = *job.x.uppers.get_unchecked(step);
                if upper != 0 {
                    let upper = V::splat_i(upper);
                    upper_x = V::dot_bytes(upper_x, ones, upper);
                    for n in 0..N {
                        upper_below[n] = V::dot_bytes(upper_below[n], V::low_nibbles(both[n]), upper);
                        upper_above[n] = V::dot_bytes(upper_above[n], V::high_nibbles(both[n]), upper);
                    }
                }
            }
            let x_sum = V::add_i(V::shift_byte(upper_x), lower_x);
            let (mut below, mut above) = ([V::zero_i(); N], [V::zero_i(); N]);
            for n in 0..N {
                below[n] = V::add_i(V::shift_byte(upper_below[n]), lower_below[n]);
                above[n] = V::add_i(V::shift_byte(upper_above[n]), lower_above[n]);
            }
            let (below, above) = (V::in_order(below), V::in_order(above));
            // Behind the last group, by the token's scale.
            let scale = V::splat(if job.block.ends && group + 1 == job.block.groups.end { job.x.scales[0] } else { 1.0 });
            for n in 0..N {
                // A vector's bytes are rows of one panel: those below are its first sixteen.
                let row = n * V::LANES / 16 * PANEL_ROWS + n * V::LANES % 16;
                for (row, sums) in [(row, below[n]), (row + 16, above[n])] {
                    let (out, zero) = (job.out.add(panel * PANEL_ROWS + row), V::mul_i(V::load_u8(zeros.add(row)), x_sum));
                    let total = V::fma(V::load_f16(scales.add(2 * row)), V::to_f(V::sub_i(sums, zero)), V::load_f32(out.cast()));
                    V::store(out, V::mul(total, scale));
                }
            }
        }
    }
}
