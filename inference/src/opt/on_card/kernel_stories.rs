//! The kernels one by one, at odd sizes and on fresh numbers, beside the same in double precision.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use bytemuck::Zeroable;
use half::{bf16, f16};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::buffers::SLICES;
use super::layout::{Held, Layout, Order};
use crate::device::cuda::{
    AFTER_ADD, AFTER_NARROW, AFTER_RELU, AFTER_STORE, AttendArgs, AttendPromptArgs, Buffer, Card, ColumnsArgs, NormArgs, Paged,
    ProductArgs, PromptTile,
};
use crate::ops::linear::{GROUP, int4, int4_group, int8, int8_scale};

const HELD: [Held; 4] = [Held::Half, Held::Bfloat, Held::Int8, Held::Int4];

/// Numbers between −1 and 1 that look random, the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        // xorshift64 (Marsaglia, "Xorshift RNGs", 2003)
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn take(&mut self, count: usize) -> Vec<f32> {
        std::iter::repeat_with(|| self.next()).take(count).collect()
    }
}

fn seeded(seed: u64) -> Numbers {
    Numbers(seed | 1)
}

fn narrow(held: Held, number: f32) -> (u16, f64) {
    match held {
        Held::Bfloat => (bf16::from_f32(number).to_bits(), bf16::from_f32(number).to_f64()),
        _ => (f16::from_f32(number).to_bits(), f16::from_f32(number).to_f64()),
    }
}

fn widened(held: Held, bits: u16) -> f64 {
    if held == Held::Bfloat { bf16::from_bits(bits).to_f64() } else { f16::from_bits(bits).to_f64() }
}

/// A matrix as a card holds it, and the numbers that it holds then.
fn matrix(layout: &Layout, weights: &[f32]) -> (Vec<u8>, Vec<f64>) {
    let mut bytes = vec![0; layout.parts().2];
    let (mut held, mut inverses) = (Vec::new(), Vec::new());
    for (number, row) in weights.chunks(layout.cols).enumerate() {
        for (begin, row_bytes, make) in layout.by_row() {
            make(layout, row, &mut bytes[begin + number * row_bytes..][..row_bytes]);
        }
        let (scale, inverse) = int8_scale(row);
        inverses.push(inverse);
        match layout.held {
            Held::Half | Held::Bfloat => held.extend(row.iter().map(|weight| narrow(layout.held, *weight).1)),
            Held::Int8 => held.extend(row.iter().map(|weight| f64::from(int8(*weight, inverse)) * f64::from(scale))),
            Held::Int4 => held.extend(row.chunks(GROUP).flat_map(|group| {
                let about = int4_group(group);
                let whole = move |weight: &f32| f64::from(int4(*weight, about.zero, about.inverse)) - f64::from(about.zero);
                group.iter().map(move |weight| about.scale.to_f64() * whole(weight)).collect::<Vec<_>>()
            })),
        }
    }
    if layout.order == Order::ByColumn {
        let size = layout.stride_bytes() / layout.rows;
        for (place, weight) in weights.iter().enumerate() {
            let (row, col) = (place / layout.cols, place % layout.cols);
            layout.single(*weight, inverses[row], &mut bytes[col * layout.stride_bytes() + row * size..][..size]);
        }
    }
    (bytes, held)
}

fn on_card<T: bytemuck::Pod>(card: &Card, numbers: &[T]) -> Buffer {
    let buffer = card.alloc(size_of_val(numbers)).unwrap();
    buffer.write(numbers);
    buffer
}

/// Each sum of w · x, and how large its parts are together.
fn sums(held: &[f64], x: &[f64], cols: usize) -> Vec<(f64, f64)> {
    let of = |x: &[f64], w: &[f64]| (x.iter().zip(w).map(|(x, w)| x * w).sum(), x.iter().zip(w).map(|(x, w)| (x * w).abs()).sum());
    x.chunks(cols).flat_map(|x| held.chunks(cols).map(move |w| of(x, w)).collect::<Vec<_>>()).collect()
}

