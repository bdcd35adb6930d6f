//! Stories of the running engine: text in, events out, several at once, limits, leaving early, ending.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use inference::checkpoint::build_tokenizer_json;
use inference::{
    Checkpoint, Engine, EngineStats, Error, Event, FinishReason, Generation, LoadOptions, ModelPool, Precision, Prompt, PromptToken,
    Request, Sampling, Tier,
};

/// Tokens of the tokenizer below; the models have more rows.
const TOKENS: u32 = 260;

/// A tokenizer with one token for each byte, so that most tokens are only parts of characters.
fn byte_tokenizer() -> Vec<u8> {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let shifted = (0x100..).take((0..256).filter(|byte| !printable(byte)).count());
    let alphabet = (0..256).filter(printable).chain(shifted).map(|code| char::from_u32(code).unwrap().to_string());
    let names = ["<s>", "<pad>", "</s>", "<unk>"].map(str::to_owned).into_iter().chain(alphabet);
    let vocab: BTreeMap<String, u32> = names.zip(0..).collect();
    assert_eq!(vocab.len() as u32, TOKENS);
    build_tokenizer_json(&serde_json::to_vec(&vocab).unwrap(), b"", None).unwrap()
}

/// A fixture of random weights, with the byte tokenizer beside it.
fn speaking(name: &str, scratch: &tempfile::TempDir) -> Checkpoint {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt").join(name);
    let tokenizer: PathBuf = scratch.path().join("tokenizer");
    std::fs::write(&tokenizer, byte_tokenizer()).unwrap();
    let mut files = Checkpoint::open_dir(&dir).unwrap().files().clone();
    files.insert("tokenizer.json".to_owned(), tokenizer);
    Checkpoint::from_files(files).unwrap()
}

fn mute(name: &str) -> Checkpoint {
    Checkpoint::open_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt").join(name)).unwrap()
}

fn load(checkpoint: &Checkpoint) -> Engine {
    Engine::load(checkpoint, &LoadOptions { threads: 2, ..LoadOptions::default() }).unwrap()
}

/// An engine with a context of 512 tokens.
fn long_engine(options: &LoadOptions) -> Engine {
    Engine::load(&speaking("preln-fp16-sharded", &tempfile::tempdir().unwrap()), options).unwrap()
}

fn text(prompt: &str) -> Request {
    Request { max_tokens: 60, ignore_eos: true, ..Request::new(Prompt::Text(prompt.to_owned())) }
}

fn seeded(prompt: &str, seed: u64) -> Request {
    Request { sampling: Sampling { seed, ..Sampling::default() }, ..text(prompt) }
}

#[derive(Debug, Default, PartialEq)]
struct Answer {
    prompt: Option<Vec<PromptToken>>,
    ids: Vec<u32>,
    pieces: Vec<String>,
    reason: Option<FinishReason>,
}

impl Answer {
    fn text(&self) -> String {
        self.pieces.concat()
    }
}

fn read(mut generation: Generation) -> Result<Answer, Error> {
    let mut answer = Answer::default();
    while let Some(event) = generation.blocking_next() {
        match event {
            Event::Started { prompt_tokens, prompt_logprobs } => {
                assert_eq!(prompt_tokens, generation.prompt_tokens());
                answer.prompt = prompt_logprobs.map(|prompt| prompt.to_vec());
            }
            Event::Token { id, text, .. } => {
                answer.ids.push(id);
                answer.pieces.push(text);
            }
            Event::Finished { reason, usage, text_tail } => {
                assert_eq!((usage.prompt_tokens, usage.completion_tokens), (generation.prompt_tokens(), answer.ids.len()));
                answer.pieces.push(text_tail);
                answer.reason = Some(reason);
            }
            Event::Failed(error) => return Err(error),
        }
    }
    assert!(answer.reason.is_some(), "a generation ends with Finished or Failed");
    Ok(answer)
}

