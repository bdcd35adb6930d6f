//! From the mapped files to the card: two pieces of pinned memory, one being filled by all threads while the card takes the other.

use std::sync::{Mutex, PoisonError};

use super::layout::{Held, Layout, Order};
use crate::checkpoint::{Dtype, Tensor};
use crate::device::cuda::{Card, Mark, Pinned};
use crate::device::{Chunks, Threads};
use crate::error::Error;
use crate::ops::linear::int8_scale;

/// So much goes to the card at once. (Tests have small files and want several turns.)
const STAGE_BYTES: usize = if cfg!(test) { 1 << 14 } else { 64 << 20 };
/// So much of a tensor is hashed and looked through by one thread.
const PIECE_BYTES: usize = 4 << 20;
/// Columns that a thread turns at a time: a cache line of each row.
const TURNED_COLS: usize = 32;

pub(super) struct Upload<'a> {
    card: &'a Card,
    threads: &'a Threads,
    stages: [(Pinned, Option<Mark>); 2],
    turn: usize,
}

impl<'a> Upload<'a> {
    pub(super) fn new(card: &'a Card, threads: &'a Threads) -> Result<Self, Error> {
        let stages = [(card.pinned(STAGE_BYTES)?, None), (card.pinned(STAGE_BYTES)?, None)];
        Ok(Self { card, threads, stages, turn: 0 })
    }

