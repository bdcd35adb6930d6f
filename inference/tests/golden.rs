//! The recorded answers of transformers on ten small checkpoints, which between them have every variant of OPT's shape, and of its
//! tokenizer on 199 texts. See fixtures/*/README.md for how they were made.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};

use inference::{
    Checkpoint, Engine, Event, FinishReason, Kv, LoadOptions, Model, NUMERICS_VERSION, Precision, Prompt, Request, Sampling, Span, Tier,
    Tokenizer, Usage,
};
use safetensors::SafeTensors;
use serde_json::Value;

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
const PROMPTS: [&str; 3] = ["p1", "p7", "p64"];
/// The README's tolerance for engines that compute in f32.
const TOLERANCE: f32 = 1e-3;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn checkpoint(name: &str) -> Checkpoint {
    Checkpoint::open_dir(&fixtures().join("opt").join(name)).unwrap()
}

fn options(tier: Tier) -> LoadOptions {
    LoadOptions { threads: 2, tier: Some(tier), ..LoadOptions::default() }
}

fn at(precision: Precision, tier: Tier) -> LoadOptions {
    LoadOptions { precision, ..options(tier) }
}

/// The recorded answers of one fixture.
struct Expected {
    json: Value,
    arrays: Vec<u8>,
}

impl Expected {
    fn of(name: &str) -> Self {
        let dir = fixtures().join("opt").join(name);
        Self {
            json: serde_json::from_slice(&std::fs::read(dir.join("expected.json")).unwrap()).unwrap(),
            arrays: std::fs::read(dir.join("expected.safetensors")).unwrap(),
        }
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let arrays = SafeTensors::deserialize(&self.arrays).unwrap();
        arrays.tensor(name).unwrap().data().as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
    }

    fn whole(&self, name: &str) -> Vec<usize> {
        let arrays = SafeTensors::deserialize(&self.arrays).unwrap();
        arrays.tensor(name).unwrap().data().as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as usize).collect()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        self.whole(name).into_iter().map(|id| id as u32).collect()
    }
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < TOLERANCE, "{what}, number {place}: {found} should be {expected}");
    }
}

fn greedy(prompt: Vec<u32>, max_tokens: usize) -> Request {
    Request {
        max_tokens,
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        ignore_eos: true,
        logprobs: Some(5),
        ..Request::new(Prompt::Ids(prompt))
    }
}

/// What a generation said, gathered.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    ids: Vec<u32>,
    logprobs: Vec<f32>,
    top: Vec<Vec<(u32, f32)>>,
    prompt_logprobs: Vec<Option<f32>>,
    end: Option<(FinishReason, Usage)>,
}

fn answer(engine: &Engine, request: Request) -> Answer {
    let mut answer = Answer::default();
    let mut generation = engine.submit(request).unwrap();
    while let Some(event) = generation.blocking_next() {
        match event {
            Event::Started { prompt_logprobs, .. } => {
                answer.prompt_logprobs = prompt_logprobs.unwrap_or_default().iter().map(|token| token.logprob).collect();
            }
            Event::Token { id, logprob, top, .. } => {
                answer.ids.push(id);
                answer.logprobs.extend(logprob);
                answer.top.push(top);
            }
            Event::Finished { reason, usage, .. } => answer.end = Some((reason, usage)),
            Event::Failed(error) => panic!("{error}"),
        }
    }
    answer
}

/// Reads `tokens` in pieces of at most `piece`, kept in the first blocks, and gives the logits after every one.
fn logits(model: &mut Model, tokens: &[u32], piece: usize) -> Vec<f32> {
    let mut kv = Kv::in_blocks((0..4).collect());
    let mut logits = Vec::new();
    for tokens in tokens.chunks(piece) {
        logits.extend_from_slice(model.forward(&mut [Span { tokens, kv: &mut kv, logits_from: 0 }]).unwrap());
    }
    logits
}

