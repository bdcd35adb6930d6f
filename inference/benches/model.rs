//! How fast a whole model is, beside what this machine's memory gives in the same run.
//!
//!     cargo bench -p inference --bench model -- MODEL_DIR [--precision exact,bf16,int8,int4] [--batch 1,8] [--prefill 512] [--threads 2]
//!         [--cache FOLDER]
//!
//! Prints one line for each precision and batch: tokens per second of a decode step (median of five runs), the bytes of weights such a
//! step must read at least, and their share of the read bandwidth measured just before and after.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints what it measures, or stops")]

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use inference::{BLOCK_TOKENS, Checkpoint, Kv, LoadOptions, Model, PackedCache, Precision, Span, peak_operations};

const PROMPT_TOKENS: usize = 32;
const STEPS: usize = 24;
const RUNS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(dir) = arguments.first().filter(|argument| !argument.starts_with("--")) else {
        println!(
            "usage: cargo bench -p inference --bench model -- MODEL_DIR [--precision …] [--batch …] [--prefill …] [--threads …] [--cache …]"
        );
        return;
    };
    let list = |name: &str, default: &str| -> Vec<String> {
        let given = arguments.iter().position(|argument| argument == name).and_then(|place| arguments.get(place + 1));
        given.map_or(default, |given| given).split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let numbers = |name: &str, default: &str| -> Vec<usize> { list(name, default).iter().map(|item| item.parse().unwrap()).collect() };
    let precisions = list("--precision", "exact,bf16,int8,int4");
    let threads = numbers("--threads", "2")[0];
    let cache = list("--cache", "").first().map(|folder| PackedCache { folder: folder.into(), bytes_max: u64::MAX });
    for precision in Precision::ALL.into_iter().filter(|precision| precisions.iter().any(|name| name == precision.name())) {
        let options =
            LoadOptions { threads, precision, step_tokens_max: 512, running_max: 64, cache: cache.clone(), ..LoadOptions::default() };
        let started = Instant::now();
        let mut model = Model::load(&Checkpoint::open_dir(Path::new(dir)).unwrap(), &options).unwrap();
        let source = if model.is_from_cache() { "the cache" } else { "the checkpoint" };
        println!("{}: loaded from {source} in {:.2?}, {:.0} MB", precision.name(), started.elapsed(), model.weights_bytes() as f64 / 1e6);
        for batch in numbers("--batch", "1") {
            let probe = model.read_probe();
            let before = probe.bandwidth().unwrap();
            let seconds = decode(&mut model, batch);
            let bandwidth = (before + probe.bandwidth().unwrap()) / 2.0 / 1e9;
            let rate = model.step_bytes() as f64 / seconds / 1e9;
            println!(
                "{}: decode, batch {batch}: {:.1} tokens/s, {rate:.1} GB/s of weights, {:.0} % of {bandwidth:.1} GB/s",
                precision.name(),
                batch as f64 / seconds,
                100.0 * rate / bandwidth
            );
        }
        for tokens in numbers("--prefill", "") {
            let before = peak_operations(precision, threads).unwrap();
            let seconds = prefill(&mut model, tokens);
            let peak = (before + peak_operations(precision, threads).unwrap()) / 2.0;
            let rate = (tokens as u64 * model.layer_operations()) as f64 / seconds;
            println!(
                "{}: prefill of {tokens}: {:.1} tokens/s, {:.1} % of {:.0} billion operations a second",
                precision.name(),
                tokens as f64 / seconds,
                100.0 * rate / peak,
                peak / 1e9
            );
        }
    }
}

/// Seconds of one step in which each of `batch` sequences reads one token.
fn decode(model: &mut Model, batch: usize) -> f64 {
    let mut kvs: Vec<Kv> = (0..batch).map(|number| kv_for(number, PROMPT_TOKENS + RUNS * STEPS + 1)).collect();
    for (number, kv) in kvs.iter_mut().enumerate() {
        let prompt: Vec<u32> = (0..PROMPT_TOKENS as u32).map(|token| 5 + (token * 37 + number as u32 * 11) % 1000).collect();
        model.forward(&mut [Span { tokens: &prompt, kv, logits_from: PROMPT_TOKENS }]).unwrap();
    }
    let mut step = |token: u32| {
        let mut spans: Vec<Span<'_>> =
            kvs.iter_mut().map(|kv| Span { tokens: std::slice::from_ref(black_box(&token)), kv, logits_from: 0 }).collect();
        black_box(model.forward(&mut spans).unwrap());
    };
    step(7);
    median((0..RUNS).map(|run| {
        let started = Instant::now();
        (0..STEPS).for_each(|token| step((run * STEPS + token) as u32 + 10));
        started.elapsed().as_secs_f64() / STEPS as f64
    }))
}

/// Seconds to read a prompt and give the logits after it.
fn prefill(model: &mut Model, tokens: usize) -> f64 {
    let prompt: Vec<u32> = (0..tokens as u32).map(|token| 5 + token * 37 % 1000).collect();
    median((0..3).map(|_| {
        let mut kv = kv_for(0, tokens);
        let started = Instant::now();
        for (number, chunk) in prompt.chunks(512).enumerate() {
            let last = (number + 1) * 512 >= tokens;
            let logits_from = if last { chunk.len() - 1 } else { chunk.len() };
            black_box(model.forward(&mut [Span { tokens: chunk, kv: &mut kv, logits_from }]).unwrap());
        }
        started.elapsed().as_secs_f64()
    }))
}

/// Room for `tokens` tokens, which no other sequence has.
fn kv_for(number: usize, tokens: usize) -> Kv {
    let blocks = tokens.div_ceil(BLOCK_TOKENS);
    Kv::in_blocks((number * blocks..(number + 1) * blocks).map(|block| block as u32).collect())
}

fn median(seconds: impl Iterator<Item = f64>) -> f64 {
    let mut seconds: Vec<f64> = seconds.collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
