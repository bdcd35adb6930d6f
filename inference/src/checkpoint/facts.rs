//! What can be said of a tensor in one pass over its bytes: a digest that no container changes, and a few numbers by which people see
//! at once that weights are not what they should be.

use std::path::Path;

use half::{bf16, f16};
use rayon::prelude::*;

use super::files::Checkpoint;
use super::progress::Advance;
use super::tensor::{Dtype, PIECE_BYTES, Tensor};
use super::{index, metaseq, safetensors, torch};
use crate::error::Error;
use crate::ops::Tier;
use crate::ops::simd::every_tier;

/// Bytes that are digested and then looked at while they are in the second cache. BLAKE3 takes many chunks (1 KiB) side by side, but only those
/// that make a whole subtree, so turns end where the digested bytes are a multiple of this: else it goes several times slower.
const TURN_BYTES: usize = 128 << 10;
/// Numbers that are widened at once, in the nearest cache.
const NUMBERS_AT_ONCE: usize = 8 << 10;
/// Sums run side by side, so that the processor adds several numbers at once.
const LANES: usize = 8;

/// One tensor, looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorFacts {
    /// Its name, as the file gives it; what Meta's training called otherwise, as transformers calls it.
    pub name: String,
    /// The file it is in.
    pub file: String,
    /// How it is stored.
    pub dtype: Dtype,
    /// Its dimensions, slowest first.
    pub shape: Vec<usize>,
    /// BLAKE3, 64 hex digits, over the type's name, the shape and the numbers as they are stored. Equal for equal tensors in
    /// `.bin`, `.pt` and safetensors, whatever they are called.
    pub digest: String,
    /// How many numbers it has.
    pub count: u64,
    /// How many of these are neither NaN nor infinite. What follows is of these.
    pub finite: u64,
    /// The largest, sign aside.
    pub absmax: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, of the whole population.
    pub std: f64,
}

/// The facts of every tensor of a checkpoint, in its order. Reads every byte and tells `advance`.
pub fn facts(checkpoint: &Checkpoint, advance: Advance<'_>) -> Result<Vec<TensorFacts>, Error> {
    Ok(of_all(index::tensors_watched(checkpoint, advance)?.tensors(), advance))
}

/// The facts of every tensor of one file, a `.safetensors` or what torch saved: of a `.pt` those that a folder with it alone has. Of one that is
/// a part of several (see [`super::is_part`]) they are of its share of each tensor.
pub fn file_facts(name: &str, path: &Path, advance: Advance<'_>) -> Result<Vec<TensorFacts>, Error> {
    let tensors = match name.rsplit_once('.') {
        Some((_, "safetensors")) => safetensors::read(name, path)?,
        Some((_, "pt")) => metaseq::read_one(name, path, Some(advance))?,
        _ => torch::read(name, path, torch::Holds::StateDict, Some(advance))?,
    };
    Ok(of_all(&tensors, advance))
}

/// A digest of all of them: BLAKE3, 64 hex digits, over the sorted lines `name digest`. Files and their order do not matter.
pub fn digest_of_all(facts: &[TensorFacts]) -> String {
    let mut lines: Vec<String> = facts.iter().map(|tensor| format!("{} {}\n", tensor.name, tensor.digest)).collect();
    lines.sort_unstable();
    blake3::hash(lines.concat().as_bytes()).to_hex().to_string()
}

pub(super) fn of_all(tensors: &[Tensor], advance: Advance<'_>) -> Vec<TensorFacts> {
    tensors.par_iter().map(|tensor| of(tensor, advance)).collect()
}

fn of(tensor: &Tensor, advance: Advance<'_>) -> TensorFacts {
    let dimensions: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
    let head = format!("{}\n[{}]\n", tensor.dtype.name(), dimensions.join(","));
    let mut hasher = blake3::Hasher::new();
    hasher.update(head.as_bytes());
    let (mut sums, tier) = (Sums::default(), Tier::fastest());
    let mut numbers = vec![0.0; NUMBERS_AT_ONCE];
    let bytes = tensor.bytes();
    let (mut digested, mut seen, mut told) = (0, 0, 0);
    while digested < bytes.len() {
        let end = bytes.len().min(digested + TURN_BYTES - (head.len() + digested) % TURN_BYTES);
        hasher.update(&bytes[digested..end]);
        digested = end;
        // A turn may end within a number.
        let whole = digested - digested % tensor.dtype.bytes();
        for turn in bytes[seen..whole].chunks(NUMBERS_AT_ONCE * tensor.dtype.bytes()) {
            let numbers = &mut numbers[..turn.len() / tensor.dtype.bytes()];
            if tensor.not_finite_among(turn).is_none() {
                widen_and_add(tier, tensor.dtype, turn, numbers, &mut sums);
            } else {
                sums.add(&finite_among(tensor.dtype, turn));
            }
        }
        seen = whole;
        if digested - told >= PIECE_BYTES || digested == bytes.len() {
            advance((digested - told) as u64);
            told = digested;
        }
    }
    let (finite, absmax, mean, std) = sums.finish();
    TensorFacts {
        name: tensor.name.clone(),
        file: tensor.file.clone(),
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
        digest: hasher.finalize().to_hex().to_string(),
        count: (tensor.bytes().len() / tensor.dtype.bytes()) as u64,
        finite,
        absmax,
        mean,
        std,
    }
}

/// The numbers that are finite, one by one: only where some are not.
fn finite_among(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let all: Vec<f32> = match dtype {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::Bf16 => bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
    };
    all.into_iter().filter(|number| number.is_finite()).collect()
}

