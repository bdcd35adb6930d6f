//! The kernels: one panel of weights by one tile of activations, written once over `Vector` and compiled for every tier.
#![allow(unsafe_code)]

use super::{Activation, Format, GROUP, PANEL_ROWS, Panels, TILE_ROWS_MAX, Tile};
use crate::ops::Tier;
#[cfg(target_arch = "x86_64")]
use crate::ops::vector::simd::{Avx2, Avx512, Avx512Bf16Vnni};
use crate::ops::vector::simd::{Portable, Vector};

/// How far ahead weights are asked for: longer than the memory's latency at its speed.
const PREFETCH_BYTES: usize = 4096;

/// The most rows of activations a kernel of this tier takes at once: as many as leave all sums in registers.
pub(crate) fn tile_rows_max(tier: Tier, kind: Activation) -> usize {
    match (tier, kind) {
        (Tier::Avx512 | Tier::Avx512Bf16Vnni, Activation::Single | Activation::Bfloats) => TILE_ROWS_MAX,
        (Tier::Avx512 | Tier::Avx512Bf16Vnni, Activation::Unsigned) => 6,
        (Tier::Avx512 | Tier::Avx512Bf16Vnni, Activation::Signed) => 4,
        (Tier::Plain | Tier::Avx2, Activation::Single | Activation::Bfloats) => 2,
        (Tier::Plain | Tier::Avx2, Activation::Unsigned | Activation::Signed) => 1,
    }
}

/// out (tile rows, 32) = the tile by panel `number`, without bias. The tier must come from [`Tier::available`], the tile from
/// activations packed for it. Rows of the panel past the matrix give 0.
pub(crate) fn multiply(tier: Tier, w: &Panels<'_>, number: usize, x: &Tile<'_>, out: &mut [f32]) {
    assert_eq!((x.kind, x.cols), (w.format.activation(), w.cols), "activations packed for this matrix");
    assert_eq!(out.len(), x.rows * PANEL_ROWS, "out must be rows × {PANEL_ROWS}");
    let panel = w.panel(number);
    let steps = x.kind.steps(x.cols);
    assert_eq!(x.words.len(), steps * x.rows * x.kind.step_words(), "words of a tile");
    let job = Job { panel: panel.as_ptr(), panel_bytes: panel.len(), steps, x, out: out.as_mut_ptr() };
    // SAFETY: a tier is only made where this CPU was seen to have its instructions; panel and tile are as long as format, cols and
    // rows say (checked when they were made, and above).
    unsafe {
        match tier {
            Tier::Plain => plain::run(w.format, &job),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => avx2::run(w.format, &job),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => avx512::run(w.format, &job),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Bf16Vnni => avx512_bf16_vnni::run(w.format, &job),
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 | Tier::Avx512 | Tier::Avx512Bf16Vnni => unreachable!("a tier is only made where its instructions were seen"),
        }
    }
}

/// What a kernel works on.
struct Job<'a> {
    panel: *const u8,
    panel_bytes: usize,
    steps: usize,
    x: &'a Tile<'a>,
    out: *mut f32,
}

/// One step of a kernel that sums in f32.
trait Step {
    /// Bytes of one lane.
    const BYTES: usize;
    type Weight<V: Vector>: Copy;
    unsafe fn load<V: Vector>(at: *const u8) -> Self::Weight<V>;
    unsafe fn add<V: Vector>(sum: V::F, weight: Self::Weight<V>, x: u32) -> V::F;
}

macro_rules! widened {
    ($name:ident, $bytes:literal, $load:ident) => {
        struct $name;
        impl Step for $name {
            const BYTES: usize = $bytes;
            type Weight<V: Vector> = V::F;
            #[inline(always)]
            unsafe fn load<V: Vector>(at: *const u8) -> V::F {
                unsafe { V::$load(at) }
            }
            #[inline(always)]
            unsafe fn add<V: Vector>(sum: V::F, weight: V::F, x: u32) -> V::F {
                unsafe { V::fma(weight, V::splat(f32::from_bits(x)), sum) }
            }
        }
    };
}
widened!(Singles, 4, load_f32);
widened!(Halves, 2, load_f16);
widened!(Bfloats, 2, load_bf16);

/// Two bfloats at once.
struct Pairs;
impl Step for Pairs {
    const BYTES: usize = 4;
    type Weight<V: Vector> = V::I;
    #[inline(always)]
    unsafe fn load<V: Vector>(at: *const u8) -> V::I {
        unsafe { V::load_i(at) }
    }
    #[inline(always)]
    unsafe fn add<V: Vector>(sum: V::F, weight: V::I, x: u32) -> V::F {
        unsafe { V::dot_bf16(sum, weight, V::splat_i(x)) }
    }
}

