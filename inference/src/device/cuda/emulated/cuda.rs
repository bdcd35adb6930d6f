//! Everything is done at once, on the thread that asks for it.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_void;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use bytemuck::Pod;

use super::super::tables::{StepArgs, TileMap};
use crate::error::{Error, MemoryLimit};

thread_local! {
    /// What this thread takes notes of, if it does.
    static NOTES: RefCell<Option<Vec<Work>>> = const { RefCell::new(None) };
}

thread_local! {
    /// This thread's cards answer nothing any more.
    static FAILS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Lets this thread's cards fail at whatever they are asked for next.
pub(crate) fn fail_from_now_on() {
    FAILS.set(true);
}

/// Memory there is: enough for the models of tests, and less than one would take by mistake.
const MEMORY_BYTES: usize = 4 << 30;

#[derive(Debug, Clone)]
pub(crate) struct Card {
    /// Blocks run in the other order.
    is_reversed: bool,
}

#[derive(Debug, Clone)]
enum Work {
    Launch { kernel: String, grid: [u32; 3], threads: u32, args: Arc<[u128]> },
    Copy { to: u64, from: u64, bytes: usize },
}

impl Card {
    pub(crate) fn has_driver() -> bool {
        true
    }

    pub(crate) fn open(ordinal: i32) -> Result<Self, Error> {
        Ok(Self { is_reversed: ordinal == 1 })
    }

    pub(crate) fn name(&self) -> &str {
        "emulated card"
    }

    pub(crate) fn bus_id(&self) -> Option<String> {
        None
    }

    pub(crate) fn capability(&self) -> (i32, i32) {
        (9, 0)
    }

    /// So few that blocks have several tiles each.
    pub(crate) fn processors(&self) -> usize {
        2
    }

    pub(crate) fn memory(&self) -> Result<(u64, u64), Error> {
        Ok((MEMORY_BYTES as u64, MEMORY_BYTES as u64))
    }

    /// `TooLarge`, with the numbers, if so many bytes are not free `now`, or are more than there are at all.
    pub(crate) fn hold(&self, needed_bytes: u64, now: bool) -> Result<(), Error> {
        let (free, total) = self.memory()?;
        if needed_bytes <= if now { free } else { total } {
            return Ok(());
        }
        Err(Error::TooLarge { needed_bytes, limit: MemoryLimit::Card, budget_bytes: total, held_bytes: total - free })
    }

    pub(crate) fn alloc(&self, bytes: usize) -> Result<Buffer, Error> {
        if bytes > MEMORY_BYTES {
            let (needed_bytes, budget_bytes) = (bytes as u64, MEMORY_BYTES as u64);
            return Err(Error::TooLarge { needed_bytes, limit: MemoryLimit::Card, budget_bytes, held_bytes: 0 });
        }
        Ok(Buffer { memory: vec![0; bytes.div_ceil(16) + 32], bytes })
    }

    pub(crate) fn pinned(&self, bytes: usize) -> Result<Pinned, Error> {
        Ok(Pinned { memory: vec![0; bytes.max(16)] })
    }

    pub(crate) fn copy_in(&self, to: u64, from: &Pinned, part: Range<usize>) -> Result<(), Error> {
        let from = &from[part];
        self.copy(to, from.as_ptr() as u64, from.len())
    }

    pub(crate) fn copy_out(&self, to: &mut Pinned, at: usize, bytes: usize, from: u64) -> Result<(), Error> {
        self.copy(to[at..at + bytes].as_mut_ptr() as u64, from, bytes)
    }

    pub(crate) fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), Error> {
        self.work(&Work::Copy { to, from, bytes })
    }

    pub(crate) fn launch<A: Pod>(&self, kernel: &str, grid: [u32; 3], threads: u32, args: &A) -> Result<(), Error> {
        let mut words = vec![0u128; size_of::<A>().div_ceil(16)];
        bytemuck::cast_slice_mut::<u128, u8>(&mut words)[..size_of::<A>()].copy_from_slice(bytemuck::bytes_of(args));
        self.work(&Work::Launch { kernel: kernel.to_owned(), grid, threads, args: words.into() })
    }

    /// A matrix as the emulator's copies of tiles are told of it.
    pub(crate) fn tile_map(&self, address: u64, row_bytes: usize, rows: usize, tile_bytes: usize) -> Result<TileMap, Error> {
        let mut words = [0; 16];
        words[..4].copy_from_slice(&[address, row_bytes as u64, rows as u64, tile_bytes as u64]);
        Ok(TileMap(words))
    }

    /// Two on each processor.
    pub(crate) fn blocks_together(&self, _kernel: &str, _threads: u32, _shared_bytes: usize) -> usize {
        2 * self.processors()
    }

    /// Stage by stage: blocks run one after the other, and could not meet.
    pub(crate) fn launch_step(
        &self,
        kernel: &str,
        blocks: usize,
        threads: u32,
        _shared_bytes: usize,
        args: &StepArgs,
    ) -> Result<(), Error> {
        (args.first..args.last)
            .try_for_each(|stage| self.launch(kernel, [blocks as u32, 1, 1], threads, &StepArgs { first: stage, last: stage + 1, ..*args }))
    }

    fn work(&self, work: &Work) -> Result<(), Error> {
        let noted = NOTES.with_borrow_mut(|notes| match notes {
            Some(notes) => {
                notes.push(work.clone());
                true
            }
            None => false,
        });
        if noted { Ok(()) } else { self.do_now(work) }
    }

    fn do_now(&self, work: &Work) -> Result<(), Error> {
        if FAILS.get() {
            return Err(Error::Internal { problem: "the card fell off the bus".to_owned() });
        }
        match work {
            Work::Copy { to, from, bytes } => {
                // SAFETY: both are parts of buffers that their owner keeps; they may overlap.
                unsafe { std::ptr::copy(*from as *const u8, *to as *mut u8, *bytes) };
                Ok(())
            }
            Work::Launch { kernel, grid, threads, args } => {
                let args = [args.as_ptr().cast_mut().cast::<c_void>()];
                // SAFETY: the kernel takes the one structure it was given, which only it reads; what its addresses lead to the caller keeps.
                unsafe { emulator::launch(kernel, *grid, *threads, &args, self.is_reversed) }
                    .map_err(|problem| Error::Internal { problem: format!("{kernel}: {problem}") })
            }
        }
    }

    pub(crate) fn wait(&self) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn mark(&self) -> Result<Mark, Error> {
        Ok(Mark)
    }

    pub(crate) fn record(&self, work: impl FnOnce() -> Result<(), Error>) -> Result<Recording, Error> {
        NOTES.set(Some(Vec::new()));
        let worked = work();
        let notes = NOTES.take().unwrap_or_default();
        worked.map(|()| Recording { notes })
    }

    pub(crate) fn replay(&self, recording: &Recording) -> Result<(), Error> {
        recording.notes.iter().try_for_each(|work| self.do_now(work))
    }
}