every_tier!(
    /// Adds the numbers stored so, with room for as many widened ones. All tiers give the same to the last bit.
    fn widen_and_add(dtype: Dtype, bytes: &[u8], numbers: &mut [f32], sums: &mut Sums) = plain_widen_and_add
);

#[inline(always)]
fn plain_widen_and_add(dtype: Dtype, bytes: &[u8], numbers: &mut [f32], sums: &mut Sums) {
    dtype.widen(bytes, numbers);
    sums.add(numbers);
}

#[derive(Clone, Default)]
pub(crate) struct Sums {
    count: u64,
    sum: [f64; LANES],
    squares: [f64; LANES],
    absmax: [f32; LANES],
}

impl Sums {
    #[inline(always)]
    fn add(&mut self, numbers: &[f32]) {
        // In registers: the compiler would not take them from behind the reference.
        let mut sums = self.clone();
        sums.count += numbers.len() as u64;
        let (rows, rest) = numbers.as_chunks::<LANES>();
        for row in rows {
            for (lane, number) in row.iter().enumerate() {
                sums.take(lane, *number);
            }
        }
        for (lane, number) in rest.iter().enumerate() {
            sums.take(lane, *number);
        }
        *self = sums;
    }

    #[inline(always)]
    fn take(&mut self, lane: usize, number: f32) {
        let (wide, size) = (f64::from(number), number.abs());
        self.sum[lane] += wide;
        self.squares[lane] += wide * wide;
        self.absmax[lane] = if size > self.absmax[lane] { size } else { self.absmax[lane] };
    }

    fn finish(self) -> (u64, f64, f64, f64) {
        if self.count == 0 {
            return (0, 0.0, 0.0, 0.0);
        }
        let count = self.count as f64;
        let mean = self.sum.iter().sum::<f64>() / count;
        let variance = self.squares.iter().sum::<f64>() / count - mean * mean;
        (self.count, self.absmax.iter().copied().fold(0.0, f32::max).into(), mean, variance.max(0.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    /// A file with one tensor, as safetensors has it.
    fn file_of(dtype: Dtype, bytes: &[u8]) -> tempfile::NamedTempFile {
        let count = bytes.len() / dtype.bytes();
        let header = format!(r#"{{"t":{{"dtype":"{}","shape":[{count}],"data_offsets":[0,{}]}}}}"#, dtype.name(), bytes.len());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), bytes].concat()).unwrap();
        file
    }

    #[test]
    fn facts_are_those_of_all_numbers_wherever_turns_end() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
            for count in [1, 7, NUMBERS_AT_ONCE - 1, NUMBERS_AT_ONCE + 1, TURN_BYTES / 4, TURN_BYTES, PIECE_BYTES / 2 + 3] {
                let numbers: Vec<f32> =
                    (0..count).map(|n| ((n * 7919) % 1021) as f32 / 256.0 - 2.0).map(|n| bf16::from_f32(n).to_f32()).collect();
                let bytes: Vec<u8> = match dtype {
                    Dtype::F32 => numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
                    Dtype::F16 => numbers.iter().flat_map(|n| f16::from_f32(*n).to_le_bytes()).collect(),
                    Dtype::Bf16 => numbers.iter().flat_map(|n| bf16::from_f32(*n).to_le_bytes()).collect(),
                };
                let told = std::sync::atomic::AtomicU64::new(0);
                let advance = |bytes| {
                    told.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
                };
                let file = file_of(dtype, &bytes);
                let [facts] = &file_facts("t.safetensors", file.path(), &advance).unwrap()[..] else { panic!("one tensor") };
                let digest = blake3::hash(&[format!("{}\n[{count}]\n", dtype.name()).as_bytes(), &bytes].concat());
                assert_eq!(facts.digest, digest.to_hex().to_string(), "{dtype:?} {count}");
                assert_eq!((facts.count, facts.finite, told.into_inner()), (count as u64, count as u64, bytes.len() as u64));
                let mean = numbers.iter().map(|n| f64::from(*n)).sum::<f64>() / count as f64;
                let absmax = numbers.iter().fold(0.0, |most: f32, n| most.max(n.abs()));
                assert!((facts.mean - mean).abs() < 1e-9 && facts.absmax == f64::from(absmax), "{dtype:?} {count}: {facts:?}");
            }
        }
    }

    #[test]
    fn every_tier_adds_alike() {
        let bytes: Vec<u8> = (0..2 * 1003u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x7b).collect();
        for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32] {
            let bytes = &bytes[..bytes.len() / 4 * 4];
            let of = |tier| {
                let mut sums = Sums::default();
                widen_and_add(tier, dtype, bytes, &mut vec![0.0; bytes.len() / dtype.bytes()], &mut sums);
                sums.finish()
            };
            let plain = of(Tier::Plain);
            assert!(Tier::available().into_iter().all(|tier| of(tier) == plain), "{dtype:?}");
        }
    }

    #[test]
    fn what_is_not_finite_is_counted_and_left_out() {
        let mut numbers = vec![1.0f32; TURN_BYTES];
        for place in [0, NUMBERS_AT_ONCE, TURN_BYTES - 1] {
            numbers[place] = f32::NAN;
        }
        numbers[5] = f32::INFINITY;
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let file = file_of(Dtype::F32, &bytes);
        let facts = file_facts("t.safetensors", file.path(), &|_| ()).unwrap();
        assert_eq!((facts[0].finite, facts[0].absmax, facts[0].mean, facts[0].std), (TURN_BYTES as u64 - 4, 1.0, 1.0, 0.0));
    }
}
