//! What may be asked of a model: prompt, length, sampling, stops. Parsed here, every fault by its field; the engine gets valid requests only.

use inference::{LOGIT_BIAS_MAX, LOGPROBS_MAX, Prompt, Request, STOP_BYTES_MAX, STOP_STRINGS_MAX, STOP_TOKENS_MAX, Sampling};

use crate::error::{Error, FieldError};

/// The longest prompt we take to the tokenizer, in characters: many times what any OPT context holds.
pub const PROMPT_CHARS_MAX: usize = 32 * 1024;
/// The most tokens one request may make. The model's context is usually shorter.
pub const COMPLETION_TOKENS_MAX: i64 = 4096;
/// Tokens made when nothing is said, as in the completions contract.
pub const COMPLETION_TOKENS_DEFAULT: usize = 16;

/// The settings of a generation as somebody sent them: nothing set means the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The most tokens to make; 0 only with `echo`.
    pub max_tokens: Option<i64>,
    /// The answer does not end before so many tokens; at most `max_tokens`.
    pub min_tokens: Option<i64>,
    /// 0 to 2; 0 always takes the likeliest token.
    pub temperature: Option<f64>,
    /// More than 0, at most 1.
    pub top_p: Option<f64>,
    /// Draw from so many likeliest tokens; 0 and -1 mean all.
    pub top_k: Option<i64>,
    /// Leave out tokens less likely than this part of the likeliest, 0 to 1.
    pub min_p: Option<f64>,
    /// Draw from the tokens of the most usual surprise, as many as reach this sum: more than 0, at most 1.
    pub typical_p: Option<f64>,
    /// Same seed, prompt and settings: same text. Unset, one is drawn.
    pub seed: Option<i64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Tokens that end the answer.
    pub stop_token_ids: Vec<u32>,
    /// −2 to 2.
    pub presence_penalty: Option<f64>,
    /// −2 to 2.
    pub frequency_penalty: Option<f64>,
    /// What divides the logits of tokens that were there already: more than 0, at most 10; 1 changes nothing.
    pub repetition_penalty: Option<f64>,
    /// Token ids and what is added to their logits, −100 to 100.
    pub logit_bias: Vec<(u32, f64)>,
    /// Go on past the end-of-text token.
    pub ignore_eos: bool,
    /// Report this many alternatives with each token.
    pub logprobs: Option<i64>,
    /// Report the prompt too.
    pub echo: bool,
}

impl Settings {
    /// The request that continues `prompt` with these settings. Errors: [`Error::Invalid`] with every fault.
    pub fn request(&self, prompt: Prompt) -> Result<Request, Error> {
        let mut faults = Faults::default();
        faults.note(check_prompt(&prompt));
        let least = if self.echo { 0 } else { 1 };
        let max_tokens = faults.whole("max_tokens", self.max_tokens, COMPLETION_TOKENS_DEFAULT as i64, least, COMPLETION_TOKENS_MAX);
        let min_tokens = faults.whole("min_tokens", self.min_tokens, 0, 0, max_tokens);
        let temperature = faults.number("temperature", self.temperature, 1.0, 0.0, 2.0);
        let top_p = faults.share("top_p", self.top_p);
        let min_p = faults.number("min_p", self.min_p, 0.0, 0.0, 1.0);
        let typical_p = faults.share("typical_p", self.typical_p);
        let repetition_penalty = faults.number("repetition_penalty", self.repetition_penalty, 1.0, 0.01, 10.0);
        let top_k = match self.top_k {
            None | Some(0 | -1) => None,
            some => u32::try_from(faults.whole("top_k", some, 1, 1, i64::from(i32::MAX))).ok(),
        };
        let presence_penalty = faults.number("presence_penalty", self.presence_penalty, 0.0, -2.0, 2.0);
        let frequency_penalty = faults.number("frequency_penalty", self.frequency_penalty, 0.0, -2.0, 2.0);
        let logprobs = self
            .logprobs
            .map(|count| faults.whole("logprobs", Some(count), 0, 0, i64::from(LOGPROBS_MAX)))
            .and_then(|count| u8::try_from(count).ok());
        if self.logit_bias.len() > LOGIT_BIAS_MAX {
            faults.add("logit_bias", format!("moves at most {LOGIT_BIAS_MAX} tokens"));
        }
        let logit_bias =
            self.logit_bias.iter().map(|(token, bias)| (*token, faults.number("logit_bias", Some(*bias), 0.0, -100.0, 100.0))).collect();
        faults.note(check_stops(&self.stop));
        if self.stop_token_ids.len() > STOP_TOKENS_MAX {
            faults.add("stop_token_ids", format!("has at most {STOP_TOKENS_MAX} tokens"));
        }
        faults.none_or(Request {
            max_tokens: usize::try_from(max_tokens).unwrap_or(COMPLETION_TOKENS_DEFAULT),
            sampling: Sampling {
                temperature,
                top_k,
                top_p,
                min_p,
                typical_p,
                seed: self.seed.map_or_else(fresh_seed, i64::cast_unsigned),
                logit_bias,
                presence_penalty,
                frequency_penalty,
                repetition_penalty,
            },
            min_tokens: usize::try_from(min_tokens).unwrap_or(0),
            stop: self.stop.clone(),
            stop_token_ids: self.stop_token_ids.clone(),
            ignore_eos: self.ignore_eos,
            logprobs,
            echo: self.echo,
            ..Request::new(prompt)
        })
    }
}

