//! Parts of a piece of work, and of what it writes, for the threads that do it: whoever asks next gets the next, and nobody else has it.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers 0..count, each given out once. Every thread has a range of its own and takes it in order, so that it reads memory in order
/// and asks ahead only for what it will read itself; one that has finished takes over from the end of another's range.
#[derive(Debug)]
pub(crate) struct Parts {
    ranges: Vec<Share>,
}

/// What is left of a thread's range: its first number in the upper half of the word, its end in the lower. On a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Share(AtomicU64);

impl Parts {
    /// For so many threads.
    pub(crate) fn new(count: usize, threads: usize) -> Self {
        assert!(u32::try_from(count).is_ok(), "{count} parts are more than are counted");
        let (count, threads) = (count as u64, threads.max(1) as u64);
        let range = |number| Share(AtomicU64::new((count * number / threads) << 32 | (count * (number + 1) / threads)));
        Self { ranges: (0..threads).map(range).collect() }
    }

    /// The next one for the thread of this number.
    pub(crate) fn next(&self, thread: usize) -> Option<usize> {
        let own = thread % self.ranges.len();
        let others = (1..self.ranges.len()).map(|step| (own + step) % self.ranges.len());
        self.ranges[own].take_first().or_else(|| others.into_iter().find_map(|other| self.ranges[other].take_last()))
    }
}

impl Share {
    fn take_first(&self) -> Option<usize> {
        self.take(|first, end| (first, first + 1, end))
    }

    fn take_last(&self) -> Option<usize> {
        self.take(|first, end| (end - 1, first, end - 1))
    }

    /// `choose` gets first and end of what is left, and gives the number taken and first and end of what is left then.
    fn take(&self, choose: impl Fn(u64, u64) -> (u64, u64, u64)) -> Option<usize> {
        let halves = |word: u64| (word >> 32, word & u64::from(u32::MAX));
        let shrink = |word| {
            let (first, end) = halves(word);
            let (_, first, end) = (first < end).then(|| choose(first, end))?;
            Some(first << 32 | end)
        };
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shrink).ok()?;
        let (first, end) = halves(taken);
        Some(choose(first, end).0 as usize)
    }
}

/// A slice, given out in chunks to whoever asks next.
#[derive(Debug)]
pub(crate) struct Chunks<'a, T> {
    at: *mut T,
    length: usize,
    chunk: usize,
    parts: Parts,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: a chunk is given to one thread only, as a `&mut [T]` would be sent to it.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    pub(crate) fn new(slice: &'a mut [T], chunk: usize, threads: usize) -> Self {
        let parts = Parts::new(slice.len().div_ceil(chunk), threads);
        Self { at: slice.as_mut_ptr(), length: slice.len(), chunk, parts, slice: PhantomData }
    }

    /// The next chunk and its number, for the thread of this number.
    pub(crate) fn next(&self, thread: usize) -> Option<(usize, &'a mut [T])> {
        let part = self.parts.next(thread)?;
        let first = part * self.chunk;
        let length = self.chunk.min(self.length - first);
        // SAFETY: within the slice, which is borrowed for 'a; `Parts` gives each number once, so no two chunks overlap.
        Some((part, unsafe { std::slice::from_raw_parts_mut(self.at.add(first), length) }))
    }
}

/// A result (rows, cols) of several tables side by side, each (rows, cols of its own), given out in strips of columns: those of some rows,
/// then those of the next.
#[derive(Debug)]
pub(crate) struct Strips<'a> {
    tables: Vec<Table>,
    rows: usize,
    rows_at_once: usize,
    strips: usize,
    width: usize,
    parts: Parts,
    slice: PhantomData<&'a mut [f32]>,
}

#[derive(Debug, Clone, Copy)]
struct Table {
    at: *mut f32,
    first_col: usize,
    cols: usize,
}

// SAFETY: a strip is given to one thread only.
unsafe impl Sync for Strips<'_> {}