/// N vectors make up a panel; M rows of activations.
#[inline(always)]
unsafe fn float<V: Vector, S: Step, const N: usize, const M: usize>(job: &Job<'_>) {
    // SAFETY: the panel has `steps` times 32 weights, the tile `steps` times M words, and out M × 32 numbers.
    unsafe {
        let mut weights = job.panel;
        let mut x = job.x.words.as_ptr();
        let mut sums = [[V::zero(); N]; M];
        for _ in 0..job.steps {
            for line in 0..(PANEL_ROWS * S::BYTES / 64) {
                V::prefetch(weights.wrapping_add(PREFETCH_BYTES + 64 * line));
            }
            let mut lanes = [S::load::<V>(weights); N];
            for (n, lanes) in lanes.iter_mut().enumerate().skip(1) {
                *lanes = S::load::<V>(weights.add(n * V::LANES * S::BYTES));
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = *x.add(m);
                for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                    *sum = S::add::<V>(*sum, *lanes, x);
                }
            }
            weights = weights.add(PANEL_ROWS * S::BYTES);
            x = x.add(M);
        }
        for (m, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                V::store(job.out.add(m * PANEL_ROWS + n * V::LANES), *sum);
            }
        }
    }
}

#[inline(always)]
unsafe fn int8<V: Vector, const N: usize, const M: usize>(job: &Job<'_>) {
    // SAFETY: as in `float`; the panel ends with 32 scales and 32 sums.
    unsafe {
        let mut weights = job.panel;
        let mut x = job.x.words.as_ptr();
        let mut sums = [[[V::zero_i(); 2]; N]; M];
        for _ in 0..job.steps {
            for line in 0..(PANEL_ROWS * 4 / 64) {
                V::prefetch(weights.wrapping_add(PREFETCH_BYTES + 64 * line));
            }
            let mut lanes = [V::load_i(weights); N];
            for (n, lanes) in lanes.iter_mut().enumerate().skip(1) {
                *lanes = V::load_i(weights.add(n * V::LANES * 4));
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let (upper, lower) = (V::splat_i(*x.add(2 * m)), V::splat_i(*x.add(2 * m + 1)));
                for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                    sum[0] = V::dot_bytes(sum[0], upper, *lanes);
                    sum[1] = V::dot_bytes(sum[1], lower, *lanes);
                }
            }
            weights = weights.add(PANEL_ROWS * 4);
            x = x.add(2 * M);
        }
        let tail = job.panel.add(job.panel_bytes - 256);
        for (m, sums) in sums.iter().enumerate() {
            let (scale, offset) = (V::splat(job.x.scales[m]), V::splat_i(job.x.offsets[m] as u32));
            for (n, [upper, lower]) in sums.iter().enumerate() {
                let row_scale = V::load_f32(tail.add(n * V::LANES * 4));
                let row_sum = V::load_i(tail.add(128 + n * V::LANES * 4));
                let upper = V::to_f(V::sub_i(*upper, V::mul_i(offset, row_sum)));
                let sum = V::fma(upper, V::splat(256.0), V::to_f(*lower));
                V::store(job.out.add(m * PANEL_ROWS + n * V::LANES), V::mul(V::mul(sum, row_scale), scale));
            }
        }
    }
}