#[test]
fn logits_are_those_recorded_at_every_position() {
    for name in FIXTURES {
        let expected = Expected::of(name);
        for tier in Tier::available() {
            let mut model = Model::load(&checkpoint(name), &options(tier)).unwrap();
            let vocab = model.config().vocab_size;
            for prompt in PROMPTS {
                let found = logits(&mut model, &expected.ids(&format!("{prompt}.input_ids")), usize::MAX);
                let wanted: Vec<f32> = expected
                    .whole(&format!("{prompt}.logits_positions"))
                    .into_iter()
                    .flat_map(|position| found[position * vocab..][..vocab].to_vec())
                    .collect();
                assert_close(&wanted, &expected.floats(&format!("{prompt}.logits")), &format!("{name} {prompt} {tier:?}"));
            }
        }
    }
}

#[test]
fn numbers_are_those_of_their_version() {
    let mut all = blake3::Hasher::new();
    for name in ["preln-fp16-sharded", "postln-proj-bf16-sharded"] {
        let tokens: Vec<u32> = (4..40).collect();
        for precision in Precision::ALL {
            let mut model = Model::load(&checkpoint(name), &at(precision, Tier::Plain)).unwrap();
            logits(&mut model, &tokens, 7).iter().for_each(|logit| _ = all.update(&logit.to_bits().to_le_bytes()));
            let engine = Engine::load(&checkpoint(name), &at(precision, Tier::Plain)).unwrap();
            let drawn = Request { sampling: Sampling { temperature: 1.5, seed: 7, ..Sampling::default() }, ..greedy(tokens.clone(), 16) };
            answer(&engine, drawn).ids.iter().for_each(|id| _ = all.update(&id.to_le_bytes()));
        }
    }
    // Where this fails, what is computed or drawn is no longer, bit for bit, what the same fingerprint promised: raise NUMERICS_VERSION.
    assert_eq!((NUMERICS_VERSION, &all.finalize().to_hex()[..16]), (5, "494eca9ed557879f"));
}

#[test]
fn a_row_of_a_padded_batch_is_its_prompt_alone() {
    for name in FIXTURES {
        let expected = Expected::of(name);
        let mut model = Model::load(&checkpoint(name), &options(Tier::fastest())).unwrap();
        let vocab = model.config().vocab_size;
        let (ids, mask) = (expected.ids("batch.input_ids"), expected.whole("batch.attention_mask"));
        let last_logits = expected.floats("batch.last_logits");
        let rows = last_logits.len() / vocab;
        let width = ids.len() / rows;
        // All rows in one step, without their padding.
        let prompts: Vec<Vec<u32>> = (0..rows)
            .map(|row| (row * width..(row + 1) * width).filter(|place| mask[*place] == 1).map(|place| ids[place]).collect())
            .collect();
        let mut kvs: Vec<_> = (0..).take(prompts.len()).map(|place| Kv::in_blocks((4 * place..4 * place + 4).collect())).collect();
        let mut spans: Vec<Span<'_>> =
            prompts.iter().zip(&mut kvs).map(|(tokens, kv)| Span { tokens, kv, logits_from: tokens.len() - 1 }).collect();
        assert_close(model.forward(&mut spans).unwrap(), &last_logits, name);
    }
}

