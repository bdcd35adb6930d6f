//! The engine on a real card, where there is one; elsewhere each test says why it was skipped. (What can be checked without one is:
//! `src/opt/on_card/stories.rs` runs the same kernels on an emulated card.)
//!
//! With `SLUICE_CARD_CHECKPOINT` a larger model is compared too, on the card and on the CPU.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![allow(clippy::print_stdout, reason = "why a test was skipped, and what it found, is for whoever runs it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use inference::{Checkpoint, DeviceChoice, Engine, Event, Kv, LoadOptions, Model, Precision, Prompt, Request, Sampling, Span};
use safetensors::SafeTensors;

const FIXTURES: [&str; 10] = [
    "preln-fp32",
    "preln-fp16-sharded",
    "preln-bf16-maxpos96",
    "postln-proj-fp32",
    "postln-proj-bf16-sharded",
    "postln-proj-fp16-bin",
    "preln-fp16-bin-sharded",
    "galactica-gelu-nobias-fp16",
    "preln-hd64-outlier-bf16",
    "preln-hd80-fp16",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt").join(name)
}

fn checkpoint(name: &str) -> Checkpoint {
    Checkpoint::open_dir(&folder(name)).unwrap()
}

fn options(precision: Precision, device: DeviceChoice) -> LoadOptions {
    LoadOptions { precision, device, running_max: 64, step_tokens_max: 2048, kv_tokens_max: 16_384, ..LoadOptions::default() }
}

