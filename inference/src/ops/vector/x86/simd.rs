//! The vectors of x86-64.
#![allow(unsafe_code)]

use crate::ops::vector::simd::Vector;
use half::f16;
use std::arch::x86_64::*;

/// Eight lanes.
pub(in crate::ops) struct Avx2;
/// Sixteen lanes.
pub(in crate::ops) struct Avx512;
/// Sixteen lanes with dot products.
pub(in crate::ops) struct Avx512Bf16Vnni;

/// The largest number that a half can be.
const LARGEST_HALF: f32 = 65_504.0;

// SAFETY of every body below: the trait's contract gives the instructions and the memory.
impl Vector for Avx2 {
    type F = __m256;
    type I = __m256i;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> __m256 {
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn zero_i() -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn splat(number: f32) -> __m256 {
        unsafe { _mm256_set1_ps(number) }
    }
    #[inline(always)]
    unsafe fn splat_i(word: u32) -> __m256i {
        unsafe { _mm256_set1_epi32(word as i32) }
    }
    #[inline(always)]
    unsafe fn load_f32(at: *const u8) -> __m256 {
        unsafe { _mm256_loadu_ps(at.cast()) }
    }
    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(at: *const u8) -> __m256 {
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast())))) }
    }
    #[inline(always)]
    unsafe fn load_i(at: *const u8) -> __m256i {
        unsafe { _mm256_loadu_si256(at.cast()) }
    }
    #[inline(always)]
    unsafe fn load_u8(at: *const u8) -> __m256i {
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast())) }
    }
    #[inline(always)]
    unsafe fn load_u16(at: *const u8) -> __m256i {
        unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast())) }
    }
    #[inline(always)]
    unsafe fn upper_and_lower(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_or_si256(_mm256_slli_epi32::<16>(a), b) }
    }
    #[inline(always)]
    unsafe fn bfloats(a: __m256, b: __m256) -> __m256i {
        unsafe {
            let rounded = |x: __m256| {
                let bits = _mm256_castps_si256(x);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                let sum = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
                let none = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc0_0000));
                _mm256_blendv_ps(_mm256_castsi256_ps(sum), none, _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x))
            };
            let (a, b) = (rounded(a), rounded(b));
            let [earlier, later] = [_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xdd>(a, b)].map(|x| _mm256_castps_si256(x));
            let words = _mm256_blend_epi16::<0xaa>(_mm256_srli_epi32::<16>(later), earlier);
            _mm256_permute4x64_epi64::<0xd8>(words)
        }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, lanes: __m256) {
        unsafe { _mm256_storeu_ps(at, lanes) }
    }
    #[inline(always)]
    unsafe fn store_f16(at: *mut f16, lanes: __m256) {
        unsafe {
            let largest = _mm256_set1_ps(LARGEST_HALF);
            let within = _mm256_min_ps(_mm256_max_ps(lanes, _mm256_sub_ps(_mm256_setzero_ps(), largest)), largest);
            let is_finite = _mm256_cmp_ps::<_CMP_LT_OQ>(_mm256_andnot_ps(_mm256_set1_ps(-0.0), lanes), _mm256_set1_ps(f32::INFINITY));
            let rounded = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_blendv_ps(lanes, within, is_finite));
            _mm_storeu_si128(at.cast(), rounded);
        }
    }
    #[inline(always)]
    unsafe fn store_i(at: *mut i32, lanes: __m256i) {
        unsafe { _mm256_storeu_si256(at.cast(), lanes) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn power_of_two(n: __m256) -> __m256 {
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)))) }
    }
    #[inline(always)]
    unsafe fn where_at_least(number: __m256, limit: __m256, a: __m256) -> __m256 {
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(number, limit), a) }
    }
    #[inline(always)]
    unsafe fn to_f(a: __m256i) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(a) }
    }
    #[inline(always)]
    unsafe fn add_i(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub_i(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_sub_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_i(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_mullo_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn shift_byte(a: __m256i) -> __m256i {
        unsafe { _mm256_slli_epi32::<8>(a) }
    }
    #[inline(always)]
    unsafe fn flip_signs(a: __m256i) -> __m256i {
        unsafe { _mm256_xor_si256(a, _mm256_set1_epi8(-128)) }
    }
    #[inline(always)]
    unsafe fn low_nibbles(a: __m256i) -> __m256i {
        unsafe { _mm256_and_si256(a, _mm256_set1_epi8(0x0f)) }
    }
    #[inline(always)]
    unsafe fn high_nibbles(a: __m256i) -> __m256i {
        unsafe { _mm256_and_si256(_mm256_srli_epi16::<4>(a), _mm256_set1_epi8(0x0f)) }
    }
    #[inline(always)]
    unsafe fn dot_bf16(sum: __m256, a: __m256i, b: __m256i) -> __m256 {
        unsafe {
            let upper = |word| _mm256_castsi256_ps(_mm256_and_si256(word, _mm256_set1_epi32(-65536)));
            let lower = |word| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(word));
            _mm256_fmadd_ps(lower(a), lower(b), _mm256_fmadd_ps(upper(a), upper(b), sum))
        }
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
        unsafe {
            // As pairs of 16 bits, where nothing can saturate.
            let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(signed));
            let odd = _mm256_srai_epi16::<8>(signed);
            let even = _mm256_madd_epi16(_mm256_and_si256(unsigned, _mm256_set1_epi16(0xff)), even);
            let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(unsigned), odd);
            _mm256_add_epi32(sum, _mm256_add_epi32(even, odd))
        }
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn prefetch_l2(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}

/// The upper halves of the lanes of two vectors, of each two lanes the earlier in the upper half.
const UPPER_HALVES: __m512i = {
    let mut places = [0u16; 32];
    let mut place = 0;
    while place < 32 {
        places[place] = (2 * (place ^ 1) + 1) as u16;
        place += 1;
    }
    // SAFETY: as many bits.
    unsafe { std::mem::transmute(places) }
};

macro_rules! sixteen_lanes {
    ($name:ident, $dot_bf16:expr, $dot_bytes:expr) => {
        impl Vector for $name {
            type F = __m512;
            type I = __m512i;
            const LANES: usize = 16;

            #[inline(always)]
            unsafe fn zero() -> __m512 {
                unsafe { _mm512_setzero_ps() }
            }
            #[inline(always)]
            unsafe fn zero_i() -> __m512i {
                unsafe { _mm512_setzero_si512() }
            }
            #[inline(always)]
            unsafe fn splat(number: f32) -> __m512 {
                unsafe { _mm512_set1_ps(number) }
            }
            #[inline(always)]
            unsafe fn splat_i(word: u32) -> __m512i {
                unsafe { _mm512_set1_epi32(word as i32) }
            }
            #[inline(always)]
            unsafe fn load_f32(at: *const u8) -> __m512 {
                unsafe { _mm512_loadu_ps(at.cast()) }
            }
            #[inline(always)]
            unsafe fn load_f16(at: *const u8) -> __m512 {
                unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) }
            }
            #[inline(always)]
            unsafe fn load_bf16(at: *const u8) -> __m512 {
                unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast())))) }
            }
            #[inline(always)]
            unsafe fn load_i(at: *const u8) -> __m512i {
                unsafe { _mm512_loadu_si512(at.cast()) }
            }
            #[inline(always)]
            unsafe fn load_u8(at: *const u8) -> __m512i {
                unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast())) }
            }
            #[inline(always)]
            unsafe fn load_u16(at: *const u8) -> __m512i {
                unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast())) }
            }
            #[inline(always)]
            unsafe fn upper_and_lower(a: __m512i, b: __m512i) -> __m512i {
                unsafe { _mm512_or_si512(_mm512_slli_epi32::<16>(a), b) }
            }
            #[inline(always)]
            unsafe fn bfloats(a: __m512, b: __m512) -> __m512i {
                unsafe {
                    let rounded = |x: __m512| {
                        let bits = _mm512_castps_si512(x);
                        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                        let sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
                        _mm512_mask_mov_epi32(sum, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), _mm512_set1_epi32(0x7fc0_0000))
                    };
                    _mm512_permutex2var_epi16(rounded(a), UPPER_HALVES, rounded(b))
                }
            }
            #[inline(always)]
            unsafe fn store(at: *mut f32, lanes: __m512) {
                unsafe { _mm512_storeu_ps(at, lanes) }
            }
            #[inline(always)]
            unsafe fn store_f16(at: *mut f16, lanes: __m512) {
                unsafe {
                    let largest = _mm512_set1_ps(LARGEST_HALF);
                    let is_finite = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(lanes), _mm512_set1_ps(f32::INFINITY));
                    let within = _mm512_mask_max_ps(lanes, is_finite, lanes, _mm512_sub_ps(_mm512_setzero_ps(), largest));
                    let within = _mm512_mask_min_ps(within, is_finite, within, largest);
                    _mm256_storeu_si256(at.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(within));
                }
            }
            #[inline(always)]
            unsafe fn quads<const N: usize>(columns: [*const u8; 4], at: usize) -> [__m512i; N] {
                unsafe {
                    let mut all = [_mm512_setzero_si512(); N];
                    if N != 4 {
                        for (n, quads) in all.iter_mut().enumerate() {
                            *quads = quads_of_sixteen(columns, at + 16 * n);
                        }
                        return all;
                    }
                    let (a, b) = (_mm512_loadu_si512(columns[0].add(at).cast()), _mm512_loadu_si512(columns[1].add(at).cast()));
                    let (c, d) = (_mm512_loadu_si512(columns[2].add(at).cast()), _mm512_loadu_si512(columns[3].add(at).cast()));
                    let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
                    let (low_too, high_too) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
                    all[0] = _mm512_unpacklo_epi16(low, low_too);
                    all[1] = _mm512_unpackhi_epi16(low, low_too);
                    all[2] = _mm512_unpacklo_epi16(high, high_too);
                    all[3] = _mm512_unpackhi_epi16(high, high_too);
                    all
                }
            }
            /// Four vectors of four quarters each, turned: vector v has quarter v of all four.
            #[inline(always)]
            unsafe fn in_order<const N: usize>(lanes: [__m512i; N]) -> [__m512i; N] {
                unsafe {
                    if N != 4 {
                        return lanes;
                    }
                    let (first, second) =
                        (_mm512_shuffle_i32x4::<0x44>(lanes[0], lanes[1]), _mm512_shuffle_i32x4::<0x44>(lanes[2], lanes[3]));
                    let (third, fourth) =
                        (_mm512_shuffle_i32x4::<0xee>(lanes[0], lanes[1]), _mm512_shuffle_i32x4::<0xee>(lanes[2], lanes[3]));
                    let mut all = lanes;
                    all[0] = _mm512_shuffle_i32x4::<0x88>(first, second);
                    all[1] = _mm512_shuffle_i32x4::<0xdd>(first, second);
                    all[2] = _mm512_shuffle_i32x4::<0x88>(third, fourth);
                    all[3] = _mm512_shuffle_i32x4::<0xdd>(third, fourth);
                    all
                }
            }
            #[inline(always)]
            unsafe fn store_i(at: *mut i32, lanes: __m512i) {
                unsafe { _mm512_storeu_si512(at.cast(), lanes) }
            }
            #[inline(always)]
            unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
                unsafe { _mm512_fmadd_ps(a, b, c) }
            }
            #[inline(always)]
            unsafe fn mul(a: __m512, b: __m512) -> __m512 {
                unsafe { _mm512_mul_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn add(a: __m512, b: __m512) -> __m512 {
                unsafe { _mm512_add_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn sub(a: __m512, b: __m512) -> __m512 {
                unsafe { _mm512_sub_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn max(a: __m512, b: __m512) -> __m512 {
                unsafe { _mm512_max_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn power_of_two(n: __m512) -> __m512 {
                unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)))) }
            }
            #[inline(always)]
            unsafe fn where_at_least(number: __m512, limit: __m512, a: __m512) -> __m512 {
                unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(number, limit), a) }
            }
            #[inline(always)]
            unsafe fn to_f(a: __m512i) -> __m512 {
                unsafe { _mm512_cvtepi32_ps(a) }
            }
            #[inline(always)]
            unsafe fn add_i(a: __m512i, b: __m512i) -> __m512i {
                unsafe { _mm512_add_epi32(a, b) }
            }
            #[inline(always)]
            unsafe fn sub_i(a: __m512i, b: __m512i) -> __m512i {
                unsafe { _mm512_sub_epi32(a, b) }
            }
            #[inline(always)]
            unsafe fn mul_i(a: __m512i, b: __m512i) -> __m512i {
                unsafe { _mm512_mullo_epi32(a, b) }
            }
            #[inline(always)]
            unsafe fn shift_byte(a: __m512i) -> __m512i {
                unsafe { _mm512_slli_epi32::<8>(a) }
            }
            #[inline(always)]
            unsafe fn flip_signs(a: __m512i) -> __m512i {
                unsafe { _mm512_xor_si512(a, _mm512_set1_epi8(-128)) }
            }
            #[inline(always)]
            unsafe fn low_nibbles(a: __m512i) -> __m512i {
                unsafe { _mm512_and_si512(a, _mm512_set1_epi8(0x0f)) }
            }
            #[inline(always)]
            unsafe fn high_nibbles(a: __m512i) -> __m512i {
                unsafe { _mm512_and_si512(_mm512_srli_epi16::<4>(a), _mm512_set1_epi8(0x0f)) }
            }
            #[inline(always)]
            unsafe fn dot_bf16(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
                unsafe { $dot_bf16(sum, a, b) }
            }
            #[inline(always)]
            unsafe fn dot_bytes(sum: __m512i, unsigned: __m512i, signed: __m512i) -> __m512i {
                unsafe { $dot_bytes(sum, unsigned, signed) }
            }
            #[inline(always)]
            unsafe fn prefetch(at: *const u8) {
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
            }
            #[inline(always)]
            unsafe fn prefetch_l2(at: *const u8) {
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
            }
        }
    };
}