#[test]
fn greedy_continuations_and_their_log_probabilities_are_those_recorded() {
    for name in FIXTURES {
        let expected = Expected::of(name);
        for tier in Tier::available() {
            let engine = Engine::load(&checkpoint(name), &options(tier)).unwrap();
            for prompt in PROMPTS {
                let what = format!("{name} {prompt} {tier:?}");
                let ids = expected.ids(&format!("{prompt}.input_ids"));
                let answer = answer(&engine, Request { echo: true, ..greedy(ids.clone(), 32) });
                assert_eq!(answer.ids, expected.ids(&format!("{prompt}.greedy_ids")), "{what}");
                assert_close(&answer.logprobs, &expected.floats(&format!("{prompt}.greedy_logprobs")), &what);

                let top_ids: Vec<u32> = answer.top.iter().flatten().map(|(id, _)| *id).collect();
                let top_logprobs: Vec<f32> = answer.top.iter().flatten().map(|(_, logprob)| *logprob).collect();
                assert_eq!(top_ids, expected.ids(&format!("{prompt}.greedy_top5_ids")), "{what}");
                assert_close(&top_logprobs, &expected.floats(&format!("{prompt}.greedy_top5_logprobs")), &what);

                let recorded = expected.json["prompts"][prompt]["prompt_logprobs"].as_array().unwrap();
                assert!(recorded[0].is_null() && answer.prompt_logprobs[0].is_none(), "{what}");
                let recorded: Vec<f32> = recorded[1..].iter().map(|logprob| logprob.as_f64().unwrap() as f32).collect();
                let found: Vec<f32> = answer.prompt_logprobs[1..].iter().map(|logprob| logprob.unwrap()).collect();
                assert_close(&found, &recorded, &what);

                let usage = Usage { prompt_tokens: ids.len(), cached_tokens: 0, completion_tokens: 32, energy_joules: None };
                assert_eq!(answer.end, Some((FinishReason::Length, usage)), "{what}");
            }
        }
    }
}

#[test]
fn generation_ends_at_the_end_of_text_token() {
    let mut seen = 0;
    for name in FIXTURES {
        let expected = Expected::of(name);
        let Some(case) = expected.json.get("eos_case").filter(|case| !case.is_null()) else { continue };
        seen += 1;
        let ids = |field: &str| -> Vec<u32> { case[field].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect() };
        let engine = Engine::load(&checkpoint(name), &options(Tier::fastest())).unwrap();
        let answer = answer(&engine, Request { ignore_eos: false, ..greedy(ids("input_ids"), 64) });
        assert_eq!(answer.ids, ids("greedy_ids_including_eos"), "{name}");
        assert_eq!(answer.end.unwrap().0, FinishReason::Stop, "{name}");
    }
    assert!(seen > 0, "some fixture must have an end-of-text case");
}

#[test]
fn batches_pieces_and_threads_do_not_change_a_bit() {
    for precision in Precision::ALL {
        for name in ["preln-fp32", "postln-proj-bf16-sharded", "preln-hd80-fp16", "galactica-gelu-nobias-fp16"] {
            let what = format!("{name} {precision:?}");
            let expected = Expected::of(name);
            let tokens = expected.ids("p64.input_ids");
            let load = |threads| Model::load(&checkpoint(name), &LoadOptions { threads, ..at(precision, Tier::fastest()) }).unwrap();
            let whole = logits(&mut load(1), &tokens, usize::MAX);
            for piece in [1, 5, 20, 63] {
                assert!(logits(&mut load(2), &tokens, piece) == whole, "{what} in pieces of {piece}");
            }
            let mut model = load(3);
            let [mut first, mut second, mut third] = [vec![7], vec![6, 2, 9], vec![0]].map(Kv::in_blocks);
            let mut spans = [
                Span { tokens: &tokens[..9], kv: &mut first, logits_from: 9 },
                Span { tokens: &tokens, kv: &mut second, logits_from: 0 },
                Span { tokens: &tokens[40..47], kv: &mut third, logits_from: 7 },
            ];
            assert!(model.forward(&mut spans).unwrap() == whole, "{what} among others");

            // What nobody wants the logits of is remembered all the same.
            let (vocab, [mut kv, mut other, mut none]) = (whole.len() / tokens.len(), [vec![1, 3, 4], vec![5], vec![8]].map(Kv::in_blocks));
            assert!(
                model.forward(&mut [Span { tokens: &tokens[..40], kv: &mut kv, logits_from: usize::MAX }]).unwrap().is_empty(),
                "{what}"
            );
            let mut spans = [
                Span { tokens: &tokens[..12], kv: &mut other, logits_from: 10 },
                Span { tokens: &[], kv: &mut none, logits_from: 0 },
                Span { tokens: &tokens[40..60], kv: &mut kv, logits_from: 17 },
            ];
            let expected = [&whole[10 * vocab..12 * vocab], &whole[57 * vocab..60 * vocab]].concat();
            assert!(model.forward(&mut spans).unwrap() == expected, "{what} where few logits are wanted");
            let rest = model.forward(&mut [Span { tokens: &tokens[60..], kv: &mut kv, logits_from: 3 }]).unwrap();
            assert!(rest == &whole[63 * vocab..], "{what} after that");
        }
    }
}

