//! The compute threads: they all do one piece of work at a time, and share out its parts as they go.
//!
//! A step of a small model is a few milliseconds with sixty pieces of work in it, so handing one out must cost a microsecond: threads
//! that have just worked wait by looking for the next piece, and go to sleep only when none comes.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::error::Error;

/// How often a waiting thread looks before it sleeps: some tens of microseconds.
const LOOKS: usize = 4_000;

/// A piece of work, on the stack of whoever waits for it.
type Work = *const (dyn Fn(usize) + Sync);

struct Shared {
    /// Counts the pieces of work. Its value is what a thread waits for to change.
    turn: AtomicUsize,
    /// Threads that have not finished the piece yet.
    busy: AtomicUsize,
    work: Mutex<Option<SendWork>>,
    asleep: Vec<AtomicBool>,
    panicked: AtomicBool,
    ends: AtomicBool,
}

#[derive(Clone, Copy)]
struct SendWork(Work);
// SAFETY: what it points at is Sync, and `Threads::run` keeps it alive until every thread has finished with it.
unsafe impl Send for SendWork {}

/// The compute threads, the caller's own included.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    others: Vec<JoinHandle<()>>,
    /// Held while a piece of work is done, so that two callers take turns.
    turn: Mutex<()>,
}

impl Threads {
    /// `count` of 0 takes one for each core. The caller of [`Threads::run`] counts as one.
    pub(crate) fn new(count: usize) -> Result<Self, Error> {
        let count = if count == 0 { thread::available_parallelism().map_or(1, usize::from) } else { count };
        let shared = Arc::new(Shared {
            turn: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            work: Mutex::new(None),
            asleep: (1..count).map(|_| AtomicBool::new(false)).collect(),
            panicked: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        });
        let mut threads = Self { shared, others: Vec::new(), turn: Mutex::new(()) };
        for number in 0..count - 1 {
            let shared = Arc::clone(&threads.shared);
            let other = thread::Builder::new()
                .name(format!("sluice-compute-{}", number + 1))
                .spawn(move || shared.serve(number))
                .map_err(|problem| Error::Internal { problem: format!("cannot start compute threads: {problem}") })?;
            threads.others.push(other);
        }
        Ok(threads)
    }

    pub(crate) fn count(&self) -> usize {
        self.others.len() + 1
    }

    /// Does `work` on every thread at once, the caller's among them, and returns when all have. It is told the number of the thread,
    /// 0 for the caller's, and shares itself out, by [`Parts`] or otherwise. A panic on any thread is passed on here.
    pub(crate) fn run(&self, work: &(dyn Fn(usize) + Sync)) {
        if self.others.is_empty() {
            return work(0);
        }
        let turn = lock(&self.turn);
        // SAFETY: only the lifetime is changed. All threads are waited for below, also if `work` panics here, before `work` can end;
        // and the pointer is gone then.
        let erased = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Work>(work) };
        *lock(&self.shared.work) = Some(SendWork(erased));
        self.shared.busy.store(self.others.len(), Ordering::Relaxed);
        self.shared.turn.fetch_add(1, Ordering::SeqCst);
        for (asleep, other) in self.shared.asleep.iter().zip(&self.others) {
            if asleep.load(Ordering::SeqCst) {
                other.thread().unpark();
            }
        }
        let own = catch_unwind(AssertUnwindSafe(|| work(0)));
        let mut looks = 0;
        while self.shared.busy.load(Ordering::Acquire) > 0 {
            looks += 1;
            if looks < LOOKS { std::hint::spin_loop() } else { thread::yield_now() }
        }
        *lock(&self.shared.work) = None;
        let panicked = self.shared.panicked.swap(false, Ordering::Relaxed);
        drop(turn);
        match own {
            Err(panic) => resume_unwind(panic),
            Ok(()) => assert!(!panicked, "a compute thread panicked"),
        }
    }
}

impl Shared {
    fn serve(&self, number: usize) {
        let mut seen = 0;
        loop {
            self.wait(number, seen);
            if self.ends.load(Ordering::Acquire) {
                return;
            }
            seen += 1;
            let work = *lock(&self.work);
            if let Some(SendWork(work)) = work {
                // SAFETY: whoever gave it waits until `busy` says that we are done with it.
                let work = unsafe { &*work };
                if catch_unwind(AssertUnwindSafe(|| work(number + 1))).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.busy.fetch_sub(1, Ordering::Release);
        }
    }

    /// Returns when `turn` is no longer `seen`.
    fn wait(&self, number: usize, seen: usize) {
        for _ in 0..LOOKS {
            if self.turn.load(Ordering::Acquire) != seen {
                return;
            }
            std::hint::spin_loop();
        }
        self.asleep[number].store(true, Ordering::SeqCst);
        while self.turn.load(Ordering::SeqCst) == seen {
            thread::park();
        }
        self.asleep[number].store(false, Ordering::SeqCst);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        self.shared.turn.fetch_add(1, Ordering::SeqCst);
        for other in self.others.drain(..) {
            other.thread().unpark();
            // It has caught its own panics.
            let _ = other.join();
        }
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Threads").field("count", &self.count()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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

    /// The column of the strip at which its part of a table begins, and how many columns that has. Of one of its `tables`.
    pub(crate) fn part(&self, table: usize) -> (usize, usize) {
        let (begin, Table { first_col, cols, .. }) = (self.number * self.strips.width, self.strips.tables[table]);
        let (first, end) = (begin.max(first_col), (begin + self.strips.width).min(first_col + cols));
        (first - begin, end.saturating_sub(first))
    }

    /// That part of one of its rows, counted through all.
    pub(crate) fn row(&mut self, table: usize, row: usize) -> &mut [f32] {
        assert!(self.rows.contains(&row), "row {row} of {:?}", self.rows);
        let ((begin, width), Table { at, first_col, cols }) = (self.part(table), self.strips.tables[table]);
        let first = row * cols + (self.number * self.strips.width + begin).saturating_sub(first_col).min(cols - width);
        // SAFETY: within row and table; strips of the same rows do not overlap, each is given out once, and its parts are borrowed from it.
        unsafe { std::slice::from_raw_parts_mut(at.add(first), width) }
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
                    let number = strip.number;
                    let tables = strip.tables();
                    for (row, table) in strip.rows.clone().flat_map(|row| tables.clone().map(move |table| (row, table))) {
                        let begin = strip.part(table).0;
                        for (place, value) in strip.row(table, row).iter_mut().enumerate() {
                            *value += (100 * row + 2 * number + begin + place) as f32;
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

    #[test]
    fn a_panic_reaches_the_caller_and_the_threads_work_on() {
        let threads = Threads::new(3).unwrap();
        let parts = Parts::new(30, 3);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            threads.run(&|thread| {
                while let Some(part) = parts.next(thread) {
                    assert!(part != 7, "seven");
                }
            });
        }));
        assert!(failed.is_err());
        let done = AtomicUsize::new(0);
        threads.run(&|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 3);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the threads go to sleep only if nothing comes for a while")]
    fn sleepers_are_woken() {
        let threads = Threads::new(2).unwrap();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let done = AtomicUsize::new(0);
            threads.run(&|_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.load(Ordering::Relaxed), 2);
        }
    }
}
