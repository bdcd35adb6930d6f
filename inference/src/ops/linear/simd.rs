//! The kernels: one panel of weights by one tile of activations, written once over `Vector` and compiled for every tier.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "sums are told by number, so that the compiler gives each a register")]

use std::cell::Cell;
use std::marker::PhantomData;

use super::beside::simd::{Beside, Bfloats, Group, Halves, Pairs, Quads, Seen, Singles, Taken};
use super::{Activation, Block, Format, GROUP, PAIR_BYTES, PANEL_ROWS, STEPS, TILE_ROWS_MAX, Tile};
use crate::ops::Tier;
#[cfg(target_arch = "x86_64")]
use crate::ops::vector::simd::{Avx2, Avx512, Avx512Bf16Vnni};
use crate::ops::vector::simd::{Portable, Vector};

/// The most rows of activations a kernel of this tier takes at once: as many as leave all sums in registers.
pub(crate) fn tile_rows_max(tier: Tier, kind: Activation) -> usize {
    match (tier, kind) {
        (Tier::Avx512 | Tier::Avx512Bf16Vnni, Activation::Single | Activation::Bfloats) => TILE_ROWS_MAX,
        (Tier::Avx512Bf16Vnni, Activation::Bytes) => TILE_ROWS_MAX,
        (Tier::Avx512, Activation::Bytes) | (Tier::Avx512Bf16Vnni, Activation::Groups) => 6,
        (Tier::Avx512, Activation::Groups) => 4,
        (Tier::Plain | Tier::Avx2, Activation::Single | Activation::Bfloats | Activation::Bytes) => 2,
        (Tier::Plain | Tier::Avx2, Activation::Groups) => 1,
    }
}

/// A block of a panel, and what is done about the next while tiles are multiplied by it.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    format: Format,
    weights: &'a [u8],
    /// At eight bits the panel's 32 scales, then its 32 sums of a row.
    pub(super) tail: &'a [u8],
    block: &'a Block,
    beside: Beside,
    /// What is taken is written there.
    out: PhantomData<&'a mut [u8]>,
}

impl<'a> Part<'a> {
    /// For `tiles` tiles.
    pub(super) fn new(format: Format, (weights, tail): (&'a [u8], &'a [u8]), block: &'a Block, tiles: usize, seen: Seen<'a>) -> Self {
        let beside = Beside::new(format, block.steps.len() * tiles, seen);
        Self { format, weights, tail, block, beside, out: PhantomData }
    }
}

/// Where sums go, of one panel for the rows of a tile, or of several for several tiles: each row's `stride` numbers behind those of the row before.
/// Blocks of a panel that follow one another find there what those before have left.
#[derive(Debug)]
pub(crate) struct Sums<'a> {
    pub(crate) out: &'a mut [f32],
    pub(crate) stride: usize,
    /// As whole numbers: at eight bits, for each number of `out`, two; in bands what [`super::bands::simd::raw_numbers`] says.
    pub(crate) raw: &'a mut [i32],
}

/// Adds the tile by one block of a panel to the sums, without bias; with the panel's last block they are what they should be.
/// The tier must come from [`Tier::available`], the tile from activations packed for it. Rows of the panel past the matrix give 0.
/// Does some of what is to be done beside, the same with every tile, and asks for the tile that comes `next`, if one is told.
pub(crate) fn multiply(tier: Tier, part: &mut Part<'_>, (x, next): (&Tile<'_>, Option<&Tile<'_>>), sums: &mut Sums<'_>) {
    let format = part.format;
    assert_eq!(x.kind, format.activation(), "activations packed for this format");
    let block = part.block;
    assert_eq!(part.weights.len(), block.bytes(format), "weights of {block:?}");
    assert!(format != Format::Int8 || part.tail.len() == 256, "a panel's scales and sums");
    assert!(x.rows > 0 && sums.out.len() >= (x.rows - 1) * sums.stride + PANEL_ROWS, "out must be rows × {PANEL_ROWS}");
    assert_eq!(block.all, x.kind.steps(x.cols), "steps of a tile");
    assert_eq!(x.words.len(), block.all.next_multiple_of(STEPS) * x.rows, "words of a tile");
    let uppers = [x.uppers.len(), x.marks.len() * STEPS * x.rows];
    let in_groups = uppers == [x.words.len(); 2] && x.sums.len() == 2 * x.marks.len() * x.rows;
    assert!(format != Format::Int4 || in_groups, "upper bytes and sums of a tile");
    assert!(block.steps.start.is_multiple_of(STEPS) && block.steps.end <= block.all, "{block:?}");
    let raw = 2 * ((x.rows - 1) * sums.stride + PANEL_ROWS);
    assert!(format != Format::Int8 || sums.raw.len() >= raw, "two numbers for each of out");
    let beside = Cell::new(part.beside);
    let words = &x.words[block.steps.start * x.rows..];
    let ahead = |next: &Tile<'_>| (next.words[block.steps.start * next.rows..].as_ptr() as usize).wrapping_sub(words.as_ptr() as usize);
    let job = Job {
        weights: part.weights.as_ptr(),
        tail: part.tail.as_ptr(),
        block,
        x,
        words,
        ahead: next.map_or(0, ahead),
        has_uppers: format == Format::Int8 && x.marks.last() != Some(&0),
        beside: &beside,
        out: sums.out.as_mut_ptr(),
        raw: sums.raw.as_mut_ptr(),
        stride: sums.stride,
    };
    // SAFETY: a tier is only made where this CPU was seen to have its instructions; weights, tile and sums are as long as format, block
    // and rows say (checked above).
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
    part.beside = beside.get();
}

