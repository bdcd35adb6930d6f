//! What must hold whoever else is there, turn by turn through the engine's own loop: the same answers bit for bit, no block lost,
//! everybody answered, nobody starved.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::device::Threads;
use crate::energy::EnergyMeter;
use crate::line::Line;
use crate::request::{Event, FinishReason, Prompt, Request, Sampling, Usage};
use crate::scheduler::Batch;
use crate::sequence::Waiting;
use crate::worker::Worker;
use crate::{Checkpoint, Error, LoadOptions, Model, Precision, Tier};

/// What is loaded, and how it computes.
#[derive(Debug, Clone, Copy)]
struct Kind {
    fixture: &'static str,
    context: usize,
    precision: Precision,
    tier: Tier,
}

impl Kind {
    fn plain() -> Self {
        Self { fixture: "preln-fp16-sharded", context: 512, precision: Precision::Exact, tier: Tier::fastest() }
    }

    /// Norms before and after the layers, all precisions, all instructions this machine has.
    fn any() -> impl Strategy<Value = Self> {
        let fixtures = prop::sample::select(vec![("preln-fp16-sharded", 512), ("postln-proj-fp32", 128)]);
        (fixtures, prop::sample::select(Precision::ALL.to_vec()), prop::sample::select(Tier::available()))
            .prop_map(|((fixture, context), precision, tier)| Self { fixture, context, precision, tier })
    }
}

/// An engine whose turns the test takes.
struct Bench {
    worker: Worker,
    turns: usize,
}

/// The answer to one request, with probabilities to the bit.
#[derive(Debug, Default, Clone, PartialEq)]
struct Answer {
    ids: Vec<u32>,
    bits: Vec<(u32, Vec<(u32, u32)>)>,
    prompt_bits: Vec<Option<u32>>,
    reason: Option<FinishReason>,
}

impl Bench {
    fn new(options: &LoadOptions) -> Self {
        Self::of(Kind::plain(), options)
    }

    fn of(Kind { fixture, precision, tier, .. }: Kind, options: &LoadOptions) -> Self {
        let options = &LoadOptions { precision, tier: Some(tier), ..options.clone() };
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt").join(fixture);
        let model = Model::load(&Checkpoint::open_dir(&fixture).unwrap(), options).unwrap();
        let worker = Worker {
            config: Arc::new(model.config().clone()),
            batch: Batch::new(model.kv_blocks(), options.limits(), model.tells_answers_from_prompts()),
            line: Arc::new(Line::new(model.kv_blocks(), options.limits())),
            rows_without_token: vec![model.config().vocab_size - 1],
            model,
            tokenizer: None,
            threads: Arc::new(Threads::new(options.threads).unwrap()),
            energy: None,
            broken: None,
        };
        Self { worker, turns: 0 }
    }

    fn asks(&self, mut request: Request, choices: usize) -> Result<Vec<UnboundedReceiver<Event>>, Error> {
        let Prompt::Ids(prompt) = std::mem::replace(&mut request.prompt, Prompt::Ids(Vec::new())) else { panic!("ids only") };
        let (events, received) = (0..choices).map(|_| mpsc::unbounded_channel()).unzip();
        self.worker.line.join(Waiting { prompt, request, asked: Instant::now(), events }).map(|()| received)
    }

    fn turn(&mut self) {
        assert!(self.worker.turn());
        self.turns += 1;
        assert_eq!(self.worker.line.stats().kv_blocks_leaked, 0);
    }

    fn has_work(&self) -> bool {
        let stats = self.worker.line.stats();
        stats.running + stats.waiting > 0
    }

    /// Turns until there is nothing left to do, in bounded time.
    fn run_to_the_end(&mut self) {
        while self.has_work() {
            self.turn();
            assert!(self.turns < 20_000, "it goes on for ever: {:?}", self.worker.line.stats());
        }
        let stats = self.worker.line.stats();
        assert_eq!((stats.kv_blocks_in_use, stats.kv_blocks_leaked), (0, 0));
    }
}

