//! See the room above. Written once over `Vector`, and inlined into the kernels of every tier.
#![allow(unsafe_code)]

use super::super::{Block, Format, GROUP, PAIR_BYTES, PANEL_ROWS, STEPS};
use crate::ops::vector::simd::Vector;

/// How far ahead weights are asked for: longer than the memory's latency at its speed.
const PREFETCH_BYTES: usize = 4096;

/// Memory that is wanted after a block: as many units as its steps, or at four bits groups, are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines {
    pub(in crate::ops::linear) at: *const u8,
    pub(in crate::ops::linear) units: usize,
    /// From one unit to the next.
    pub(in crate::ops::linear) stride: usize,
    /// Cache lines of a unit, and from one to the next.
    pub(in crate::ops::linear) lines: (usize, usize),
    /// The same of lines that lie apart from these, so far behind the unit's first.
    pub(in crate::ops::linear) apart: (usize, (usize, usize)),
}

impl Lines {
    pub(in crate::ops::linear) const NONE: Self = Self { at: std::ptr::null(), units: 0, stride: 0, lines: (0, 0), apart: (0, (0, 0)) };
}

/// A block of a panel that is taken out of its band into `out`, as long as the block is.
#[derive(Debug)]
pub(crate) struct Next<'a> {
    pub(in crate::ops::linear) band: &'a [u8],
    /// The panel's number in the band, and how many there are.
    pub(in crate::ops::linear) panel: (usize, usize),
    pub(in crate::ops::linear) block: &'a Block,
    pub(in crate::ops::linear) out: &'a mut [u8],
}

/// Units of what comes after a block, one after the other beside the steps in which it is multiplied: memory is asked for, and weights are
/// taken out of a band.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops::linear) struct Beside {
    /// Only what lies a little ahead is asked for.
    is_near: bool,
    /// As in [`Lines`].
    at: *const u8,
    stride: usize,
    lines: (usize, usize),
    apart: (usize, (usize, usize)),
    /// Which unit is next, and which no more.
    next: usize,
    end: usize,
    /// Those before this one are taken: from a band, its panel of the given number of how many, `before` units after the first.
    taken: usize,
    band: *const u8,
    panel: (usize, usize),
    before: usize,
    out: *mut u8,
    /// In 256 parts: how many should have been seen to, and by how many more with each step.
    due: usize,
    share: usize,
}

impl Beside {
    /// For a block that is multiplied in `steps` steps in all. Without `lines`, what lies a little ahead is asked for, as is right for one tile.
    /// With several, only the first would wait for memory and only the others be held up by the arithmetic, so each sees to its share of what
    /// comes next.
    pub(in crate::ops::linear) fn new(format: Format, steps: usize, lines: Option<Lines>, next: Option<Next<'_>>) -> Self {
        let (unit, is_near) = (format.unit_steps(), lines.is_none());
        let Lines { at, units, stride, lines, apart } = lines.unwrap_or(Lines::NONE);
        let (band, out) = (std::ptr::null(), std::ptr::null_mut());
        let mut beside = Self {
            is_near,
            at,
            stride,
            lines,
            apart,
            next: 0,
            end: units,
            taken: 0,
            due: 0,
            share: 0,
            band,
            panel: (0, 0),
            before: 0,
            out,
        };
        if let Some(Next { band, panel: (number, of), block, out }) = next {
            assert_eq!(out.len(), block.bytes(format), "room for {block:?}");
            assert!(number < of && of * format.column_at(block.cols(format).end) <= band.len(), "{block:?} must lie in the band");
            let whole = if format == Format::Int4 { STEPS } else { 1 };
            assert!(block.steps.start.is_multiple_of(whole) && block.steps.end.is_multiple_of(whole), "{block:?} must be whole pairs");
            (beside.taken, beside.before) = (block.steps.len() / unit, block.steps.start / unit);
            (beside.band, beside.panel, beside.out) = (band.as_ptr(), (number, of), out.as_mut_ptr());
            beside.end = units.max(beside.taken);
            assert!(beside.taken <= steps / unit, "{block:?} must not be longer than what is multiplied meanwhile");
        }
        beside.share = (256 * beside.end).div_ceil((steps / unit).max(1));
        beside
    }

    /// Does what is due beside a step on `bytes` bytes at `weights`, which is as long as a unit.
    #[inline(always)]
    pub(in crate::ops::linear) unsafe fn step<V: Vector, T: Taken>(&mut self, weights: *const u8, bytes: usize) {
        // SAFETY: the caller's. What is asked for need not be memory of ours; a unit that is taken lies in the band, and out has room for it
        // (both checked when this was made).
        unsafe {
            if self.is_near {
                (0..bytes.div_ceil(64)).for_each(|line| V::prefetch(weights.wrapping_add(PREFETCH_BYTES + 64 * line)));
                return;
            }
            self.due += self.share;
            if self.next < self.end && 256 * self.next < self.due {
                let (first, (apart, (lines, stride))) = (self.at.wrapping_add(self.next * self.stride), self.apart);
                for line in 0..self.lines.0 {
                    V::prefetch_l2(first.wrapping_add(line * self.lines.1));
                }
                for line in 0..lines {
                    V::prefetch_l2(first.wrapping_add(apart + line * stride));
                }
                if self.next < self.taken {
                    T::take::<V>(self.band, self.panel, (self.before, self.next), self.out);
                }
                self.next += 1;
            }
        }
    }
}

/// How a format is taken out of a band, unit by unit, into what [`super::bands::Bands::take`] gives.
pub(in crate::ops::linear) trait Taken {
    /// Unit `next` of a block of panel `panel` = (number, of how many), which begins `before` units after the band.
    unsafe fn take<V: Vector>(band: *const u8, panel: (usize, usize), units: (usize, usize), out: *mut u8);
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
}
