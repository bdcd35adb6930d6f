//! One generation as a state machine: Waiting (a request in the line), Running (it owns memory and takes part in steps), Finished
//! (its reader has been told why, and everything has been given back).

use tokio::sync::mpsc::UnboundedSender;

use crate::error::Error;
use crate::opt::{Kv, OptConfig};
use crate::request::{Event, FinishReason, PromptToken, Request, Usage};
use crate::sampler::{LogProbs, Sampler};
use crate::stops::{Passed, Stops};
use crate::tokenizer::{TextDecoder, Tokenizer};

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
    /// Unbounded, but never holds more than one event for each token of the context: the engine must not wait for a slow reader.
    pub(crate) events: UnboundedSender<Event>,
}

impl Waiting {
    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// The most tokens the sequence may come to hold.
    pub(crate) fn tokens_max(&self, config: &OptConfig) -> usize {
        (self.prompt.len() + self.request.max_tokens).min(config.max_position_embeddings)
    }

    /// Takes up the request.
    pub(crate) fn start(self, blocks: Vec<u32>, about: About<'_>) -> Running {
        let tokens_max = self.tokens_max(about.config);
        let Self { prompt, mut request, events } = self;
        let report = request.echo.then(|| report(&prompt, about.tokenizer));
        let running = Running {
            prompt_tokens: prompt.len(),
            tokens_max,
            tokens: prompt,
            kv: Kv::in_blocks(blocks),
            sampler: Sampler::new(std::mem::take(&mut request.sampling)),
            decoder: TextDecoder::default(),
            stops: Stops::new(std::mem::take(&mut request.stop)),
            report: None,
            request,
            events,
        };
        match report {
            // The report is complete once the prompt has been read.
            Some(report) if running.scores_prompt() => Running { report: Some(report), ..running },
            prompt_logprobs => {
                running.send(Event::Started { prompt_tokens: running.prompt_tokens, prompt_logprobs });
                running
            }
        }
    }
}

/// A sequence that takes part in steps.
#[derive(Debug)]
pub(crate) struct Running {
    prompt_tokens: usize,
    tokens_max: usize,
    /// Prompt and answer so far.
    tokens: Vec<u32>,
    kv: Kv,
    sampler: Sampler,
    decoder: TextDecoder,
    stops: Stops,
    /// The prompt's tokens, while their log-probabilities are being found.
    report: Option<Vec<PromptToken>>,
    /// Its limits; prompt, sampling and stops have moved to where they are used.
    request: Request,
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
        self.events.is_closed()
    }

    /// Tokens yet to be read. 0 only for a request that wants nothing computed.
    pub(crate) fn pending(&self) -> usize {
        if self.request.max_tokens == 0 && !self.scores_prompt() { 0 } else { self.tokens.len() - self.kv.tokens() }
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

    pub(crate) fn kv(&self) -> &Kv {
        &self.kv
    }

    /// Tokens of the answer so far.
    pub(crate) fn made(&self) -> usize {
        self.tokens.len() - self.prompt_tokens
    }

    /// Takes what the step gave: `rows` of logits (wanted, vocab) for the last of the tokens that were read.
    pub(crate) fn advance(&mut self, rows: &[f32], about: About<'_>) -> Progress {
        let vocab = about.config.vocab_size;
        if self.report.is_some() {
            self.score_prompt(rows, vocab);
        }
        if self.kv.tokens() < self.tokens.len() {
            return Progress::Goes;
        }
        if let Some(report) = self.report.take() {
            self.send(Event::Started { prompt_tokens: self.prompt_tokens, prompt_logprobs: Some(report) });
        }
        if self.request.max_tokens == 0 {
            return Progress::Ends(FinishReason::Length);
        }
        self.make_token(&rows[rows.len() - vocab..], about)
    }

    /// Ends the sequence: tells the reader, and gives back the memory it held.
    pub(crate) fn finish(mut self, reason: FinishReason) -> Kv {
        // Half a character that the end cuts off is shown as U+FFFD, and stop strings get a last look at it.
        let tail = self.decoder.finish();
        let text_tail = match self.stops.push(&tail) {
            Passed::Text(text) => text + &self.stops.finish(),
            Passed::Stopped(text) => text,
        };
        let usage = Usage { prompt_tokens: self.prompt_tokens, completion_tokens: self.made() };
        self.send(Event::Finished { reason, usage, text_tail });
        self.kv
    }

    /// Breaks the sequence off.
    pub(crate) fn fail(self, error: Error) -> Kv {
        self.send(Event::Failed(error));
        self.kv
    }

    /// Ends a sequence nobody reads.
    pub(crate) fn abandon(self) -> Kv {
        self.kv
    }

    fn make_token(&mut self, logits: &[f32], about: About<'_>) -> Progress {
        let Some(token) = self.sampler.choose(logits, self.tokens.len() as u64) else {
            return Progress::Fails(Error::Internal { problem: "no logit is a finite number; the weights may be damaged".to_owned() });
        };
        self.tokens.push(token);
        let (logprob, top) = match self.request.logprobs {
            None => (None, Vec::new()),
            Some(count) => {
                let logprobs = LogProbs::of(logits);
                (Some(logprobs.get(token)), logprobs.top(count.into()))
            }
        };
        let ends = !self.request.ignore_eos && about.config.eos_token_ids.contains(&token);
        let bytes = if ends { &[] } else { about.tokenizer.map_or(&[][..], |tokenizer| tokenizer.bytes(token)) };
        let passed = self.stops.push(&self.decoder.push(bytes));
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
            () if self.made() >= self.request.max_tokens || self.tokens.len() >= self.tokens_max => Progress::Ends(FinishReason::Length),
            () => Progress::Goes,
        }
    }

    fn scores_prompt(&self) -> bool {
        self.request.echo && self.request.logprobs.is_some()
    }

    /// The logits after a token say how likely the next one was. `rows` end with those of the last token read.
    fn score_prompt(&mut self, rows: &[f32], vocab: usize) {
        let read = self.kv.tokens();
        let first = read - rows.len() / vocab;
        let (Some(report), Some(count)) = (&mut self.report, self.request.logprobs) else { return };
        for (logits, token) in rows.chunks_exact(vocab).zip(report.iter_mut().skip(first + 1)) {
            let logprobs = LogProbs::of(logits);
            token.logprob = Some(logprobs.get(token.id));
            token.top = logprobs.top(count.into());
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