/// Memory, and what it holds zeroed.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Vec<u128>,
    bytes: usize,
}

impl Buffer {
    pub(crate) fn address(&self) -> u64 {
        // From a boundary of 256 bytes on, as a card's.
        (self.memory.as_ptr() as u64).next_multiple_of(256)
    }

    /// Numbers from its beginning on.
    pub(crate) fn read<T: Pod>(&self, count: usize) -> Vec<T> {
        assert!(count * size_of::<T>() <= self.bytes, "there are no more than {} bytes", self.bytes);
        // SAFETY: so many bytes are the buffer's.
        unsafe { std::slice::from_raw_parts(self.address() as *const T, count) }.to_vec()
    }

    /// Puts numbers where it begins.
    pub(crate) fn write<T: Pod>(&self, numbers: &[T]) {
        assert!(size_of_val(numbers) <= self.bytes, "there are no more than {} bytes", self.bytes);
        // SAFETY: so many bytes are the buffer's, and nothing is at work.
        unsafe { std::ptr::copy_nonoverlapping(numbers.as_ptr(), self.address() as *mut T, numbers.len()) };
    }
}

#[derive(Debug)]
pub(crate) struct Pinned {
    memory: Vec<u8>,
}

impl Deref for Pinned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory
    }
}

impl DerefMut for Pinned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

#[derive(Debug)]
pub(crate) struct Mark;

impl Mark {
    pub(crate) fn wait(self) -> Result<(), Error> {
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Recording {
    notes: Vec<Work>,
}

/// The number so many places behind an address of a buffer.
pub(in super::super) fn read<T: Pod>(address: u64, at: usize) -> T {
    // SAFETY: the caller names a place in a buffer.
    unsafe { (address as *const T).add(at).read() }
}

/// Puts a number there.
pub(in super::super) fn write<T: Pod>(address: u64, at: usize, number: T) {
    // SAFETY: as above, and nothing is at work.
    unsafe { (address as *mut T).add(at).write(number) };
}
