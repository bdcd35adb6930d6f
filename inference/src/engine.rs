//! The handle of a loaded model: checks and tokenises requests in the caller's thread, and lines them up for the engine's own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::kv_cache::Blocks;
use crate::line::{EngineStats, Line};
use crate::opt::{BLOCK_TOKENS, Model, OptConfig};
use crate::options::LoadOptions;
use crate::request::{Event, LOGIT_BIAS_MAX, LOGPROBS_MAX, Prompt, Request, STOP_BYTES_MAX, STOP_STRINGS_MAX, Sampling};
use crate::sequence::Waiting;
use crate::tokenizer::Tokenizer;
use crate::worker::Worker;

/// A loaded model that answers requests. Clones are handles of the same model. One thread owns weights and sequences; it ends when the
/// last handle is gone and the last answer complete.
#[derive(Clone)]
pub struct Engine {
    handle: Arc<Handle>,
}

struct Handle {
    line: Arc<Line>,
    thread: Mutex<Option<JoinHandle<()>>>,
    tokenizer: Option<Arc<Tokenizer>>,
    info: ModelInfo,
    fingerprint: String,
}

/// What is loaded, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The model's shape.
    pub config: OptConfig,
    /// Bytes of the weights in memory.
    pub weights_bytes: u64,
    /// Bytes of the weights that making one token reads at least once, when nothing is skipped.
    pub step_bytes: u64,
    /// Bytes of weights, KV cache when full, and buffers.
    pub memory_bytes: u64,
    /// Which instructions the kernels use: "plain", "avx2" or "avx512".
    pub kernels: &'static str,
    /// Compute threads.
    pub threads: usize,
    /// Whether the weights came, packed, from the cache.
    pub from_cache: bool,
}

/// The events of one request, in order. Dropping it cancels the request within one step.
#[derive(Debug)]
pub struct Generation {
    events: mpsc::UnboundedReceiver<Event>,
    prompt_tokens: usize,
}

impl Generation {
    /// The next event; `None` after `Finished` or `Failed`.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The same for callers without an async runtime. Panics when called from within one.
    pub fn blocking_next(&mut self) -> Option<Event> {
        self.events.blocking_recv()
    }

    /// Tokens of the prompt, known from the start.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }
}

impl Engine {
    /// Loads a checkpoint and starts its thread. Blocks while it reads. Errors name the file, tensor or field that is wrong.
    pub fn load(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Self, Error> {
        let model = Model::load(checkpoint, options)?;
        let config = model.config().clone();
        let tokenizer = match checkpoint.tokenizer_json()? {
            Some(json) => Some(Arc::new(Tokenizer::from_json(&json, Some(config.vocab_size))?)),
            None => None,
        };
        let info = ModelInfo {
            weights_bytes: model.weights_bytes(),
            step_bytes: model.step_bytes(),
            memory_bytes: model.weights_bytes().saturating_add(Model::working_bytes(&config, options)),
            kernels: model.kernels(),
            threads: model.threads(),
            from_cache: model.is_from_cache(),
            config,
        };
        let fingerprint = model.fingerprint();
        let line = Arc::new(Line::new(options.waiting_max, model.kv_blocks()));
        let worker = Worker {
            rows_without_token: rows_without_token(&info.config, tokenizer.as_deref()),
            blocks: Blocks::new(model.kv_blocks()),
            model,
            tokenizer: tokenizer.clone(),
            line: Arc::clone(&line),
            running: Vec::new(),
            running_max: options.running(),
            step_tokens_max: options.step_tokens(),
        };
        let thread = std::thread::Builder::new()
            .name("sluice-engine".to_owned())
            .spawn(move || worker.run())
            .map_err(|problem| Error::Internal { problem: format!("cannot start the engine's thread: {problem}") })?;
        tracing::info!(fingerprint, weights_bytes = info.weights_bytes, kernels = info.kernels, threads = info.threads, "model loaded");
        Ok(Self { handle: Arc::new(Handle { line, thread: Mutex::new(Some(thread)), tokenizer, info, fingerprint }) })
    }

    /// Lines a request up. Never waits: a full line is `Busy`, a prompt without room `PromptTooLong`, a field out of its bounds
    /// `Invalid` with its name.
    pub fn submit(&self, mut request: Request) -> Result<Generation, Error> {
        let Handle { line, tokenizer, info, .. } = &*self.handle;
        check_limits(&request)?;
        check_sampling(&request.sampling, info.config.vocab_size)?;
        if !request.stop.is_empty() && tokenizer.is_none() {
            return Err(Error::invalid("stop", "needs text, and this model came without a tokenizer; leave it out"));
        }
        let prompt = self.prompt_ids(std::mem::replace(&mut request.prompt, Prompt::Ids(Vec::new())), request.max_tokens)?;
        let prompt_tokens = prompt.len();
        let (sender, events) = mpsc::unbounded_channel();
        let waiting = Waiting { prompt, request, events: sender };
        let (tokens, kv_tokens_max) = (waiting.tokens_max(&info.config), line.stats().kv_blocks_max * BLOCK_TOKENS);
        if tokens > kv_tokens_max {
            return Err(Error::NoRoom { tokens, kv_tokens_max });
        }
        line.join(waiting)?;
        Ok(Generation { events, prompt_tokens })
    }

    /// The model's tokenizer, if it came with one.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.handle.tokenizer.as_deref()
    }

    /// Tokens the context holds, prompt and answer together.
    pub fn context_tokens_max(&self) -> usize {
        self.handle.info.config.max_position_embeddings
    }

