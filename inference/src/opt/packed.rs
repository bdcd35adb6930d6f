//! The weights' memory: what lies where, and how it is filled from the tensors of a checkpoint.
//!
//! All weights of a model lie in one piece of memory, each matrix packed for the kernels that read it. It is filled matrix by matrix,
//! every thread packing panels straight from the mapped file, so that no more than the packed weights and one tensor are in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cache::{Entry, Writing};
use crate::checkpoint::{Dtype, Tensor};
use crate::device::{Chunks, Parts, Threads};
use crate::error::Error;
use crate::mmap::{HugePages, Memory};
use crate::ops::linear::{Bands, Format, Layout, PACKING_VERSION, PANEL_ROWS, Panels, Source, bands, pack_panel};

/// Where things begin: a cache line.
const ALIGNMENT: usize = 64;

/// A matrix (rows, cols) for multiplying.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    order: Order,
    at: usize,
}

/// In which order the weights of a matrix lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Panels,
    /// For inputs of which most are zero.
    Bands,
}

/// A table (rows, cols) for looking up rows, as stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    pub(crate) dtype: Dtype,
    pub(crate) cols: usize,
    at: usize,
}

/// Numbers in f32.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Vector {
    at: usize,
    length: usize,
}

/// The filled memory.
#[derive(Debug)]
pub(crate) struct Packed {
    memory: Arc<Memory>,
    /// It being written to the cache, which is waited for at the end.
    _writing: Option<Writing>,
    from_cache: bool,
}

impl Packed {
    pub(crate) fn bytes(&self) -> u64 {
        self.memory.len() as u64
    }

    /// The memory itself.
    pub(crate) fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory)
    }

    /// Whether it was found in the cache.
    pub(crate) fn is_from_cache(&self) -> bool {
        self.from_cache
    }

    pub(crate) fn panels(&self, matrix: &Matrix) -> Panels<'_> {
        let Matrix { format, rows, cols, .. } = *matrix;
        Panels::new(format, rows, cols, self.bytes_of(matrix))
    }

    pub(crate) fn bands(&self, matrix: &Matrix) -> Bands<'_> {
        let Matrix { format, rows, cols, .. } = *matrix;
        Bands::new(format, rows, cols, self.bytes_of(matrix))
    }

    pub(crate) fn layout(&self, matrix: &Matrix) -> Layout<'_> {
        match matrix.order {
            Order::Panels => Layout::Panels(self.panels(matrix)),
            Order::Bands => Layout::Bands(self.bands(matrix)),
        }
    }

    fn bytes_of(&self, matrix: &Matrix) -> &[u8] {
        &self.memory[matrix.at..][..matrix.format.bytes(matrix.rows, matrix.cols)]
    }

    pub(crate) fn vector(&self, vector: &Vector) -> &[f32] {
        bytemuck::cast_slice(&self.memory[vector.at..][..4 * vector.length])
    }

    /// Row `row` of the table, widened.
    pub(crate) fn table_row(&self, table: &Table, row: usize, out: &mut [f32]) {
        let row_bytes = table.cols * table.dtype.bytes();
        table.dtype.widen(&self.memory[table.at + row * row_bytes..][..row_bytes], out);
    }
}

/// What will lie where, in the order it was asked for.
pub(super) struct Plan<'a> {
    tensors: BTreeMap<String, &'a Tensor>,
    pieces: Vec<Piece<'a>>,
    bytes: usize,
}

/// One piece of the memory, and the tensors it is made from, one below the other.
struct Piece<'a> {
    tensors: Vec<&'a Tensor>,
    kind: Kind,
    at: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Kind {
    Matrix { format: Format, rows: usize, cols: usize, order: Order },
    AsStored,
    Singles,
}