/// What a kernel works on.
struct Job<'a> {
    weights: *const u8,
    tail: *const u8,
    block: &'a Block,
    x: &'a Tile<'a>,
    /// From the block's first step on.
    words: &'a [u32],
    /// From them to those of the next tile, in bytes; or 0.
    ahead: usize,
    /// At eight bits, whether any row has an upper byte anywhere.
    has_uppers: bool,
    beside: &'a Cell<Beside>,
    out: *mut f32,
    raw: *mut i32,
    stride: usize,
}

/// One step of a kernel that sums in f32.
trait Step: Taken {
    /// Bytes of a panel's weights.
    const BYTES: usize;
    type Weight<V: Vector>: Copy;
    unsafe fn load<V: Vector>(at: *const u8) -> Self::Weight<V>;
    unsafe fn add<V: Vector>(sum: V::F, weight: Self::Weight<V>, x: u32) -> V::F;
}

macro_rules! widened {
    ($name:ident, $bytes:literal, $load:ident) => {
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
widened!(Singles, 128, load_f32);
widened!(Halves, 64, load_f16);
widened!(Bfloats, 64, load_bf16);

impl Step for Pairs {
    const BYTES: usize = 128;
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

/// The tile's words for the steps of the block, so many at a time, and how many steps these are for.
#[inline(always)]
fn words<'a>(job: &Job<'a>, words: usize) -> impl Iterator<Item = (*const u32, usize)> + use<'a> {
    let steps = job.block.steps.len();
    let some = job.words.chunks_exact(words).take(steps.div_ceil(STEPS)).enumerate();
    some.map(move |(number, words)| (words.as_ptr(), STEPS.min(steps - number * STEPS)))
}

/// Asks for the words of the next tile that lie where these do. They lie far from the tile's own, so nothing else foresees them.
#[inline(always)]
unsafe fn ask_ahead<V: Vector>(job: &Job<'_>, words: *const u32, count: usize) {
    if job.ahead != 0 {
        let next = words.cast::<u8>().wrapping_add(job.ahead);
        // SAFETY: the tier's instructions are the caller's promise; what is asked for need not be memory of ours.
        unsafe { (0..count * size_of::<u32>()).step_by(64).for_each(|line| V::prefetch(next.wrapping_add(line))) }
    }
}

/// N vectors make up a panel; M rows of activations.
#[inline(always)]
unsafe fn float<V: Vector, S: Step, const N: usize, const M: usize>(job: &Job<'_>) {
    // SAFETY: the block has 32 weights for every step, the tile M words, and out M × 32 numbers.
    unsafe {
        let (mut weights, mut beside) = (job.weights, job.beside.get());
        let mut sums = [[V::zero(); N]; M];
        if !job.block.begins() {
            for m in 0..M {
                for n in 0..N {
                    sums[m][n] = V::load_f32(job.out.add(m * job.stride + n * V::LANES).cast());
                }
            }
        }
        for (x, steps) in words(job, M * STEPS) {
            ask_ahead::<V>(job, x, M * STEPS);
            for step in 0..steps {
                beside.step::<V, S>(weights, S::BYTES);
                let mut lanes = [S::load::<V>(weights); N];
                for (n, lanes) in lanes.iter_mut().enumerate().skip(1) {
                    *lanes = S::load::<V>(weights.add(n * V::LANES * S::BYTES / PANEL_ROWS));
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let x = *x.add(m * STEPS + step);
                    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                        *sum = S::add::<V>(*sum, *lanes, x);
                    }
                }
                weights = weights.add(S::BYTES);
            }
        }
        job.beside.set(beside);
        for (m, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                V::store(job.out.add(m * job.stride + n * V::LANES), *sum);
            }
        }
    }
}

