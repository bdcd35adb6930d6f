//! A whole model, at times spoilt, loaded and asked for anything at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use inference::{
    Engine, Error, Event, FinishReason, Generation, LOGPROBS_MAX, LoadOptions, Precision, Prompt, Request, STOP_TOKENS_MAX, Sampling, Tier,
};

use super::files::{Folder, assert_clear};
use super::said::Said;
use super::toy::{BYTE_TOKENIZER, Toy};

/// Takes the bytes for choices: how a model is loaded, its shape, what is spoilt in its files, and up to four requests at once.
pub fn engine(data: &[u8]) {
    let mut said = Said(data);
    let options = options(&mut said);
    let mut toy = Toy::said(&mut said);
    for _ in 0..said.byte() % 4 {
        spoil(&mut said, &mut toy);
    }
    let mut files: Vec<(&str, &[u8])> = vec![("config.json", &toy.config), ("model.safetensors", &toy.weights)];
    if toy.speaks {
        files.push(("tokenizer.json", &BYTE_TOKENIZER));
    }
    match Engine::load(&Folder::of(&files).checkpoint(), &options) {
        Err(error) => assert_clear(&error),
        Ok(engine) => asks(&engine, &mut said),
    }
}

/// Changes, adds or takes away a few bytes of config.json, or, where they may be, the weights' header and the weights.
fn spoil(said: &mut Said<'_>, toy: &mut Toy) {
    let header_end = 8 + u64::from_le_bytes(toy.weights[..8].try_into().unwrap()).min(toy.weights.len() as u64 - 8) as usize;
    let weights_end = toy.weights.len();
    let (file, from, to) = match said.byte() % 4 {
        0 | 1 => (&mut toy.config, 0, usize::MAX),
        2 => (&mut toy.weights, 0, header_end),
        _ => (&mut toy.weights, header_end, weights_end),
    };
    let to = to.min(file.len());
    let place = from + said.below((to - from).max(1));
    let how = said.byte();
    let new: Vec<u8> = (0..how % 8).map(|_| said.byte()).collect();
    let end = match how / 8 % 3 {
        0 => place + new.len(),
        1 => place,
        _ => place + said.below(16),
    };
    file.splice(place.min(file.len())..end.min(file.len()), new);
    // A container is at least its length.
    toy.weights.resize(toy.weights.len().max(8), 0);
}

fn options(said: &mut Said<'_>) -> LoadOptions {
    LoadOptions {
        threads: said.one_of(&[1, 1, 1, 2]),
        running_max: said.one_of(&[2, 1, 4, 0]),
        account_running_max: said.one_of(&[0, 0, 1, 2]),
        waiting_max: said.one_of(&[8, 8, 1, 0]),
        account_waiting_max: said.one_of(&[0, 0, 1, 2]),
        kv_tokens_max: said.one_of(&[0, 64, 32, 1, 33, 128, 1 << 20, 1 << 38, usize::MAX / 2, usize::MAX]),
        step_tokens_max: said.one_of(&[128, 16, 3, 1, 0]),
        precision: said.one_of(&Precision::ALL),
        tier: said.flag().then(|| said.one_of(&Tier::available())),
        ..LoadOptions::default()
    }
}

/// Up to four requests at once; then, alone, those of them that could be answered: the answers must be the same.
fn asks(engine: &Engine, said: &mut Said<'_>) {
    let mut running = Vec::new();
    for _ in 0..4 {
        if said.is_over() {
            break;
        }
        let (request, choices, leaves) = (request(engine, said), said.one_of(&[1, 1, 2, 0, 9]), said.byte() / 128);
        match engine.submit_choices(request.clone(), choices) {
            Err(error) => assert_clear(&error),
            // Some leave at once.
            Ok(generations) => {
                running.extend((0..).zip(generations).skip(leaves.into()).map(|(choice, one)| (request.clone(), choice, one)))
            }
        }
    }
    let mut answers = Vec::new();
    for (request, choice, generation) in running {
        let answer = read(engine, &request, generation);
        // The first of several choices is the one that would be given alone.
        if choice == 0 && request.deadline.is_none() {
            answers.push((request, answer));
        }
    }
    at_rest(engine);
    for (request, answer) in answers {
        if let Ok(alone) = engine.submit(request.clone()) {
            assert_eq!(read(engine, &request, alone), answer, "the same request, another answer");
        }
    }
    at_rest(engine);
    engine.shutdown();
}

