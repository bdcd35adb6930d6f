//! What is asked of the engine and what it answers: prompt, sampling, limits, and the events of one generation.

use std::sync::Arc;
use std::time::Instant;

use crate::error::Error;

/// What the model is to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Text, tokenised by the model's own tokenizer, which puts `</s>` in front.
    Text(String),
    /// Token ids, taken as they are: nothing is put in front.
    Ids(Vec<u32>),
}

/// How the next token is drawn from the logits. The order is: bias, penalties, temperature, top-k, top-p, min-p, typical-p, draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 takes the likeliest token each time; 1 draws from the model's own distribution.
    pub temperature: f32,
    /// Draw from the `k` likeliest tokens only.
    pub top_k: Option<u32>,
    /// Draw from the smallest set of likeliest tokens whose probabilities reach this sum, in (0, 1].
    pub top_p: f32,
    /// Leave out tokens less likely than this part of the likeliest, in [0, 1]; 0 leaves out none.
    pub min_p: f32,
    /// Draw from the tokens whose surprise is nearest to the expected one, as many as reach this sum, in (0, 1] (Meister et al.,
    /// "Locally typical sampling", arXiv 2202.00666); 1 leaves out none.
    pub typical_p: f32,
    /// Same seed, prompt, settings and engine fingerprint: same tokens, whatever else is running.
    pub seed: u64,
    /// Added to the logits of these tokens, each within ±100.
    pub logit_bias: Vec<(u32, f32)>,
    /// Taken once from the logit of each token generated already, within ±2.
    pub presence_penalty: f32,
    /// Taken from a token's logit for each time it was generated, within ±2.
    pub frequency_penalty: f32,
    /// What divides the logit of each token that the prompt or the answer has already, or multiplies a negative one, in (0, 10]; 1
    /// changes nothing (Keskar et al., "CTRL", arXiv 1909.05858).
    pub repetition_penalty: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            seed: 0,
            logit_bias: Vec::new(),
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
        }
    }
}

/// One request: a prompt to continue, within limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What to continue.
    pub prompt: Prompt,
    /// The most tokens to make. 0 only with `echo`, to score the prompt.
    pub max_tokens: usize,
    /// The answer does not end before so many tokens: end-of-text and stop tokens are not drawn, stop strings not looked for.
    pub min_tokens: usize,
    /// How to draw.
    pub sampling: Sampling,
    /// Texts that end the answer; they are not part of it. At most [`STOP_STRINGS_MAX`].
    pub stop: Vec<String>,
    /// Tokens that end the answer; they have no text. At most [`STOP_TOKENS_MAX`].
    pub stop_token_ids: Vec<u32>,
    /// Go on past the end-of-text token, to the limit.
    pub ignore_eos: bool,
    /// Report each token's log-probability and this many of the likeliest. At most [`LOGPROBS_MAX`].
    pub logprobs: Option<u8>,
    /// Report the prompt's tokens too, with `logprobs` also how likely each was.
    pub echo: bool,
    /// Whose request it is, by a name that means nothing here. Accounts share the engine evenly, and do not see what others have read.
    pub account: Arc<str>,
    /// When the answer must be complete. A request that cannot begin before is refused, one that is not complete then broken off.
    pub deadline: Option<Instant>,
}

impl Request {
    /// A request with everything else at its default: 16 tokens, temperature 1, no stops.
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            max_tokens: 16,
            min_tokens: 0,
            sampling: Sampling::default(),
            stop: Vec::new(),
            stop_token_ids: Vec::new(),
            ignore_eos: false,
            logprobs: None,
            echo: false,
            account: Arc::from(""),
            deadline: None,
        }
    }

    /// Whether the prompt's tokens are to be scored, so that each of them must be read.
    pub(crate) fn scores_prompt(&self) -> bool {
        self.echo && self.logprobs.is_some()
    }
}

/// The most stop strings in a request.
pub const STOP_STRINGS_MAX: usize = 16;
/// The most stop tokens in a request.
pub const STOP_TOKENS_MAX: usize = 64;
/// The most bytes of one stop string.
pub const STOP_BYTES_MAX: usize = 512;
/// The most alternatives reported beside a token.
pub const LOGPROBS_MAX: u8 = 20;
/// The most tokens whose logits a request may move.
pub const LOGIT_BIAS_MAX: usize = 1024;

/// What happens to a generation, in order: `Started`, then `Token`s, then `Finished`; or `Failed` at any point, as the last.
#[derive(Debug, Clone)]
pub enum Event {
    /// The request was taken up. With `echo` and `logprobs` this comes once the prompt has been read, else at once.
    Started {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// With `echo`: the prompt's tokens, in order; one list for all answers to it.
        prompt_logprobs: Option<Arc<[PromptToken]>>,
    },
    /// One more token.
    Token {
        /// Its id. The end-of-text token is reported too, with no text.
        id: u32,
        /// The text that has become certain: whole characters only, nothing that might belong to a stop string; often empty.
        text: String,
        /// With `logprobs`: the token's log-probability, of the raw logits, before temperature and penalties.
        logprob: Option<f32>,
        /// With `logprobs`: the likeliest tokens and their log-probabilities, likeliest first.
        top: Vec<(u32, f32)>,
    },
    /// The generation is complete; nothing follows.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// What it took.
        usage: Usage,
        /// Text that was held back (half a character, the beginning of a stop string) and now belongs to the answer.
        text_tail: String,
    },
    /// The generation broke off; nothing follows.
    Failed(Error),
}

/// One token of an echoed prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptToken {
    /// Its id.
    pub id: u32,
    /// Its text; the texts of all tokens joined are the prompt's text. A character split over tokens belongs to the last of them.
    pub text: String,
    /// With `logprobs`: log-probability given the tokens before; `None` for the first.
    pub logprob: Option<f32>,
    /// With `logprobs`: the likeliest tokens at this place; empty for the first.
    pub top: Vec<(u32, f32)>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended the text, or a stop string appeared.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
}

/// What an answer took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those of them that were not read, as the same account has had them read before.
    pub cached_tokens: usize,
    /// Tokens made, the end-of-text token and those of a stop string included.
    pub completion_tokens: usize,
    /// An estimate of the energy that the card took for it, above what it takes idle. `None` where that cannot be told, as on a CPU.
    /// Reading the prompt is on the first of several answers to it.
    pub energy_joules: Option<f64>,
}