fn answer(events: &mut UnboundedReceiver<Event>) -> (Answer, Usage) {
    let mut answer = Answer::default();
    let bits = |top: &[(u32, f32)]| top.iter().map(|(id, logprob)| (*id, logprob.to_bits())).collect();
    loop {
        match events.try_recv().unwrap() {
            Event::Started { prompt_logprobs, .. } => {
                answer.prompt_bits =
                    prompt_logprobs.iter().flat_map(|prompt| prompt.iter()).map(|token| token.logprob.map(f32::to_bits)).collect();
            }
            Event::Token { id, logprob, top, .. } => {
                answer.ids.push(id);
                answer.bits.push((logprob.unwrap().to_bits(), bits(&top)));
            }
            Event::Finished { reason, usage, .. } => return (Answer { reason: Some(reason), ..answer }, usage),
            Event::Failed(error) => panic!("{error}"),
        }
    }
}

fn is_token(event: &Event) -> bool {
    matches!(event, Event::Token { .. })
}

fn options() -> LoadOptions {
    LoadOptions { threads: 1, running_max: 6, waiting_max: 64, kv_tokens_max: 2048, stall_max: Duration::MAX, ..LoadOptions::default() }
}

fn ids(start: u32, count: usize) -> Vec<u32> {
    (0..count as u32).map(|place| 4 + (start * 7 + place * 13) % 370).collect()
}

fn request(start: u32, prompt_tokens: usize, max_tokens: usize, account: &str) -> Request {
    Request {
        max_tokens,
        sampling: Sampling { temperature: 0.9, top_p: 0.95, repetition_penalty: 1.1, seed: u64::from(start), ..Sampling::default() },
        ignore_eos: true,
        logprobs: Some(5),
        account: account.into(),
        ..Request::new(Prompt::Ids(ids(start, prompt_tokens)))
    }
}

/// The answers one gets alone, on an engine that has seen nothing else, in the largest steps.
fn alone(request: &Request, choices: usize) -> Vec<Answer> {
    alone_on(Kind::plain(), request, choices)
}

fn alone_on(kind: Kind, request: &Request, choices: usize) -> Vec<Answer> {
    let mut bench = Bench::of(kind, &LoadOptions { step_tokens_max: 2048, ..options() });
    let mut received = bench.asks(request.clone(), choices).unwrap();
    bench.run_to_the_end();
    received.iter_mut().map(|events| answer(events).0).collect()
}

/// Somebody else who asks.
#[derive(Debug, Clone)]
struct Other {
    start: u32,
    prompt_tokens: usize,
    max_tokens: usize,
    account: u8,
    choices: usize,
    comes_at: usize,
    leaves_at: Option<usize>,
}