fn ask(engine: &Engine, request: Request) -> Answer {
    read(engine.submit(request).unwrap()).unwrap()
}

/// What the engine says once it has nothing to do.
#[expect(clippy::disallowed_methods, reason = "a test without a runtime waits for the engine's own thread")]
fn at_rest(engine: &Engine) -> EngineStats {
    for _ in 0..10_000 {
        let stats = engine.stats();
        if stats.running == 0 && stats.waiting == 0 {
            return stats;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("still at work: {:?}", engine.stats());
}

#[test]
fn text_comes_in_whole_characters_and_joined_it_is_the_text_of_the_tokens() {
    let engine = long_engine(&LoadOptions::default());
    for seed in 0..20 {
        let answer = ask(&engine, seeded("naïve 😀", seed));
        assert_eq!(answer.text(), engine.tokenizer().unwrap().decode(&answer.ids));
        assert_eq!((answer.ids.len(), answer.reason), (60, Some(FinishReason::Length)));
    }
}

#[test]
fn rows_of_the_vocabulary_without_a_token_are_never_drawn() {
    let engine = long_engine(&LoadOptions::default());
    assert!(engine.info().config.vocab_size > TOKENS as usize);
    let flat = Sampling { temperature: 100.0, ..Sampling::default() };
    let answer = ask(&engine, Request { max_tokens: 500, sampling: flat, logprobs: Some(20), ..text("a") });
    assert_eq!(answer.ids.len(), 500);
    assert!(answer.ids.iter().all(|id| *id < TOKENS));
    let pushed = Sampling { logit_bias: vec![(TOKENS, 100.0)], ..Sampling::default() };
    assert!(matches!(engine.submit(Request { sampling: pushed, ..text("a") }), Err(Error::Invalid { field: "logit_bias", .. })));
}

#[test]
fn a_seed_gives_the_same_tokens_alone_and_in_company() {
    let engine = long_engine(&LoadOptions { running_max: 8, step_tokens_max: 16, ..LoadOptions::default() });
    let alone: Vec<Answer> = (0..8).map(|seed| ask(&engine, seeded("the same prompt", seed))).collect();
    assert_ne!(alone[0], alone[1]);
    let together: Vec<Generation> = (0..8).map(|seed| engine.submit(seeded("the same prompt", seed)).unwrap()).collect();
    for (alone, together) in alone.into_iter().zip(together) {
        assert_eq!(read(together).unwrap(), alone);
    }
}

#[test]
fn a_stop_string_ends_the_answer_before_it() {
    let engine = long_engine(&LoadOptions::default());
    let whole = ask(&engine, seeded("stop", 3)).text();
    // Three characters from the middle: each a token of its own, or part of one.
    let middle: String = whole.chars().skip(20).take(3).collect();
    let answer = ask(&engine, Request { stop: vec!["never there".to_owned(), middle.clone()], ..seeded("stop", 3) });
    assert_eq!(answer.text(), whole[..whole.find(&middle).unwrap()]);
    assert_eq!(answer.reason, Some(FinishReason::Stop));
    let untouched = ask(&engine, Request { stop: vec!["never there".to_owned()], ..seeded("stop", 3) });
    assert_eq!((untouched.text(), untouched.reason), (whole, Some(FinishReason::Length)));
}

#[test]
fn an_answer_does_not_end_before_its_least_length() {
    let engine = long_engine(&LoadOptions::default());
    let eos = engine.info().config.eos_token_ids[0];
    let eager = Sampling { logit_bias: vec![(eos, 100.0)], ..Sampling::default() };
    let of = |min_tokens, request: Request| ask(&engine, Request { min_tokens, ignore_eos: false, ..request });
    // The end of the text, which would come at once.
    let short = of(0, Request { sampling: eager.clone(), ..text("end") });
    assert_eq!((short.ids, short.reason), (vec![eos], Some(FinishReason::Stop)));
    let long = of(12, Request { sampling: eager, ..text("end") });
    assert_eq!((long.ids.len(), long.ids[12..].to_vec(), long.reason), (13, vec![eos], Some(FinishReason::Stop)));
    assert!(!long.ids[..12].contains(&eos), "not even drawn before");
    // A stop token.
    let whole = of(60, seeded("stop", 3));
    let early = whole.ids[5];
    let stopped = of(0, Request { stop_token_ids: vec![early], ..seeded("stop", 3) });
    assert_eq!(stopped.reason, Some(FinishReason::Stop));
    assert!(stopped.ids.len() <= 6);
    let later = of(20, Request { stop_token_ids: vec![early], ..seeded("stop", 3) });
    assert!(later.ids.len() > 20 && !later.ids[..20].contains(&early));
    // A stop string: what comes too early is text like any other, and one that ends behind the least length counts.
    let text = whole.text();
    let beginning: String = text.chars().take(2).collect();
    assert_eq!(of(0, Request { stop: vec![beginning.clone()], ..seeded("stop", 3) }).text(), "");
    let passed = of(20, Request { stop: vec![beginning.clone()], ..seeded("stop", 3) });
    assert!(passed.ids.len() > 20 && passed.text().starts_with(&beginning), "{passed:?}");
    let later: String = text.chars().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect();
    let cut = of(20, Request { stop: vec![later.clone()], ..seeded("stop", 3) });
    assert_eq!((cut.text().len(), cut.reason), (text.rfind(&later).unwrap(), Some(FinishReason::Stop)));
}

#[test]
fn echo_gives_the_prompt_and_with_no_tokens_wanted_that_is_all() {
    let engine = long_engine(&LoadOptions { step_tokens_max: 8, ..LoadOptions::default() });
    let prompt = "día 日 and a longer text, to be read in several steps";
    for logprobs in [None, Some(2)] {
        let answer = ask(&engine, Request { echo: true, max_tokens: 0, logprobs, ..text(prompt) });
        let tokens = answer.prompt.unwrap();
        assert_eq!(tokens.iter().map(|token| token.text.as_str()).collect::<String>(), prompt);
        assert_eq!(tokens[0].id, 2);
        assert!(tokens[0].logprob.is_none());
        assert!(
            tokens[1..]
                .iter()
                .all(|token| token.logprob.is_some() == logprobs.is_some() && token.top.len() == usize::from(logprobs.unwrap_or(0)))
        );
        assert_eq!((answer.ids.len(), answer.reason), (0, Some(FinishReason::Length)));
    }
}

#[test]
fn the_end_of_the_context_ends_the_answer() {
    let engine = load(&mute("preln-bf16-maxpos96"));
    assert_eq!(engine.context_tokens_max(), 96);
    let ids = |count| Request { max_tokens: 1000, ignore_eos: true, ..Request::new(Prompt::Ids(vec![5; count])) };
    assert_eq!(ask(&engine, ids(90)).ids.len(), 6);
    assert_eq!(ask(&engine, ids(95)).reason, Some(FinishReason::Length));
    let refused = engine.submit(ids(96)).unwrap_err();
    assert!(matches!(refused, Error::PromptTooLong { prompt_tokens: Some(96), context_tokens_max: 96 }), "{refused}");
    let scored = Request { max_tokens: 0, echo: true, logprobs: Some(1), ..ids(96) };
    assert_eq!(ask(&engine, scored).prompt.unwrap().len(), 96);
}

#[test]
fn what_cannot_be_honoured_is_refused_by_the_fields_name() {
    let engine = long_engine(&LoadOptions::default());
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = text("a");
        change(&mut request);
        match engine.submit(request) {
            Err(Error::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with(&|request| request.max_tokens = 0), "max_tokens");
    assert_eq!(with(&|request| request.logprobs = Some(21)), "logprobs");
    assert_eq!(with(&|request| request.stop = vec![String::new()]), "stop");
    assert_eq!(with(&|request| request.stop = vec!["x".to_owned(); 17]), "stop");
    assert_eq!(with(&|request| request.prompt = Prompt::Ids(vec![])), "prompt");
    assert_eq!(with(&|request| request.prompt = Prompt::Ids(vec![384])), "prompt");
    assert_eq!(with(&|request| request.sampling.temperature = f32::NAN), "temperature");
    assert_eq!(with(&|request| request.sampling.temperature = -0.1), "temperature");
    assert_eq!(with(&|request| request.sampling.top_k = Some(0)), "top_k");
    assert_eq!(with(&|request| request.sampling.top_p = 0.0), "top_p");
    assert_eq!(with(&|request| request.sampling.presence_penalty = 3.0), "presence_penalty");
    assert_eq!(with(&|request| request.sampling.frequency_penalty = f32::INFINITY), "frequency_penalty");
    assert_eq!(with(&|request| request.sampling.logit_bias = vec![(384, 1.0)]), "logit_bias");
    assert_eq!(with(&|request| request.sampling.logit_bias = vec![(5, 101.0)]), "logit_bias");
    // Rows that the tokenizer has no token for.
    assert_eq!(with(&|request| request.sampling.logit_bias = vec![(TOKENS, 1.0)]), "logit_bias");
    assert_eq!(with(&|request| request.stop_token_ids = vec![TOKENS]), "stop_token_ids");
    assert_eq!(with(&|request| request.prompt = Prompt::Ids(vec![2, TOKENS])), "prompt");
    assert!(engine.has_token(TOKENS - 1) && !engine.has_token(TOKENS) && !engine.has_token(384));

    let huge = engine.submit(text(&"word ".repeat(1 << 20))).unwrap_err();
    assert!(matches!(huge, Error::PromptTooLong { prompt_tokens: None, .. }), "{huge}");
    let small = long_engine(&LoadOptions { kv_tokens_max: 32, ..LoadOptions::default() });
    assert!(matches!(small.submit(text("a")).unwrap_err(), Error::NoRoom { tokens: 62, kv_tokens_max: 32 }));
    let silent = load(&mute("preln-fp32"));
    assert!(matches!(silent.submit(text("a")).unwrap_err(), Error::Invalid { field: "prompt", .. }));
}

#[test]
fn a_poisoned_room_for_keys_and_values_is_refused_at_load_or_holds_what_it_can() {
    let load = |kv_tokens_max| Engine::load(&mute("preln-fp32"), &LoadOptions { kv_tokens_max, ..LoadOptions::default() });
    for huge in [usize::MAX, usize::MAX / 2, 1 << 60, 1 << 50] {
        let refused = load(huge).unwrap_err();
        assert!(matches!(refused, Error::Invalid { field: "kv_tokens_max", .. }), "{refused}");
        // The pool knows without trying.
        let refused = ModelPool::new(1 << 40, LoadOptions { kv_tokens_max: huge, ..LoadOptions::default() });
        let refused = refused.get_or_load("model", || Ok(mute("preln-fp32"))).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
    }
    // Room for one token is room for one block, and a request that fits into it is answered.
    let tiny = load(1).unwrap();
    let ids = |count| Request { max_tokens: 2, ignore_eos: true, ..Request::new(Prompt::Ids(vec![5; count])) };
    assert_eq!(ask(&tiny, ids(30)).ids.len(), 2);
    assert!(matches!(tiny.submit(ids(31)).unwrap_err(), Error::NoRoom { tokens: 33, kv_tokens_max: 32 }));
    assert_eq!(load(0).unwrap().stats().kv_blocks_max, 4 * tiny.context_tokens_max() / 32);
}

#[test]
fn more_threads_and_longer_steps_than_anybody_has_are_refused_by_the_fields_name() {
    for (field, options) in [
        ("threads", LoadOptions { threads: 1025, ..LoadOptions::default() }),
        ("threads", LoadOptions { threads: usize::MAX, ..LoadOptions::default() }),
        ("running_max", LoadOptions { running_max: usize::MAX, ..LoadOptions::default() }),
        ("step_tokens_max", LoadOptions { step_tokens_max: usize::MAX, ..LoadOptions::default() }),
    ] {
        let is_refused = |refused: Error| assert!(matches!(refused, Error::Invalid { field: named, .. } if named == field), "{refused}");
        is_refused(Engine::load(&mute("preln-fp32"), &options).unwrap_err());
        is_refused(ModelPool::new(u64::MAX, options).get_or_load("model", || Ok(mute("preln-fp32"))).unwrap_err());
    }
}

#[test]
fn a_full_line_refuses_at_once_and_readers_who_leave_make_room() {
    let engine = long_engine(&LoadOptions { running_max: 1, waiting_max: 3, ..LoadOptions::default() });
    let long = || Request { max_tokens: 500, ..text("a") };
    let mut accepted = Vec::new();
    let refused = loop {
        match engine.submit(long()) {
            Ok(generation) => accepted.push(generation),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Busy { waiting: 3, .. }), "{refused}");
    let before = accepted.len();
    drop(accepted);
    // Everyone has left: the next is taken up although the line was full a moment ago.
    let answer = ask(&engine, Request { max_tokens: 1, ..text("a") });
    assert_eq!(answer.ids.len(), 1);
    let stats = engine.stats();
    assert!(stats.tokens_made < 500 * before as u64, "those who left were not answered to the end: {stats:?}");
    assert_eq!((stats.waiting, stats.kv_blocks_leaked), (0, 0));
}

#[test]
fn nothing_is_left_behind_when_readers_leave_at_any_point() {
    let engine = long_engine(&LoadOptions { running_max: 4, waiting_max: 64, kv_tokens_max: 600, ..LoadOptions::default() });
    for round in 0..10 {
        let mut generations: Vec<Generation> =
            (0..12).map(|seed| engine.submit(Request { max_tokens: 100, ..seeded("leave", seed) }).unwrap()).collect();
        for (place, generation) in generations.iter_mut().enumerate().filter(|(place, _)| place % 3 == 0) {
            for _ in 0..(place + round) {
                generation.blocking_next();
            }
        }
    }
    // A request that needs nearly all the room gets it only once everything else has been given back.
    assert_eq!(ask(&engine, Request { max_tokens: 500, ..text("all") }).ids.len(), 500);
    let stats = at_rest(&engine);
    assert_eq!((stats.kv_blocks_in_use, stats.kv_blocks_leaked, stats.kv_blocks_max), (0, 0, 600usize.div_ceil(32)));
}

#[test]
fn shutting_down_breaks_off_with_a_reason_and_later_requests_hear_it() {
    let engine = long_engine(&LoadOptions { running_max: 1, waiting_max: 8, ..LoadOptions::default() });
    let generations: Vec<Generation> = (0..8).map(|_| engine.submit(Request { max_tokens: 500, ..text("a") }).unwrap()).collect();
    engine.shutdown();
    let broken = generations.into_iter().map(read).filter(|answer| matches!(answer, Err(Error::Closed { .. }))).count();
    assert!(broken > 0, "at least the last in the line was not answered");
    assert!(matches!(engine.submit(text("a")).unwrap_err(), Error::Closed { .. }));
}

#[test]
fn an_answer_is_completed_though_its_engine_has_been_let_go() {
    let engine = long_engine(&LoadOptions::default());
    let generation = engine.submit(text("a")).unwrap();
    drop(engine);
    assert_eq!(read(generation).unwrap().ids.len(), 60);
}

#[test]
fn equal_models_have_equal_fingerprints_whatever_their_files() {
    let fingerprint = |checkpoint: &Checkpoint| load(checkpoint).fingerprint().to_owned();
    let bin = mute("postln-proj-fp16-bin");
    let scratch = tempfile::tempdir().unwrap();
    let converted = inference::checkpoint::convert(&bin, scratch.path(), u64::MAX, &|_| {}).unwrap();
    let mut files = bin.files().clone();
    files.remove("pytorch_model.bin");
    files.extend(converted.into_iter().map(|file| (file.name, file.path)));
    assert_eq!(fingerprint(&bin), fingerprint(&Checkpoint::from_files(files).unwrap()));
    assert_ne!(fingerprint(&bin), fingerprint(&mute("preln-fp32")));
    assert!(fingerprint(&bin).starts_with("fp_"));
    let at = |precision| Engine::load(&bin, &LoadOptions { precision, threads: 1, ..LoadOptions::default() }).unwrap();
    assert_ne!(at(Precision::Int8).fingerprint(), at(Precision::Bf16).fingerprint());
    // The same weights, asked in text.
    assert_ne!(fingerprint(&mute("preln-fp32")), fingerprint(&speaking("preln-fp32", &scratch)));
}

#[test]
fn weights_whose_sums_overflow_fail_the_request_and_not_the_engine() {
    let scratch = tempfile::tempdir().unwrap();
    let fixture = mute("preln-fp32");
    let mut bytes = std::fs::read(&fixture.files()["model.safetensors"]).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for (place, number) in bytes[header..].as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *number = if place % 3 == 0 { -3e38f32 } else { 3e38 }.to_le_bytes();
    }
    let huge = scratch.path().join("model.safetensors");
    std::fs::write(&huge, bytes).unwrap();
    let mut files = fixture.files().clone();
    files.insert("model.safetensors".to_owned(), huge);
    let huge = Checkpoint::from_files(files).unwrap();
    for tier in Tier::available() {
        for precision in Precision::ALL {
            let engine = Engine::load(&huge, &LoadOptions { precision, tier: Some(tier), ..LoadOptions::default() }).unwrap();
            for _ in 0..2 {
                let generation = engine.submit(Request::new(Prompt::Ids(vec![2, 3]))).unwrap();
                let failed = read(generation).unwrap_err();
                assert!(!matches!(failed, Error::Closed { .. }), "{precision:?} {tier:?}: {failed}");
            }
        }
    }
}

#[test]
fn a_logit_too_large_to_be_a_number_fails_the_request_and_is_not_passed_over() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt/preln-fp32");
    let scratch = tempfile::tempdir().unwrap();
    let mut weights = std::fs::read(dir.join("model.safetensors")).unwrap();
    let header_end = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&weights[8..header_end]).unwrap();
    let embedding = &header["model.decoder.embed_tokens.weight"];
    let (begin, row_bytes) =
        (embedding["data_offsets"][0].as_u64().unwrap() as usize, 4 * embedding["shape"][1].as_u64().unwrap() as usize);
    // One row of the embedding, which is no part of the prompt: finite, and so large that its token's logit is not.
    for weight in weights[header_end + begin + 5 * row_bytes..][..row_bytes].as_chunks_mut::<4>().0 {
        *weight = 3e38f32.to_le_bytes();
    }
    std::fs::write(scratch.path().join("model.safetensors"), weights).unwrap();
    std::fs::copy(dir.join("config.json"), scratch.path().join("config.json")).unwrap();
    let engine = load(&Checkpoint::open_dir(scratch.path()).unwrap());
    for logprobs in [None, Some(1)] {
        let request = Request { echo: true, logprobs, ..Request::new(Prompt::Ids(vec![2, 3])) };
        match read(engine.submit(request).unwrap()) {
            Err(Error::Internal { problem }) => assert!(problem.contains("not a finite number"), "{problem}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(engine.is_alive() && at_rest(&engine).kv_blocks_leaked == 0);
}