fn request(engine: &Engine, said: &mut Said<'_>) -> Request {
    let vocab = engine.info().config.vocab_size;
    let id = |said: &mut Said<'_>| match said.byte() {
        255 => u32::MAX,
        254 => vocab as u32,
        byte => u32::from(byte) % vocab as u32,
    };
    let prompt = match said.byte() % 4 {
        0 => Prompt::Text(said.text()),
        1 => Prompt::Text("the ".repeat(said.below(120))),
        2 => Prompt::Ids((0..said.byte() % 120).map(|_| id(said)).collect()),
        _ => Prompt::Ids(vec![id(said); said.below(110)]),
    };
    Request {
        prompt,
        max_tokens: said.one_of(&[3, 0, 1, 8, 40, 200, usize::MAX]),
        min_tokens: said.one_of(&[0, 0, 0, 1, 3, 1000]),
        sampling: Sampling {
            temperature: said.float(),
            top_k: said.flag().then(|| said.one_of(&[0, 1, 2, 50, u32::MAX])),
            top_p: said.float(),
            min_p: said.float(),
            typical_p: said.float(),
            seed: said.long(),
            logit_bias: (0..said.byte() % 4).map(|_| (id(said), said.float())).collect(),
            presence_penalty: said.float(),
            frequency_penalty: said.float(),
            repetition_penalty: said.float(),
        },
        stop: (0..said.byte() % 4).map(|_| said.text()).collect(),
        stop_token_ids: (0..usize::from(said.byte()) % (STOP_TOKENS_MAX + 2)).map(|_| id(said)).collect(),
        ignore_eos: said.flag(),
        logprobs: said.flag().then(|| said.byte() % (LOGPROBS_MAX + 2)),
        echo: said.flag(),
        account: Arc::from(said.one_of(&["", "ada", "eve"])),
        deadline: match said.byte() {
            253 => Some(Instant::now()),
            254 => Some(Instant::now() + Duration::from_micros(200)),
            _ => None,
        },
    }
}

/// What an answer says; equal requests have equal ones.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    tokens: Vec<(u32, Option<u32>)>,
    text: String,
    reason: Option<FinishReason>,
}

/// Reads an answer to its end, and checks that it keeps to what was asked. None if it failed, for a reason that is allowed.
fn read(engine: &Engine, request: &Request, mut generation: Generation) -> Option<Answer> {
    let (config, context) = (&engine.info().config, engine.context_tokens_max());
    let prompt_tokens = generation.prompt_tokens();
    let (mut answer, mut started, mut failed) = (Answer::default(), false, false);
    while let Some(event) = generation.blocking_next() {
        assert!(answer.reason.is_none() && !failed, "nothing follows the last event");
        match event {
            Event::Started { prompt_tokens: told, prompt_logprobs } => {
                assert!(!started && told == prompt_tokens);
                assert_eq!(prompt_logprobs.as_ref().map(|prompt| prompt.len()), request.echo.then_some(prompt_tokens));
                for (place, token) in prompt_logprobs.iter().flat_map(|prompt| prompt.iter()).enumerate() {
                    assert_eq!(token.logprob.is_some(), request.logprobs.is_some() && place > 0);
                    likely(token.logprob, &token.top, request);
                }
                started = true;
            }
            Event::Token { id, text, logprob, top } => {
                assert!(started && (id as usize) < config.vocab_size);
                assert!(engine.tokenizer().is_none_or(|tokenizer| tokenizer.has_token(id)), "row {id} has no token");
                assert_eq!(logprob.is_some(), request.logprobs.is_some());
                likely(logprob, &top, request);
                answer.tokens.push((id, logprob.map(f32::to_bits)));
                answer.text.push_str(&text);
            }
            Event::Finished { reason, usage, text_tail } => {
                assert!(started);
                assert_eq!((usage.prompt_tokens, usage.completion_tokens), (prompt_tokens, answer.tokens.len()));
                assert!(usage.cached_tokens < prompt_tokens.max(1));
                answer.text.push_str(&text_tail);
                answer.reason = Some(reason);
            }
            Event::Failed(Error::TooLate) => {
                assert!(request.deadline.is_some());
                failed = true;
            }
            Event::Failed(error) => {
                // Finite weights can be so large that the numbers made of them are not.
                assert!(matches!(&error, Error::Internal { problem } if problem.contains("finite number")), "{error}");
                failed = true;
            }
        }
    }
    assert!(failed || answer.reason.is_some(), "a generation ends with Finished or Failed");
    let made = answer.tokens.len();
    assert!(made <= request.max_tokens && prompt_tokens + made <= context.max(prompt_tokens));
    match answer.reason? {
        FinishReason::Stop => assert!(made >= request.min_tokens.max(1)),
        FinishReason::Length => assert!(made == request.max_tokens || prompt_tokens + made == context),
    }
    if request.min_tokens == 0 {
        assert!(!request.stop.iter().any(|stop| answer.text.contains(stop.as_str())), "a stop string in {:?}", answer.text);
    }
    Some(answer)
}

/// Log-probabilities are those of something that can happen.
fn likely(logprob: Option<f32>, top: &[(u32, f32)], request: &Request) {
    assert!(top.len() <= request.logprobs.unwrap_or(0).into());
    for logprob in logprob.iter().chain(top.iter().map(|(_, logprob)| logprob)) {
        assert!(*logprob <= 1e-3, "a log-probability of {logprob}");
    }
}

/// Waits until the engine has nothing to do; all memory is given back then.
fn at_rest(engine: &Engine) {
    loop {
        let stats = engine.stats();
        if stats.running == 0 && stats.waiting == 0 && stats.kv_blocks_in_use == 0 {
            assert_eq!(stats.kv_blocks_leaked, 0);
            return;
        }
        assert!(engine.is_alive(), "the engine's thread has died");
        std::thread::yield_now();
    }
}