    /// BLAKE3 over type, shape and bytes of a tensor (over those of its pieces, of which all threads take some), whose numbers are all
    /// finite; else `Corrupt`.
    pub(super) fn check(&self, tensor: &Tensor) -> Result<blake3::Hash, Error> {
        let bytes = tensor.bytes();
        let mut digests = vec![blake3::Hash::from_bytes([0; 32]); bytes.len().div_ceil(PIECE_BYTES)];
        let not_finite = Mutex::new(None);
        let pieces = Chunks::new(&mut digests, 1, self.threads.count());
        self.threads.run(&|thread| {
            while let Some((number, digest)) = pieces.next(thread) {
                let piece = &bytes[number * PIECE_BYTES..bytes.len().min((number + 1) * PIECE_BYTES)];
                digest[0] = blake3::hash(piece);
                if let Some(place) = tensor.not_finite_among(piece) {
                    let place = number * (PIECE_BYTES / tensor.dtype().bytes()) + place;
                    let mut first = not_finite.lock().unwrap_or_else(PoisonError::into_inner);
                    *first = Some(first.map_or(place, |first: usize| first.min(place)));
                }
            }
        });
        if let Some(place) = not_finite.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(Error::corrupt(tensor.file(), format!("tensor `{}`: number {place} is NaN or infinite", tensor.name())));
        }
        let mut all = blake3::Hasher::new();
        all.update(format!("{} {:?}", tensor.dtype().name(), tensor.shape()).as_bytes());
        digests.iter().for_each(|digest| _ = all.update(digest.as_bytes()));
        Ok(all.finalize())
    }

    /// A matrix, which these tensors are one below the other.
    pub(super) fn matrix(&mut self, layout: &Layout, tensors: &[&Tensor], to: u64) -> Result<(), Error> {
        let rows = Rows { tensors, cols: layout.cols };
        for (begin, row_bytes, make) in layout.by_row() {
            let as_stored = begin == 0 && rows.are_stored_as(layout);
            self.pieces(to + begin as u64, layout.rows, row_bytes, &|first, chunk| {
                let mut numbers = vec![0.0; if as_stored { 0 } else { layout.cols }];
                for (row, out) in chunk.chunks_exact_mut(row_bytes).enumerate() {
                    if as_stored {
                        let bytes = rows.bytes(first + row);
                        out[..bytes.len()].copy_from_slice(bytes);
                        out[bytes.len()..].fill(0);
                    } else {
                        rows.read(first + row, 0, &mut numbers);
                        out.fill(0);
                        make(layout, &numbers, out);
                    }
                }
            })?;
        }
        if layout.order == Order::ByColumn {
            self.by_column(layout, &rows, to)?;
        }
        tensors.iter().for_each(|tensor| tensor.release(0..tensor.bytes().len()));
        Ok(())
    }

    fn by_column(&mut self, layout: &Layout, rows: &Rows<'_>, to: u64) -> Result<(), Error> {
        let number_bytes = layout.stride_bytes() / layout.rows;
        let mut inverses = vec![0.0f32; layout.rows];
        if number_bytes == 1 {
            let chunks = Chunks::new(&mut inverses, 1, self.threads.count());
            self.threads.run(&|thread| {
                let mut numbers = vec![0.0; layout.cols];
                while let Some((row, inverse)) = chunks.next(thread) {
                    rows.read(row, 0, &mut numbers);
                    inverse[0] = int8_scale(&numbers).1;
                }
            });
        }
        let as_stored = rows.are_stored_as(layout);
        self.pieces(to, layout.cols, layout.stride_bytes(), &|first, chunk| {
            let cols = chunk.len() / layout.stride_bytes();
            let mut numbers = [0.0; TURNED_COLS];
            for begin in (0..cols).step_by(TURNED_COLS) {
                let count = TURNED_COLS.min(cols - begin);
                for row in 0..layout.rows {
                    let mut put = |col: usize, make: &dyn Fn(&mut [u8])| {
                        make(&mut chunk[(begin + col) * layout.stride_bytes() + row * number_bytes..][..number_bytes]);
                    };
                    if as_stored {
                        let bytes = &rows.bytes(row)[2 * (first + begin)..][..2 * count];
                        bytes.chunks_exact(2).enumerate().for_each(|(col, bytes)| put(col, &|out| out.copy_from_slice(bytes)));
                    } else {
                        rows.read(row, first + begin, &mut numbers[..count]);
                        let numbers = numbers[..count].iter().enumerate();
                        numbers.for_each(|(col, number)| put(col, &|out| layout.single(*number, inverses[row], out)));
                    }
                }
            }
        })
    }

    /// Numbers, widened, one tensor behind the other.
    pub(super) fn singles(&mut self, tensors: &[&Tensor], to: u64) -> Result<(), Error> {
        let numbers: Vec<f32> = tensors.iter().flat_map(|tensor| tensor.to_f32()).collect();
        self.bytes(bytemuck::cast_slice(&numbers), to)
    }

    /// Bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8], to: u64) -> Result<(), Error> {
        for (number, part) in bytes.chunks(STAGE_BYTES).enumerate() {
            self.stage(to + (number * STAGE_BYTES) as u64, part.len(), &|_, stage| stage.copy_from_slice(part))?;
        }
        Ok(())
    }

    /// Waits until all is on the card.
    pub(super) fn end(self) -> Result<(), Error> {
        self.card.wait()
    }

    /// `count` equal pieces that lie behind one another, made by all threads: `make` is given the number of the first of some, and their room.
    fn pieces(&mut self, to: u64, count: usize, piece_bytes: usize, make: &(dyn Fn(usize, &mut [u8]) + Sync)) -> Result<(), Error> {
        // A piece larger than the room (there is none in any released model) would have to be cut.
        let each = (STAGE_BYTES / piece_bytes).max(1);
        for first in (0..count).step_by(each) {
            let bytes = each.min(count - first) * piece_bytes;
            let chunk = (each.min(count - first).div_ceil(4 * self.threads.count())).next_multiple_of(TURNED_COLS) * piece_bytes;
            self.stage(to + (first * piece_bytes) as u64, bytes, &|threads, stage| {
                let chunks = Chunks::new(stage, chunk, threads.count());
                threads.run(&|thread| {
                    while let Some((number, chunk_of)) = chunks.next(thread) {
                        make(first + number * (chunk / piece_bytes), chunk_of);
                    }
                });
            })?;
        }
        Ok(())
    }

    fn stage(&mut self, to: u64, bytes: usize, fill: &dyn Fn(&Threads, &mut [u8])) -> Result<(), Error> {
        self.turn = 1 - self.turn;
        let (stage, mark) = &mut self.stages[self.turn];
        if let Some(mark) = mark.take() {
            mark.wait()?;
        }
        if stage.len() < bytes {
            *stage = self.card.pinned(bytes)?;
        }
        fill(self.threads, &mut stage[..bytes]);
        self.card.copy_in(to, stage, 0..bytes)?;
        *mark = Some(self.card.mark()?);
        Ok(())
    }
}

/// The rows of tensors of equal shape, one below the other.
struct Rows<'a> {
    tensors: &'a [&'a Tensor],
    cols: usize,
}

impl Rows<'_> {
    fn bytes(&self, row: usize) -> &[u8] {
        let each = self.tensors[0].shape()[0];
        let tensor = self.tensors[row / each];
        let row_bytes = self.cols * tensor.dtype().bytes();
        &tensor.bytes()[row % each * row_bytes..][..row_bytes]
    }

    fn read(&self, row: usize, first: usize, out: &mut [f32]) {
        let dtype = self.tensors[row / self.tensors[0].shape()[0]].dtype();
        dtype.widen(&self.bytes(row)[first * dtype.bytes()..][..out.len() * dtype.bytes()], out);
    }

    /// The files hold the very bits.
    fn are_stored_as(&self, layout: &Layout) -> bool {
        let dtype = match layout.held {
            Held::Half => Dtype::F16,
            Held::Bfloat => Dtype::Bf16,
            Held::Int8 | Held::Int4 => return false,
        };
        self.tensors.iter().all(|tensor| tensor.dtype() == dtype)
    }
}
