//! From events to `text_completion` objects: whole, or piece by piece as a stream.

use actix_web::web::Data;
use bytes::Bytes;
use futures_util::Stream;
use inference::{Event, FinishReason, Usage};
use serde::Serialize;

use super::super::complete::Run;
use super::super::fault::Fault;
use super::ask::Ask;
use super::logprobs::{Logprobs, Offset};
use super::refusal;
use crate::clock::Timestamp;
use crate::http::sse;
use crate::ids::GenerationId;
use crate::portal::Portal;

/// What every object of one answer carries.
pub(super) struct Heading {
    id: String,
    created: i64,
    model: String,
    engine: inference::Engine,
}

impl Heading {
    pub(super) fn new(id: GenerationId, created: Timestamp, model: String, engine: inference::Engine) -> Self {
        Self { id: format!("cmpl-{id}"), created: created.unix_timestamp(), model, engine }
    }

    fn object(&self, choices: Vec<Choice>, usage: Told) -> TextCompletion<'_> {
        TextCompletion {
            id: &self.id,
            object: "text_completion",
            created: self.created,
            model: &self.model,
            system_fingerprint: self.engine.fingerprint(),
            choices,
            usage,
        }
    }
}

/// An answer, or a piece of one.
#[derive(Serialize)]
pub(super) struct TextCompletion<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Told::is_not_asked_for")]
    usage: Told,
}

/// What an object says of usage.
#[derive(Serialize)]
#[serde(untagged)]
enum Told {
    /// The field is left out.
    NotAskedFor,
    /// `null`: it comes at the end.
    Later,
    Now(Count),
}

impl Told {
    fn is_not_asked_for(&self) -> bool {
        matches!(self, Told::NotAskedFor)
    }
}

/// One answer to one prompt, or what has been added to it.
#[derive(Serialize)]
struct Choice {
    index: usize,
    text: String,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
}

/// Tokens read and made so far. A prompt counts once, whatever the number of its choices.
#[derive(Clone, Copy, Serialize)]
struct Count {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: PromptDetails,
    /// Known as long as it is known of every answer. Our own, beside what OpenAI's interface has.
    #[serde(rename = "energy_joules_estimate", skip_serializing_if = "Option::is_none", serialize_with = "in_millijoules")]
    energy_joules: Option<f64>,
}

#[derive(Clone, Copy, Serialize)]
struct PromptDetails {
    cached_tokens: usize,
}

/// No estimate is finer.
fn in_millijoules<S: serde::Serializer>(joules: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    joules.map(|joules| (joules * 1e3).round() / 1e3).serialize(to)
}

impl Count {
    fn new() -> Self {
        let prompt_tokens_details = PromptDetails { cached_tokens: 0 };
        Self { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0, prompt_tokens_details, energy_joules: Some(0.0) }
    }

    /// Takes in what the `index`th answer took, of so many to each prompt.
    fn add(&mut self, index: usize, choices: usize, usage: Usage) {
        self.completion_tokens += usage.completion_tokens;
        if index.is_multiple_of(choices) {
            self.prompt_tokens += usage.prompt_tokens;
            self.prompt_tokens_details.cached_tokens += usage.cached_tokens;
        }
        self.total_tokens = self.prompt_tokens + self.completion_tokens;
        self.energy_joules = self.energy_joules.zip(usage.energy_joules).map(|(before, joules)| before + joules);
    }
}

/// One candidate as it grows.
#[derive(Default)]
struct Candidate {
    text: String,
    offset: Offset,
    logprobs: Logprobs,
    logprob_sum: f64,
    tokens: usize,
    finish_reason: Option<&'static str>,
}

impl Candidate {
    /// Takes an event in; says whether there is something to show.
    fn take(&mut self, event: Event, heading: &Heading) -> bool {
        let tokenizer = heading.engine.tokenizer();
        match event {
            Event::Started { prompt_logprobs, .. } => {
                let prompt = prompt_logprobs.unwrap_or_default();
                self.text.extend(prompt.iter().map(|token| token.text.as_str()));
                self.logprobs.push_prompt(tokenizer, &mut self.offset, &prompt);
                !prompt.is_empty()
            }
            Event::Token { id, text, logprob, top } => {
                self.text.push_str(&text);
                self.tokens += 1;
                self.logprob_sum += logprob.map_or(0.0, f64::from);
                if logprob.is_some() {
                    self.logprobs.push(tokenizer, &mut self.offset, id, logprob, &top);
                }
                logprob.is_some() || !text.is_empty()
            }
            Event::Finished { reason, text_tail, .. } => {
                self.text.push_str(&text_tail);
                self.finish_reason = Some(finish_reason(reason));
                true
            }
            Event::Failed(_) => false,
        }
    }

    fn mean_logprob(&self) -> f64 {
        if self.tokens == 0 { f64::NEG_INFINITY } else { self.logprob_sum / self.tokens as f64 }
    }