/// A seed for somebody who did not choose one: small enough that every program and spreadsheet can repeat it.
fn fresh_seed() -> u64 {
    let mut bytes = [0u8; 4];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    u64::from(u32::from_le_bytes(bytes) >> 1)
}

fn check_prompt(prompt: &Prompt) -> Option<FieldError> {
    match prompt {
        Prompt::Text(text) if text.chars().count() > PROMPT_CHARS_MAX => {
            Some(FieldError::new("prompt", format!("has at most {PROMPT_CHARS_MAX} characters; shorten the text")))
        }
        Prompt::Ids(ids) if ids.is_empty() => Some(FieldError::new("prompt", "has at least one token")),
        Prompt::Text(_) | Prompt::Ids(_) => None,
    }
}

fn check_stops(stops: &[String]) -> Option<FieldError> {
    if stops.len() > STOP_STRINGS_MAX {
        return Some(FieldError::new("stop", format!("has at most {STOP_STRINGS_MAX} texts")));
    }
    if stops.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
        return Some(FieldError::new("stop", format!("holds texts of 1 to {STOP_BYTES_MAX} bytes")));
    }
    None
}

/// The faults found so far; a faulty value is replaced by its default so that the rest can be looked at too.
#[derive(Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    fn note(&mut self, fault: Option<FieldError>) {
        self.0.extend(fault);
    }

    fn add(&mut self, field: &'static str, message: impl Into<std::borrow::Cow<'static, str>>) {
        self.0.push(FieldError::new(field, message));
    }

    fn whole(&mut self, field: &'static str, value: Option<i64>, default: i64, least: i64, most: i64) -> i64 {
        let value = value.unwrap_or(default);
        if (least..=most).contains(&value) {
            return value;
        }
        let hint = if field == "max_tokens" && value == 0 { " (0 only with echo)" } else { "" };
        self.add(field, format!("is a whole number from {least} to {most}{hint}"));
        default
    }

    fn number(&mut self, field: &'static str, value: Option<f64>, default: f32, least: f64, most: f64) -> f32 {
        match value {
            None => default,
            Some(value) if (least..=most).contains(&value) => value as f32,
            Some(_) => {
                self.add(field, format!("is a number from {least} to {most}"));
                default
            }
        }
    }

    /// A part of the whole, never nothing.
    fn share(&mut self, field: &'static str, value: Option<f64>) -> f32 {
        if value == Some(0.0) {
            self.add(field, "is more than 0; for the likeliest token each time set temperature to 0");
        }
        self.number(field, value, 1.0, 0.0, 1.0)
    }

    fn none_or(self, request: Request) -> Result<Request, Error> {
        if self.0.is_empty() { Ok(request) } else { Err(Error::Invalid(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faulty_fields(settings: &Settings, prompt: Prompt) -> Vec<String> {
        match settings.request(prompt) {
            Err(Error::Invalid(faults)) => faults.into_iter().map(|fault| fault.field.into_owned()).collect(),
            other => panic!("expected faults, got {other:?}"),
        }
    }

    #[test]
    fn nothing_set_is_the_contracts_default() {
        let request = Settings::default().request(Prompt::Text("Once".into())).expect("defaults are valid");
        assert_eq!((request.max_tokens, request.sampling.temperature, request.sampling.top_p), (16, 1.0, 1.0));
        assert_eq!((request.sampling.top_k, request.logprobs, request.echo, request.ignore_eos), (None, None, false, false));
    }

    #[test]
    fn every_fault_is_told_by_its_field_in_one_go() {
        let settings = Settings {
            max_tokens: Some(0),
            temperature: Some(2.1),
            top_p: Some(0.0),
            top_k: Some(-2),
            min_tokens: Some(17),
            min_p: Some(1.1),
            typical_p: Some(0.0),
            repetition_penalty: Some(0.0),
            stop: vec![String::new()],
            stop_token_ids: vec![5; STOP_TOKENS_MAX + 1],
            presence_penalty: Some(f64::NAN),
            frequency_penalty: Some(-3.0),
            logit_bias: vec![(1, 101.0)],
            logprobs: Some(21),
            ..Settings::default()
        };
        let fields = faulty_fields(&settings, Prompt::Ids(vec![]));
        for field in [
            "prompt",
            "max_tokens",
            "temperature",
            "top_p",
            "top_k",
            "min_tokens",
            "min_p",
            "typical_p",
            "repetition_penalty",
            "stop_token_ids",
            "presence_penalty",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "stop",
        ] {
            assert!(fields.iter().any(|f| f == field), "{field} passed: {fields:?}");
        }
    }

    #[test]
    fn the_edges_are_inside() {
        let settings = Settings {
            max_tokens: Some(0),
            echo: true,
            temperature: Some(0.0),
            top_p: Some(1.0),
            top_k: Some(-1),
            seed: Some(-1),
            stop: vec!["\n".into(); STOP_STRINGS_MAX],
            logit_bias: vec![(5, -100.0)],
            logprobs: Some(20),
            ..Settings::default()
        };
        let request = settings.request(Prompt::Ids(vec![2])).expect("all at their edges");
        assert_eq!((request.max_tokens, request.sampling.seed, request.sampling.top_k), (0, u64::MAX, None));
    }

    #[test]
    fn a_text_that_no_context_could_hold_is_refused_before_it_is_tokenised() {
        assert_eq!(faulty_fields(&Settings::default(), Prompt::Text("é".repeat(PROMPT_CHARS_MAX + 1))), ["prompt"]);
        assert!(Settings::default().request(Prompt::Text("é".repeat(PROMPT_CHARS_MAX))).is_ok());
    }
}
