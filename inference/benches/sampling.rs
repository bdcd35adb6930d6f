//! What choosing a token takes: a model of hardly any layers with the whole vocabulary of an OPT, so that little else is left.
//!
//!     cargo bench -p inference --bench sampling [-- THREADS]
//!
//! Prints for each way of choosing the microseconds of a token, for one answer and for eight at once (the quickest of fifteen runs, which says most on a machine that others use too), and for
//! scoring those of a token of the prompt. The first line, likeliest tokens without anything, has the model's own share in it.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints what it measures, or stops")]

use std::collections::BTreeMap;
use std::time::Instant;

use inference::{Checkpoint, Engine, Event, LoadOptions, Prompt, Request, Sampling};
use serde_json::{Value, json};

const VOCAB: usize = 50_272;
const HIDDEN: usize = 32;
const TOKENS: usize = 32;
const RUNS: usize = 15;

fn main() {
    let threads = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2);
    let dir = tempfile::tempdir().unwrap();
    let options = LoadOptions { threads, kv_tokens_max: 8 * 2048, ..LoadOptions::default() };
    let engine = Engine::load(&flat_model(dir.path()), &options).unwrap();
    let plain = Sampling { temperature: 0.0, ..Sampling::default() };
    let drawn = Sampling::default();
    let penalised = Sampling { presence_penalty: 0.5, frequency_penalty: 0.5, repetition_penalty: 1.1, ..drawn.clone() };
    let ways = [
        ("likeliest", plain.clone(), None),
        ("likeliest, logprobs 0", plain.clone(), Some(0)),
        ("likeliest, logprobs 5", plain.clone(), Some(5)),
        ("likeliest, one token biased", Sampling { logit_bias: vec![(7, -100.0)], ..plain }, None),
        ("temperature 1", drawn.clone(), None),
        ("temperature 1, top-k 50", Sampling { top_k: Some(50), ..drawn.clone() }, None),
        ("temperature 0.7, top-p 0.95", Sampling { temperature: 0.7, top_p: 0.95, ..drawn.clone() }, None),
        ("temperature 1, min-p 0.05", Sampling { min_p: 0.05, ..drawn.clone() }, None),
        ("temperature 1, typical-p 0.9", Sampling { typical_p: 0.9, ..drawn }, None),
        ("temperature 1, penalties", penalised, None),
    ];
    for (name, sampling, logprobs) in ways {
        let answers = |count: usize| {
            micros(TOKENS, || {
                let request = Request { max_tokens: TOKENS, sampling: sampling.clone(), logprobs, ignore_eos: true, ..prompt(4) };
                run(&engine, request, count);
            })
        };
        println!("{name}: {:.0} µs a token of one answer, {:.0} µs a step of eight", answers(1), answers(8));
    }
    for count in [0, 5] {
        let scored = micros(256, || run(&engine, Request { max_tokens: 0, echo: true, logprobs: Some(count), ..prompt(256) }, 1));
        println!("scoring, logprobs {count}: {scored:.0} µs a token of the prompt");
    }
}

fn prompt(tokens: u32) -> Request {
    Request::new(Prompt::Ids((0..tokens).map(|place| 5 + place * 37 % 1000).collect()))
}

fn run(engine: &Engine, request: Request, answers: usize) {
    for mut answer in engine.submit_choices(request, answers).unwrap() {
        while let Some(event) = answer.blocking_next() {
            assert!(!matches!(event, Event::Failed(_)), "{event:?}");
        }
    }
}

fn micros(tokens: usize, mut run: impl FnMut()) -> f64 {
    run();
    let timed = (0..RUNS).map(|_| {
        let started = Instant::now();
        run();
        started.elapsed().as_secs_f64() * 1e6 / tokens as f64
    });
    timed.fold(f64::INFINITY, f64::min)
}

/// One narrow layer, and pseudo-random numbers; the last norm makes the logits lie as far apart as those of a real model, which is sure
/// of some tokens.
fn flat_model(dir: &std::path::Path) -> Checkpoint {
    let config = json!({
        "model_type": "opt", "vocab_size": VOCAB, "hidden_size": HIDDEN, "word_embed_proj_dim": HIDDEN, "ffn_dim": HIDDEN,
        "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 2048,
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (name, rows) in [("embed_tokens", VOCAB), ("embed_positions", 2050)] {
        shapes.insert(format!("{name}.weight"), vec![rows, HIDDEN]);
    }
    let linears = ["self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2"];
    for linear in linears {
        shapes.insert(format!("layers.0.{linear}.weight"), vec![HIDDEN, HIDDEN]);
        shapes.insert(format!("layers.0.{linear}.bias"), vec![HIDDEN]);
    }
    for norm in ["final_layer_norm", "layers.0.final_layer_norm", "layers.0.self_attn_layer_norm"] {
        shapes.insert(format!("{norm}.weight"), vec![HIDDEN]);
        shapes.insert(format!("{norm}.bias"), vec![HIDDEN]);
    }
    let mut header: BTreeMap<String, Value> = BTreeMap::new();
    let mut data: Vec<u8> = Vec::new();
    let mut state = 0x9e37_79b9_u32;
    for (name, shape) in shapes {
        let begin = data.len();
        let scale = if name == "final_layer_norm.weight" { 8.0 } else { 1.0 };
        for _ in 0..shape.iter().product::<usize>() {
            // xorshift32 (Marsaglia, "Xorshift RNGs", 2003), as a number from -0.5 to 0.5.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            data.extend(((scale * (f64::from(state) / f64::from(u32::MAX) - 0.5)) as f32).to_le_bytes());
        }
        header.insert(format!("model.decoder.{name}"), json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()] }));
    }
    let header = json!(header).to_string();
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    std::fs::write(dir.join("model.safetensors"), file).unwrap();
    Checkpoint::open_dir(dir).unwrap()
}
