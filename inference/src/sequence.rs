//! One answer as a state machine: Waiting (a request in the line, for one answer or several), Running (it has a place and takes part in
//! steps), Finished (its reader has been told why, and everything has been given back). A running sequence that gives way loses its
//! memory, keeps its tokens, and later reads them again.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use crate::device::{Chunks, Threads};
use crate::energy::Tally;
use crate::error::Error;
use crate::kv_cache::Chain;
use crate::measures::{Measures, Times};
use crate::opt::{Kv, OptConfig};
use crate::request::{Event, FinishReason, PromptToken, Request, Usage};
use crate::sampler::{LogProbs, Sampler};
use crate::scheduler::Work;
use crate::stops::{Passed, Stops};
use crate::tokenizer::{TextDecoder, Tokenizer};

/// A sequence that has given way so often does not again.
const GIVES_WAY_MAX: u32 = 2;

/// What a sequence needs to know of its model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) config: &'a OptConfig,
    pub(crate) tokenizer: Option<&'a Tokenizer>,
}

/// A request in the line: checked, tokenised, and owning nothing yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) prompt: Vec<u32>,
    pub(crate) request: Request,
    /// When it was asked.
    pub(crate) asked: Instant,
    /// Where each of its answers goes; at least one. Unbounded, but a channel never holds more than one event for each token of the
    /// context: the engine must not wait for a slow reader.
    pub(crate) events: Vec<UnboundedSender<Event>>,
}

impl Waiting {
    /// Whether nobody waits for any of the answers any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.events.iter().all(UnboundedSender::is_closed)
    }

    /// Whether it is too late for an answer.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.request.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Answers it asks for.
    pub(crate) fn choices(&self) -> usize {
        self.events.len()
    }

    /// The most tokens each of its sequences may come to hold.
    pub(crate) fn tokens_max(&self, config: &OptConfig) -> usize {
        (self.prompt.len().saturating_add(self.request.max_tokens)).min(config.max_position_embeddings)
    }

    /// What it takes, at most.
    pub(crate) fn work(&self) -> Work {
        Work { prompt_tokens: self.prompt.len(), answer_tokens: self.request.max_tokens.saturating_mul(self.choices()) }
    }

    /// Whether the model has to compute anything at all.
    pub(crate) fn computes(&self) -> bool {
        self.request.max_tokens > 0 || self.request.scores_prompt()
    }

    /// Breaks it off.
    pub(crate) fn fail(self, error: &Error) {
        for events in self.events {
            let _ = events.send(Event::Failed(error.clone()));
        }
    }

    /// Takes up the request. `kv` remembers the beginning of the prompt, if another request began alike; `chain` names it.
    pub(crate) fn start(self, arrival: u64, kv: Kv, chain: Chain, about: About<'_>) -> Running {
        let tokens_max = self.tokens_max(about.config);
        let Self { prompt, request, asked, events } = self;
        let report = request.echo.then(|| report(&prompt, about.tokenizer));
        let mut channels = events.into_iter();
        let events = channels.next().expect("a request has a reader");
        let prompt_tokens = prompt.len();
        let mut running = Running {
            arrival,
            prompt_tokens,
            cached_tokens: kv.tokens(),
            tokens_max,
            sampler: Sampler::new(&request.sampling, &prompt, 0),
            tokens: prompt,
            kv: kv.of_prompt(prompt_tokens),
            chain,
            gave_way: 0,
            times: Times::begun(asked, prompt_tokens),
            energy: Tally::default(),
            decoder: TextDecoder::default(),
            stops: Stops::new(request.stop.clone()),
            report: None,
            siblings: (1..).zip(channels).collect(),
            request: Arc::new(request),
            events,
        };
        if running.request.scores_prompt() {
            // The report is complete once the prompt has been read.
            running.report = report;
        } else {
            running.send_started(report);
        }
        running
    }
}

