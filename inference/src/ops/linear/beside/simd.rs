//! See the room above. Written once over `Vector`, and inlined into the kernels of every tier.
#![allow(unsafe_code)]

use std::ops::Range;

use super::super::{Block, Format, GROUP, PAIR_BYTES, PANEL_ROWS, STEPS};
use crate::ops::vector::simd::Vector;

/// How far ahead weights are asked for: longer than the memory's latency at its speed.
const PREFETCH_BYTES: usize = 4096;

/// How far ahead of what is taken a band is asked for.
const AHEAD_BYTES: usize = 16384;

/// Memory that is wanted after a block: as many units as its steps, or at four bits groups, are.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops::linear) struct Lines {
    pub(in crate::ops::linear) at: *const u8,
    pub(in crate::ops::linear) units: usize,
    /// From one unit to the next.
    pub(in crate::ops::linear) stride: usize,
}

/// Units of a block of some panels that lie side by side in a band, which are taken out of it: unit after unit, of each those of all panels,
/// as they lie.
#[derive(Debug)]
pub(crate) struct Next<'a> {
    pub(in crate::ops::linear) band: &'a [u8],
    /// The first panel's number in the band, how many are taken, and how many there are.
    pub(in crate::ops::linear) panels: (usize, usize, usize),
    pub(in crate::ops::linear) block: &'a Block,
    /// Which of these units.
    pub(in crate::ops::linear) units: Range<usize>,
    /// Room for each panel's block, and how far it lies from the one before. Where there is none, memory is only asked for.
    pub(in crate::ops::linear) out: Option<(&'a mut [u8], usize)>,
}

/// What is seen to beside the steps of a block.
#[derive(Debug)]
pub(in crate::ops::linear) enum Seen<'a> {
    /// What lies a little ahead is asked for, as is right for one tile.
    Ahead,
    /// The next panel is asked for. With several tiles, only the first would wait for memory and only the others be held up by the
    /// arithmetic, so each sees to its share of what comes next.
    Lines(Lines),
    Next(Next<'a>),
}

/// Units of what comes after a block, one after the other beside the steps in which it is multiplied.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops::linear) struct Beside {
    kind: Kind,
    /// How many have been seen to, of how many.
    done: usize,
    end: usize,
    /// In 256 parts: how many should have been seen to, and by how many more with each step.
    due: usize,
    share: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Ahead,
    Lines { at: *const u8, stride: usize },
    Taken(Taking),
}

#[derive(Debug, Clone, Copy)]
struct Taking {
    band: *const u8,
    first: usize,
    count: usize,
    of: usize,
    /// Units of the band before the block.
    before: usize,
    /// The next unit of the block, and of which panel.
    unit: usize,
    panel: usize,
    /// How many units farther memory is asked for.
    ahead: usize,
    out: *mut u8,
    stride: usize,
}

impl Lines {
    pub(in crate::ops::linear) const NONE: Self = Self { at: std::ptr::null(), units: 0, stride: 0 };
}

impl Beside {
    /// For a block that is multiplied in `steps` steps in all.
    pub(in crate::ops::linear) fn new(format: Format, steps: usize, seen: Seen<'_>) -> Self {
        let unit_steps = format.unit_steps();
        let (kind, end) = match seen {
            Seen::Ahead => (Kind::Ahead, 0),
            Seen::Lines(Lines { at, units, stride }) => (Kind::Lines { at, stride }, units),
            Seen::Next(Next { band, panels: (first, count, of), block, units, out }) => {
                let (block_units, length) = (block.steps.len() / unit_steps, block.bytes(format));
                assert!(
                    first + count <= of && of * format.column_at(block.cols(format).end) <= band.len(),
                    "{block:?} must lie in the band"
                );
                let whole = if format == Format::Int4 { STEPS } else { 1 };
                assert!(block.steps.start.is_multiple_of(whole) && block.steps.end.is_multiple_of(whole), "{block:?} must be whole pairs");
                assert!(units.end <= block_units * count, "{units:?} of {block:?}");
                assert!(
                    out.is_none() || units.len() <= steps / unit_steps,
                    "{block:?} must not be longer than what is multiplied meanwhile"
                );
                let fits = |(out, stride): &(&mut [u8], usize)| *stride >= length && out.len() >= (count - 1) * stride + length;
                assert!(out.as_ref().is_none_or(fits), "room for {block:?}");
                let ahead = if out.is_some() { (AHEAD_BYTES / (of * format.steps_bytes() * unit_steps / STEPS)).max(1) } else { 0 };
                let (out, stride) = out.map_or((std::ptr::null_mut(), 0), |(out, stride)| (out.as_mut_ptr(), stride));
                let (before, unit, panel) = (block.steps.start / unit_steps, units.start / count, units.start % count);
                let end = units.len().min(steps / unit_steps);
                (Kind::Taken(Taking { band: band.as_ptr(), first, count, of, before, unit, panel, ahead, out, stride }), end)
            }
        };
        Self { kind, done: 0, end, due: 0, share: (256 * end).div_ceil((steps / unit_steps).max(1)) }
    }