/// Where at eight bits the sums of a row's lower bytes are kept, or of its upper ones.
#[inline(always)]
fn raw<V: Vector>(job: &Job<'_>, m: usize, n: usize, half: usize) -> *mut i32 {
    job.raw.wrapping_add(2 * (m * job.stride + n * V::LANES) + half * V::LANES)
}

/// Adds to the sums of lower bytes. (Nothing else is done with sums here: where more is, the compiler keeps them on the stack.)
#[inline(always)]
unsafe fn int8<V: Vector, const N: usize, const M: usize>(job: &Job<'_>) {
    // SAFETY: as in `float`; raw has two numbers for each of out.
    unsafe {
        let (mut weights, mut beside) = (job.weights, job.beside.get());
        let mut sums = [[V::zero_i(); N]; M];
        if !job.block.begins() {
            for m in 0..M {
                for n in 0..N {
                    sums[m][n] = V::load_i(raw::<V>(job, m, n, 0).cast());
                }
            }
        }
        for (x, steps) in words(job, M * STEPS) {
            ask_ahead::<V>(job, x, M * STEPS);
            for step in 0..steps {
                beside.step::<V, Quads>(weights, PANEL_ROWS * 4);
                let mut lanes = [V::load_i(weights); N];
                for (n, lanes) in lanes.iter_mut().enumerate().skip(1) {
                    *lanes = V::load_i(weights.add(n * V::LANES * 4));
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat_i(*x.add(m * STEPS + step));
                    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                        *sum = V::dot_bytes(*sum, x, *lanes);
                    }
                }
                weights = weights.add(PANEL_ROWS * 4);
            }
        }
        job.beside.set(beside);
        for (m, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                V::store_i(raw::<V>(job, m, n, 0), *sum);
            }
        }
    }
}

/// Adds to the sums of upper bytes. These are signed, so 128 is added to each weight, which makes it unsigned.
#[inline(always)]
unsafe fn int8_uppers<V: Vector, const N: usize>(job: &Job<'_>) {
    let (rows, steps) = (job.x.rows, &job.block.steps);
    // SAFETY: as in `int8`; a row and a step are looked at before they are believed.
    unsafe {
        if job.block.begins() {
            for m in 0..rows {
                (0..N).for_each(|n| V::store_i(raw::<V>(job, m, n, 1), V::zero_i()));
            }
        }
        for [place, x] in job.x.upper_words(steps) {
            let (m, step) = ((place >> 16) as usize, (place & 0xffff) as usize);
            assert!(m < rows && steps.contains(&step), "an upper byte of the tile, in this block");
            let weights = job.weights.add((step - steps.start) * PANEL_ROWS * 4);
            for n in 0..N {
                let (raw, weights) = (raw::<V>(job, m, n, 1), V::flip_signs(V::load_i(weights.add(n * V::LANES * 4))));
                V::store_i(raw, V::dot_bytes(V::load_i(raw.cast()), weights, V::splat_i(*x)));
            }
        }
    }
}

/// What the sums of a panel mean.
#[inline(always)]
unsafe fn finish_int8<V: Vector, const N: usize>(job: &Job<'_>) {
    // SAFETY: as in `int8`; the tail has 32 scales and 32 sums, the tile a sum of upper bytes for each row.
    unsafe {
        for m in 0..job.x.rows {
            let (scale, offset) = (V::splat(job.x.scales[m]), V::splat_i(job.x.offsets[m] as u32));
            let added = V::splat_i(job.x.sums[m].wrapping_mul(128) as u32);
            for n in 0..N {
                let row_scale = V::load_f32(job.tail.add(n * V::LANES * 4));
                let row_sum = V::load_i(job.tail.add(128 + n * V::LANES * 4));
                let lower = V::load_i(raw::<V>(job, m, n, 0).cast());
                let mut sum = V::to_f(V::sub_i(lower, V::mul_i(offset, row_sum)));
                if job.has_uppers {
                    let upper = V::sub_i(V::load_i(raw::<V>(job, m, n, 1).cast()), added);
                    sum = V::fma(V::to_f(upper), V::splat(256.0), sum);
                }
                V::store(job.out.add(m * job.stride + n * V::LANES), V::mul(V::mul(sum, row_scale), scale));
            }
        }
    }
}