impl<'a> Strips<'a> {
    /// Tables of equal width, in the order of their columns. Rows are given out so many at once, columns in strips of `width`.
    pub(crate) fn new(tables: &'a mut [&mut [f32]], rows: usize, (rows_at_once, width): (usize, usize), threads: usize) -> Self {
        let mut first_col = 0;
        let tables: Vec<Table> = tables
            .iter_mut()
            .map(|table| {
                let cols = table.len() / rows.max(1);
                assert_eq!(table.len(), rows * cols, "a table must have {rows} rows");
                first_col += cols;
                Table { at: table.as_mut_ptr(), first_col: first_col - cols, cols }
            })
            .collect();
        let strips = first_col.div_ceil(width);
        let parts = Parts::new(rows.div_ceil(rows_at_once) * strips, threads);
        Self { tables, rows, rows_at_once, strips, width, parts, slice: PhantomData }
    }

    /// The next strip for the thread of this number.
    pub(crate) fn next(&self, thread: usize) -> Option<Strip<'_>> {
        let part = self.parts.next(thread)?;
        let (first, number) = (part / self.strips * self.rows_at_once, part % self.strips);
        Some(Strip { strips: self, rows: first..(first + self.rows_at_once).min(self.rows), number })
    }
}

/// Columns `number · width` and on, of some rows; nobody else has them.
#[derive(Debug)]
pub(crate) struct Strip<'a> {
    strips: &'a Strips<'a>,
    rows: Range<usize>,
    number: usize,
}

impl Strip<'_> {
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Its first column, counted through all tables.
    pub(crate) fn first_col(&self) -> usize {
        self.number * self.strips.width
    }

    /// The tables it has columns of.
    pub(crate) fn tables(&self) -> Range<usize> {
        let (begin, end) = (self.number * self.strips.width, (self.number + 1) * self.strips.width);
        let tables = &self.strips.tables;
        tables.partition_point(|table| table.first_col + table.cols <= begin)..tables.partition_point(|table| table.first_col < end)
    }

    /// Its columns of one of its `tables`.
    pub(crate) fn of_table(&mut self, table: usize) -> OfTable<'_> {
        let (begin, Table { at, first_col, cols: stride }) = (self.first_col(), self.strips.tables[table]);
        let first = begin.clamp(first_col, first_col + stride);
        let cols = (begin + self.strips.width).clamp(first, first_col + stride) - first;
        OfTable { at: at.wrapping_add(first - first_col), stride, rows: self.rows.clone(), begin: first - begin, cols, strip: PhantomData }
    }
}

/// Columns of a strip, all of one table.
#[derive(Debug)]
pub(crate) struct OfTable<'a> {
    at: *mut f32,
    stride: usize,
    rows: Range<usize>,
    begin: usize,
    cols: usize,
    strip: PhantomData<&'a mut [f32]>,
}

impl OfTable<'_> {
    /// Where in the strip they begin.
    pub(crate) fn begin(&self) -> usize {
        self.begin
    }

    /// How many they are.
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Of some of the strip's rows, counted through all.
    pub(crate) fn rows(&mut self, rows: Range<usize>) -> impl Iterator<Item = &mut [f32]> {
        assert!(self.rows.start <= rows.start && rows.end <= self.rows.end, "rows {rows:?} of {:?}", self.rows);
        // SAFETY: within rows and table, and rows do not overlap; nor do strips of the same rows, each is given out once, and this is
        // borrowed from it.
        rows.map(|row| unsafe { std::slice::from_raw_parts_mut(self.at.add(row * self.stride), self.cols) })
    }
}

/// Pieces of a slice, in rows of equally many: whoever asks next gets a column of them, in some rows first, then in the next.
#[derive(Debug)]
pub(crate) struct Pieces<'a, T> {
    at: *mut T,
    pieces: Vec<Range<usize>>,
    columns: usize,
    rows_at_once: usize,
    parts: Parts,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: a column is given to one thread only, as `&mut [T]`s would be sent to it.
unsafe impl<T: Send> Sync for Pieces<'_, T> {}

impl<'a, T> Pieces<'a, T> {
    /// The pieces must ascend and not overlap.
    pub(crate) fn new(slice: &'a mut [T], pieces: Vec<Range<usize>>, (rows_at_once, columns): (usize, usize), threads: usize) -> Self {
        assert!(pieces.is_empty() || pieces.len().is_multiple_of(columns), "{} pieces in rows of {columns}", pieces.len());
        let ends = pieces.iter().try_fold(0, |end, piece| (end <= piece.start && piece.start <= piece.end).then_some(piece.end));
        assert!(ends.is_some_and(|end| end <= slice.len()), "pieces must ascend within {}", slice.len());
        let rows = if pieces.is_empty() { 0 } else { pieces.len() / columns };
        let parts = Parts::new(rows.div_ceil(rows_at_once) * columns, threads);
        Self { at: slice.as_mut_ptr(), pieces, columns, rows_at_once, parts, slice: PhantomData }
    }