fn other() -> impl Strategy<Value = Other> {
    (0u32..3, 1usize..150, 1usize..60, 0u8..3, 1usize..4, 0usize..40, proptest::option::of(0usize..60)).prop_map(
        |(start, prompt_tokens, max_tokens, account, choices, comes_at, leaves_at)| Other {
            start,
            prompt_tokens,
            max_tokens,
            account,
            choices,
            comes_at,
            leaves_at,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever else runs, however its prompt is cut into steps, whatever others have read before, whoever gives way when: the same
    /// tokens and the same probabilities, bit for bit; and in the end nothing is held.
    #[test]
    fn an_answer_does_not_depend_on_what_else_happens(
        others in proptest::collection::vec(other(), 0..8),
        // From barely enough for the longest to plenty.
        blocks in 7usize..40,
        step_tokens_max in 6usize..200,
        threads in 1usize..=2,
        gives_way in proptest::collection::vec((0usize..80, 0usize..6), 0..8),
        (prompt_tokens, choices, scored) in (1usize..150, 1usize..4, any::<bool>()),
        (stop_token_ids, min_tokens, ignore_eos) in (proptest::collection::vec(0u32..380, 0..20), 0usize..40, any::<bool>()),
        (kind, hurried) in (Kind::any(), any::<bool>()),
    ) {
        let request = |start, prompt_tokens: usize, max_tokens, account: &str| request(start, prompt_tokens.min(kind.context - 1), max_tokens, account);
        let prompt_tokens = prompt_tokens.min(kind.context - 1);
        let asked = Request { echo: scored, stop_token_ids, min_tokens, ignore_eos, ..request(1, prompt_tokens, 40, "1") };
        let stall_max = if hurried { Duration::from_nanos(1) } else { Duration::MAX };
        let mut bench = Bench::of(kind, &LoadOptions { kv_tokens_max: 32 * blocks, step_tokens_max, threads, stall_max, ..options() });
        let mut received = bench.asks(asked.clone(), choices).unwrap();
        let mut readers = Vec::new();
        while bench.has_work() || others.iter().any(|other| other.comes_at >= bench.turns) {
            for other in others.iter().filter(|other| other.comes_at == bench.turns) {
                let request = request(other.start, other.prompt_tokens, other.max_tokens, &other.account.to_string());
                readers.push((other, bench.asks(request, other.choices).unwrap()));
            }
            readers.retain(|(other, _)| other.leaves_at.is_none_or(|turn| turn != bench.turns));
            for (_, place) in gives_way.iter().filter(|(turn, _)| *turn == bench.turns) {
                if *place < bench.worker.batch.running_mut().len() {
                    bench.worker.batch.preempt(*place);
                }
            }
            if bench.has_work() { bench.turn() } else { bench.turns += 1 }
            prop_assert!(bench.turns < 5000, "it goes on for ever: {:?}", bench.worker.line.stats());
        }
        bench.run_to_the_end();
        let answers: Vec<Answer> = received.iter_mut().map(|events| answer(events).0).collect();
        prop_assert!(answers == alone_on(kind, &asked, choices), "not the answer one gets alone");
        for (other, mut events) in readers {
            let ends = events.iter_mut().map(|events| answer(events).0);
            prop_assert!(ends.eq(alone_on(kind, &request(other.start, other.prompt_tokens, other.max_tokens, &other.account.to_string()), other.choices)));
        }

        // Once more, with what was read before still there.
        let mut again = bench.asks(asked, choices).unwrap();
        bench.run_to_the_end();
        for (events, before) in again.iter_mut().zip(&answers) {
            let (answer, usage) = answer(events);
            prop_assert!(answer == *before);
            prop_assert!(!scored || usage.cached_tokens == 0, "who wants every token scored has every token read");
            prop_assert!(usage.cached_tokens < prompt_tokens);
        }
    }
}

#[test]
fn a_prompt_that_was_read_before_is_not_read_again_but_by_its_own_account_only() {
    let mut bench = Bench::new(&options());
    let mut cached = |account: &str, tokens: usize| {
        let mut received = bench.asks(request(1, tokens, 3, account), 1).unwrap();
        bench.run_to_the_end();
        answer(&mut received[0]).1.cached_tokens
    };
    assert_eq!(cached("ada", 100), 0);
    assert_eq!(cached("ada", 100), 96);
    assert_eq!(cached("ada", 96), 64, "never the last token");
    assert_eq!(cached("eve", 100), 0);
    let stats = bench.worker.line.stats();
    assert_eq!((stats.prefix_tokens_asked, stats.prefix_tokens_found), (396, 160));
}

#[test]
fn answers_to_one_prompt_share_its_blocks_and_differ() {
    let mut bench = Bench::new(&options());
    let mut received = bench.asks(request(1, 100, 20, ""), 3).unwrap();
    bench.turn();
    assert_eq!(bench.worker.line.stats().kv_blocks_in_use, 4, "one prompt, read once");
    bench.turn();
    // The last block, of which 4 rows are the prompt's, is each answer's own now; the three before are shared.
    assert_eq!(bench.worker.line.stats().kv_blocks_in_use, 6);
    bench.run_to_the_end();
    let answers: Vec<Answer> = received.iter_mut().map(|events| answer(events).0).collect();
    assert!(answers[0] != answers[1] && answers[1] != answers[2] && answers[0] != answers[2]);
    assert_eq!(answers[..1], alone(&request(1, 100, 20, ""), 1), "the first is the one that one gets alone");
}

#[test]
fn who_leaves_is_gone_after_one_step() {
    let mut bench = Bench::new(&options());
    let mut received = bench.asks(request(1, 100, 400, "a"), 3).unwrap();
    let stays = bench.asks(request(2, 40, 400, "b"), 1).unwrap();
    for _ in 0..5 {
        bench.turn();
    }
    received.truncate(1);
    bench.turn();
    assert_eq!((bench.worker.line.stats().running, bench.worker.batch.all().count()), (2, 2));
    drop(received);
    bench.turn();
    let stats = bench.worker.line.stats();
    assert_eq!((stats.running, stats.kv_blocks_in_use), (1, 2), "the other goes on: {stats:?}");
    drop(stays);
    bench.turn();
    assert_eq!(bench.worker.line.stats().kv_blocks_in_use, 0);
}

#[test]
fn when_memory_runs_out_the_newest_of_the_greediest_gives_way_and_all_are_answered() {
    let mut bench = Bench::new(&LoadOptions { kv_tokens_max: 32 * 8, ..options() });
    let received: Vec<_> = (0..4).map(|start| bench.asks(request(start, 60, 100, "heavy"), 1).unwrap()).collect();
    for _ in 0..10 {
        bench.turn();
    }
    let mut light = bench.asks(request(9, 60, 100, "light"), 1).unwrap();
    bench.turn();
    let light_runs = bench.worker.batch.running_mut().iter().any(|sequence| &**sequence.account() == "light");
    assert!(light_runs, "room was made for it at once");
    bench.run_to_the_end();
    let preemptions = bench.worker.line.stats().preemptions;
    assert!(preemptions > 0 && preemptions <= 2 * 5, "nobody more than twice: {preemptions}");
    assert_eq!(answer(&mut light[0]).0, alone(&request(9, 60, 100, "light"), 1)[0]);
    for (start, mut events) in (0..).zip(received) {
        assert_eq!(answer(&mut events[0]).0, alone(&request(start, 60, 100, "heavy"), 1)[0]);
    }
}

#[test]
fn several_answers_to_one_prompt_make_room_as_if_each_held_what_they_share_once() {
    let mut bench = Bench::new(&LoadOptions { kv_tokens_max: 32 * 8, ..options() });
    let mut heavy = bench.asks(request(1, 100, 60, "heavy"), 4).unwrap();
    bench.turn();
    bench.turn();
    assert_eq!(bench.worker.line.stats().kv_blocks_in_use, 7, "three that all share, and one of each");
    let mut light = bench.asks(request(2, 90, 5, "light"), 1).unwrap();
    bench.turn();
    let light_runs = bench.worker.batch.running_mut().iter().any(|sequence| &**sequence.account() == "light");
    assert!(light_runs, "the one holds seven blocks, the other would hold three");
    assert_eq!(bench.worker.line.stats().preemptions, 2);
    bench.run_to_the_end();
    assert_eq!(answer(&mut light[0]).0, alone(&request(2, 90, 5, "light"), 1)[0]);
    let answers: Vec<Answer> = heavy.iter_mut().map(|events| answer(events).0).collect();
    assert_eq!(answers, alone(&request(1, 100, 60, "heavy"), 4));
}

/// All four come to eleven blocks, one more than there are.
#[test]
fn several_answers_to_one_prompt_end_though_together_they_have_no_room() {
    let mut bench = Bench::new(&LoadOptions { kv_tokens_max: 32 * 10, ..options() });
    let mut received = bench.asks(request(1, 100, 60, ""), 4).unwrap();
    bench.run_to_the_end();
    assert_eq!(bench.worker.line.stats().preemptions, 1, "one block is missing, and one answer makes room for it");
    let answers: Vec<Answer> = received.iter_mut().map(|events| answer(events).0).collect();
    assert_eq!(answers, alone(&request(1, 100, 60, ""), 4));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    /// However much a heavy account asks for, a light one's first token comes after the steps its prompt takes at half a step each.
    #[test]
    fn a_heavy_account_cannot_starve_a_light_one(heavy in 1usize..20, prompt_tokens in 1usize..200, blocks in 16usize..64, comes_at in 1usize..30) {
        let options = LoadOptions { account_running_max: 5, step_tokens_max: 64, kv_tokens_max: 32 * blocks, ..options() };
        let mut bench = Bench::new(&options);
        let heavy: Vec<_> = (0..heavy as u32).map(|start| bench.asks(request(start, 100, 300, "heavy"), 1).unwrap()).collect();
        for _ in 0..comes_at {
            bench.turn();
        }
        let mut light = bench.asks(request(99, prompt_tokens, 1, "light"), 1).unwrap();
        let before = bench.turns;
        while !matches!(light[0].try_recv(), Ok(Event::Token { .. })) {
            bench.turn();
            // Five answers under way leave 59 tokens of a step, of which the light account has half, give or take a turn.
            let bound = (2 * prompt_tokens + 64).div_ceil(59) + 1;
            prop_assert!(bench.turns - before <= bound, "{} turns, {bound} allowed", bench.turns - before);
        }
        drop((heavy, light));
        bench.run_to_the_end();
    }
}

/// A prompt's tokens are read in as many steps as it takes for the answers beside it to come at their pace, and in large ones where
/// nobody waits for an answer.
#[test]
fn a_long_prompt_does_not_hold_up_those_who_are_being_answered() {
    let mut bench = Bench::new(&LoadOptions { stall_max: Duration::from_nanos(1), ..options() });
    let tokens = |events: &mut UnboundedReceiver<Event>| std::iter::from_fn(|| events.try_recv().ok()).filter(is_token).count();
    let mut answered = bench.asks(request(1, 120, 100, "a"), 1).unwrap();
    bench.turn();
    assert_eq!(tokens(&mut answered[0]), 1, "nobody else was there, and all of it was read in one step");
    let mut long = bench.asks(request(2, 100, 3, "b"), 1).unwrap();
    let begun = bench.turns;
    while tokens(&mut long[0]) == 0 {
        bench.turn();
        assert_eq!(tokens(&mut answered[0]), 1, "an answer under way comes on in every step");
    }
    assert_eq!(bench.turns - begun, 100usize.div_ceil(8), "no step reads more of it than a few tokens");
    drop(answered);
    let (next, begun) = (bench.asks(request(3, 100, 3, "b"), 1).unwrap(), bench.turns);
    bench.run_to_the_end();
    assert!(bench.turns - begun <= 7, "once the others have ended it is read as fast as can be: {} turns", bench.turns - begun);
    drop(next);
}

#[test]
fn who_wants_every_place_at_once_gets_them_though_others_keep_coming() {
    let mut bench = Bench::new(&options());
    let mut comes = 0;
    // Somebody else is always there to take a place that comes free, and never all places come free at once.
    let mut stream = |bench: &Bench| {
        let mut readers = Vec::new();
        while bench.worker.line.stats().waiting < 12 {
            comes += 1;
            readers.push(bench.asks(request(comes, 10, 5 + comes as usize % 7, &format!("single {comes}")), 1).unwrap());
        }
        readers
    };
    let mut readers = stream(&bench);
    bench.turn();
    let mut large = bench.asks(request(99, 10, 3, "large"), 6).unwrap();
    while !matches!(large[0].try_recv(), Ok(Event::Started { .. })) {
        readers.extend(stream(&bench));
        bench.turn();
        assert!(bench.turns < 200, "it is passed for ever");
    }
    bench.run_to_the_end();
    for mut events in readers {
        assert_eq!(answer(&mut events[0]).0.reason, Some(FinishReason::Length));
    }
}

#[test]
fn an_account_waits_and_runs_within_its_caps_and_others_do_not_notice() {
    let mut bench = Bench::new(&LoadOptions { account_running_max: 2, account_waiting_max: 3, waiting_max: 4, ..options() });
    let mut held: Vec<_> = (0..3).map(|start| bench.asks(request(start, 10, 50, "heavy"), 1).unwrap()).collect();
    assert!(matches!(bench.asks(request(3, 10, 50, "heavy"), 1), Err(Error::Busy { waiting: 3, .. })));
    held.push(bench.asks(request(4, 10, 50, "light"), 1).unwrap());
    assert!(matches!(bench.asks(request(5, 10, 50, "third"), 1), Err(Error::Busy { waiting: 4, .. })), "the line itself is full");
    bench.turn();
    assert_eq!((bench.worker.line.stats().running, bench.worker.line.stats().waiting), (3, 1));
    bench.run_to_the_end();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a deadline passes in real time")]
fn a_deadline_is_kept_or_the_request_refused() {
    let mut bench = Bench::new(&LoadOptions { running_max: 1, ..options() });
    let by = |deadline| Request { deadline: Some(deadline), ..request(1, 10, 400, "") };
    assert!(matches!(bench.asks(by(Instant::now()), 1), Err(Error::Busy { .. })), "it has passed already");
    let mut running = bench.asks(by(Instant::now() + Duration::from_secs(1)), 1).unwrap();
    let mut waiting = bench.asks(by(Instant::now() + Duration::from_secs(1)), 1).unwrap();
    bench.turn();
    assert!(matches!(bench.asks(by(Instant::now() + Duration::from_micros(10)), 1), Err(Error::Busy { .. })), "it cannot be met");
    std::thread::sleep(Duration::from_millis(1100));
    bench.run_to_the_end();
    for events in [&mut running[0], &mut waiting[0]] {
        let last = std::iter::from_fn(|| events.try_recv().ok()).last();
        assert!(matches!(last, Some(Event::Failed(Error::TooLate))), "{last:?}");
    }
}

#[test]
fn answers_tell_what_a_card_took_for_the_tokens_they_had_computed() {
    let mut bench = Bench::new(&options());
    bench.worker.energy = Some(EnergyMeter::made(u64::MAX));
    // So that what things cost is known.
    let mut first = bench.asks(request(0, 10, 60, ""), 1).unwrap();
    bench.run_to_the_end();
    assert!(answer(&mut first[0]).1.energy_joules.unwrap() > 0.0);

    let before = bench.worker.line.measures().energy_joules.unwrap();
    let mut alone = bench.asks(request(1, 10, 100, "a"), 1).unwrap();
    let mut twins = bench.asks(request(2, 10, 100, "b"), 2).unwrap();
    bench.run_to_the_end();
    let energies: Vec<f64> = alone.iter_mut().chain(&mut twins).map(|events| answer(events).1.energy_joules.unwrap()).collect();
    let all = bench.worker.line.measures().energy_joules.unwrap() - before;
    let sum: f64 = energies.iter().sum();
    // What has been measured lacks the last steps, which the answers have by estimate.
    assert!(all > 0.0 && sum > 0.9 * all, "{energies:?}, {all} J in all");
    assert!(energies.iter().all(|joules| (0.15..0.55).contains(&(joules / sum))), "they had about as much computed: {energies:?}");

    let mut fork = bench.asks(request(3, 10, 1, ""), 2).unwrap();
    bench.run_to_the_end();
    assert!(fork.iter_mut().all(|events| answer(events).1.energy_joules.is_some()), "also one that shares all that was computed");
}

#[test]
fn what_cannot_be_measured_is_not_told() {
    for meter in [None, Some(EnergyMeter::made(100))] {
        let mut bench = Bench::new(&options());
        bench.worker.energy = meter;
        let mut events = bench.asks(request(1, 10, 200, ""), 1).unwrap();
        bench.run_to_the_end();
        assert_eq!((answer(&mut events[0]).1.energy_joules, bench.worker.line.measures().energy_joules), (None, None));
    }
}