#[inline(always)]
unsafe fn int4<V: Vector, const N: usize, const M: usize>(job: &Job<'_>) {
    // SAFETY: as in `float`; the block has a pair of groups for every 16 steps, and the tile two sums for each of M rows there.
    unsafe {
        let (mut pair, mut beside) = (job.weights, job.beside.get());
        let mut group_sums = job.x.sums.as_ptr().add(job.block.steps.start / STEPS * 2 * M);
        let mut totals = [[V::zero(); N]; M];
        if !job.block.begins() {
            for m in 0..M {
                for n in 0..N {
                    totals[m][n] = V::load_f32(job.out.add(m * job.stride + n * V::LANES).cast());
                }
            }
        }
        for (number, (x, _)) in (job.block.steps.start / STEPS..).zip(words(job, M * STEPS)) {
            ask_ahead::<V>(job, x, M * STEPS);
            for group in 0..2 {
                beside.step::<V, Group>(pair.add(PAIR_BYTES / 2 * group), PAIR_BYTES / 2);
                let x = x.add(group * GROUP / 4);
                let mut sums = [[V::zero_i(); N]; M];
                let upper_rows = *job.x.marks.get_unchecked(number);
                if upper_rows != 0 {
                    let uppers = job.x.uppers.as_ptr().add(number * STEPS * M + group * GROUP / 4);
                    for (m, sums) in sums.iter_mut().enumerate().filter(|(m, _)| upper_rows >> m & 1 != 0) {
                        for step in 0..GROUP / 4 {
                            let x = V::splat_i(*uppers.add(m * STEPS + step));
                            for (n, sum) in sums.iter_mut().enumerate() {
                                let both = V::load_i(pair.add(512 * group + step / 2 * 128 + n * V::LANES * 4));
                                let weights = if step % 2 == 0 { V::low_nibbles(both) } else { V::high_nibbles(both) };
                                *sum = V::dot_bytes(*sum, weights, x);
                            }
                        }
                        for sum in sums {
                            *sum = V::shift_byte(*sum);
                        }
                    }
                }
                for eight in 0..GROUP / 8 {
                    let mut weights = [[V::zero_i(); 2]; N];
                    for (n, weights) in weights.iter_mut().enumerate() {
                        let both = V::load_i(pair.add(512 * group + eight * 128 + n * V::LANES * 4));
                        *weights = [V::low_nibbles(both), V::high_nibbles(both)];
                    }
                    for (m, sums) in sums.iter_mut().enumerate() {
                        for half in 0..2 {
                            let x = V::splat_i(*x.add(m * STEPS + 2 * eight + half));
                            for (sum, weights) in sums.iter_mut().zip(&weights) {
                                *sum = V::dot_bytes(*sum, weights[half], x);
                            }
                        }
                    }
                }
                for (n, _) in [(); N].iter().enumerate() {
                    let scale = V::load_f16(pair.add(1024 + 64 * group + n * V::LANES * 2));
                    let zero = V::load_u8(pair.add(1024 + 128 + 32 * group + n * V::LANES));
                    for (m, sums) in sums.iter().enumerate() {
                        let x_sum = V::splat_i(*group_sums.add(group * M + m) as u32);
                        let sum = V::sub_i(sums[n], V::mul_i(zero, x_sum));
                        totals[m][n] = V::fma(scale, V::to_f(sum), totals[m][n]);
                    }
                }
            }
            pair = pair.add(PAIR_BYTES);
            group_sums = group_sums.add(2 * M);
        }
        job.beside.set(beside);
        for (m, totals) in totals.iter().enumerate() {
            let scale = V::splat(if job.block.ends() { job.x.scales[m] } else { 1.0 });
            for (n, total) in totals.iter().enumerate() {
                V::store(job.out.add(m * job.stride + n * V::LANES), V::mul(*total, scale));
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
            unsafe fn int8_uppers(job: &Job<'_>) {
                // SAFETY: passed on to the caller.
                unsafe { super::int8_uppers::<$vector, $vectors>(job) }
            }

            $(#[$features])?
            unsafe fn finish_int8(job: &Job<'_>) {
                // SAFETY: passed on to the caller.
                unsafe { super::finish_int8::<$vector, $vectors>(job) }
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
                        Format::Int8 => {
                            match job.x.rows {
                                $($int8 => int8::<$int8>(job),)+
                                rows => unreachable!("a tile of {rows} rows"),
                            }
                            if job.has_uppers {
                                int8_uppers(job);
                            }
                            if job.block.ends() {
                                finish_int8(job);
                            }
                        }
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

tier!(plain, Portable, 4, [], [1 2], [1 2], [1]);
#[cfg(target_arch = "x86_64")]
tier!(avx2, Avx2, 4, [#[target_feature(enable = "avx2,fma,f16c")]], [1 2], [1 2], [1]);
#[cfg(target_arch = "x86_64")]
tier!(
    avx512, Avx512, 2, [#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]],
    [1 2 3 4 5 6 7 8 9 10 11 12], [1 2 3 4 5 6], [1 2 3 4]
);
#[cfg(target_arch = "x86_64")]
tier!(
    avx512_bf16_vnni, Avx512Bf16Vnni, 2,
    [#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c")]],
    [1 2 3 4 5 6 7 8 9 10 11 12], [1 2 3 4 5 6 7 8 9 10 11 12], [1 2 3 4 5 6]
);