    /// Does what is due beside a step on `bytes` bytes at `weights`, which is as long as a unit.
    #[inline(always)]
    pub(in crate::ops::linear) unsafe fn step<V: Vector, T: Taken>(&mut self, weights: *const u8, bytes: usize) {
        // SAFETY: the caller's. What is asked for need not be memory of ours; a unit that is taken lies in the band, and out has room for it
        // (both checked when this was made).
        unsafe {
            if let Kind::Ahead = self.kind {
                (0..bytes.div_ceil(64)).for_each(|line| V::prefetch(weights.wrapping_add(PREFETCH_BYTES + 64 * line)));
                return;
            }
            self.due += self.share;
            if self.done >= self.end || 256 * self.done >= self.due {
                return;
            }
            match &mut self.kind {
                Kind::Ahead => {}
                Kind::Lines { at, stride } => {
                    (0..bytes.div_ceil(64)).for_each(|line| V::prefetch_l2(at.wrapping_add(64 * line)));
                    *at = at.wrapping_add(*stride);
                }
                Kind::Taken(taking) => {
                    let Taking { band, first, count, of, before, unit, panel, ahead, out, stride } = *taking;
                    let place = (first + panel, of);
                    T::ask::<V>(band, place, before + unit + ahead);
                    if !out.is_null() {
                        T::take::<V>(band, place, (before, unit), out.add(panel * stride));
                    }
                    taking.panel += 1;
                    if taking.panel == count {
                        (taking.panel, taking.unit) = (0, unit + 1);
                    }
                }
            }
            self.done += 1;
        }
    }
}

/// How a format is taken out of a band, unit by unit, into what [`super::bands::Bands::take`] gives.
pub(in crate::ops::linear) trait Taken {
    /// Unit `next` of a block of panel `panel` = (number, of how many), which begins `before` units after the band.
    unsafe fn take<V: Vector>(band: *const u8, panel: (usize, usize), units: (usize, usize), out: *mut u8);

    /// Asks for a panel's share of a unit of the band, which need not be one of ours; panels that share a line ask for different ones.
    unsafe fn ask<V: Vector>(band: *const u8, panel: (usize, usize), unit: usize);
}

/// Asks for this line of a band, and what lies behind it, so many bytes in all.
#[inline(always)]
unsafe fn ask_lines<V: Vector>(band: *const u8, at: usize, bytes: usize) {
    // SAFETY: the tier's instructions are the caller's promise; asking needs no memory of ours.
    unsafe { (0..bytes).step_by(64).for_each(|line| V::prefetch_l2(band.wrapping_add(at + line))) }
}

/// Where a panel's share of column `col` lies in a band, of so many bytes.
#[inline(always)]
unsafe fn column(band: *const u8, col: usize, (number, of): (usize, usize), bytes: usize) -> *const u8 {
    // SAFETY: the caller's: the column lies in the band.
    unsafe { band.add((col * of + number) * bytes) }
}

/// The same of four columns, the first of them `col`.
#[inline(always)]
unsafe fn four_columns(band: *const u8, col: usize, panel: (usize, usize), bytes: usize) -> [*const u8; 4] {
    // SAFETY: the caller's: the columns lie in the band.
    unsafe {
        [
            column(band, col, panel, bytes),
            column(band, col + 1, panel, bytes),
            column(band, col + 2, panel, bytes),
            column(band, col + 3, panel, bytes),
        ]
    }
}

macro_rules! copied {
    ($name:ident, $bytes:literal) => {
        pub(in crate::ops::linear) struct $name;
        impl Taken for $name {
            #[inline(always)]
            unsafe fn take<V: Vector>(band: *const u8, panel: (usize, usize), (before, next): (usize, usize), out: *mut u8) {
                // SAFETY: passed on to the caller.
                unsafe {
                    let from = column(band, before + next, panel, $bytes);
                    for at in (0..$bytes).step_by(4 * V::LANES) {
                        V::store_i(out.add(next * $bytes + at).cast(), V::load_i(from.add(at)));
                    }
                }
            }

            #[inline(always)]
            unsafe fn ask<V: Vector>(band: *const u8, (number, of): (usize, usize), unit: usize) {
                // SAFETY: passed on to the caller.
                unsafe { ask_lines::<V>(band, (unit * of + number) * $bytes, $bytes) }
            }
        }
    };
}
copied!(Singles, 128);
copied!(Halves, 64);
copied!(Bfloats, 64);