#[inline(always)]
unsafe fn int4<V: Vector, const N: usize, const M: usize>(job: &Job<'_>) {
    // SAFETY: as in `float`; for each group the panel has 512 bytes of nibbles, and behind all of them 32 scales and 32 zero points.
    unsafe {
        let groups = job.steps / (GROUP / 4);
        let mut nibbles = job.panel;
        let mut scales = job.panel.add(groups * 512);
        let mut zeros = job.panel.add(groups * (512 + 64));
        let mut x = job.x.words.as_ptr();
        let mut group_sums = job.x.sums.as_ptr();
        let mut totals = [[V::zero(); N]; M];
        for _ in 0..groups {
            for line in 0..8 {
                V::prefetch(nibbles.wrapping_add(PREFETCH_BYTES + 64 * line));
            }
            for (n, _) in [(); N].iter().enumerate() {
                let mut sums = [[V::zero_i(); 2]; M];
                for pair in 0..GROUP / 8 {
                    let both = V::load_i(nibbles.add(pair * 128 + n * V::LANES * 4));
                    let (first, second) = (V::low_nibbles(both), V::high_nibbles(both));
                    let x = x.add(pair * 4 * M);
                    for (m, sums) in sums.iter_mut().enumerate() {
                        sums[0] = V::dot_bytes(sums[0], first, V::splat_i(*x.add(2 * m)));
                        sums[1] = V::dot_bytes(sums[1], first, V::splat_i(*x.add(2 * m + 1)));
                        sums[0] = V::dot_bytes(sums[0], second, V::splat_i(*x.add(2 * M + 2 * m)));
                        sums[1] = V::dot_bytes(sums[1], second, V::splat_i(*x.add(2 * M + 2 * m + 1)));
                    }
                }
                let scale = V::load_f16(scales.add(n * V::LANES * 2));
                let zero = V::load_u8(zeros.add(n * V::LANES));
                for (m, [upper, lower]) in sums.into_iter().enumerate() {
                    let x_sum = V::splat_i(*group_sums.add(m) as u32);
                    let sum = V::sub_i(V::add_i(V::shift_byte(upper), lower), V::mul_i(zero, x_sum));
                    totals[m][n] = V::fma(scale, V::to_f(sum), totals[m][n]);
                }
            }
            nibbles = nibbles.add(512);
            scales = scales.add(64);
            zeros = zeros.add(32);
            x = x.add(M * 2 * GROUP / 4);
            group_sums = group_sums.add(M);
        }
        for (m, totals) in totals.iter().enumerate() {
            let scale = V::splat(job.x.scales[m]);
            for (n, total) in totals.iter().enumerate() {
                V::store(job.out.add(m * PANEL_ROWS + n * V::LANES), V::mul(*total, scale));
            }
        }
    }
}

/// The kernels of one tier: for each format, one for every number of rows a tile may have.
macro_rules! tier {
    ($module:ident, $vector:ty, $vectors:literal, [$(#[$features:meta])?], [$($float:literal)+], [$($int8:literal)+], [$($int4:literal)+]) => {
        mod $module {
            use super::*;

            $(#[$features])?
            unsafe fn float<S: Step, const M: usize>(job: &Job<'_>) {
                // SAFETY: passed on to the caller.
                unsafe { super::float::<$vector, S, $vectors, M>(job) }
            }

            $(#[$features])?
            unsafe fn int8<const M: usize>(job: &Job<'_>) {
                // SAFETY: passed on to the caller.
                unsafe { super::int8::<$vector, $vectors, M>(job) }
            }

            $(#[$features])?
            unsafe fn int4<const M: usize>(job: &Job<'_>) {
                // SAFETY: passed on to the caller.
                unsafe { super::int4::<$vector, $vectors, M>(job) }
            }

            unsafe fn floats<S: Step>(job: &Job<'_>) {
                match job.x.rows {
                    // SAFETY: passed on to the caller.
                    $($float => unsafe { float::<S, $float>(job) },)+
                    rows => unreachable!("a tile of {rows} rows"),
                }
            }

            /// # Safety
            /// The tier's instructions, and a job whose lengths are those of the format.
            pub(super) unsafe fn run(format: Format, job: &Job<'_>) {
                // SAFETY: passed on to the caller.
                unsafe {
                    match format {
                        Format::F32 => floats::<Singles>(job),
                        Format::F16 => floats::<Halves>(job),
                        Format::Bf16Wide => floats::<Bfloats>(job),
                        Format::Bf16 => floats::<Pairs>(job),
                        Format::Int8 => match job.x.rows {
                            $($int8 => int8::<$int8>(job),)+
                            rows => unreachable!("a tile of {rows} rows"),
                        },
                        Format::Int4 => match job.x.rows {
                            $($int4 => int4::<$int4>(job),)+
                            rows => unreachable!("a tile of {rows} rows"),
                        },
                    }
                }
            }
        }
    };
}

tier!(plain, Portable, 4, [], [1 2], [1], [1]);
#[cfg(target_arch = "x86_64")]
tier!(avx2, Avx2, 4, [#[target_feature(enable = "avx2,fma,f16c")]], [1 2], [1], [1]);
#[cfg(target_arch = "x86_64")]
tier!(
    avx512, Avx512, 2, [#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]],
    [1 2 3 4 5 6 7 8 9 10 11 12], [1 2 3 4 5 6], [1 2 3 4]
);
#[cfg(target_arch = "x86_64")]
tier!(
    avx512_bf16_vnni, Avx512Bf16Vnni, 2,
    [#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c")]],
    [1 2 3 4 5 6 7 8 9 10 11 12], [1 2 3 4 5 6], [1 2 3 4]
);