/// False, with the reason printed, where there is no card.
fn has_card() -> bool {
    match Model::load(&checkpoint("preln-fp32"), &options(Precision::Exact, DeviceChoice::Cuda)) {
        Ok(_) => true,
        Err(inference::Error::Unsupported { field, problem }) if field == "device" => {
            println!("skipped: {problem}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

fn array(name: &str, array: &str) -> Vec<u8> {
    let bytes = std::fs::read(folder(name).join("expected.safetensors")).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().tensor(array).unwrap().data().to_vec()
}

fn whole(name: &str, what: &str) -> Vec<usize> {
    array(name, what).as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as usize).collect()
}

fn singles(name: &str, what: &str) -> Vec<f32> {
    array(name, what).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Reads tokens of which `prompt` are a prompt's, in pieces; gives the logits after each.
fn logits(model: &mut Model, tokens: &[u32], prompt: usize, piece: usize) -> Vec<f32> {
    let blocks = tokens.len().div_ceil(inference::BLOCK_TOKENS) as u32;
    let mut kv = Kv::in_blocks((0..blocks).rev().collect()).of_prompt(prompt);
    let mut logits = Vec::new();
    for tokens in tokens.chunks(piece) {
        logits.extend_from_slice(model.forward(&mut [Span { tokens, kv: &mut kv, logits_from: 0 }]).unwrap());
    }
    logits
}

fn apart(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    (one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / one.len() as f32).sqrt()
}

/// How far logits may lie from those recorded: what rounding weights and activations costs on these files (see the fixtures' README), and for
/// `exact` what activations of 16 bits do.
fn bound(precision: Precision, name: &str) -> f32 {
    match precision {
        Precision::Exact if name.contains("bf16") => 0.06,
        Precision::Exact => 0.01,
        Precision::Bf16 => 0.06,
        Precision::Int8 => 0.11,
        Precision::Int4 => 1.5,
    }
}

#[test]
fn fixtures_hold_in_each_precision_for_prompts_and_for_answers() {
    if !has_card() {
        return;
    }
    for name in FIXTURES {
        let ids: Vec<u32> = whole(name, "p64.input_ids").into_iter().map(|id| id as u32).collect();
        let positions = whole(name, "p64.logits_positions");
        let expected = singles(name, "p64.logits");
        for precision in Precision::ALL {
            let mut model = Model::load(&checkpoint(name), &options(precision, DeviceChoice::Cuda)).unwrap();
            let vocab = model.config().vocab_size;
            for (what, prompt) in [("prompt", usize::MAX), ("answer", 0), ("both", 31)] {
                let all = logits(&mut model, &ids, prompt, usize::MAX);
                let found: Vec<f32> = positions.iter().flat_map(|position| all[position * vocab..][..vocab].to_vec()).collect();
                let apart = apart(&found, &expected);
                println!("{name} {} {what}: {apart}", precision.name());
                assert!(apart <= bound(precision, name), "{name} {precision:?} {what}: {apart} apart");
            }
        }
    }
}

#[test]
fn batches_and_pieces_do_not_change_a_bit() {
    if !has_card() {
        return;
    }
    for precision in Precision::ALL {
        for name in ["preln-fp32", "postln-proj-bf16-sharded", "preln-hd80-fp16"] {
            let mut model = Model::load(&checkpoint(name), &options(precision, DeviceChoice::Cuda)).unwrap();
            let vocab = model.config().vocab_size as u32;
            let tokens: Vec<u32> = (0..90).map(|place| 4 + place * 37 % (vocab - 4)).collect();
            for prompt in [usize::MAX, 0, 33] {
                let expected = logits(&mut model, &tokens, prompt, usize::MAX);
                for piece in [1, 9, 40] {
                    assert!(logits(&mut model, &tokens, prompt, piece) == expected, "{name} {precision:?} {prompt} in pieces of {piece}");
                }
            }
        }
    }
}

fn request(seed: u64, ids: Vec<u32>, account: &str) -> Request {
    let sampling = Sampling { temperature: 0.9, top_p: 0.95, seed, ..Sampling::default() };
    let account = Arc::from(account);
    Request { max_tokens: 40, ignore_eos: true, sampling, account, ..Request::new(Prompt::Ids(ids)) }
}

fn answers(engine: &Engine, requests: Vec<Request>) -> Vec<Vec<u32>> {
    let running: Vec<_> = requests.into_iter().map(|request| engine.submit(request).unwrap()).collect();
    let mut all = Vec::new();
    for mut generation in running {
        let mut ids = Vec::new();
        while let Some(event) = generation.blocking_next() {
            match event {
                Event::Token { id, .. } => ids.push(id),
                Event::Failed(error) => panic!("{error}"),
                Event::Started { .. } | Event::Finished { .. } => {}
            }
        }
        all.push(ids);
    }
    all
}

fn same_in_any_mix(checkpoint: &Checkpoint, precision: Precision, kv_tokens_max: usize) {
    let engine =
        Engine::load(checkpoint, &LoadOptions { kv_tokens_max, waiting_max: 64, ..options(precision, DeviceChoice::Cuda) }).unwrap();
    let vocab = engine.info().config.vocab_size.min(50_265) as u32;
    let of = |number: u32| {
        let ids = (0..3 + number * 7 % 41).map(|place| 4 + (number * 131 + place * 37) % (vocab - 4)).collect();
        request(u64::from(number), ids, if number.is_multiple_of(2) { "one" } else { "other" })
    };
    let alone: Vec<Vec<u32>> = (0..24).map(|number| answers(&engine, vec![of(number)]).remove(0)).collect();
    let together = answers(&engine, (0..24).map(of).collect());
    assert!(alone == together, "{precision:?}: the same seed gives other tokens among others");
    println!("{precision:?}: 24 answers alike alone and together; gave way: {}", engine.stats().preemptions);
}

#[test]
fn the_same_seed_gives_the_same_tokens_in_any_mix() {
    if !has_card() {
        return;
    }
    for precision in Precision::ALL {
        same_in_any_mix(&checkpoint("preln-fp16-sharded"), precision, 8192);
        // With so little memory they give way to each other and read again what they had.
        same_in_any_mix(&checkpoint("preln-fp16-sharded"), precision, 320);
    }
}

#[allow(clippy::disallowed_methods, reason = "which weights there are is known to whoever runs it")]
#[test]
fn a_larger_model_is_the_cpus_and_the_same_in_any_mix() {
    let Some(larger) = std::env::var_os("SLUICE_CARD_CHECKPOINT") else {
        println!("skipped: SLUICE_CARD_CHECKPOINT names no folder of weights");
        return;
    };
    if !has_card() {
        return;
    }
    let checkpoint = Checkpoint::open_dir(Path::new(&larger)).unwrap();
    let mut exact = Model::load(&checkpoint, &options(Precision::Exact, DeviceChoice::Cpu)).unwrap();
    let vocab = exact.config().vocab_size as u32;
    let tokens: Vec<u32> = (0..300).map(|place| 4 + place * 7919 % (vocab - 100)).collect();
    let expected = logits(&mut exact, &tokens, usize::MAX, usize::MAX);
    let size = apart(&expected, &vec![0.0; expected.len()]);
    for precision in Precision::ALL {
        let of_cpu = match precision {
            Precision::Exact => 0.0,
            _ => {
                let mut model = Model::load(&checkpoint, &options(precision, DeviceChoice::Cpu)).unwrap();
                apart(&logits(&mut model, &tokens, usize::MAX, usize::MAX), &expected)
            }
        };
        let mut model = Model::load(&checkpoint, &options(precision, DeviceChoice::Cuda)).unwrap();
        for (what, prompt) in [("prompt", usize::MAX), ("answer", 0)] {
            let found = logits(&mut model, &tokens, prompt, usize::MAX);
            let of_card = apart(&found, &expected);
            println!("{} {what}: {of_card} apart, the CPU {of_cpu}, of {size}", precision.name());
            assert!(of_card <= 1.5 * of_cpu + 0.01 * size, "{precision:?} {what}: {of_card} apart, the CPU {of_cpu}, of {size}");
            for piece in [7, 64, 130] {
                assert!(logits(&mut model, &tokens, prompt, piece) == found, "{precision:?} {what} in pieces of {piece}");
            }
        }
        drop(model);
        same_in_any_mix(&checkpoint, precision, 8192);
    }
}
