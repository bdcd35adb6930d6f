//! The vectors of every tier. All functions are inlined into kernels that were compiled for the tier's instructions.
#![allow(unsafe_code)]

use half::f16;

/// Lanes of f32 (`F`) and of i32 or bytes (`I`).
///
/// # Safety
/// Every function needs the instructions of the type's tier; loads and stores need that much memory at the pointer, of any alignment.
pub(in crate::ops) trait Vector {
    type F: Copy;
    type I: Copy;
    const LANES: usize;

    unsafe fn zero() -> Self::F;
    unsafe fn zero_i() -> Self::I;
    unsafe fn splat(number: f32) -> Self::F;
    unsafe fn splat_i(word: u32) -> Self::I;
    unsafe fn load_f32(at: *const u8) -> Self::F;
    /// Widened from halves, exactly.
    unsafe fn load_f16(at: *const u8) -> Self::F;
    /// Widened from bfloats, exactly.
    unsafe fn load_bf16(at: *const u8) -> Self::F;
    unsafe fn load_i(at: *const u8) -> Self::I;
    /// Widened from unsigned bytes.
    unsafe fn load_u8(at: *const u8) -> Self::I;
    /// Widened from unsigned words of 16 bits.
    unsafe fn load_u16(at: *const u8) -> Self::I;
    /// a · 65,536 + b.
    unsafe fn upper_and_lower(a: Self::I, b: Self::I) -> Self::I;
    /// Two numbers of a, then of b, in each lane as the nearest bfloats, ties to even, the earlier in the upper half; what is no number is
    /// 0x7fc0.
    unsafe fn bfloats(a: Self::F, b: Self::F) -> Self::I;
    unsafe fn store(at: *mut f32, lanes: Self::F);
    /// Rounded to the nearest halves, ties to even; of what is finite, what is beyond the largest becomes that.
    unsafe fn store_f16(at: *mut f16, lanes: Self::F);
    unsafe fn store_i(at: *mut i32, lanes: Self::I);
    /// a · b + c, rounded once.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    /// 2ⁿ, for whole n of −126 to 127.
    unsafe fn power_of_two(n: Self::F) -> Self::F;
    /// a where it stands beside a number that is at least `limit`, else 0.
    unsafe fn where_at_least(number: Self::F, limit: Self::F, a: Self::F) -> Self::F;
    unsafe fn to_f(a: Self::I) -> Self::F;
    unsafe fn add_i(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn sub_i(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn mul_i(a: Self::I, b: Self::I) -> Self::I;
    /// a · 256.
    unsafe fn shift_byte(a: Self::I) -> Self::I;
    /// Each byte ± 128: signed bytes become unsigned, and the other way round.
    unsafe fn flip_signs(a: Self::I) -> Self::I;
    /// The lower four bits of every byte.
    unsafe fn low_nibbles(a: Self::I) -> Self::I;
    /// The upper four bits of every byte.
    unsafe fn high_nibbles(a: Self::I) -> Self::I;
    /// Two bfloats in each lane: sum + upper · upper, then + lower · lower, each rounded once.
    unsafe fn dot_bf16(sum: Self::F, a: Self::I, b: Self::I) -> Self::F;
    /// Four bytes in each lane: sum + Σ unsigned · signed, in i32.
    unsafe fn dot_bytes(sum: Self::I, unsigned: Self::I, signed: Self::I) -> Self::I;
    /// Bytes of four columns from `at` on, those of a row in one lane, for N · LANES rows; in an order that [`Self::in_order`] undoes.
    #[inline(always)]
    unsafe fn quads<const N: usize>(columns: [*const u8; 4], at: usize) -> [Self::I; N] {
        // SAFETY: the trait's contract, passed on.
        unsafe {
            let mut all = [Self::zero_i(); N];
            for (n, quads) in all.iter_mut().enumerate() {
                let at = at + n * Self::LANES;
                let upper = Self::add_i(Self::shift_byte(Self::load_u8(columns[3].add(at))), Self::load_u8(columns[2].add(at)));
                let upper = Self::add_i(Self::shift_byte(upper), Self::load_u8(columns[1].add(at)));
                *quads = Self::add_i(Self::shift_byte(upper), Self::load_u8(columns[0].add(at)));
            }
            all
        }
    }
    /// Lanes in the order of rows, from that of [`Self::quads`].
    #[inline(always)]
    unsafe fn in_order<const N: usize>(lanes: [Self::I; N]) -> [Self::I; N] {
        lanes
    }
    /// Asks for the cache line at `at`, which need not be memory of ours.
    unsafe fn prefetch(at: *const u8);
    /// The same, but only into the second cache, which can wait for more lines at a time: three times the speed where lines lie apart.
    unsafe fn prefetch_l2(at: *const u8);

    /// eˣ for x ≤ 0, and 0 below −87, where the answer is no normal number: 2ⁿ · eʳ with |r| ≤ ln 2 / 2, eʳ by its Taylor polynomial
    /// of degree 7 (its next term is below 2⁻²⁷).
    #[inline(always)]
    unsafe fn exp(x: Self::F) -> Self::F {
        // Adding and taking away 1.5 · 2²³ rounds to the nearest whole number.
        const ROUND: f32 = 12_582_912.0;
        // SAFETY: the trait's contract, passed on.
        unsafe {
            let lowest = Self::splat(-87.0);
            let near = Self::max(x, lowest);
            let n = Self::sub(Self::fma(near, Self::splat(std::f32::consts::LOG2_E), Self::splat(ROUND)), Self::splat(ROUND));
            // ln 2 in two parts, the first exact when multiplied by n.
            let r = Self::fma(n, Self::splat(-0.693_359_4), near);
            let r = Self::fma(n, Self::splat(2.121_944_4e-4), r);
            let mut power = Self::splat(1.0 / 5040.0);
            for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
                power = Self::fma(r, power, Self::splat(coefficient));
            }
            Self::where_at_least(x, lowest, Self::mul(power, Self::power_of_two(n)))
        }
    }
}

/// Eight lanes of plain numbers.
pub(in crate::ops) struct Portable;

impl Vector for Portable {
    type F = [f32; 8];
    type I = [i32; 8];
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> [f32; 8] {
        [0.0; 8]
    }
    #[inline(always)]
    unsafe fn zero_i() -> [i32; 8] {
        [0; 8]
    }
    #[inline(always)]
    unsafe fn splat(number: f32) -> [f32; 8] {
        [number; 8]
    }
    #[inline(always)]
    unsafe fn splat_i(word: u32) -> [i32; 8] {
        [word as i32; 8]
    }
    // SAFETY of all loads and stores: the trait's contract.
    #[inline(always)]
    unsafe fn load_f32(at: *const u8) -> [f32; 8] {
        unsafe { at.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> [f32; 8] {
        unsafe { at.cast::<[u16; 8]>().read_unaligned() }.map(|bits| f16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    unsafe fn load_bf16(at: *const u8) -> [f32; 8] {
        unsafe { at.cast::<[u16; 8]>().read_unaligned() }.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }
    #[inline(always)]
    unsafe fn load_i(at: *const u8) -> [i32; 8] {
        unsafe { at.cast::<[i32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_u8(at: *const u8) -> [i32; 8] {
        unsafe { at.cast::<[u8; 8]>().read_unaligned() }.map(i32::from)
    }
    #[inline(always)]
    unsafe fn load_u16(at: *const u8) -> [i32; 8] {
        unsafe { at.cast::<[u16; 8]>().read_unaligned() }.map(i32::from)
    }
    #[inline(always)]
    unsafe fn upper_and_lower(a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|lane| a[lane] << 16 | b[lane])
    }
    #[inline(always)]
    unsafe fn bfloats(a: [f32; 8], b: [f32; 8]) -> [i32; 8] {
        let bfloat = |place: usize| {
            let number = if place < 8 { a[place] } else { b[place - 8] };
            let bits = number.to_bits();
            if number.is_nan() { 0x7fc0 } else { bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16 }
        };
        std::array::from_fn(|lane| (bfloat(2 * lane) << 16 | bfloat(2 * lane + 1)) as i32)
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, lanes: [f32; 8]) {
        unsafe { at.cast::<[f32; 8]>().write_unaligned(lanes) }
    }
    #[inline(always)]
    unsafe fn store_f16(at: *mut f16, lanes: [f32; 8]) {
        let rounded = lanes.map(|lane| {
            let half = f16::from_f32(lane);
            if lane.is_finite() { half.clamp(f16::MIN, f16::MAX) } else { half }
        });
        unsafe { at.cast::<[f16; 8]>().write_unaligned(rounded) }
    }
    #[inline(always)]
    unsafe fn store_i(at: *mut i32, lanes: [i32; 8]) {
        unsafe { at.cast::<[i32; 8]>().write_unaligned(lanes) }
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| a[lane] - b[lane])
    }
    #[inline(always)]
    unsafe fn max(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }
    #[inline(always)]
    unsafe fn power_of_two(n: [f32; 8]) -> [f32; 8] {
        // What is no such n has no answer, and is let through.
        n.map(|n| f32::from_bits(((n as i32).wrapping_add(127) << 23) as u32))
    }
    #[inline(always)]
    unsafe fn where_at_least(number: [f32; 8], limit: [f32; 8], a: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| if number[lane] >= limit[lane] { a[lane] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn to_f(a: [i32; 8]) -> [f32; 8] {
        a.map(|lane| lane as f32)
    }
    #[inline(always)]
    unsafe fn add_i(a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|lane| a[lane].wrapping_add(b[lane]))
    }
    #[inline(always)]
    unsafe fn sub_i(a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|lane| a[lane].wrapping_sub(b[lane]))
    }
    #[inline(always)]
    unsafe fn mul_i(a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|lane| a[lane].wrapping_mul(b[lane]))
    }
    #[inline(always)]
    unsafe fn shift_byte(a: [i32; 8]) -> [i32; 8] {
        a.map(|lane| lane << 8)
    }
    #[inline(always)]
    unsafe fn flip_signs(a: [i32; 8]) -> [i32; 8] {
        a.map(|lane| lane ^ 0x8080_8080_u32 as i32)
    }
    #[inline(always)]
    unsafe fn low_nibbles(a: [i32; 8]) -> [i32; 8] {
        a.map(|lane| lane & 0x0f0f_0f0f)
    }
    #[inline(always)]
    unsafe fn high_nibbles(a: [i32; 8]) -> [i32; 8] {
        a.map(|lane| (lane >> 4) & 0x0f0f_0f0f)
    }
    #[inline(always)]
    unsafe fn dot_bf16(sum: [f32; 8], a: [i32; 8], b: [i32; 8]) -> [f32; 8] {
        let upper = |word: i32| f32::from_bits(word as u32 & 0xffff_0000);
        let lower = |word: i32| f32::from_bits((word as u32) << 16);
        std::array::from_fn(|lane| {
            let first = upper(a[lane]).mul_add(upper(b[lane]), sum[lane]);
            lower(a[lane]).mul_add(lower(b[lane]), first)
        })
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: [i32; 8], unsigned: [i32; 8], signed: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|lane| {
            let (unsigned, signed) = (unsigned[lane].to_le_bytes(), signed[lane].to_le_bytes());
            unsigned.iter().zip(signed).fold(sum[lane], |sum: i32, (u, s)| sum.wrapping_add(i32::from(*u) * i32::from(s as i8)))
        })
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
    #[inline(always)]
    unsafe fn prefetch_l2(_: *const u8) {}
}

#[cfg(target_arch = "x86_64")]
pub(in crate::ops) use super::x86::simd::{Avx2, Avx512, Avx512Bf16Vnni};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exp_is_within_two_ulp_and_nothing_far_below(x in -87f32..=0.0, far in -1e30f32..-87.1) {
            // SAFETY: plain numbers need no instructions.
            let found = unsafe { Portable::exp([x, far, f32::NEG_INFINITY, -87.0, 0.0, x, far, x]) };
            let expected = f64::from(x).exp();
            prop_assert!((f64::from(found[0]) / expected - 1.0).abs() < 2.4e-7, "exp({x}) = {}", found[0]);
            prop_assert_eq!([found[1], found[2], found[4], found[6]], [0.0, 0.0, 1.0, 0.0]);
        }
    }
}