/// Bytes of sixteen rows of four columns, those of a row in one lane.
#[inline(always)]
unsafe fn quads_of_sixteen(columns: [*const u8; 4], at: usize) -> __m512i {
    unsafe {
        let a = _mm512_cvtepu8_epi32(_mm_loadu_si128(columns[0].add(at).cast()));
        let b = _mm512_cvtepu8_epi32(_mm_loadu_si128(columns[1].add(at).cast()));
        let c = _mm512_cvtepu8_epi32(_mm_loadu_si128(columns[2].add(at).cast()));
        let d = _mm512_cvtepu8_epi32(_mm_loadu_si128(columns[3].add(at).cast()));
        let (b, c, d) = (_mm512_slli_epi32::<8>(b), _mm512_slli_epi32::<16>(c), _mm512_slli_epi32::<24>(d));
        _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d))
    }
}

sixteen_lanes!(Avx512, two_fmas, sixteen_bits);
sixteen_lanes!(Avx512Bf16Vnni, vdpbf16ps, _mm512_dpbusd_epi32);

#[inline(always)]
unsafe fn two_fmas(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
    unsafe {
        let upper = |word| _mm512_castsi512_ps(_mm512_and_si512(word, _mm512_set1_epi32(-65536)));
        let lower = |word| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(word));
        _mm512_fmadd_ps(lower(a), lower(b), _mm512_fmadd_ps(upper(a), upper(b), sum))
    }
}

// The instruction adds the upper product first, then the lower, each rounded once (measured on Zen 4: equal to two fused
// multiply-adds in every bit of two million random cases; only denormals, which it takes for zero, may differ).
#[inline(always)]
unsafe fn vdpbf16ps(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
    // SAFETY: all three are 512 bits without meaning of their own.
    unsafe { _mm512_dpbf16_ps(sum, std::mem::transmute::<__m512i, __m512bh>(a), std::mem::transmute::<__m512i, __m512bh>(b)) }
}

#[inline(always)]
unsafe fn sixteen_bits(sum: __m512i, unsigned: __m512i, signed: __m512i) -> __m512i {
    unsafe {
        let even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(signed));
        let odd = _mm512_srai_epi16::<8>(signed);
        let even = _mm512_madd_epi16(_mm512_and_si512(unsigned, _mm512_set1_epi16(0xff)), even);
        let odd = _mm512_madd_epi16(_mm512_srli_epi16::<8>(unsigned), odd);
        _mm512_add_epi32(sum, _mm512_add_epi32(even, odd))
    }
}