    /// The next column for the thread of this number.
    pub(crate) fn next(&self, thread: usize) -> Option<Column<'_, T>> {
        let part = self.parts.next(thread)?;
        let first = part / self.columns * self.rows_at_once;
        let rows = first..(first + self.rows_at_once).min(self.pieces.len() / self.columns);
        Some(Column { pieces: self, rows, number: part % self.columns })
    }
}

/// One piece of each of some rows; nobody else has them.
#[derive(Debug)]
pub(crate) struct Column<'a, T> {
    pieces: &'a Pieces<'a, T>,
    rows: Range<usize>,
    number: usize,
}

impl<T> Column<'_, T> {
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Its piece of one of its rows, counted through all.
    pub(crate) fn piece(&mut self, row: usize) -> &mut [T] {
        assert!(self.rows.contains(&row), "row {row} of {:?}", self.rows);
        let Range { start, end } = self.pieces.pieces[row * self.pieces.columns..][..self.pieces.columns][self.number];
        // SAFETY: within the slice and apart from all other pieces (checked when they were made); each column is given out once for the
        // same rows, and its pieces are borrowed from it.
        unsafe { std::slice::from_raw_parts_mut(self.pieces.at.add(start), end - start) }
    }
}

/// A result (rows, cols), given out in patches: rows from one bound to the next, a tile, by strips of `width` columns. Tiles come in groups:
/// of one group after the other, strip after strip.
#[derive(Debug)]
pub(crate) struct Patches<'a> {
    at: *mut f32,
    cols: usize,
    bounds: &'a [usize],
    /// The first tile of each group, and then how many tiles there are.
    groups: &'a [usize],
    width: usize,
    parts: Parts,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: a patch is given to one thread only.
unsafe impl Sync for Patches<'_> {}

impl<'a> Patches<'a> {
    /// `bounds` must ascend from the first row to the end of the last, `groups` from 0 to the number of tiles, `width` divide `cols`.
    pub(crate) fn new(
        table: &'a mut [f32],
        cols: usize,
        (bounds, groups): (&'a [usize], &'a [usize]),
        width: usize,
        threads: usize,
    ) -> Self {
        assert!(bounds.is_sorted() && bounds.last().is_some_and(|end| end * cols <= table.len()), "rows to {bounds:?} of {}", table.len());
        assert_eq!(cols % width, 0, "strips of {width} columns must make up {cols}");
        let parts = Parts::new((bounds.len() - 1) * (cols / width), threads);
        assert!(
            groups.is_sorted() && groups.first() == Some(&0) && groups.last() == Some(&(bounds.len() - 1)),
            "groups of tiles: {groups:?}"
        );
        Self { at: table.as_mut_ptr(), cols, bounds, groups, width, parts, slice: PhantomData }
    }

    /// The next patch for the thread of this number.
    pub(crate) fn next(&self, thread: usize) -> Option<Patch<'_>> {
        let (part, strips) = (self.parts.next(thread)?, self.cols / self.width);
        let group = self.groups.partition_point(|first| first * strips <= part) - 1;
        let (first, end) = (self.groups[group], self.groups[group + 1]);
        let (place, tiles) = (part - first * strips, end - first);
        Some(Patch { patches: self, tile: first + place % tiles, strip: place / tiles })
    }
}

/// The rows between bounds `tile` and `tile` + 1, in columns `strip · width` and on; nobody else has them.
#[derive(Debug)]
pub(crate) struct Patch<'a> {
    patches: &'a Patches<'a>,
    tile: usize,
    strip: usize,
}

