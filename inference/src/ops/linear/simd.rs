//! The kernels: one panel of weights by one tile of activations, written once over `Vector` and compiled for every tier.
#![allow(unsafe_code)]

use super::{Activation, Format, GROUP, PAIR_BYTES, PANEL_ROWS, STEPS, TILE_ROWS_MAX, Tile};
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

/// out (tile rows, 32) = the tile by one panel of a matrix in this format, without bias. The tier must come from [`Tier::available`],
/// the tile from activations packed for it. Rows of the panel past the matrix give 0.
pub(crate) fn multiply(tier: Tier, format: Format, panel: &[u8], x: &Tile<'_>, ahead: Ahead, out: &mut [f32]) {
    assert_eq!(x.kind, format.activation(), "activations packed for this format");
    assert_eq!(panel.len(), format.panel_bytes(x.cols), "a panel of as many columns");
    assert_eq!(out.len(), x.rows * PANEL_ROWS, "out must be rows × {PANEL_ROWS}");
    let steps = x.kind.steps(x.cols);
    assert_eq!(x.words.len(), steps.next_multiple_of(STEPS) * x.rows * x.kind.step_words(), "words of a tile");
    let job = Job { panel: panel.as_ptr(), panel_bytes: panel.len(), steps, x, ahead, out: out.as_mut_ptr() };
    // SAFETY: a tier is only made where this CPU was seen to have its instructions; panel and tile are as long as format, cols and
    // rows say (checked when they were made, and above).
    unsafe {
        match tier {
            Tier::Plain => plain::run(format, &job),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => avx2::run(format, &job),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => avx512::run(format, &job),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Bf16Vnni => avx512_bf16_vnni::run(format, &job),
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
    ahead: Ahead,
    out: *mut f32,
}

/// What is asked for ahead while a panel is multiplied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead {
    at: *const u8,
    /// From one cache line to the next.
    stride: usize,
    /// In 256 parts: bytes to ask for while that many are multiplied.
    share: usize,
}

impl Ahead {
    /// For panels that lie one behind the other, multiplied by `turn` = (tile, of how many). With one tile, what lies a little ahead. With
    /// several, only the first would wait for memory and only the others be held up by the arithmetic, so each asks for a part of the
    /// next panel.
    pub(crate) fn behind(panel: &[u8], (tile, tiles): (usize, usize)) -> Self {
        if tiles == 1 {
            return Self { at: panel.as_ptr().wrapping_add(PREFETCH_BYTES), stride: 64, share: 256 };
        }
        Self { at: panel.as_ptr().wrapping_add(panel.len() + panel.len() * tile / tiles), stride: 64, share: 256_usize.div_ceil(tiles) }
    }

    /// For panels taken out of a band: of `cols` cache lines, the first at `at` and `stride` bytes from one to the next, those of this turn.
    /// `panels` share these lines, and are each multiplied once in every turn.
    pub(crate) fn lines((at, stride): (*const u8, usize), cols: usize, panels: usize, (turn, turns): (usize, usize)) -> Self {
        let at = at.wrapping_add(cols * turn / turns * stride);
        Self { at, stride, share: (256 * panels).div_ceil(turns) }
    }

    /// Asks for its share beside a step of `bytes` bytes that begins at `done`.
    #[inline(always)]
    unsafe fn ask<V: Vector>(self, done: usize, bytes: usize) {
        for line in 0..bytes / 64 {
            // SAFETY: the tier's instructions, passed on to the caller.
            unsafe { V::prefetch(self.at.wrapping_add(((done + 64 * line) * self.share / (256 * 64)) * self.stride)) };
        }
    }
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

/// The tile's words, so many for each block of steps, and how many of its steps there are.
#[inline(always)]
fn blocks<'a>(job: &Job<'a>, words: usize) -> impl Iterator<Item = (*const u32, usize)> + use<'a> {
    let steps = job.steps;
    job.x.words.chunks_exact(words).enumerate().map(move |(number, words)| (words.as_ptr(), STEPS.min(steps - number * STEPS)))
}