    /// What is loaded, and how.
    pub fn info(&self) -> &ModelInfo {
        &self.handle.info
    }

    /// "fp_…": equal for equal weights, kernels and version of this engine. Then equal requests with equal seeds give equal text.
    pub fn fingerprint(&self) -> &str {
        &self.handle.fingerprint
    }

    /// What the engine is doing.
    pub fn stats(&self) -> EngineStats {
        self.handle.line.stats()
    }

    /// Whether somebody works behind the line. Once false it stays so: the model has to be loaded again.
    pub fn is_alive(&self) -> bool {
        self.handle.line.is_served()
    }

    /// Breaks off every request with `Closed` after the step it is in, and frees the model. Blocks until that is done.
    pub fn shutdown(&self) {
        self.handle.line.stop();
        let thread = self.handle.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread catches its own panics, and what it has to say has been said in events.
            let _ = thread.join();
        }
    }

    /// Whether nobody but the caller has a handle, and nothing is being answered.
    pub(crate) fn is_idle(&self) -> bool {
        let stats = self.stats();
        Arc::strong_count(&self.handle) == 1 && stats.running == 0 && stats.waiting == 0
    }

    fn prompt_ids(&self, prompt: Prompt, max_tokens: usize) -> Result<Vec<u32>, Error> {
        let context_tokens_max = self.context_tokens_max();
        let ids = match prompt {
            Prompt::Text(text) => {
                let tokenizer = self
                    .tokenizer()
                    .ok_or_else(|| Error::invalid("prompt", "is text, and this model came without a tokenizer; give token ids instead"))?;
                // So that nobody makes us tokenise megabytes only to refuse them.
                if text.len() > context_tokens_max.saturating_mul(tokenizer.token_bytes_max()) {
                    return Err(Error::PromptTooLong { prompt_tokens: None, context_tokens_max });
                }
                tokenizer.encode(&text)?
            }
            Prompt::Ids(ids) => {
                let vocab_size = self.handle.info.config.vocab_size;
                if let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size) {
                    return Err(Error::invalid(
                        "prompt",
                        format!("contains the token id {id}; this model's ids end at {}", vocab_size - 1),
                    ));
                }
                ids
            }
        };
        if ids.is_empty() {
            return Err(Error::invalid("prompt", "is empty; give at least one token"));
        }
        if ids.len() + max_tokens.min(1) > context_tokens_max {
            return Err(Error::PromptTooLong { prompt_tokens: Some(ids.len()), context_tokens_max });
        }
        Ok(ids)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Engine").field("fingerprint", &self.handle.fingerprint).field("info", &self.handle.info).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.line.drain();
    }
}

fn check_limits(request: &Request) -> Result<(), Error> {
    if request.max_tokens == 0 && !request.echo {
        return Err(Error::invalid("max_tokens", "is 0, which asks for nothing; it may be 0 only with echo"));
    }
    if let Some(count) = request.logprobs.filter(|count| *count > LOGPROBS_MAX) {
        return Err(Error::invalid("logprobs", format!("is {count}; at most {LOGPROBS_MAX} are given")));
    }
    if request.stop.len() > STOP_STRINGS_MAX {
        return Err(Error::invalid("stop", format!("holds {} texts; at most {STOP_STRINGS_MAX} are watched for", request.stop.len())));
    }
    if request.stop.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
        return Err(Error::invalid("stop", format!("holds a text that is empty or longer than {STOP_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn check_sampling(sampling: &Sampling, vocab_size: usize) -> Result<(), Error> {
    let Sampling { temperature, top_k, top_p, seed: _, logit_bias, presence_penalty, frequency_penalty } = sampling;
    if !(0.0..=100.0).contains(temperature) {
        return Err(Error::invalid("temperature", format!("is {temperature}; it goes from 0 to 100, and mostly from 0 to 2")));
    }
    if *top_k == Some(0) {
        return Err(Error::invalid("top_k", "is 0; it must be 1 or more, or left out"));
    }
    if !(*top_p > 0.0 && *top_p <= 1.0) {
        return Err(Error::invalid("top_p", format!("is {top_p}; it must be above 0 and at most 1")));
    }
    for (field, penalty) in [("presence_penalty", presence_penalty), ("frequency_penalty", frequency_penalty)] {
        if !(-2.0..=2.0).contains(penalty) {
            return Err(Error::invalid(field, format!("is {penalty}; it goes from -2 to 2")));
        }
    }
    if logit_bias.len() > LOGIT_BIAS_MAX {
        return Err(Error::invalid("logit_bias", format!("has {} entries; at most {LOGIT_BIAS_MAX} may be given", logit_bias.len())));
    }
    if let Some((id, bias)) = logit_bias.iter().find(|(id, bias)| *id as usize >= vocab_size || !(-100.0..=100.0).contains(bias)) {
        return Err(Error::invalid(
            "logit_bias",
            format!("moves token {id} by {bias}; ids go to {} and biases from -100 to 100", vocab_size - 1),
        ));
    }
    Ok(())
}

/// Without a tokenizer nothing is known, and every row may be drawn.
fn rows_without_token(config: &OptConfig, tokenizer: Option<&Tokenizer>) -> Vec<usize> {
    let Some(tokenizer) = tokenizer else { return Vec::new() };
    (0..config.vocab_size).filter(|row| u32::try_from(*row).is_ok_and(|id| !tokenizer.has_token(id))).collect()
}
