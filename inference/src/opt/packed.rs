//! The weights' memory: what lies where, and how it is filled from the tensors of a checkpoint.
//!
//! All weights of a model lie in one piece of memory, each matrix packed for the kernels that read it. It is filled matrix by matrix,
//! every thread packing panels straight from the mapped file, so that no more than the packed weights and one tensor are in memory.

use std::collections::BTreeMap;
use std::ops::Range;
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

/// Of the mapped files, about so much is in memory at a time. (Tests have small files and want several turns.)
const TURN_BYTES: usize = if cfg!(test) { 1 << 12 } else { 16 << 20 };

impl Piece<'_> {
    /// Packs, and checks and hashes each tensor, some rows at a time, all threads at once; what was read is let go of.
    fn fill(&self, threads: &Threads, out: &mut [u8]) -> Result<Vec<blake3::Hash>, Error> {
        let checks: Vec<Mutex<Check<'_>>> = self.tensors.iter().map(|tensor| Mutex::new(Check::new(tensor))).collect();
        let (chunk_bytes, chunk_rows) = match self.kind {
            Kind::Matrix { format, rows, cols, order } => {
                let panels = if order == Order::Bands { bands::panels_of_a_band(format, rows) } else { 1 };
                (panels * format.panel_bytes(cols), panels * PANEL_ROWS)
            }
            Kind::AsStored | Kind::Singles => (out.len().max(1), self.tensors.iter().map(|tensor| tensor.shape()[0]).sum()),
        };
        let row_bytes = self.tensors.iter().map(|tensor| tensor.bytes().len() / tensor.shape()[0].max(1)).max().unwrap_or(1);
        let turn_chunks = (TURN_BYTES / (chunk_rows * row_bytes).max(1)).max(1);
        for (turn, out) in out.chunks_mut(turn_chunks * chunk_bytes).enumerate() {
            let first = turn * turn_chunks;
            let spans = self.spans(first * chunk_rows..(first + turn_chunks) * chunk_rows);
            let to_check = Parts::new(spans.len(), threads.count());
            let chunks = Chunks::new(out, chunk_bytes, threads.count());
            threads.run(&|thread| {
                while let Some(number) = to_check.next(thread) {
                    let (tensor, bytes) = &spans[number];
                    checks[*tensor].lock().unwrap_or_else(PoisonError::into_inner).go_on(bytes.clone());
                }
                while let Some((number, chunk)) = chunks.next(thread) {
                    self.pack(first + number, chunk);
                }
            });
            spans.into_iter().for_each(|(tensor, bytes)| self.tensors[tensor].release(bytes));
        }
        checks.into_iter().map(|check| check.into_inner().unwrap_or_else(PoisonError::into_inner).end()).collect()
    }

    /// Which bytes of which tensors these rows are, all tensors one below the other; of a tensor, one span.
    fn spans(&self, rows: Range<usize>) -> Vec<(usize, Range<usize>)> {
        let mut spans = Vec::new();
        let mut begin = 0;
        for (number, tensor) in self.tensors.iter().enumerate() {
            let count = tensor.shape()[0];
            let inside = rows.start.clamp(begin, begin + count) - begin..rows.end.clamp(begin, begin + count) - begin;
            let row_bytes = tensor.bytes().len() / count.max(1);
            if !inside.is_empty() {
                spans.push((number, inside.start * row_bytes..inside.end * row_bytes));
            }
            begin += count;
        }
        spans
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

/// A tensor being hashed and looked through, from its first byte to its last.
struct Check<'a> {
    tensor: &'a Tensor,
    digest: blake3::Hasher,
    first_not_finite: Option<usize>,
}

impl<'a> Check<'a> {
    fn new(tensor: &'a Tensor) -> Self {
        let mut digest = blake3::Hasher::new();
        digest.update(format!("{} {:?}", tensor.dtype().name(), tensor.shape()).as_bytes());
        Self { tensor, digest, first_not_finite: None }
    }

    fn go_on(&mut self, bytes: Range<usize>) {
        let before = bytes.start / self.tensor.dtype().bytes();
        let bytes = &self.tensor.bytes()[bytes];
        self.digest.update(bytes);
        if self.first_not_finite.is_none() {
            self.first_not_finite = self.tensor.not_finite_among(bytes).map(|place| before + place);
        }
    }

    /// The tensor's digest, if all its numbers are finite.
    fn end(self) -> Result<blake3::Hash, Error> {
        match self.first_not_finite {
            None => Ok(self.digest.finalize()),
            Some(place) => {
                Err(Error::corrupt(self.tensor.file(), format!("tensor `{}`: number {place} is NaN or infinite", self.tensor.name())))
            }
        }
    }
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
    fn pieces_packed_in_turns_are_those_packed_at_once() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt/preln-fp32");
        let index = crate::checkpoint::tensors(&crate::checkpoint::Checkpoint::open_dir(&dir).unwrap()).unwrap();
        let find = |name: &str| index.tensors().iter().find(|tensor| tensor.name().ends_with(name)).unwrap();
        let names = ["layers.0.self_attn.q_proj.weight", "layers.0.self_attn.k_proj.weight"].map(str::to_owned);
        let threads = Threads::new(2).unwrap();
        for order in [Order::Panels, Order::Bands] {
            let tensors = names.iter().map(|name| (name.clone(), find(name))).collect::<Vec<_>>();
            let (rows, cols) = (tensors[0].1.shape()[0] + tensors[1].1.shape()[0], tensors[0].1.shape()[1]);
            assert!(4 * rows * cols > 2 * TURN_BYTES, "several turns");
            let mut plan = Plan::new(tensors.clone());
            let matrix = plan.matrix(&names, order, |_| Format::Int8).unwrap();
            let (packed, digest) = plan.fill(&threads).unwrap();

            let mut expected = vec![0; Format::Int8.bytes(rows, cols)];
            let stored: Vec<&Tensor> = tensors.iter().map(|(_, tensor)| *tensor).collect();
            let source = Stacked { tensors: &stored, cols };
            let panels = if order == Order::Bands { bands::panels_of_a_band(Format::Int8, rows) } else { 1 };
            for (number, chunk) in expected.chunks_mut(panels * Format::Int8.panel_bytes(cols)).enumerate() {
                match order {
                    Order::Panels => pack_panel(Format::Int8, &source, (rows, cols), number * PANEL_ROWS, chunk),
                    Order::Bands => bands::pack_band(Format::Int8, &source, (rows, cols), number * panels * PANEL_ROWS, chunk),
                }
            }
            assert_eq!(packed.bytes_of(&matrix), expected, "{order:?}");
            let mut all = blake3::Hasher::new();
            for tensor in stored {
                let about = format!("{} {:?}", tensor.dtype().name(), tensor.shape());
                all.update(blake3::hash(&[about.as_bytes(), tensor.bytes()].concat()).as_bytes());
            }
            assert_eq!(digest, all.finalize(), "{order:?}");
        }
    }

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