impl Patch<'_> {
    pub(crate) fn tile(&self) -> usize {
        self.tile
    }

    pub(crate) fn strip(&self) -> usize {
        self.strip
    }

    pub(crate) fn first_row(&self) -> usize {
        self.patches.bounds[self.tile]
    }

    pub(crate) fn rows(&self) -> usize {
        self.patches.bounds[self.tile + 1] - self.first_row()
    }

    /// Its part of row `row`, counted from its first.
    pub(crate) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows(), "row {row} of {}", self.rows());
        let Patches { at, cols, width, .. } = self.patches;
        let first = (self.first_row() + row) * cols + self.strip * width;
        // SAFETY: within the table (the bounds were checked), and in no other patch: bounds ascend, strips do not overlap, and each patch
        // is given out once.
        unsafe { std::slice::from_raw_parts_mut(at.add(first), *width) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use crate::device::Threads;
    use std::panic::catch_unwind;

    #[test]
    fn every_chunk_and_strip_is_done_once_on_any_number_of_threads() {
        for count in [1, 2, 5] {
            let threads = Threads::new(count).unwrap();
            for round in 0..200 {
                let mut numbers = vec![0; 1 + round];
                let chunks = Chunks::new(&mut numbers, 3, count);
                threads.run(&|thread| {
                    while let Some((number, chunk)) = chunks.next(thread) {
                        chunk.iter_mut().for_each(|value| *value += number + 1);
                    }
                });
                assert!(numbers.iter().enumerate().all(|(place, value)| *value == place / 3 + 1), "{numbers:?}");
            }
            // Two rows of three pieces, one row after the other; what lies between them is nobody's.
            let mut numbers = [0; 20];
            let pieces = Pieces::new(&mut numbers, vec![0..2, 2..5, 5..6, 10..13, 15..15, 18..20], (1, 3), count);
            threads.run(&|thread| {
                while let Some(mut column) = pieces.next(thread) {
                    let number = column.number;
                    column.rows.clone().for_each(|row| column.piece(row).iter_mut().for_each(|value| *value += 10 * row + number + 1));
                }
            });
            assert_eq!(numbers, [1, 1, 2, 2, 2, 3, 0, 0, 0, 0, 11, 11, 11, 0, 0, 0, 0, 0, 13, 13]);
            let (mut first, mut second) = (vec![0.0; 3 * 5], vec![0.0; 3 * 4]);
            let tables = &mut [&mut first[..], &mut second[..]];
            let strips = Strips::new(tables, 3, (2, 2), count);
            threads.run(&|thread| {
                while let Some(mut strip) = strips.next(thread) {
                    let (number, rows) = (strip.number, strip.rows());
                    for table in strip.tables() {
                        let mut part = strip.of_table(table);
                        let first = 2 * number + part.begin;
                        for (row, values) in rows.clone().zip(part.rows(rows.clone())) {
                            values.iter_mut().enumerate().for_each(|(place, value)| *value += (100 * row + first + place) as f32);
                        }
                    }
                }
            });
            for row in 0..3 {
                for col in 0..9 {
                    let value = if col < 5 { first[row * 5 + col] } else { second[row * 4 + col - 5] };
                    assert_eq!(value, (100 * row + col) as f32);
                }
            }
        }
    }

    #[test]
    fn every_patch_is_given_out_once_and_those_of_a_group_together() {
        // Three tiles in two groups, one of which is of nobody in between; two strips.
        let (mut table, bounds, groups) = ([0.0; 5 * 4], [0, 1, 3, 5], [0, 2, 2, 3]);
        let patches = Patches::new(&mut table, 4, (&bounds, &groups), 2, 1);
        let mut order = Vec::new();
        while let Some(mut patch) = patches.next(0) {
            order.push((patch.strip, patch.tile));
            (0..patch.rows()).for_each(|row| patch.row(row).iter_mut().for_each(|value| *value += 1.0));
        }
        assert_eq!(order, [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2)]);
        assert_eq!(table, [1.0; 20]);
    }

    #[test]
    fn pieces_that_overlap_or_lie_outside_are_given_to_nobody() {
        for pieces in [vec![0..3, 2..4], vec![2..3, 0..1], vec![0..3, 3..11]] {
            let said = format!("{pieces:?}");
            let refused = catch_unwind(|| Pieces::new(&mut [0; 10], pieces, (1, 1), 2).columns);
            assert!(refused.is_err(), "{said}");
        }
    }
}