fn assert_near(what: &str, found: f64, expected: f64, size: f64, digits: f64) {
    assert!((found - expected).abs() <= size * digits + 1e-6, "{what}: {found} should be near {expected}");
}

fn cases(count: u32) -> TestRunner {
    TestRunner::new_with_rng(
        ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    )
}

#[test]
fn products_are_those_of_the_reference() {
    let shapes = (0..4usize, 1..=64usize, 1..150usize, 1..50usize, any::<u64>(), 0..2i32);
    cases(48)
        .run(&shapes, |(held, tokens, rows, eighths, seed, ordinal)| {
            let (held, cols) = (HELD[held], 8 * eighths);
            let card = Card::open(ordinal).unwrap();
            let mut numbers = seeded(seed);
            let layout = Layout { held, order: Order::ByRow, rows, cols };
            let (bytes, weights) = matrix(&layout, &numbers.take(rows * cols));
            let (scales, zeros, _) = layout.parts();
            let stride = super::buffers::stride(cols);
            let mut x_bits = vec![0u16; tokens * stride];
            let x: Vec<f64> = (0..tokens * cols)
                .map(|place| {
                    let (bits, number) = narrow(held, numbers.next());
                    x_bits[place / cols * stride + place % cols] = bits;
                    number
                })
                .collect();
            let bias = numbers.take(rows);
            let before = numbers.take(tokens * rows);
            let (w, x_on, bias_on) = (on_card(&card, &bytes), on_card(&card, &x_bits), on_card(&card, &bias));
            let expected = sums(&weights, &x, cols);
            for after in [AFTER_STORE, AFTER_ADD, AFTER_NARROW, AFTER_RELU] {
                let (y, counts) = (on_card(&card, &before), on_card(&card, &[0u32; 64]));
                let args = ProductArgs {
                    w: w.address(),
                    scales: w.address() + scales as u64,
                    zeros: w.address() + zeros as u64,
                    bias: bias_on.address(),
                    x: x_on.address(),
                    y: y.address(),
                    counts: counts.address(),
                    rows: rows as u32,
                    cols: layout.cols_held() as u32,
                    tokens: tokens as u32,
                    x_stride: stride as u32,
                    y_stride: rows as u32,
                    after,
                    row_bytes: layout.stride_bytes() as u32,
                    ..ProductArgs::zeroed()
                };
                let (kernel, block_rows) = super::pass::kernel_of(held, rows, tokens);
                card.launch(&kernel, [rows.div_ceil(block_rows) as u32, 1, 1], 256, &args).unwrap();
                let (singles, bits): (Vec<f32>, Vec<u16>) = (y.read(tokens * rows), y.read(tokens * rows));
                let mut let_through = vec![0; tokens];
                for (place, (sum, size)) in expected.iter().enumerate() {
                    let what = format!("{held:?} {rows} × {cols}, {tokens} tokens, after {after}, number {place}");
                    let sum = sum + f64::from(bias[place % rows]);
                    let size = size + 1.0;
                    match after {
                        AFTER_STORE => assert_near(&what, f64::from(singles[place]), sum, size, 2e-6),
                        AFTER_ADD => assert_near(&what, f64::from(singles[place]), sum + f64::from(before[place]), size, 2e-6),
                        _ => {
                            let found = widened(held, bits[place]);
                            let sum = if after == AFTER_RELU { sum.max(0.0) } else { sum };
                            assert_near(&what, found, sum, size, if held == Held::Bfloat { 4e-3 } else { 5e-4 });
                            let_through[place / rows] += u32::from(found != 0.0);
                        }
                    }
                }
                if after == AFTER_RELU {
                    assert_eq!(counts.read::<u32>(tokens), let_through);
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn products_behind_a_relu_are_those_of_the_reference_with_few_numbers_and_with_many() {
    let shapes = (0..3usize, 1..=64usize, 1..20usize, 1..90usize, any::<u64>(), 0..2i32);
    cases(32)
        .run(&shapes, |(held, tokens, eighths, col_eighths, seed, ordinal)| {
            let (held, rows, cols) = (HELD[held], 8 * eighths, 8 * col_eighths);
            let card = Card::open(ordinal).unwrap();
            let mut numbers = seeded(seed);
            let layout = Layout { held, order: Order::ByColumn, rows, cols };
            let (bytes, weights) = matrix(&layout, &numbers.take(rows * cols));
            let (scales, ..) = layout.parts();
            let stride = super::buffers::stride(cols);
            let (mut x_bits, mut counts, mut x) = (vec![0u16; tokens * stride], vec![0u32; 64], Vec::new());
            for token in 0..tokens {
                // Of some tokens a tenth is not zero, of others all.
                let share = if numbers.next() > 0.0 { -0.8 } else { 1.0 };
                for col in 0..cols {
                    let number = if numbers.next() < share { numbers.next().abs() + 0.01 } else { 0.0 };
                    let (bits, number) = narrow(held, number);
                    x_bits[token * stride + col] = bits;
                    counts[token] += u32::from(bits != 0);
                    x.push(number);
                }
            }
            let (bias, before) = (numbers.take(rows), numbers.take(tokens * rows));
            let (w, x_on, bias_on) = (on_card(&card, &bytes), on_card(&card, &x_bits), on_card(&card, &bias));
            let (y, counts_on) = (on_card(&card, &before), on_card(&card, &counts));
            let partial = card.alloc(4 * SLICES * tokens * rows).unwrap();
            let arrived = on_card(&card, &vec![0u32; rows.div_ceil(64)]);
            let args = ColumnsArgs {
                w: w.address(),
                scales: w.address() + scales as u64,
                bias: bias_on.address(),
                x: x_on.address(),
                y: y.address(),
                counts: counts_on.address(),
                partial: partial.address(),
                arrived: arrived.address(),
                rows: rows as u32,
                cols: cols as u32,
                tokens: tokens as u32,
                x_stride: stride as u32,
                y_stride: rows as u32,
                few_percent: 40,
            };
            let kernel = format!("columns_{}_{}", held.name(), super::pass::tokens_of_kernel(tokens));
            card.launch(&kernel, [rows.div_ceil(64) as u32, SLICES as u32, 1], 256, &args).unwrap();
            let found: Vec<f32> = y.read(tokens * rows);
            for (place, (sum, size)) in sums(&weights, &x, cols).into_iter().enumerate() {
                let what = format!("{held:?} {rows} × {cols}, {tokens} tokens, number {place}");
                let sum = sum + f64::from(bias[place % rows]) + f64::from(before[place]);
                assert_near(&what, f64::from(found[place]), sum, size + 2.0, 2e-6);
            }
            assert!(arrived.read::<u32>(rows.div_ceil(64)).iter().all(|count| *count == 0), "left as it was found");
            Ok(())
        })
        .unwrap();
}

#[test]
fn norms_are_those_of_the_reference() {
    let shapes = (1..5usize, 1..800usize, any::<u64>(), 0..2i32);
    cases(24)
        .run(&shapes, |(tokens, eighths, seed, ordinal)| {
            let hidden = 8 * eighths;
            let card = Card::open(ordinal).unwrap();
            let mut numbers = seeded(seed);
            let (x, gain, bias) = (numbers.take(tokens * hidden), numbers.take(hidden), numbers.take(hidden));
            let (x_on, gain_on, bias_on) = (on_card(&card, &x), on_card(&card, &gain), on_card(&card, &bias));
            let y = card.alloc(2 * tokens * hidden).unwrap();
            let args = NormArgs {
                x: x_on.address(),
                gain: gain_on.address(),
                bias: bias_on.address(),
                y: y.address(),
                hidden: hidden as u32,
                y_stride: hidden as u32,
                normalise: 1,
                epsilon: 1e-5,
                ..NormArgs::zeroed()
            };
            let kernel = if hidden <= 4096 { "norm_rows_4096" } else { "norm_rows_12288" };
            card.launch(kernel, [tokens as u32, 1, 1], super::pass::NORM_THREADS, &args).unwrap();
            let found: Vec<u16> = y.read(tokens * hidden);
            for (token, x) in x.chunks(hidden).enumerate() {
                let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / hidden as f64;
                let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / hidden as f64;
                for (col, x) in x.iter().enumerate() {
                    let expected = (f64::from(*x) - mean) / (variance + 1e-5).sqrt() * f64::from(gain[col]) + f64::from(bias[col]);
                    let found = f16::from_bits(found[token * hidden + col]).to_f64();
                    assert_near(&format!("{hidden} wide, {token}, {col}"), found, expected, expected.abs() + 0.01, 1e-3);
                }
            }
            Ok(())
        })
        .unwrap();
}

/// A sequence's keys and values in pages of a memory with others, and what attention to the first `context` of them gives for a query.
struct Kept {
    heads: usize,
    dim: usize,
    memory: Vec<u16>,
    blocks: Vec<u32>,
}

impl Kept {
    fn new(numbers: &mut Numbers, heads: usize, dim: usize, tokens: usize) -> Self {
        let pages = tokens.div_ceil(32);
        // Behind the last token there may be anything; here there is what would be seen at once.
        let memory = (0..2 * pages * 2 * heads * 32 * dim).map(|_| f16::from_f32(numbers.next()).to_bits()).collect();
        let blocks = (0..pages).map(|page| (2 * (pages - 1 - page) + 1) as u32).collect();
        let mut kept = Self { heads, dim, memory, blocks };
        for token in tokens..32 * pages {
            for (which, head, d) in (0..2).flat_map(|which| (0..heads).flat_map(move |head| (0..dim).map(move |d| (which, head, d)))) {
                let at = kept.at(token, which, head, d);
                kept.memory[at] = f16::NAN.to_bits();
            }
        }
        kept
    }

    fn at(&self, token: usize, which: usize, head: usize, d: usize) -> usize {
        let block = self.blocks[token / 32] as usize;
        (((block * 2 + which) * self.heads + head) * 32 + token % 32) * self.dim + d
    }

    fn number(&self, token: usize, which: usize, head: usize, d: usize) -> f64 {
        f16::from_bits(self.memory[self.at(token, which, head, d)]).to_f64()
    }

    fn attend(&self, q: &[f64], head: usize, context: usize) -> Vec<f64> {
        let score = |token| (0..self.dim).map(|d| q[d] * self.number(token, 0, head, d)).sum::<f64>();
        let weights: Vec<f64> = (0..context).map(|token| f64::exp(score(token))).collect();
        let total: f64 = weights.iter().sum();
        let seen = |d| weights.iter().enumerate().map(|(token, weight)| weight * self.number(token, 1, head, d)).sum::<f64>() / total;
        (0..self.dim).map(seen).collect()
    }

    fn paged(&self, memory: &Buffer) -> Paged {
        Paged { memory: memory.address(), layers: 1, layer: 0, heads: self.heads as u32, head_dim: self.dim as u32 }
    }
}

const DIMS: [usize; 4] = [16, 64, 80, 128];

#[test]
fn single_tokens_attend_as_the_reference_does() {
    let shapes = (0..4usize, 1..4usize, 1..400usize, any::<u64>(), 0..2i32);
    cases(20)
        .run(&shapes, |(dim, heads, context, seed, ordinal)| {
            let dim = DIMS[dim];
            let card = Card::open(ordinal).unwrap();
            let mut numbers = seeded(seed);
            let kept = Kept::new(&mut numbers, heads, dim, context);
            // Two rows of one sequence, the second as if it had come earlier; and one that is nobody's.
            let contexts = [context as u32, context.div_ceil(2) as u32, 0];
            let q = numbers.take(3 * heads * dim);
            let stride = kept.blocks.len();
            let table: Vec<u32> = kept.blocks.iter().chain(&kept.blocks).chain(&vec![0; stride]).copied().collect();
            let splits = context.div_ceil(128);
            let (memory, q_on, contexts_on, blocks) =
                (on_card(&card, &kept.memory), on_card(&card, &q), on_card(&card, &contexts), on_card(&card, &table));
            let fresh_on = on_card(&card, &[context as u32 - 1, 0, 0]);
            let y = on_card(&card, &vec![7u16; 3 * heads * dim]);
            let partial = card.alloc(4 * 3 * heads * splits * (dim + 2)).unwrap();
            let arrived = on_card(&card, &vec![0u32; 3 * heads]);
            let args = AttendArgs {
                q: q_on.address(),
                y: y.address(),
                contexts: contexts_on.address(),
                fresh: fresh_on.address(),
                blocks: blocks.address(),
                partial: partial.address(),
                arrived: arrived.address(),
                kv: kept.paged(&memory),
                blocks_stride: stride as u32,
                y_stride: (heads * dim) as u32,
                splits_max: splits as u32,
                bfloat: 0,
            };
            card.launch(&format!("attend_{dim}"), [splits as u32, heads as u32, 3], 128, &args).unwrap();
            let found: Vec<u16> = y.read(3 * heads * dim);
            for (row, context) in [context, context.div_ceil(2)].into_iter().enumerate() {
                for head in 0..heads {
                    let q: Vec<f64> = q[(row * heads + head) * dim..][..dim].iter().map(|q| f64::from(*q)).collect();
                    for (d, expected) in kept.attend(&q, head, context).into_iter().enumerate() {
                        let found = f16::from_bits(found[(row * heads + head) * dim + d]).to_f64();
                        assert_near(&format!("{dim} wide, {context} tokens, row {row}, head {head}, {d}"), found, expected, 1.0, 6e-4);
                    }
                }
            }
            assert_eq!(found[2 * heads * dim..], vec![7; heads * dim], "nobody's row is left alone");
            assert!(arrived.read::<u32>(3 * heads).iter().all(|count| *count == 0), "left as it was found");
            Ok(())
        })
        .unwrap();
}

#[test]
fn prompts_attend_as_the_reference_does() {
    let shapes = (0..4usize, 1..3usize, 0..90usize, 1..140usize, any::<u64>(), 0..2i32);
    cases(12)
        .run(&shapes, |(dim, heads, before, count, seed, ordinal)| {
            let dim = DIMS[dim];
            let card = Card::open(ordinal).unwrap();
            let mut numbers = seeded(seed);
            let kept = Kept::new(&mut numbers, heads, dim, before + count);
            let q: Vec<u16> = numbers.take(count * heads * dim).into_iter().map(|q| f16::from_f32(q).to_bits()).collect();
            let tiles: Vec<PromptTile> = (0..count)
                .step_by(64)
                .map(|row| PromptTile { row: row as u32, rows: 64.min(count - row) as u32, position: (before + row) as u32, blocks: 0 })
                .collect();
            let (memory, q_on, tiles_on, blocks) =
                (on_card(&card, &kept.memory), on_card(&card, &q), on_card(&card, &tiles), on_card(&card, &kept.blocks));
            let y = card.alloc(2 * count * heads * dim).unwrap();
            let args = AttendPromptArgs {
                q: q_on.address(),
                y: y.address(),
                tiles: tiles_on.address(),
                blocks: blocks.address(),
                kv: kept.paged(&memory),
                y_stride: (heads * dim) as u32,
                bfloat: 0,
            };
            card.launch(&format!("attend_prompt_{dim}"), [tiles.len() as u32, heads as u32, 1], 128, &args).unwrap();
            let found: Vec<u16> = y.read(count * heads * dim);
            for (row, head) in (0..count).flat_map(|row| (0..heads).map(move |head| (row, head))) {
                let q: Vec<f64> = q[(row * heads + head) * dim..][..dim].iter().map(|q| f16::from_bits(*q).to_f64()).collect();
                for (d, expected) in kept.attend(&q, head, before + row + 1).into_iter().enumerate() {
                    let found = f16::from_bits(found[(row * heads + head) * dim + d]).to_f64();
                    assert_near(&format!("{dim} wide, {count} behind {before}, row {row}, head {head}, {d}"), found, expected, 1.0, 1.2e-3);
                }
            }
            Ok(())
        })
        .unwrap();
}
