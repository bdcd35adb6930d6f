//! The same instruction again and again, on registers alone.
#![allow(unsafe_code)]

use std::hint::black_box;

use super::Arithmetic;
use crate::ops::Tier;
#[cfg(target_arch = "x86_64")]
use crate::ops::vector::simd::{Avx2, Avx512, Avx512Bf16Vnni};
use crate::ops::vector::simd::{Portable, Vector};

/// Does so many rounds. Gives the multiplications and additions done. The tier must come from [`Tier::available`].
pub(crate) fn spin(tier: Tier, arithmetic: Arithmetic, rounds: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn avx2(arithmetic: Arithmetic, rounds: usize) -> usize {
        // SAFETY: passed on to the caller.
        unsafe { rounds_of::<Avx2, 12>(arithmetic, rounds) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
    unsafe fn avx512(arithmetic: Arithmetic, rounds: usize) -> usize {
        // SAFETY: passed on to the caller.
        unsafe { rounds_of::<Avx512, 16>(arithmetic, rounds) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c")]
    unsafe fn avx512_bf16_vnni(arithmetic: Arithmetic, rounds: usize) -> usize {
        // SAFETY: passed on to the caller.
        unsafe { rounds_of::<Avx512Bf16Vnni, 16>(arithmetic, rounds) }
    }
    // SAFETY: a tier is only made where this CPU was seen to have its instructions.
    unsafe {
        match tier {
            Tier::Plain => rounds_of::<Portable, 12>(arithmetic, rounds),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => avx2(arithmetic, rounds),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => avx512(arithmetic, rounds),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Bf16Vnni => avx512_bf16_vnni(arithmetic, rounds),
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 | Tier::Avx512 | Tier::Avx512Bf16Vnni => unreachable!("a tier is only made where its instructions were seen"),
        }
    }
}

/// So many sums that do not wait for each other: more than an instruction's latency times how many begin in a cycle, and no more than there
/// are registers for.
#[inline(always)]
unsafe fn rounds_of<V: Vector, const SUMS: usize>(arithmetic: Arithmetic, rounds: usize) -> usize {
    // SAFETY: passed on to the caller; what is written has room for the lanes of every tier.
    unsafe {
        let mut out = [0_f32; 16];
        match arithmetic {
            Arithmetic::Singles => {
                let (a, b) = (V::splat(black_box(0.5)), V::splat(black_box(0.25)));
                let mut sums = [V::zero(); SUMS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = V::fma(a, b, *sum);
                    }
                }
                sums.iter().for_each(|sum| V::store(out.as_mut_ptr(), V::add(*sum, V::load_f32(out.as_ptr().cast()))));
            }
            Arithmetic::Bfloats => {
                // 0.5 and 0.25 as bfloats.
                let (a, b) = (V::splat_i(black_box(0x3f00_3e80)), V::splat_i(black_box(0x3e80_3f00)));
                let mut sums = [V::zero(); SUMS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = V::dot_bf16(*sum, a, b);
                    }
                }
                sums.iter().for_each(|sum| V::store(out.as_mut_ptr(), V::add(*sum, V::load_f32(out.as_ptr().cast()))));
            }
            Arithmetic::Bytes => {
                let (a, b) = (V::splat_i(black_box(0x0100_0100)), V::splat_i(black_box(0x0001_0001)));
                let mut sums = [V::zero_i(); SUMS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = V::dot_bytes(*sum, a, b);
                    }
                }
                sums.iter().for_each(|sum| V::store(out.as_mut_ptr(), V::add(V::to_f(*sum), V::load_f32(out.as_ptr().cast()))));
            }
        }
        black_box(out);
        rounds * SUMS * V::LANES * arithmetic.operations()
    }
}
