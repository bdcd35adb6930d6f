//! The handle of a loaded model: checks and tokenises requests in the caller's thread, and lines them up for the engine's own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::check;
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::line::{EngineStats, Line};
use crate::measures::Measures;
use crate::opt::{BLOCK_TOKENS, Model, OptConfig};
use crate::options::LoadOptions;
use crate::request::{Event, Prompt, Request};
use crate::roofline::ReadProbe;
use crate::scheduler::Batch;
use crate::sequence::Waiting;
use crate::tokenizer::Tokenizer;
use crate::vocabulary::Vocabulary;
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
    vocabulary: Vocabulary,
    info: ModelInfo,
    fingerprint: String,
    read_probe: ReadProbe,
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
    /// Multiplications and additions of a token that is read: [`Model::layer_operations`].
    pub layer_operations: u64,
    /// Bytes of weights, KV cache when full, and buffers.
    pub memory_bytes: u64,
    /// Which instructions the kernels use: "plain", "avx2", "avx512" or "avx512-bf16-vnni"; or the card and its library.
    pub kernels: String,
    /// Whether a card computes.
    pub on_card: bool,
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
    /// Loads a checkpoint and starts its thread. Blocks while it reads. Errors name the file, tensor or field that is wrong. `TooLarge`, with
    /// the numbers, if this machine has not the memory for it: then nothing has been loaded.
    pub fn load(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Self, Error> {
        options.check()?;
        let model = Model::load(checkpoint, options)?;
        let config = model.config().clone();
        // Equal prompts are equal tokens only by the same tokenizer.
        let mut fingerprint = blake3::Hasher::new();
        fingerprint.update(model.fingerprint().as_bytes());
        let tokenizer = match checkpoint.tokenizer_json()? {
            Some(json) => {
                fingerprint.update(&json);
                Some(Arc::new(Tokenizer::for_model(&json, &config)?))
            }
            None => None,
        };
        let fingerprint = format!("fp_{}", &fingerprint.finalize().to_hex()[..16]);
        let info = ModelInfo {
            weights_bytes: model.weights_bytes(),
            step_bytes: model.step_bytes(),
            layer_operations: model.layer_operations(),
            memory_bytes: model.weights_bytes().saturating_add(Model::working_bytes(&config, options)),
            kernels: model.kernels(),
            on_card: model.is_on_card(),
            threads: model.threads(),
            from_cache: model.is_from_cache(),
            config,
        };
        let read_probe = model.read_probe();
        let line = Arc::new(Line::new(model.kv_blocks(), options.limits()));
        let vocabulary = Vocabulary::new(&info.config, tokenizer.as_deref());
        let worker = Worker {
            rows_without_token: vocabulary.rows_without_token().to_vec(),
            // A thread chooses one token at a time, so more than there are answers have nothing to do.
            threads: model.compute_threads(),
            config: Arc::new(info.config.clone()),
            batch: Batch::new(model.kv_blocks(), options.limits(), model.tells_answers_from_prompts()),
            energy: model.energy_meter(),
            broken: None,
            model,
            tokenizer: tokenizer.clone(),
            line: Arc::clone(&line),
        };
        let thread = std::thread::Builder::new()
            .name("sluice-engine".to_owned())
            .spawn(move || worker.run())
            .map_err(|problem| Error::Internal { problem: format!("cannot start the engine's thread: {problem}") })?;
        tracing::info!(fingerprint, weights_bytes = info.weights_bytes, kernels = %info.kernels, threads = info.threads, "model loaded");
        Ok(Self {
            handle: Arc::new(Handle { line, thread: Mutex::new(Some(thread)), tokenizer, vocabulary, info, fingerprint, read_probe }),
        })
    }

    /// To measure how fast the memory is that the weights lie in.
    pub fn read_probe(&self) -> &ReadProbe {
        &self.handle.read_probe
    }

    /// Lines a request up. Never waits: a full line is `Busy`, a prompt without room `PromptTooLong`, a field out of its bounds
    /// `Invalid` with its name.
    pub fn submit(&self, request: Request) -> Result<Generation, Error> {
        let mut one = self.submit_choices(request, 1)?;
        Ok(one.pop().expect("one was asked for"))
    }

    /// Lines up so many answers to one prompt, which is read once. The first is the one `submit` would give; each differs from the others by
    /// its draws alone. Errors: those of `submit`, and `Invalid` if there are never so many places.
    pub fn submit_choices(&self, mut request: Request, choices: usize) -> Result<Vec<Generation>, Error> {
        let Handle { line, tokenizer, vocabulary, info, .. } = &*self.handle;
        if choices == 0 || choices > line.choices_max() {
            return Err(Error::invalid("n", format!("is {choices}; this engine gives 1 to {} answers to a prompt", line.choices_max())));
        }
        check::limits(&request, vocabulary)?;
        check::sampling(&request.sampling, vocabulary)?;
        if !request.stop.is_empty() && tokenizer.is_none() {
            return Err(Error::invalid("stop", "needs text, and this model came without a tokenizer; leave it out"));
        }
        let prompt = self.prompt_ids(std::mem::replace(&mut request.prompt, Prompt::Ids(Vec::new())), request.max_tokens)?;
        let prompt_tokens = prompt.len();
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..choices).map(|_| mpsc::unbounded_channel()).unzip();
        let waiting = Waiting { prompt, request, asked: Instant::now(), events: senders };
        let (tokens, kv_tokens_max) = (waiting.tokens_max(&info.config), line.stats().kv_blocks_max * BLOCK_TOKENS);
        if tokens > kv_tokens_max {
            return Err(Error::NoRoom { tokens, kv_tokens_max });
        }
        line.join(waiting)?;
        Ok(receivers.into_iter().map(|events| Generation { events, prompt_tokens }).collect())
    }

    /// The model's tokenizer, if it came with one.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.handle.tokenizer.as_deref()
    }

    /// Whether the id is that of a token; the embedding may have rows that are not. No prompt may hold another.
    pub fn has_token(&self, id: u32) -> bool {
        self.handle.vocabulary.has(id)
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

    /// How long its answers took.
    pub fn measures(&self) -> Measures {
        self.handle.line.measures()
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
            Prompt::Ids(ids) => ids,
        };
        ids.iter().try_for_each(|id| self.handle.vocabulary.check("prompt", *id))?;
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