impl<'a> Plan<'a> {
    pub(super) fn new(tensors: Vec<(String, &'a Tensor)>) -> Self {
        Self { tensors: tensors.into_iter().collect(), pieces: Vec::new(), bytes: 0 }
    }

    /// Bytes of all that was asked for.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Matrices of equal shape, one below the other, in the format that `choose` finds for how they are stored.
    pub(super) fn matrix(&mut self, names: &[String], order: Order, choose: impl Fn(Dtype) -> Format) -> Result<Matrix, Error> {
        let tensors = names.iter().map(|name| self.take(name)).collect::<Result<Vec<_>, _>>()?;
        let dtype = tensors.iter().map(|tensor| tensor.dtype()).reduce(|one, other| if one == other { one } else { Dtype::F32 });
        let format = choose(dtype.unwrap_or(Dtype::F32));
        let cols = tensors.first().and_then(|tensor| tensor.shape().last()).copied().unwrap_or(1);
        let rows = tensors.iter().map(|tensor| tensor.shape()[0]).sum();
        let at = self.place(tensors, Kind::Matrix { format, rows, cols, order }, format.bytes(rows, cols));
        Ok(Matrix { format, rows, cols, order, at })
    }

    pub(super) fn table(&mut self, name: &str) -> Result<Table, Error> {
        let tensor = self.take(name)?;
        let (dtype, cols) = (tensor.dtype(), tensor.shape()[1]);
        let at = self.place(vec![tensor], Kind::AsStored, tensor.bytes().len());
        Ok(Table { dtype, cols, at })
    }

    /// Vectors, one behind the other.
    pub(super) fn vector(&mut self, names: &[String]) -> Result<Vector, Error> {
        let tensors = names.iter().map(|name| self.take(name)).collect::<Result<Vec<_>, _>>()?;
        let length = tensors.iter().map(|tensor| tensor.shape().iter().product::<usize>()).sum();
        Ok(Vector { at: self.place(tensors, Kind::Singles, 4 * length), length })
    }

    fn take(&mut self, name: &str) -> Result<&'a Tensor, Error> {
        // Whoever made the plan has seen every name asked for here; the error guards against the two lists parting.
        self.tensors.remove(name).ok_or_else(|| Error::Internal { problem: format!("tensor `{name}` was not looked for") })
    }

    fn place(&mut self, tensors: Vec<&'a Tensor>, kind: Kind, bytes: usize) -> usize {
        let at = self.bytes;
        self.bytes = (at + bytes).next_multiple_of(ALIGNMENT);
        self.pieces.push(Piece { tensors, kind, at, bytes });
        at
    }

    /// Names what the memory will hold, if the tensors come from files of this identity.
    pub(super) fn key(&self, files: blake3::Hash) -> blake3::Hash {
        let mut key = blake3::Hasher::new();
        key.update(&PACKING_VERSION.to_le_bytes()).update(files.as_bytes());
        for Piece { tensors, kind, at, bytes } in &self.pieces {
            key.update(format!("{at} {bytes} {kind:?}").as_bytes());
            for tensor in tensors {
                key.update(format!(" {:?} {} {:?}", tensor.name(), tensor.dtype().name(), tensor.shape()).as_bytes());
            }
        }
        key.finalize()
    }

    /// The memory as the cache has it.
    pub(super) fn find(&self, entry: &Entry, threads: &Threads) -> Option<(Packed, blake3::Hash)> {
        let (memory, digest) = entry.find(self.bytes, threads)?;
        Some((Packed { memory: Arc::new(memory), _writing: None, from_cache: true }, digest))
    }

    /// Fills the memory. Gives the BLAKE3 over the tensors in order besides: names of ours would add nothing, since the order is fixed.
    /// `Corrupt` names a tensor with a number that is not finite.
    pub(super) fn fill(self, threads: &Threads) -> Result<(Packed, blake3::Hash), Error> {
        let mut memory = HugePages::zeroed(self.bytes)?;
        let mut digest = blake3::Hasher::new();
        for piece in &self.pieces {
            let out = &mut memory[piece.at..][..piece.bytes];
            for hash in piece.fill(threads, out)? {
                digest.update(hash.as_bytes());
            }
        }
        Ok((Packed { memory: Arc::new(Memory::Own(memory)), _writing: None, from_cache: false }, digest.finalize()))
    }
}

impl Packed {
    /// Begins to keep it in the cache, its digest with it.
    pub(super) fn keep(&mut self, entry: Entry, digest: blake3::Hash) {
        self._writing = entry.keep(Arc::clone(&self.memory), digest);
    }
}

