//! Whole models on an emulated card, beside the same on the CPU.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::opt::{Kv, Model, Span};
use crate::options::{DeviceChoice, LoadOptions, Precision};

const FIXTURES: [&str; 7] = [
    "preln-fp32",
    "preln-fp16-sharded",
    "preln-bf16-maxpos96",
    "preln-hd80-fp16",
    "postln-proj-bf16-sharded",
    "preln-hd64-outlier-bf16",
    "galactica-gelu-nobias-fp16",
];

fn checkpoint(name: &str) -> Checkpoint {
    Checkpoint::open_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt").join(name)).unwrap()
}

fn load(name: &str, precision: Precision, device: DeviceChoice) -> Model {
    let options = LoadOptions { precision, device, threads: 2, ..LoadOptions::default() };
    Model::load(&checkpoint(name), &options).unwrap()
}

fn tokens(model: &Model, count: usize) -> Vec<u32> {
    let vocab = model.config().vocab_size as u32;
    (0..count as u32).map(|place| 4 + place * 37 % (vocab - 4)).collect()
}

/// Reads tokens of which `prompt` are a prompt's, in pieces; gives the logits after each.
fn logits(model: &mut Model, tokens: &[u32], prompt: usize, piece: usize) -> Vec<f32> {
    // The first block that there is comes in the midst: whoever wrote to it by mistake would be found out.
    let mut kv = Kv::in_blocks(vec![3, 0, 2, 1]).of_prompt(prompt);
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

#[test]
fn logits_are_those_of_the_cpu_for_prompts_and_for_answers() {
    for name in FIXTURES {
        let mut exact = load(name, Precision::Exact, DeviceChoice::Cpu);
        let tokens = tokens(&exact, 70);
        let expected = logits(&mut exact, &tokens, usize::MAX, 70);
        let size = apart(&expected, &vec![0.0; expected.len()]);
        for precision in Precision::ALL {
            let mut on_cpu = load(name, precision, DeviceChoice::Cpu);
            let of_cpu = apart(&logits(&mut on_cpu, &tokens, usize::MAX, 70), &expected);
            let mut model = load(name, precision, DeviceChoice::Cuda);
            for (what, prompt) in [("prompt", usize::MAX), ("answer", 0)] {
                let found = logits(&mut model, &tokens, prompt, 70);
                let of_card = apart(&found, &expected);
                println!("{name} {precision:?} {what}: {of_card} apart, the CPU {of_cpu}, of {size}");
                assert!(of_card <= 1.5 * of_cpu + 0.02 * size, "{name} {precision:?} {what}: {of_card} apart, the CPU {of_cpu}, of {size}");
            }
        }
    }
}

#[test]
fn batches_and_pieces_do_not_change_a_bit() {
    for precision in Precision::ALL {
        for name in ["preln-fp32", "postln-proj-bf16-sharded", "preln-hd80-fp16"] {
            let mut model = load(name, precision, DeviceChoice::Cuda);
            let tokens = tokens(&model, 70);
            for prompt in [usize::MAX, 0, 33] {
                let what = format!("{name} {precision:?} prompt of {prompt}");
                let whole = logits(&mut model, &tokens, prompt, 70);
                for piece in [1, 9, 40] {
                    assert!(logits(&mut model, &tokens, prompt, piece) == whole, "{what} in pieces of {piece}");
                }
                let [mut first, mut second, mut third] =
                    [vec![7], vec![6, 2, 9], vec![0, 1]].map(|blocks| Kv::in_blocks(blocks).of_prompt(prompt));
                let mut spans = [
                    Span { tokens: &tokens[..9], kv: &mut first, logits_from: 9 },
                    Span { tokens: &tokens, kv: &mut second, logits_from: 0 },
                    Span { tokens: &tokens[20..60], kv: &mut third, logits_from: 39 },
                ];
                let vocab = model.config().vocab_size;
                assert!(model.forward(&mut spans).unwrap()[..70 * vocab] == whole, "{what} among others");
            }
        }
    }
}
