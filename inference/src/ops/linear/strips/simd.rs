//! See the room above. Written once over `Vector` and compiled for every tier.
#![allow(unsafe_code)]

use super::super::{Activation, STEPS};
use crate::ops::Tier;
use crate::ops::pointwise::Finish;
use crate::ops::pointwise::simd::finished;
#[cfg(target_arch = "x86_64")]
use crate::ops::vector::simd::{Avx2, Avx512};
use crate::ops::vector::simd::{Portable, Vector};

/// A strip's columns, behind each other: sums (rows, `stride`) of a product, `cols` of each row, and their bias, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strip<'a> {
    pub(crate) sums: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) cols: usize,
    pub(crate) bias: &'a [f32],
    pub(crate) finish: Finish,
}

/// Packs the finish of a strip's sums into the piece of a tile that [`super::super::Activations::room_in_strips`] has for it, for a kind without a
/// scale; every tier gives the same bits. The tier must come from [`Tier::available`].
pub(crate) fn pack_strip(tier: Tier, kind: Activation, strip: &Strip<'_>, piece: &mut [u32]) {
    let Strip { sums, stride, cols, bias, .. } = *strip;
    assert!(cols <= stride && sums.len().is_multiple_of(stride), "{cols} of {stride} columns of {}", sums.len());
    assert!(bias.is_empty() || bias.len() == cols, "bias of {} for {cols} columns", bias.len());
    assert!(!kind.is_scaled(), "whole numbers are packed with their sums");
    assert!(strip.finish != Finish::Add, "there is nothing yet to add to");
    let block_cols = STEPS * kind.step_cols();
    assert_eq!(piece.len(), cols.div_ceil(block_cols) * STEPS * (sums.len() / stride), "words of {cols} columns");
    // SAFETY: a tier is only made where this CPU was seen to have its instructions.
    unsafe {
        match tier {
            Tier::Plain => blocks::<Portable>(kind, strip, piece),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => avx2(kind, strip, piece),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 | Tier::Avx512Bf16Vnni => avx512(kind, strip, piece),
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 | Tier::Avx512 | Tier::Avx512Bf16Vnni => unreachable!("a tier is only made where its instructions were seen"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2(kind: Activation, strip: &Strip<'_>, piece: &mut [u32]) {
    // SAFETY: passed on to the caller.
    unsafe { blocks::<Avx2>(kind, strip, piece) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
unsafe fn avx512(kind: Activation, strip: &Strip<'_>, piece: &mut [u32]) {
    // SAFETY: passed on to the caller.
    unsafe { blocks::<Avx512>(kind, strip, piece) }
}

/// `[blocks][rows][STEPS]`; where there are no more columns, zeros.
#[inline(always)]
unsafe fn blocks<V: Vector>(kind: Activation, strip: &Strip<'_>, piece: &mut [u32]) {
    let Strip { sums, stride, cols, bias, finish } = *strip;
    let (rows, block_cols) = (sums.len() / stride, STEPS * kind.step_cols());
    for (number, block) in piece.chunks_exact_mut((rows * STEPS).max(1)).enumerate() {
        let first = number * block_cols;
        let whole = first + block_cols <= cols;
        let some_bias = padded(&bias[first.min(bias.len())..cols.min(bias.len())]);
        for (words, sums) in block.chunks_exact_mut(STEPS).zip(sums.chunks_exact(stride)) {
            // SAFETY: the tier's instructions are the caller's promise; a whole block's columns are in sums and in bias, if there is one, and
            // what is padded is as long as a block.
            unsafe {
                if whole {
                    let bias = (!bias.is_empty()).then(|| bias.as_ptr().add(first));
                    block_of::<V>(kind, finish, sums.as_ptr().add(first), bias, words);
                } else {
                    let some_sums = padded(&sums[first..cols]);
                    block_of::<V>(kind, finish, some_sums.as_ptr(), (!bias.is_empty()).then_some(some_bias.as_ptr()), words);
                }
            }
        }
    }
}

/// The most columns that a block has.
const BLOCK_COLS_MAX: usize = 2 * STEPS;

/// The first numbers of a block, and zeros.
fn padded(numbers: &[f32]) -> [f32; BLOCK_COLS_MAX] {
    let mut all = [0.0; BLOCK_COLS_MAX];
    all.iter_mut().zip(numbers).for_each(|(padded, number)| *padded = *number);
    all
}

#[inline(always)]
unsafe fn block_of<V: Vector>(kind: Activation, finish: Finish, sums: *const f32, bias: Option<*const f32>, words: &mut [u32]) {
    const { assert!(STEPS.is_multiple_of(V::LANES)) }
    // SAFETY: passed on to the caller: as many sums, and numbers of bias if there is one, as a block has columns; STEPS words.
    unsafe {
        let lanes = |at: usize| finished::<V>(finish, sums.add(at), bias.map(|bias| bias.add(at)), sums.add(at));
        for at in (0..STEPS).step_by(V::LANES) {
            let words = words.as_mut_ptr().add(at);
            match kind {
                Activation::Single => V::store(words.cast(), lanes(at)),
                _ => V::store_i(words.cast(), V::bfloats(lanes(2 * at), lanes(2 * at + V::LANES))),
            }
        }
    }
}