impl Piece<'_> {
    /// Packs, and checks and hashes each tensor, all at once.
    fn fill(&self, threads: &Threads, out: &mut [u8]) -> Result<Vec<blake3::Hash>, Error> {
        let checked: Mutex<BTreeMap<usize, Result<blake3::Hash, Error>>> = Mutex::default();
        let to_check = Parts::new(self.tensors.len(), threads.count());
        let chunk_bytes = match self.kind {
            Kind::Matrix { format, cols, order: Order::Panels, .. } => format.panel_bytes(cols),
            Kind::Matrix { format, rows, cols, order: Order::Bands } => bands::panels_of_a_band(format, rows) * format.panel_bytes(cols),
            Kind::AsStored | Kind::Singles => out.len().max(1),
        };
        let chunks = Chunks::new(out, chunk_bytes, threads.count());
        threads.run(&|thread| {
            while let Some(number) = to_check.next(thread) {
                let result = check(self.tensors[number]);
                checked.lock().unwrap_or_else(PoisonError::into_inner).insert(number, result);
            }
            while let Some((number, chunk)) = chunks.next(thread) {
                self.pack(number, chunk);
            }
        });
        for tensor in &self.tensors {
            tensor.release();
        }
        checked.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    fn pack(&self, number: usize, chunk: &mut [u8]) {
        match self.kind {
            Kind::Matrix { format, rows, cols, order } => {
                let source = Stacked { tensors: &self.tensors, cols };
                match order {
                    Order::Panels => pack_panel(format, &source, (rows, cols), number * PANEL_ROWS, chunk),
                    Order::Bands => {
                        let first = number * bands::panels_of_a_band(format, rows);
                        bands::pack_band(format, &source, (rows, cols), first * PANEL_ROWS, chunk);
                    }
                }
            }
            Kind::AsStored => {
                for tensor in &self.tensors {
                    chunk.copy_from_slice(tensor.bytes());
                }
            }
            Kind::Singles => {
                let mut rest = bytemuck::cast_slice_mut::<u8, f32>(chunk);
                for tensor in &self.tensors {
                    let (part, others) = rest.split_at_mut(tensor.bytes().len() / tensor.dtype().bytes());
                    tensor.dtype().widen(tensor.bytes(), part);
                    rest = others;
                }
            }
        }
    }
}

/// The tensor's digest, if all its numbers are finite.
fn check(tensor: &Tensor) -> Result<blake3::Hash, Error> {
    if let Some(place) = tensor.first_not_finite() {
        return Err(Error::corrupt(tensor.file(), format!("tensor `{}`: number {place} is NaN or infinite", tensor.name())));
    }
    let mut digest = blake3::Hasher::new();
    digest.update(format!("{} {:?}", tensor.dtype().name(), tensor.shape()).as_bytes()).update(tensor.bytes());
    Ok(digest.finalize())
}

/// Matrices of equal shape, one below the other.
struct Stacked<'a> {
    tensors: &'a [&'a Tensor],
    cols: usize,
}

impl Stacked<'_> {
    fn find(&self, n: usize) -> (&Tensor, &[u8]) {
        let each = self.tensors[0].shape()[0];
        let tensor = self.tensors[n / each];
        let row_bytes = self.cols * tensor.dtype().bytes();
        (tensor, &tensor.bytes()[n % each * row_bytes..][..row_bytes])
    }
}

impl Source for Stacked<'_> {
    fn row(&self, n: usize, first: usize, out: &mut [f32]) {
        let (tensor, bytes) = self.find(n);
        let width = tensor.dtype().bytes();
        tensor.dtype().widen(&bytes[first * width..][..out.len() * width], out);
    }

    fn stored(&self, n: usize, format: Format) -> Option<&[u8]> {
        let (tensor, bytes) = self.find(n);
        let held = match tensor.dtype() {
            Dtype::F32 => Format::F32,
            Dtype::F16 => Format::F16,
            Dtype::Bf16 => Format::Bf16Wide,
        };
        (held == format).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use half::f16;

    #[test]
    fn halves_are_widened_as_they_should_be() {
        // Every half there is.
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut out = vec![0.0; 1 << 16];
        Dtype::F16.widen(&bytes, &mut out);
        for (bits, found) in (0..=u16::MAX).zip(&out) {
            let expected = f16::from_bits(bits);
            if expected.is_finite() {
                assert_eq!(found.to_bits(), expected.to_f32().to_bits(), "{bits:#x}");
            }
        }
    }
}