/// Two bfloats at once.
pub(in crate::ops::linear) struct Pairs;
impl Taken for Pairs {
    #[inline(always)]
    unsafe fn take<V: Vector>(band: *const u8, panel: (usize, usize), (before, next): (usize, usize), out: *mut u8) {
        // SAFETY: passed on to the caller.
        unsafe {
            let (out, col) = (out.add(128 * next), 2 * (before + next));
            let (one, other) = (column(band, col, panel, 64), column(band, col + 1, panel, 64));
            for lane in (0..PANEL_ROWS).step_by(V::LANES) {
                let both = V::upper_and_lower(V::load_u16(one.add(2 * lane)), V::load_u16(other.add(2 * lane)));
                V::store_i(out.add(4 * lane).cast(), both);
            }
        }
    }

    #[inline(always)]
    unsafe fn ask<V: Vector>(band: *const u8, (number, of): (usize, usize), unit: usize) {
        // SAFETY: passed on to the caller.
        unsafe { [0, 1].into_iter().for_each(|col| ask_lines::<V>(band, ((2 * unit + col) * of + number) * 64, 64)) }
    }
}

/// Four bytes at once.
pub(in crate::ops::linear) struct Quads;
impl Taken for Quads {
    #[inline(always)]
    unsafe fn take<V: Vector>(band: *const u8, panel: (usize, usize), (before, next): (usize, usize), out: *mut u8) {
        // SAFETY: passed on to the caller.
        unsafe {
            let (out, col) = (out.add(128 * next), 4 * (before + next));
            let columns = four_columns(band, col, panel, 32);
            for lane in (0..PANEL_ROWS).step_by(V::LANES) {
                let [quads] = V::quads::<1>(columns, lane);
                V::store_i(out.add(4 * lane).cast(), quads);
            }
        }
    }

    #[inline(always)]
    unsafe fn ask<V: Vector>(band: *const u8, (number, of): (usize, usize), unit: usize) {
        // Two panels share a line: each asks for those of two columns.
        let first = 2 * (number % 2);
        // SAFETY: passed on to the caller.
        unsafe { [0, 1].into_iter().for_each(|col| ask_lines::<V>(band, ((4 * unit + first + col) * of + number) * 32, 32)) }
    }
}

/// A group of nibbles.
pub(in crate::ops::linear) struct Group;
impl Taken for Group {
    #[inline(always)]
    unsafe fn take<V: Vector>(band: *const u8, panel: (usize, usize), (before, next): (usize, usize), out: *mut u8) {
        // SAFETY: passed on to the caller.
        unsafe {
            let (number, of) = panel;
            let group = band.add((before + next) * of * (PAIR_BYTES / 2));
            // Blocks are whole pairs.
            let (pair, half) = (out.add(next / 2 * PAIR_BYTES), next % 2);
            for eight in 0..GROUP / 8 {
                let col = 8 * eight;
                let (below, above) = (four_columns(group, col, panel, 16), four_columns(group, col + 4, panel, 16));
                for lane in (0..16).step_by(V::LANES) {
                    let ([below], [above]) = (V::quads::<1>(below, lane), V::quads::<1>(above, lane));
                    let to: *mut i32 = pair.add(512 * half + 128 * eight + 4 * lane).cast();
                    let low = V::low_nibbles(above);
                    V::store_i(to, V::add_i(V::low_nibbles(below), V::mul_i(low, V::splat_i(16))));
                    V::store_i(to.add(16), V::add_i(V::high_nibbles(below), V::sub_i(above, low)));
                }
            }
            let (scales, zeros) = (group.add(of * 512 + number * 64), group.add(of * (512 + 64) + number * 32));
            std::ptr::copy_nonoverlapping(scales, pair.add(1024 + 64 * half), 64);
            std::ptr::copy_nonoverlapping(zeros, pair.add(1024 + 128 + 32 * half), 32);
        }
    }
    #[inline(always)]
    unsafe fn ask<V: Vector>(band: *const u8, (number, of): (usize, usize), unit: usize) {
        let (group, first) = (unit * of * (PAIR_BYTES / 2), 8 * (number % 4));
        // SAFETY: passed on to the caller.
        unsafe {
            // Four panels share a line: each asks for those of eight columns, and for its scales; two share one of zero points.
            (first..first + 8).for_each(|col| ask_lines::<V>(band, group + (col * of + number) * 16, 16));
            ask_lines::<V>(band, group + of * 512 + number * 64, 64);
            if number % 2 == 0 {
                ask_lines::<V>(band, group + of * (512 + 64) + number * 32, 32);
            }
        }
    }
}
