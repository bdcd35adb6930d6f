//! Which columns a few tokens have numbers in, and those numbers side by side.

use super::super::GROUP;
use super::{Format, GROUP_BYTES};
use crate::ops::Tier;
use crate::ops::simd::every_tier;

/// No column.
const NONE: u32 = u32::MAX;

/// The columns of x (tokens, cols) in which any number is not zero, in order. Memory is kept from use to use.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    /// Where each begins in a band of one panel. So many that a step of a kernel is whole: some more of the last, whose numbers are 0.
    pub(super) places: Vec<u32>,
    /// At four bits, of each group of 32 columns that has any: where it begins, and how many steps of four columns it has.
    pub(super) groups: Vec<(u32, u32)>,
    /// (tokens, places)
    x: Vec<f32>,
    /// Their numbers, or NONE where there is a place more than needed.
    columns: Vec<u32>,
    spread: Vec<u32>,
    /// (cols,): the highest number of each column
    highest: Vec<f32>,
    /// If all columns are listed, in order: of which format, and how many. Then nothing has to be listed anew.
    all: Option<(Format, usize)>,
}

impl Columns {
    /// Finds them in x (tokens, cols); all columns, in order, if there are more than `most`. `false` if a number is negative or not finite,
    /// which no ReLU gives.
    pub(crate) fn find(&mut self, tier: Tier, format: Format, x: &[f32], cols: usize, most: usize) -> bool {
        self.highest.clear();
        self.highest.resize(cols, 0.0);
        if !highest(tier, x, &mut self.highest) {
            return false;
        }
        let found: usize = self.highest.iter().map(|highest| usize::from(*highest > 0.0)).sum();
        if found <= most {
            self.all = None;
            self.list();
            self.place(format);
        } else if self.all.replace((format, cols)) != Some((format, cols)) {
            self.columns.clear();
            self.columns.extend(0..cols as u32);
            self.place(format);
        }
        self.x.clear();
        if self.all.is_some() && self.columns.len() == cols {
            self.x.extend_from_slice(x);
        } else {
            for row in x.chunks_exact(cols) {
                self.x.extend(self.columns.iter().map(|col| if *col == NONE { 0.0 } else { row[*col as usize] }));
            }
        }
        true
    }

    /// Those with a number, one behind the other; without a branch, since which they are cannot be foreseen.
    fn list(&mut self) {
        self.columns.resize(self.highest.len() + 1, 0);
        let mut found = 0;
        for (col, highest) in (0..).zip(&self.highest) {
            // There are no more of them than columns before.
            if let Some(place) = self.columns.get_mut(found) {
                *place = col;
            }
            found += usize::from(*highest > 0.0);
        }
        self.columns.truncate(found);
    }

    /// Fills up what is listed to whole steps, and finds where it lies.
    fn place(&mut self, format: Format) {
        self.groups.clear();
        match format {
            Format::Int4 => self.list_by_groups(),
            Format::F32 | Format::F16 | Format::Bf16Wide | Format::Bf16 | Format::Int8 => {
                // Kernels take whole steps, and at least one.
                let whole = self.columns.len().max(1).next_multiple_of(format.activation().step_cols());
                self.columns.resize(whole, NONE);
            }
        }
        let mut last = 0;
        self.places.clear();
        self.places.extend(self.columns.iter().map(|col| {
            last = if *col == NONE { last } else { format.column_at(*col as usize) as u32 };
            last
        }));
    }

    /// Fills up what each group has to whole steps.
    fn list_by_groups(&mut self) {
        self.spread.clear();
        for group in self.columns.chunk_by(|one, next| *one as usize / GROUP == *next as usize / GROUP) {
            let begun = self.spread.len();
            self.spread.extend(group);
            self.spread.resize(begun + group.len().next_multiple_of(4), NONE);
            self.groups.push(((group[0] as usize / GROUP * GROUP_BYTES) as u32, (group.len().div_ceil(4)) as u32));
        }
        if self.groups.is_empty() {
            self.spread.resize(4, NONE);
            self.groups.push((0, 1));
        }
        std::mem::swap(&mut self.columns, &mut self.spread);
    }

    /// Whether all are listed, since there were too many to leave the others out.
    pub(crate) fn are_all(&self) -> bool {
        self.all.is_some()
    }

    /// Their numbers (tokens, count).
    pub(crate) fn numbers(&self) -> &[f32] {
        &self.x
    }

    /// Columns of [`Self::numbers`].
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }
}

every_tier!(
    fn highest(x: &[f32], highest: &mut [f32]) -> bool = plain_highest
);

/// The highest number of each column; `false` if one is negative or not finite.
#[inline(always)]
fn plain_highest(x: &[f32], highest: &mut [f32]) -> bool {
    let mut wrong = 0;
    for row in x.chunks_exact(highest.len()) {
        for (highest, x) in highest.iter_mut().zip(row) {
            // −0 is no negative number.
            wrong |= u32::from(*x < 0.0) | u32::from(x.abs() >= f32::INFINITY) | u32::from(x.is_nan());
            *highest = if *x > *highest { *x } else { *highest };
        }
    }
    wrong == 0
}
