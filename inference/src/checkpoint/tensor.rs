//! One tensor of a checkpoint: its name, type, shape and bytes, wherever they are stored.

use std::ops::Range;

use half::{bf16, f16};

use super::progress::{Advance, UNWATCHED};
use crate::mmap::Mapped;

/// After so many bytes of a tensor somebody who watches is told: 8 MiB, whole numbers of every type.
pub(super) const PIECE_BYTES: usize = 8 << 20;

/// The most tensors of one file. OPT-175B has 1,540 in all.
pub(super) const TENSORS_MAX: usize = 1 << 16;

/// How a weight is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision: what OPT is published in.
    F16,
    /// The upper half of a single.
    Bf16,
}

impl Dtype {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
        }
    }

    /// Numbers stored so (little-endian), widened to f32 without loss. Numbers that are not finite come out as some other number.
    #[inline(always)] // into what was compiled for a tier's instructions
    pub(crate) fn widen(self, bytes: &[u8], out: &mut [f32]) {
        assert_eq!(bytes.len(), out.len() * self.bytes(), "as many numbers as there is room for");
        // A half's exponent is moved to that of a single by a multiplication, which treats the smallest alike.
        const EXPONENTS_APART: f32 = f32::from_bits((127 + 127 - 15) << 23);
        let half = |bits: u16| {
            let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * EXPONENTS_APART;
            f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
        };
        match self {
            Dtype::F32 => out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, bytes)| *out = f32::from_le_bytes(*bytes)),
            Dtype::F16 => out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, bytes)| *out = half(u16::from_le_bytes(*bytes))),
            Dtype::Bf16 => {
                out.iter_mut()
                    .zip(bytes.as_chunks().0)
                    .for_each(|(out, bytes)| *out = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16));
            }
        }
    }

    /// Its name in a safetensors header.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "F32",
            Dtype::F16 => "F16",
            Dtype::Bf16 => "BF16",
        }
    }
}

/// One tensor, its bytes little-endian and row-major in a mapped file.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) file: String,
    pub(super) map: Mapped,
    /// Invariant: within `map`, and as long as `shape` and `dtype` say (checked by whoever read the header).
    pub(super) range: Range<usize>,
}

impl Tensor {
    /// Its name as the file gives it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is stored.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its dimensions, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The file it is in, by its name in the checkpoint.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Its bytes: little-endian, row-major, without gaps.
    pub fn bytes(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }

    /// Lets go of the memory that these of its bytes were read into.
    pub(crate) fn release(&self, bytes: Range<usize>) {
        self.map.release(self.range.start + bytes.start..self.range.start + bytes.end);
    }

    /// The place of the first number that is NaN or infinite.
    pub fn first_not_finite(&self) -> Option<usize> {
        self.find_not_finite(UNWATCHED)
    }

    /// The same, telling how far it is.
    pub(super) fn find_not_finite(&self, advance: Advance<'_>) -> Option<usize> {
        self.bytes().chunks(PIECE_BYTES).enumerate().find_map(|(piece, bytes)| {
            advance(bytes.len() as u64);
            self.not_finite_among(bytes).map(|place| piece * (PIECE_BYTES / self.dtype.bytes()) + place)
        })
    }

    /// The place, among so many of its bytes, of the first number that is NaN or infinite.
    pub(crate) fn not_finite_among(&self, bytes: &[u8]) -> Option<usize> {
        fn first<const N: usize>(bytes: &[u8], is_finite: impl Fn([u8; N]) -> bool) -> Option<usize> {
            let numbers = bytes.as_chunks::<N>().0;
            // All of a block at once, which goes many times faster, until one is found that has it.
            let block = numbers.chunks(1024).position(|block| !block.iter().fold(true, |all, number| all & is_finite(*number)))?;
            numbers[block * 1024..].iter().position(|number| !is_finite(*number)).map(|place| block * 1024 + place)
        }
        match self.dtype {
            Dtype::F32 => first(bytes, |number| f32::from_le_bytes(number).is_finite()),
            Dtype::F16 => first(bytes, |number| f16::from_le_bytes(number).is_finite()),
            Dtype::Bf16 => first(bytes, |number| bf16::from_le_bytes(number).is_finite()),
        }
    }

    /// All its numbers, widened to f32 without loss.
    pub fn to_f32(&self) -> Vec<f32> {
        fn widen<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
        }
        match self.dtype {
            Dtype::F32 => widen(self.bytes(), f32::from_le_bytes),
            Dtype::F16 => widen(self.bytes(), |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::Bf16 => widen(self.bytes(), |bytes| bf16::from_le_bytes(bytes).to_f32()),
        }
    }
}

/// Bytes a tensor of this shape takes, or `None` past what fits a `usize`.
pub(super) fn size_bytes(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(dtype.bytes(), |bytes, dim| bytes.checked_mul(*dim))
}
