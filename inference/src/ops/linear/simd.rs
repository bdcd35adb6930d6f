//! Linear with AVX2 and AVX-512. Tiles of four weight rows by a few rows of x: each weight is widened once for the whole tile.
//! Every sum runs along the columns lane by lane, then over the lanes, then the tail: the order depends on cols alone.
#![allow(unsafe_code)]

use half::{bf16, f16};

use super::{Weight, check};
use crate::ops::Tier;

/// The contract of `super::linear`, on the given tier. The tier must come from [`Tier::available`].
pub(crate) fn linear<W: WideWeight>(tier: Tier, w: &[W], x: &[f32], cols: usize, bias: &[f32], y: &mut [&mut [f32]]) {
    check(w, x, cols, bias, y);
    match tier {
        Tier::Plain => super::linear(w, x, cols, bias, y),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a tier is only made where this CPU was seen to have its features; `check` has compared all lengths.
        Tier::Avx2 => unsafe { x86::linear_avx2(w, x, cols, bias, y) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Tier::Avx512 => unsafe { x86::linear_avx512(w, x, cols, bias, y) },
    }
}

/// A weight that can be loaded and widened many at a time.
#[cfg(target_arch = "x86_64")]
pub(crate) trait WideWeight: Weight {
    /// # Safety
    /// AVX2 and F16C; eight weights readable at `from`.
    unsafe fn load8(from: *const Self) -> std::arch::x86_64::__m256;
    /// # Safety
    /// AVX-512F; sixteen weights readable at `from`.
    unsafe fn load16(from: *const Self) -> std::arch::x86_64::__m512;
}

/// A weight that can be loaded and widened many at a time.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) trait WideWeight: Weight {}
#[cfg(not(target_arch = "x86_64"))]
impl<W: Weight> WideWeight for W {}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Weight, WideWeight, bf16, f16};
    use std::arch::x86_64::*;

    /// Weight rows in a tile.
    const ROWS: usize = 4;

    // SAFETY of the loads: the callers promise the features and the readable weights; unaligned loads are used throughout.
    impl WideWeight for f32 {
        #[inline(always)]
        unsafe fn load8(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn load16(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }
    }

    impl WideWeight for f16 {
        #[inline(always)]
        unsafe fn load8(from: *const f16) -> __m256 {
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
        }

        #[inline(always)]
        unsafe fn load16(from: *const f16) -> __m512 {
            unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
        }
    }

    // A bfloat is the upper half of an f32.
    impl WideWeight for bf16 {
        #[inline(always)]
        unsafe fn load8(from: *const bf16) -> __m256 {
            unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())))) }
        }

        #[inline(always)]
        unsafe fn load16(from: *const bf16) -> __m512 {
            unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())))) }
        }
    }

    /// The sums of R weight rows with M rows of x, sixteen lanes wide.
    ///
    /// # Safety
    /// AVX-512F. `w` holds R rows and `x` M rows of `cols`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn tile_avx512<W: WideWeight, const R: usize, const M: usize>(w: *const W, x: *const f32, cols: usize) -> [[f32; R]; M] {
        const LANES: usize = 16;
        // The next vector of each row. Plain loops over arrays, so that the sums live in registers and nowhere else.
        let mut w_next = [w; R];
        for (r, next) in w_next.iter_mut().enumerate() {
            *next = w.wrapping_add(r * cols);
        }
        let mut x_next = [x; M];
        for (m, next) in x_next.iter_mut().enumerate() {
            *next = x.wrapping_add(m * cols);
        }
        let mut sums = [[_mm512_setzero_ps(); R]; M];
        for _ in 0..cols / LANES {
            let mut weights = [_mm512_setzero_ps(); R];
            for (weight, next) in weights.iter_mut().zip(&mut w_next) {
                // SAFETY: this is done cols / LANES times, so it stays within the row.
                *weight = unsafe { W::load16(*next) };
                *next = next.wrapping_add(LANES);
            }
            for (sums, next) in sums.iter_mut().zip(&mut x_next) {
                // SAFETY: as above.
                let x = unsafe { _mm512_loadu_ps(*next) };
                *next = next.wrapping_add(LANES);
                for (sum, weight) in sums.iter_mut().zip(&weights) {
                    *sum = _mm512_fmadd_ps(*weight, x, *sum);
                }
            }
        }
        let mut totals = [[0.0; R]; M];
        for (totals, sums) in totals.iter_mut().zip(&sums) {
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total = _mm512_reduce_add_ps(*sum);
            }
        }
        if !cols.is_multiple_of(LANES) {
            // SAFETY: w and x hold these rows.
            unsafe { add_tail(w, x, cols - cols % LANES, cols, &mut totals) };
        }
        totals
    }

    /// The same, eight lanes wide.
    ///
    /// # Safety
    /// AVX2, FMA and F16C. `w` holds R rows and `x` M rows of `cols`.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn tile_avx2<W: WideWeight, const R: usize, const M: usize>(w: *const W, x: *const f32, cols: usize) -> [[f32; R]; M] {
        const LANES: usize = 8;
        // The next vector of each row. Plain loops over arrays, so that the sums live in registers and nowhere else.
        let mut w_next = [w; R];
        for (r, next) in w_next.iter_mut().enumerate() {
            *next = w.wrapping_add(r * cols);
        }
        let mut x_next = [x; M];
        for (m, next) in x_next.iter_mut().enumerate() {
            *next = x.wrapping_add(m * cols);
        }
        let mut sums = [[_mm256_setzero_ps(); R]; M];
        for _ in 0..cols / LANES {
            let mut weights = [_mm256_setzero_ps(); R];
            for (weight, next) in weights.iter_mut().zip(&mut w_next) {
                // SAFETY: this is done cols / LANES times, so it stays within the row.
                *weight = unsafe { W::load8(*next) };
                *next = next.wrapping_add(LANES);
            }
            for (sums, next) in sums.iter_mut().zip(&mut x_next) {
                // SAFETY: as above.
                let x = unsafe { _mm256_loadu_ps(*next) };
                *next = next.wrapping_add(LANES);
                for (sum, weight) in sums.iter_mut().zip(&weights) {
                    *sum = _mm256_fmadd_ps(*weight, x, *sum);
                }
            }
        }
        let mut totals = [[0.0; R]; M];
        for (totals, sums) in totals.iter_mut().zip(&sums) {
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total = sum_lanes(*sum);
            }
        }
        if !cols.is_multiple_of(LANES) {
            // SAFETY: w and x hold these rows.
            unsafe { add_tail(w, x, cols - cols % LANES, cols, &mut totals) };
        }
        totals
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn sum_lanes(lanes: __m256) -> f32 {
        let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }

    /// Adds the last columns, which fill no vector.
    ///
    /// # Safety
    /// `w` holds R rows and `x` M rows of `to` numbers.
    #[cold]
    unsafe fn add_tail<W: Weight, const R: usize, const M: usize>(
        w: *const W,
        x: *const f32,
        from: usize,
        to: usize,
        totals: &mut [[f32; R]; M],
    ) {
        for (m, totals) in totals.iter_mut().enumerate() {
            for (r, total) in totals.iter_mut().enumerate() {
                // SAFETY: r < R, m < M and c < to.
                *total += (from..to).map(|c| unsafe { (*w.add(r * to + c)).widen() * *x.add(m * to + c) }).sum::<f32>();
            }
        }
    }

    macro_rules! linear {
        ($name:ident, $tile:ident, $features:literal, [$($batch:literal),+]) => {
            /// # Safety
            /// The features of its tile, and the lengths of the contract.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name<W: WideWeight>(w: &[W], x: &[f32], cols: usize, bias: &[f32], y: &mut [&mut [f32]]) {
                let rows = y.first().map_or(0, |y| y.len());
                let batch = y.len();
                let mut r = 0;
                while r < rows {
                    let tile_rows = if rows - r >= ROWS { ROWS } else { 1 };
                    let mut m = 0;
                    while m < batch {
                        // SAFETY: r + tile_rows ≤ rows and m + the tile's batch ≤ batch, by the conditions below.
                        let (w, x) = unsafe { (w.as_ptr().add(r * cols), x.as_ptr().add(m * cols)) };
                        $(
                            if batch - m >= $batch {
                                if tile_rows == ROWS {
                                    // SAFETY: as above.
                                    let sums = unsafe { $tile::<W, ROWS, $batch>(w, x, cols) };
                                    store(&sums, r, bias, &mut y[m..][..$batch]);
                                } else {
                                    // SAFETY: as above.
                                    let sums = unsafe { $tile::<W, 1, $batch>(w, x, cols) };
                                    store(&sums, r, bias, &mut y[m..][..$batch]);
                                }
                                m += $batch;
                                continue;
                            }
                        )+
                    }
                    r += tile_rows;
                }
            }
        };
    }

    // The widest batch that leaves all sums in registers: 16 + 5 of 32, and 8 + 5 of 16.
    linear!(linear_avx512, tile_avx512, "avx512f", [4, 2, 1]);
    linear!(linear_avx2, tile_avx2, "avx2,fma,f16c", [2, 1]);

    #[inline(always)]
    fn store<const R: usize>(sums: &[[f32; R]], r: usize, bias: &[f32], y: &mut [&mut [f32]]) {
        for (sums, y) in sums.iter().zip(y) {
            for (lane, sum) in sums.iter().enumerate() {
                y[r + lane] = sum + if bias.is_empty() { 0.0 } else { bias[r + lane] };
            }
        }
    }
}