/// A sequence that takes part in steps.
#[derive(Debug)]
pub(crate) struct Running {
    /// The how-manieth request it is of all.
    arrival: u64,
    prompt_tokens: usize,
    /// Tokens of the prompt that need not be read, as somebody has before.
    cached_tokens: usize,
    tokens_max: usize,
    /// Prompt and answer so far.
    tokens: Vec<u32>,
    kv: Kv,
    /// The name of what lies in the full blocks.
    chain: Chain,
    /// How often it has given way.
    gave_way: u32,
    times: Times,
    /// What it has taken of a card's energy.
    energy: Tally,
    sampler: Sampler,
    decoder: TextDecoder,
    stops: Stops,
    /// The prompt's tokens, while their log-probabilities are being found.
    report: Option<Vec<PromptToken>>,
    /// Further answers to the same prompt, by number: they begin when it has been read.
    siblings: Vec<(u32, UnboundedSender<Event>)>,
    request: Arc<Request>,
    events: UnboundedSender<Event>,
}

/// Whether a sequence goes on.
#[derive(Debug)]
pub(crate) enum Progress {
    Goes,
    Ends(FinishReason),
    Fails(Error),
}

impl Running {
    pub(crate) fn is_abandoned(&self) -> bool {
        self.events.is_closed() && self.siblings.iter().all(|(_, events)| events.is_closed())
    }