    /// The choice as it stands, and begins anew behind it (the offset goes on).
    fn hand_out(&mut self, index: usize, with_logprobs: bool) -> Choice {
        let logprobs = std::mem::take(&mut self.logprobs);
        Choice {
            index,
            text: std::mem::take(&mut self.text),
            logprobs: with_logprobs.then_some(logprobs),
            finish_reason: self.finish_reason,
        }
    }
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

/// The whole answer, when all candidates are finished.
pub(super) async fn whole<'a>(heading: &'a Heading, ask: &Ask, mut run: Run) -> Result<TextCompletion<'a>, Fault> {
    let mut candidates: Vec<Candidate> = (0..ask.prompts.len() * ask.best_of).map(|_| Candidate::default()).collect();
    let mut count = Count::new();
    while let Some(step) = run.next().await {
        let (index, event) = step?;
        match &event {
            Event::Failed(cause) => return Err(cause.clone().into()),
            Event::Finished { usage, .. } => count.add(index, ask.best_of, *usage),
            Event::Started { .. } | Event::Token { .. } => {}
        }
        candidates[index].take(event, heading);
    }
    let mut choices = Vec::with_capacity(ask.prompts.len() * ask.n);
    for of_one_prompt in candidates.chunks_mut(ask.best_of) {
        if ask.best_of > ask.n {
            of_one_prompt.sort_by(|a, b| b.mean_logprob().total_cmp(&a.mean_logprob()));
        }
        for candidate in &mut of_one_prompt[..ask.n] {
            choices.push(candidate.hand_out(choices.len(), ask.settings.logprobs.is_some()));
        }
    }
    Ok(heading.object(choices, Told::Now(count)))
}

/// The answer piece by piece. An engine that fails on the way ends the stream with an error that clients raise.
pub(super) fn pieces(portal: Data<Portal>, heading: Heading, ask: Ask, run: Run) -> impl Stream<Item = Bytes> {
    let candidates = (0..ask.prompts.len() * ask.n).map(|_| Candidate::default()).collect();
    let streaming = Streaming { portal, heading, ask, run, candidates, count: Count::new(), ended: false };
    futures_util::stream::unfold(streaming, |mut streaming| async {
        let piece = streaming.next().await?;
        Some((piece, streaming))
    })
}

struct Streaming {
    portal: Data<Portal>,
    heading: Heading,
    ask: Ask,
    run: Run,
    candidates: Vec<Candidate>,
    count: Count,
    ended: bool,
}

impl Streaming {
    async fn next(&mut self) -> Option<Bytes> {
        while !self.ended {
            let Some(step) = self.run.next().await else {
                self.ended = true;
                return Some(self.last());
            };
            let (index, event) = match step {
                Ok(step) => step,
                Err(fault) => return Some(self.broken_off(&fault)),
            };
            match &event {
                Event::Failed(cause) => return Some(self.broken_off(&cause.clone().into())),
                Event::Finished { usage, .. } => self.count.add(index, self.ask.n, *usage),
                Event::Started { .. } | Event::Token { .. } => {}
            }
            if self.candidates[index].take(event, &self.heading) {
                let choice = self.candidates[index].hand_out(index, self.ask.settings.logprobs.is_some());
                let usage = if self.ask.include_usage { Told::Later } else { Told::NotAskedFor };
                return Some(sse::json(&self.heading.object(vec![choice], usage)));
            }
        }
        None
    }

    /// The last piece of an answer that does not go on: an error that clients raise.
    fn broken_off(&mut self, fault: &Fault) -> Bytes {
        self.ended = true;
        sse::json(&refusal::body(fault, &self.portal.config))
    }

    fn last(&self) -> Bytes {
        let done = sse::event("[DONE]");
        if !self.ask.include_usage {
            return done;
        }
        let usage = sse::json(&self.heading.object(vec![], Told::Now(self.count)));
        Bytes::from([usage, done].concat())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn usage(energy_joules: Option<f64>) -> Usage {
        Usage { prompt_tokens: 5, cached_tokens: 2, completion_tokens: 3, energy_joules }
    }

    #[test]
    fn energy_is_told_if_it_is_known_of_every_answer() {
        let told = |energies: [Option<f64>; 2]| {
            let mut count = Count::new();
            energies.into_iter().enumerate().for_each(|(index, energy)| count.add(index, 2, usage(energy)));
            json!(count)
        };
        assert_eq!(told([Some(1.0004), Some(0.25)])["energy_joules_estimate"], 1.25);
        let unknown = told([Some(1.0), None]);
        assert_eq!((unknown.get("energy_joules_estimate"), &unknown["total_tokens"]), (None, &json!(11)));
    }

    #[test]
    fn usage_is_left_out_null_or_told() {
        let said =
            |usage| json!(TextCompletion { id: "", object: "", created: 0, model: "", system_fingerprint: "", choices: vec![], usage });
        assert_eq!(said(Told::NotAskedFor).get("usage"), None);
        assert_eq!(said(Told::Later).get("usage"), Some(&Value::Null));
        assert_eq!(said(Told::Now(Count::new()))["usage"]["prompt_tokens_details"], json!({ "cached_tokens": 0 }));
    }
}