/// How far the logits of a lower precision may lie from those recorded, and the distributions they make.
struct Bounds {
    rms: f32,
    divergence: f32,
    top_agreement: f32,
    /// The chosen token is the recorded one wherever that led by more than this.
    margin: f32,
}

impl Bounds {
    /// The README's, which were measured on these files.
    fn of(precision: Precision) -> Self {
        match precision {
            Precision::Exact => Self { rms: 1e-4, divergence: 1e-6, top_agreement: 1.0, margin: 0.0 },
            Precision::Bf16 => Self { rms: 0.06, divergence: 2e-3, top_agreement: 0.95, margin: 0.4 },
            Precision::Int8 => Self { rms: 0.1, divergence: 5e-3, top_agreement: 0.9, margin: 0.7 },
            Precision::Int4 => Self { rms: 1.5, divergence: 0.7, top_agreement: 0.4, margin: 6.0 },
        }
    }
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|logit| f64::from(logit - highest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

fn top(logits: &[f32]) -> usize {
    (0..logits.len()).reduce(|best, next| if logits[next] > logits[best] { next } else { best }).unwrap()
}

/// Follows the recorded answer, so that one near tie does not spoil the rest.
#[test]
fn every_precision_stays_within_its_bounds_on_every_tier() {
    for name in FIXTURES {
        let expected = Expected::of(name);
        let follow = |precision, tier| -> (Vec<f32>, usize) {
            let mut model = Model::load(&checkpoint(name), &at(precision, tier)).unwrap();
            let vocab = model.config().vocab_size;
            let all = PROMPTS.iter().flat_map(|prompt| {
                let tokens = [expected.ids(&format!("{prompt}.input_ids")), expected.ids(&format!("{prompt}.greedy_ids"))].concat();
                let logits = logits(&mut model, &tokens, usize::MAX);
                logits[(tokens.len() - 33) * vocab..(tokens.len() - 1) * vocab].to_vec()
            });
            (all.collect(), vocab)
        };
        let (exact, vocab) = follow(Precision::Exact, Tier::fastest());
        for precision in Precision::ALL {
            for tier in Tier::available() {
                let Bounds { rms, divergence, top_agreement, margin } = Bounds::of(precision);
                let what = format!("{name} {precision:?} {tier:?}");
                let (found, _) = follow(precision, tier);
                let apart = (found.iter().zip(&exact).map(|(f, e)| (f - e).powi(2)).sum::<f32>() / exact.len() as f32).sqrt();
                let rows = || found.chunks(vocab).zip(exact.chunks(vocab));
                let count = rows().count() as f32;
                let agreement = rows().filter(|(f, e)| top(f) == top(e)).count() as f32 / count;
                let diverged = rows().flat_map(|(f, e)| softmax(e).into_iter().zip(softmax(f)).map(|(e, f)| e * (e / f).ln())).sum::<f64>()
                    as f32
                    / count;
                assert!(apart <= rms, "{what}: logits are {apart} apart");
                assert!(diverged <= divergence, "{what}: distributions diverge by {diverged}");
                assert!(agreement >= top_agreement, "{what}: the same token in {agreement}");
                let margins = PROMPTS.iter().flat_map(|prompt| expected.floats(&format!("{prompt}.greedy_margin")));
                for ((place, (f, e)), led) in rows().enumerate().zip(margins) {
                    assert!(led <= margin || top(f) == top(e), "{what}: token {place}, which led by {led}");
                }
            }
        }
    }
}

#[test]
fn blocks_that_are_not_there_or_too_few_are_refused_and_nothing_is_read() {
    let mut model = Model::load(&checkpoint("preln-fp32"), &LoadOptions { kv_tokens_max: 64, ..options(Tier::fastest()) }).unwrap();
    assert_eq!(model.kv_blocks(), 2);
    for blocks in [vec![], vec![1], vec![0, 2]] {
        let mut kv = Kv::in_blocks(blocks);
        let refused = model.forward(&mut [Span { tokens: &[5; 33], kv: &mut kv, logits_from: 0 }]).unwrap_err();
        assert!(matches!(refused, inference::Error::Invalid { field: "kv", .. }), "{refused}");
        assert_eq!(kv.tokens(), 0);
    }
}

#[test]
fn a_copied_block_remembers_what_the_first_did() {
    let tokens = Expected::of("preln-fp32").ids("p64.input_ids");
    let mut model = Model::load(&checkpoint("preln-fp32"), &options(Tier::fastest())).unwrap();
    let mut first = Kv::in_blocks(vec![0, 1]);
    model.forward(&mut [Span { tokens: &tokens[..40], kv: &mut first, logits_from: 40 }]).unwrap();
    let mut second = Kv::holding(vec![0, 2], 40);
    model.copy_block(1, 2).unwrap();
    let next = |model: &mut Model, kv: &mut Kv, tokens: &[u32]| model.forward(&mut [Span { tokens, kv, logits_from: 0 }]).unwrap().to_vec();
    // The first goes on elsewhere; the second does not notice.
    next(&mut model, &mut first, &[7, 8, 9]);
    let whole = logits(&mut Model::load(&checkpoint("preln-fp32"), &options(Tier::fastest())).unwrap(), &tokens, usize::MAX);
    let vocab = model.config().vocab_size;
    assert!(next(&mut model, &mut second, &tokens[40..]) == whole[40 * vocab..]);
}

fn golden_texts() -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(fixtures().join("opt-tokenizer/golden.json")).unwrap()).unwrap()
}