/// N vectors make up a panel; M rows of activations.
#[inline(always)]
unsafe fn float<V: Vector, S: Step, const N: usize, const M: usize>(job: &Job<'_>) {
    // SAFETY: the panel has `steps` times 32 weights, the tile `steps` times M words, and out M × 32 numbers.
    unsafe {
        let mut weights = job.panel;
        let mut sums = [[V::zero(); N]; M];
        for (x, steps) in blocks(job, M * STEPS) {
            for step in 0..steps {
                job.ahead.ask::<V>(weights.offset_from_unsigned(job.panel), PANEL_ROWS * S::BYTES);
                let mut lanes = [S::load::<V>(weights); N];
                for (n, lanes) in lanes.iter_mut().enumerate().skip(1) {
                    *lanes = S::load::<V>(weights.add(n * V::LANES * S::BYTES));
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let x = *x.add(m * STEPS + step);
                    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                        *sum = S::add::<V>(*sum, *lanes, x);
                    }
                }
                weights = weights.add(PANEL_ROWS * S::BYTES);
            }
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
        let mut sums = [[[V::zero_i(); 2]; N]; M];
        for (x, steps) in blocks(job, M * 2 * STEPS) {
            for step in 0..steps {
                job.ahead.ask::<V>(weights.offset_from_unsigned(job.panel), PANEL_ROWS * 4);
                let mut lanes = [V::load_i(weights); N];
                for (n, lanes) in lanes.iter_mut().enumerate().skip(1) {
                    *lanes = V::load_i(weights.add(n * V::LANES * 4));
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let x = x.add(m * 2 * STEPS + step);
                    let (upper, lower) = (V::splat_i(*x), V::splat_i(*x.add(STEPS)));
                    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                        sum[0] = V::dot_bytes(sum[0], upper, *lanes);
                        sum[1] = V::dot_bytes(sum[1], lower, *lanes);
                    }
                }
                weights = weights.add(PANEL_ROWS * 4);
            }
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
    // SAFETY: as in `float`; the panel has a pair of groups for every block of the tile, which has two sums for each of M rows there.
    unsafe {
        let mut pair = job.panel;
        let mut group_sums = job.x.sums.as_ptr();
        let mut totals = [[V::zero(); N]; M];
        for (x, _) in blocks(job, M * 2 * STEPS) {
            job.ahead.ask::<V>(pair.offset_from_unsigned(job.panel), PAIR_BYTES);
            for group in 0..2 {
                let x = x.add(group * GROUP / 4);
                let mut sums = [[[V::zero_i(); 2]; N]; M];
                for eight in 0..GROUP / 8 {
                    let mut weights = [[V::zero_i(); 2]; N];
                    for (n, weights) in weights.iter_mut().enumerate() {
                        let both = V::load_i(pair.add(512 * group + eight * 128 + n * V::LANES * 4));
                        *weights = [V::low_nibbles(both), V::high_nibbles(both)];
                    }
                    for (m, sums) in sums.iter_mut().enumerate() {
                        for half in 0..2 {
                            let x = x.add(m * 2 * STEPS + 2 * eight + half);
                            let (upper, lower) = (V::splat_i(*x), V::splat_i(*x.add(STEPS)));
                            for (sum, weights) in sums.iter_mut().zip(&weights) {
                                sum[0] = V::dot_bytes(sum[0], weights[half], upper);
                                sum[1] = V::dot_bytes(sum[1], weights[half], lower);
                            }
                        }
                    }
                }
                for (n, _) in [(); N].iter().enumerate() {
                    let scale = V::load_f16(pair.add(1024 + 64 * group + n * V::LANES * 2));
                    let zero = V::load_u8(pair.add(1024 + 128 + 32 * group + n * V::LANES));
                    for (m, sums) in sums.iter().enumerate() {
                        let (x_sum, [upper, lower]) = (V::splat_i(*group_sums.add(group * M + m) as u32), sums[n]);
                        let sum = V::sub_i(V::add_i(V::shift_byte(upper), lower), V::mul_i(zero, x_sum));
                        totals[m][n] = V::fma(scale, V::to_f(sum), totals[m][n]);
                    }
                }
            }
            pair = pair.add(PAIR_BYTES);
            group_sums = group_sums.add(2 * M);
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
