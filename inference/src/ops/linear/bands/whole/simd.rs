//! See the room above. Inlined into the kernels of every tier.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "sums are told by number, so that the compiler gives each a register")]

use super::super::simd::{Job, blocks, each, place};
use crate::ops::linear::{GROUP, PANEL_ROWS, STEPS};
use crate::ops::vector::simd::Vector;

/// Bytes of a panel's share of one column at eight bits.
const INT8_COLUMN_BYTES: usize = PANEL_ROWS;

/// B pairs of panels, whose columns are 64 bytes: N vectors in each. Adds to the sums of lower bytes. (Nothing else is done with sums
/// here: where more is, the compiler keeps them on the stack.)
#[inline(always)]
pub(in crate::ops::linear::bands) unsafe fn int8<V: Vector, const N: usize, const M: usize, const B: usize>(job: &Job<'_>, panel: usize) {
    let panels = (N * V::LANES / PANEL_ROWS) * B;
    // SAFETY: every place is that of a column of the band, which has 32 numbers for each panel; the tile has M words for every step; raw has
    // two numbers for each of out.
    unsafe {
        let (mut asking, lines) = (job.asking.get(), (job.lines * panels).div_ceil(job.panels));
        if panel == 0 {
            job.ask::<V>(&mut asking, job.at_once, INT8_COLUMN_BYTES);
        }
        let mut sums = [[[V::zero_i(); N]; B]; M];
        each!(M, B, N, |m, b, n| sums[m][b][n] = V::load_i(raw::<V, N>(job, m, panel, 2 * b, n).cast()));
        for (first, x, steps) in blocks(job, M * STEPS) {
            for step in 0..steps {
                job.ask::<V>(&mut asking, lines, INT8_COLUMN_BYTES);
                let columns = job.four_columns((first + step) * 4, panel, INT8_COLUMN_BYTES);
                for b in 0..B {
                    let weights: [V::I; N] = V::quads(columns, b * N * V::LANES);
                    for m in 0..M {
                        let x = V::splat_i(*x.add(m * STEPS + step));
                        for n in 0..N {
                            sums[m][b][n] = V::dot_bytes(sums[m][b][n], x, weights[n]);
                        }
                    }
                }
            }
        }
        job.asking.set(asking);
        each!(M, B, N, |m, b, n| V::store_i(raw::<V, N>(job, m, panel, 2 * b, n), sums[m][b][n]));
    }
}

/// Where the sums of a pair of panels are kept, or of a panel alone: N vectors of those of lower bytes (`part` 0), then those of upper ones
/// (1), then the next pair's (2).
#[inline(always)]
fn raw<V: Vector, const N: usize>(job: &Job<'_>, m: usize, panel: usize, part: usize, n: usize) -> *mut i32 {
    job.raw.wrapping_add(2 * (m * job.panels + panel) * PANEL_ROWS + (part * N + n) * V::LANES)
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
                let raw = raw::<V, N>(job, m, panel, 1, n);
                V::store_i(raw, V::dot_bytes(V::load_i(raw.cast()), V::splat_i(*x), weights[n]));
            }
        }
        for m in if job.block.ends { 0..rows } else { 0..0 } {
            let (mut uppers, mut lowers) = ([V::zero_i(); N], [V::zero_i(); N]);
            for n in 0..N {
                lowers[n] = V::load_i(raw::<V, N>(job, m, panel, 0, n).cast());
                uppers[n] = V::load_i(raw::<V, N>(job, m, panel, 1, n).cast());
            }
            let (uppers, lowers, scale) = (V::in_order(uppers), V::in_order(lowers), V::splat(job.x.scales[m]));
            for n in 0..N {
                let (number, lane) = (panel + n * V::LANES / PANEL_ROWS, n * V::LANES % PANEL_ROWS);
                let row_scale = V::load_f32(job.band.add(job.band_bytes - (job.of - job.first - number) * 256 + lane * 4));
                let sum = V::fma(V::to_f(uppers[n]), V::splat(256.0), V::to_f(lowers[n]));
                V::store(job.out.add(place::<V>(job, m, panel, n)), V::mul(V::mul(sum, row_scale), scale));
            }
        }
    }
}

/// A token by four panels, whose columns are 64 bytes, or by one: N vectors of two rows a byte.
#[inline(always)]
pub(in crate::ops::linear::bands) unsafe fn int4<V: Vector, const N: usize>(job: &Job<'_>, panel: usize) {
    const COLUMN_BYTES: usize = PANEL_ROWS / 2;
    const ONES: u32 = 0x0101_0101;
    // SAFETY: as in `int8`; the groups' steps are those of the tile, and a group has scales and zero points for each panel.
    unsafe {
        let (mut asking, lines) = (job.asking.get(), (job.lines * (N * V::LANES).div_ceil(16)).div_ceil(job.panels));
        if panel == 0 {
            job.ask::<V>(&mut asking, job.at_once, COLUMN_BYTES);
        }
        let mut totals_below = [V::zero(); N];
        let mut totals_above = [V::zero(); N];
        // A vector's bytes are rows of one panel: those below are its first sixteen.
        let out = job.out.add(panel * PANEL_ROWS);
        let row = |n: usize| n * V::LANES / 16 * PANEL_ROWS + n * V::LANES % 16;
        for n in 0..N {
            totals_below[n] = V::load_f32(out.add(row(n)).cast());
            totals_above[n] = V::load_f32(out.add(row(n) + 16).cast());
        }
        let mut step = job.block.steps.start;
        for (group, steps) in job.columns.groups.get_unchecked(job.block.groups.clone()) {
            let [mut upper_below, mut lower_below] = [[V::zero_i(); N]; 2];
            let [mut upper_above, mut lower_above] = [[V::zero_i(); N]; 2];
            let (mut upper_x, mut lower_x) = (V::zero_i(), V::zero_i());
            for _ in 0..*steps {
                job.ask::<V>(&mut asking, lines, COLUMN_BYTES);
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
                step += 1;
            }
            let x_sum = V::add_i(V::shift_byte(upper_x), lower_x);
            let tail = job.band.add((*group as usize + GROUP * COLUMN_BYTES) * job.of);
            let (scales, zeros) = (tail.add(64 * (job.first + panel)), tail.add(64 * job.of + 32 * (job.first + panel)));
            let (mut below, mut above) = ([V::zero_i(); N], [V::zero_i(); N]);
            for n in 0..N {
                below[n] = V::add_i(V::shift_byte(upper_below[n]), lower_below[n]);
                above[n] = V::add_i(V::shift_byte(upper_above[n]), lower_above[n]);
            }
            let (below, above) = (V::in_order(below), V::in_order(above));
            for n in 0..N {
                let zero = V::mul_i(V::load_u8(zeros.add(row(n))), x_sum);
                totals_below[n] = V::fma(V::load_f16(scales.add(2 * row(n))), V::to_f(V::sub_i(below[n], zero)), totals_below[n]);
                let zero = V::mul_i(V::load_u8(zeros.add(row(n) + 16)), x_sum);
                totals_above[n] = V::fma(V::load_f16(scales.add(2 * row(n) + 32)), V::to_f(V::sub_i(above[n], zero)), totals_above[n]);
            }
        }
        job.asking.set(asking);
        let scale = V::splat(if job.block.ends { job.x.scales[0] } else { 1.0 });
        for n in 0..N {
            V::store(out.add(row(n)), V::mul(totals_below[n], scale));
            V::store(out.add(row(n) + 16), V::mul(totals_above[n], scale));
        }
    }
}