fn assert_tokenises_alike(tokenizer: &Tokenizer) {
    let texts = golden_texts();
    assert_eq!(texts.len(), 199);
    for case in texts {
        let text = case["text"].as_str().unwrap();
        let ids: Vec<u32> = case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert_eq!(tokenizer.encode(text).unwrap(), ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids), case["decoded"].as_str().unwrap(), "{text:?}");
    }
}

#[test]
fn the_golden_texts_are_tokenised_alike_by_the_stored_tokenizer() {
    let json = std::fs::read(fixtures().join("opt-tokenizer/tokenizer.json")).unwrap();
    assert_tokenises_alike(&Tokenizer::from_json(&json, Some(50_272)).unwrap());
}

#[test]
fn the_golden_texts_are_tokenised_alike_by_one_built_from_vocabulary_and_merges() {
    let read = |name: &str| std::fs::read(fixtures().join("opt-tokenizer").join(name)).unwrap();
    for config in [None, Some(read("tokenizer_config.json"))] {
        let json = inference::checkpoint::build_tokenizer_json(&read("vocab.json"), &read("merges.txt"), config.as_deref()).unwrap();
        let tokenizer = Tokenizer::from_json(&json, Some(50_272)).unwrap();
        assert_tokenises_alike(&tokenizer);
        assert_eq!(tokenizer.token_text(2).as_deref(), Some("</s>"));
        for padding_row in 50_265..50_272 {
            assert!(!tokenizer.has_token(padding_row));
            assert_eq!(tokenizer.decode(&[padding_row]), "");
        }
    }
}
