//! Sums finished with the vectors of every tier.
#![allow(unsafe_code)]

use super::{Finish, gelu};
use crate::ops::Tier;
#[cfg(target_arch = "x86_64")]
use crate::ops::vector::simd::{Avx2, Avx512};
use crate::ops::vector::simd::{Portable, Vector};

/// No vector has more.
const LANES_MAX: usize = 16;

/// y[m][i] = the finish of sums[m][i] + bias[i]; an empty bias is 0. Sums have `stride` numbers from row to row. The tier must come from
/// [`Tier::available`].
pub(crate) fn finish(tier: Tier, finish: Finish, (sums, stride): (&[f32], usize), bias: &[f32], y: &mut [&mut [f32]]) {
    assert!(bias.is_empty() || y.iter().all(|y| y.len() == bias.len()), "bias and y must be of one length");
    // SAFETY: a tier is only made where this CPU was seen to have its instructions.
    unsafe {
        match tier {
            Tier::Plain => rows::<Portable>(finish, (sums, stride), bias, y),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => avx2(finish, (sums, stride), bias, y),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 | Tier::Avx512Bf16Vnni => avx512(finish, (sums, stride), bias, y),
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 | Tier::Avx512 | Tier::Avx512Bf16Vnni => unreachable!("a tier is only made where its instructions were seen"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2(finish: Finish, sums: (&[f32], usize), bias: &[f32], y: &mut [&mut [f32]]) {
    // SAFETY: passed on to the caller.
    unsafe { rows::<Avx2>(finish, sums, bias, y) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
unsafe fn avx512(finish: Finish, sums: (&[f32], usize), bias: &[f32], y: &mut [&mut [f32]]) {
    // SAFETY: passed on to the caller.
    unsafe { rows::<Avx512>(finish, sums, bias, y) }
}

#[inline(always)]
unsafe fn rows<V: Vector>(finish: Finish, (sums, stride): (&[f32], usize), bias: &[f32], y: &mut [&mut [f32]]) {
    for (m, y) in y.iter_mut().enumerate() {
        let sums = &sums[m * stride..][..y.len()];
        let whole = y.len() - y.len() % V::LANES;
        for at in (0..whole).step_by(V::LANES) {
            // SAFETY: the tier's instructions are the caller's promise; sums and bias, if there is one, are as long as y (checked).
            unsafe {
                let bias = (!bias.is_empty()).then(|| bias.as_ptr().add(at));
                let y = y.as_mut_ptr().add(at);
                V::store(y, finished::<V>(finish, sums.as_ptr().add(at), bias, y));
            }
        }
        if whole < y.len() {
            let [some_sums, some_bias, mut some_y] = [sums, bias, y].map(|numbers| first(numbers.get(whole..).unwrap_or_default()));
            // SAFETY: as above; no vector has more lanes.
            unsafe {
                let lanes = finished::<V>(finish, some_sums.as_ptr(), (!bias.is_empty()).then_some(some_bias.as_ptr()), some_y.as_ptr());
                V::store(some_y.as_mut_ptr(), lanes);
            }
            let rest = y.len() - whole;
            y[whole..].copy_from_slice(&some_y[..rest]);
        }
    }
}

/// The first numbers of a vector, and zeros.
fn first(numbers: &[f32]) -> [f32; LANES_MAX] {
    let mut lanes = [0.0; LANES_MAX];
    lanes.iter_mut().zip(numbers).for_each(|(lane, number)| *lane = *number);
    lanes
}

/// What becomes of a vector of sums; of y only what is to be added to it is read.
///
/// # Safety
/// The tier's instructions, and LANES numbers at each pointer.
#[inline(always)]
pub(in crate::ops) unsafe fn finished<V: Vector>(finish: Finish, sums: *const f32, bias: Option<*const f32>, y: *const f32) -> V::F {
    const { assert!(V::LANES <= LANES_MAX) }
    // SAFETY: passed on to the caller.
    unsafe {
        let mut sum = V::load_f32(sums.cast());
        if let Some(bias) = bias {
            sum = V::add(sum, V::load_f32(bias.cast()));
        }
        match finish {
            Finish::Store => sum,
            Finish::Relu => V::max(sum, V::zero()),
            Finish::Gelu => {
                let mut numbers = [0.0; LANES_MAX];
                V::store(numbers.as_mut_ptr(), sum);
                numbers[..V::LANES].iter_mut().for_each(|number| *number = gelu(*number));
                V::load_f32(numbers.as_ptr().cast())
            }
            Finish::Add => V::add(V::load_f32(y.cast()), sum),
            Finish::Scale(factor) => V::mul(sum, V::splat(factor)),
        }
    }
}