    /// Whether it is too late for the answer.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.request.deadline.is_some_and(|deadline| deadline <= now)
    }

    pub(crate) fn arrival(&self) -> u64 {
        self.arrival
    }

    pub(crate) fn account(&self) -> &Arc<str> {
        &self.request.account
    }

    /// Places it takes, those of answers that have not begun included.
    pub(crate) fn places(&self) -> usize {
        1 + self.siblings.len()
    }

    /// Whether it has given way as often as anybody may. Then it gets all the memory it may come to need at once, so that it ends.
    pub(crate) fn is_last_try(&self) -> bool {
        self.gave_way >= GIVES_WAY_MAX
    }

    /// Tokens yet to be read. 0 only for a request that wants nothing computed.
    pub(crate) fn pending(&self) -> usize {
        if self.request.max_tokens == 0 && !self.request.scores_prompt() { 0 } else { self.tokens.len() - self.kv.tokens() }
    }

    /// What it may still take.
    pub(crate) fn work(&self) -> Work {
        let answer_tokens = (self.tokens_max - self.tokens.len().min(self.tokens_max)) * self.places();
        Work { prompt_tokens: self.tokens.len() - self.kv.tokens(), answer_tokens }
    }

    /// Prompt and answer so far.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The most tokens it may come to hold.
    pub(crate) fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// Whether what others have read before may be taken over. Not where each token's probability is wanted.
    pub(crate) fn may_skip(&self) -> bool {
        self.report.is_none()
    }

    pub(crate) fn kv(&self) -> &Kv {
        &self.kv
    }

    pub(crate) fn kv_mut(&mut self) -> &mut Kv {
        &mut self.kv
    }

    /// What has been read, by name, beside the tokens and the blocks they lie in; of its prompt alone, if answers are computed apart.
    pub(crate) fn chain(&mut self, answers_apart: bool) -> (&mut Chain, &[u32], &[u32]) {
        let tokens = self.kv.tokens().min(if answers_apart { self.prompt_tokens } else { usize::MAX });
        (&mut self.chain, &self.tokens[..tokens], self.kv.blocks())
    }

    /// Tokens that may have been read by others: not the last, which must be read, nor those of the answer, if these are computed apart.
    pub(crate) fn skippable(&self, answers_apart: bool) -> usize {
        let most = if answers_apart { self.prompt_tokens } else { usize::MAX };
        if self.may_skip() { (self.tokens.len() - 1).min(most) } else { 0 }
    }

    /// Gives way: everything is read again when it resumes. Gives its memory.
    pub(crate) fn give_way(&mut self, root: Chain) -> Kv {
        self.gave_way += 1;
        self.chain = root;
        std::mem::replace(&mut self.kv, Kv::in_blocks(Vec::new()))
    }

    /// Goes on, remembering what `kv` holds.
    pub(crate) fn resume(&mut self, kv: Kv, chain: Chain) {
        self.kv = kv.of_prompt(self.prompt_tokens);
        self.chain = chain;
    }

    /// What the next step is to read, the memory it goes into, and from which of these tokens on logits are wanted.
    pub(crate) fn next(&mut self, count: usize) -> (&[u32], &mut Kv, usize) {
        let from = self.kv.tokens();
        let reaches_end = from + count == self.tokens.len();
        let logits_from = match () {
            () if self.report.is_some() => 0,
            () if reaches_end => count - 1,
            () => count,
        };
        (&self.tokens[from..from + count], &mut self.kv, logits_from)
    }

    /// Tokens of the answer so far.
    pub(crate) fn made(&self) -> usize {
        self.tokens.len() - self.prompt_tokens
    }

    /// What it has taken of a card's energy.
    pub(crate) fn energy(&self) -> &Tally {
        &self.energy
    }

    /// Counts what the step that ended `now` brought it.
    pub(crate) fn measure(&mut self, measures: &mut Measures, progress: &Progress, now: Instant) {
        let made = self.made();
        measures.note(&mut self.times, made, progress, now);
    }

    /// Takes what the step gave: `rows` of logits (wanted, vocab) for the last of the tokens that were read. Says whether all have been
    /// read, so that a token can be made.
    pub(crate) fn has_read(&mut self, rows: &[f32], about: About<'_>, threads: &Threads) -> bool {
        if self.report.is_some() {
            self.score_prompt(rows, about.config.vocab_size, threads);
        }
        if self.kv.tokens() < self.tokens.len() {
            return false;
        }
        if let Some(report) = self.report.take() {
            self.send_started(Some(report));
        }
        true
    }

    /// The other answers to the same prompt, which begin now. They share all that has been read.
    pub(crate) fn fork(&mut self) -> Vec<Running> {
        let siblings = std::mem::take(&mut self.siblings);
        let fork = |(number, events)| Running {
            arrival: self.arrival,
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            tokens_max: self.tokens_max,
            sampler: Sampler::new(&self.request.sampling, &self.tokens, number),
            tokens: self.tokens.clone(),
            kv: Kv::holding(self.kv.blocks()[..self.kv.tokens().div_ceil(crate::opt::BLOCK_TOKENS)].to_vec(), self.kv.tokens())
                .of_prompt(self.prompt_tokens),
            chain: self.chain.clone(),
            gave_way: 0,
            times: self.times.of_fork(),
            energy: Tally::default(),
            decoder: TextDecoder::default(),
            stops: Stops::new(self.request.stop.clone()),
            report: None,
            siblings: Vec::new(),
            request: Arc::clone(&self.request),
            events,
        };
        siblings.into_iter().map(fork).collect()
    }

    /// Makes one token of the logits after the last that was read.
    pub(crate) fn make_token(&mut self, logits: &[f32], about: About<'_>) -> Progress {
        let request = Arc::clone(&self.request);
        if request.max_tokens == 0 {
            return Progress::Ends(FinishReason::Length);
        }
        let may_end = self.made() >= request.min_tokens;
        let ending =
            |token: &u32| (!request.ignore_eos && about.config.eos_token_ids.contains(token)) || request.stop_token_ids.contains(token);
        let barred: Vec<u32> = if may_end {
            Vec::new()
        } else {
            about.config.eos_token_ids.iter().chain(&request.stop_token_ids).copied().filter(ending).collect()
        };
        let Some(token) = self.sampler.choose(logits, self.tokens.len() as u64, &barred) else {
            return Progress::Fails(Error::Internal { problem: "no token can be drawn: every one is barred".to_owned() });
        };
        let (logprob, top) = match request.logprobs {
            None => (None, Vec::new()),
            Some(count) => {
                let logprobs = LogProbs::of(logits);
                (Some(logprobs.get(token)), logprobs.top(count.into()))
            }
        };
        self.tokens.push(token);
        let ends = ending(&token);
        let bytes = if ends { &[] } else { about.tokenizer.map_or(&[][..], |tokenizer| tokenizer.bytes(token)) };
        let text = self.decoder.push(bytes);
        // Stop strings are watched for from the first token on with which the answer may end.
        let passed = if self.made() >= request.min_tokens { self.stops.push(&text) } else { Passed::Text(text) };
        let (text, stopped) = match passed {
            Passed::Text(text) => (text, false),
            Passed::Stopped(text) => (text, true),
        };
        self.send(Event::Token { id: token, text, logprob, top });
        if stopped {
            // Whatever half a character came after the stop string is not part of the answer.
            self.decoder = TextDecoder::default();
        }
        match () {
            () if stopped || ends => Progress::Ends(FinishReason::Stop),
            () if self.made() >= request.max_tokens || self.tokens.len() >= self.tokens_max => Progress::Ends(FinishReason::Length),
            () => Progress::Goes,
        }
    }

    /// Ends the sequence: tells the reader, and gives back the memory it held.
    pub(crate) fn finish(mut self, reason: FinishReason) -> Kv {
        // Half a character that the end cuts off is shown as U+FFFD, and stop strings get a last look at it.
        let tail = self.decoder.finish();
        let text_tail = match self.stops.push(&tail) {
            Passed::Text(text) => text + &self.stops.finish(),
            Passed::Stopped(text) => text,
        };
        let usage = Usage {
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            completion_tokens: self.made(),
            energy_joules: self.energy.joules(),
        };
        self.send(Event::Finished { reason, usage, text_tail });
        self.kv
    }

    /// Breaks the sequence off, and those that were to begin with it.
    pub(crate) fn fail(self, error: &Error) -> Kv {
        self.send(Event::Failed(error.clone()));
        for (_, events) in &self.siblings {
            let _ = events.send(Event::Failed(error.clone()));
        }
        self.kv
    }

    /// Ends a sequence nobody reads.
    pub(crate) fn abandon(self) -> Kv {
        self.kv
    }

    /// The logits after a token say how likely the next one was. `rows` end with those of the last token read. Each row is one thread's.
    fn score_prompt(&mut self, rows: &[f32], vocab: usize, threads: &Threads) {
        let read = self.kv.tokens();
        let first = read - rows.len() / vocab;
        let (Some(report), Some(count)) = (&mut self.report, self.request.logprobs) else { return };
        let report = report.get_mut(first + 1..).unwrap_or_default();
        let scored = report.len().min(rows.len() / vocab);
        let chunks = Chunks::new(&mut report[..scored], 1, threads.count());
        threads.run(&|thread| {
            while let Some((row, token)) = chunks.next(thread) {
                let logprobs = LogProbs::of(&rows[row * vocab..][..vocab]);
                token[0].logprob = Some(logprobs.get(token[0].id));
                token[0].top = logprobs.top(count.into());
            }
        });
    }

    fn send_started(&self, report: Option<Vec<PromptToken>>) {
        let report: Option<Arc<[PromptToken]>> = report.map(Arc::from);
        for events in self.siblings.iter().map(|(_, events)| events).chain([&self.events]) {
            let _ = events.send(Event::Started { prompt_tokens: self.prompt_tokens, prompt_logprobs: report.clone() });
        }
    }

    /// A reader that has left is noticed at the next step.
    fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

/// The prompt's tokens with their texts; a character split over tokens belongs to the last of them.
fn report(prompt: &[u32], tokenizer: Option<&Tokenizer>) -> Vec<PromptToken> {
    let mut decoder = TextDecoder::default();
    let mut report: Vec<PromptToken> = prompt
        .iter()
        .map(|id| {
            let text = tokenizer.map(|tokenizer| decoder.push(tokenizer.bytes(*id))).unwrap_or_default();
            PromptToken { id: *id, text, logprob: None, top: Vec::new() }
        })
        .collect();
    if let Some(last) = report.last_mut() {
        last.text.push_str(&decoder.finish());
    }
    report
}
