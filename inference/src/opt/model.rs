//! A loaded model, wherever it computes: what it is asked for, and what is checked before.

use std::sync::Arc;

use super::config::OptConfig;
use super::on_card::OnCard;
use super::on_cpu::OnCpu;
use super::weights::Weights;
use crate::checkpoint::{Checkpoint, tensors, tensors_unread};
use crate::device::Threads;
use crate::device::cuda::Card;
use crate::energy::EnergyMeter;
use crate::error::Error;
use crate::machine::{MachineMemory, available_memory};
use crate::ops::attention::BLOCK_TOKENS;
use crate::options::{DeviceChoice, LoadOptions, Precision};
use crate::roofline::ReadProbe;

/// Changes with every change that changes a bit of what is computed or drawn, so that a fingerprint promises what it says.
/// (tests/golden.rs knows the bits of this version.)
pub const NUMERICS_VERSION: u32 = 5;

/// A loaded model: weights, threads and buffers. Most callers want [`crate::Engine`]; this is for those who need logits.
#[derive(Debug)]
pub struct Model {
    config: OptConfig,
    place: Place,
    step_tokens_max: usize,
    precision: Precision,
}

/// The memory that a model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) needed_bytes: u64,
    /// Bytes that are free where it will compute.
    pub(crate) available_bytes: u64,
    /// All bytes of the card, if it will compute on one.
    pub(crate) card_bytes: Option<u64>,
}

/// Where a model computes.
#[derive(Debug)]
enum Place {
    Cpu(Box<OnCpu>),
    /// With the threads for what is done between its steps.
    Card(Box<OnCard>, Arc<Threads>),
}

/// Where the keys and values of one sequence lie: what the model remembers of the tokens it has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kv {
    blocks: Vec<u32>,
    tokens: usize,
    /// How many tokens the prompt has that the sequence began with.
    prompt_tokens: usize,
}

impl Kv {
    /// An empty memory that will lie in these blocks of [`BLOCK_TOKENS`] tokens, in this order. Which they are changes no bit of what
    /// is computed; that no other sequence writes to them is the caller's business.
    pub fn in_blocks(blocks: Vec<u32>) -> Self {
        Self { blocks, tokens: 0, prompt_tokens: usize::MAX }
    }

    /// A memory of `tokens` tokens that lie in these blocks already, put there by another sequence that began alike.
    pub fn holding(blocks: Vec<u32>, tokens: usize) -> Self {
        Self { blocks, tokens, prompt_tokens: usize::MAX }
    }

    /// Tokens read so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The same, of a sequence that begins with a prompt of so many tokens and goes on with an answer. On a card the two are computed in
    /// different ways; without this all is taken for a prompt.
    #[must_use]
    pub fn of_prompt(self, prompt_tokens: usize) -> Self {
        Self { prompt_tokens, ..self }
    }

    /// Tokens of the prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// The blocks, in order.
    pub fn blocks(&self) -> &[u32] {
        &self.blocks
    }

    /// Tokens that fit into the blocks.
    pub fn room(&self) -> usize {
        self.blocks.len() * BLOCK_TOKENS
    }

    /// More blocks, behind the others.
    pub(crate) fn extend(&mut self, blocks: Vec<u32>) {
        self.blocks.extend(blocks);
    }

    /// Another block in the place of the one that holds the last token. Gives the one that was there.
    pub(crate) fn replace_last(&mut self, block: u32) -> u32 {
        std::mem::replace(&mut self.blocks[(self.tokens - 1) / BLOCK_TOKENS], block)
    }
}

/// The part of one sequence that takes part in a step.
#[derive(Debug)]
pub struct Span<'a> {
    /// Tokens to read, following those in `kv`.
    pub tokens: &'a [u32],
    /// The sequence's memory, with room for them; it grows by `tokens`.
    pub kv: &'a mut Kv,
    /// Logits are wanted after each of `tokens` from this one on.
    pub logits_from: usize,
}

impl Model {
    /// Loads the weights. Errors are those of [`tensors`], and any tensor that does not fit config.json; `Unsupported` or `TooLarge` if the
    /// device asked for is not there or cannot hold it.
    pub fn load(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Self, Error> {
        options.check()?;
        let config = checkpoint.config()?;
        let place = match card_for(&config, checkpoint, options, true)? {
            Some(card) => {
                let threads = Arc::new(Threads::new(options.threads)?);
                Place::Card(Box::new(OnCard::load(&config, checkpoint, options, card, &threads)?), threads)
            }
            None => {
                foresee_memory(&config, checkpoint, options)?;
                Place::Cpu(Box::new(OnCpu::load(&config, checkpoint, options)?))
            }
        };
        Ok(Self { config, place, step_tokens_max: options.step_tokens(), precision: options.precision })
    }

    /// What a checkpoint will take when loaded (weights, KV cache when full, buffers), and of whose memory.
    pub(crate) fn demand(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Demand, Error> {
        options.check()?;
        let config = checkpoint.config()?;
        if let Some(card) = card_for(&config, checkpoint, options, false)? {
            let (available_bytes, card_bytes) = card.memory()?;
            let needed_bytes = OnCard::bytes(&config, &tensors(checkpoint)?, options)?;
            return Ok(Demand { needed_bytes, available_bytes, card_bytes: Some(card_bytes) });
        }
        let weights = Weights::bytes(&config, &tensors(checkpoint)?, options.precision)?;
        let needed_bytes = weights.saturating_add(Self::working_bytes(&config, options));
        let available_bytes = available_memory().map_or(u64::MAX, |memory| memory.available_bytes);
        Ok(Demand { needed_bytes, available_bytes, card_bytes: None })
    }

    /// Bytes a model will take beside its weights on the CPU: the KV cache and the buffers of a step.
    pub(crate) fn working_bytes(config: &OptConfig, options: &LoadOptions) -> u64 {
        OnCpu::working_bytes(config, options)
    }

    /// Its shape.
    pub fn config(&self) -> &OptConfig {
        &self.config
    }

    /// Blocks of keys and values there are; they are numbered from 0.
    pub fn kv_blocks(&self) -> usize {
        match &self.place {
            Place::Cpu(cpu) => cpu.kv.blocks(),
            Place::Card(card, _) => card.kv_blocks(),
        }
    }

    /// Copies the keys and values of one block to another, for a sequence that goes on differently from the one it shares it with.
    pub fn copy_block(&mut self, from: u32, to: u32) -> Result<(), Error> {
        match &mut self.place {
            Place::Cpu(cpu) => {
                cpu.kv.copy(from, to);
                Ok(())
            }
            Place::Card(card, _) => card.copy_block(&self.config, from, to),
        }
    }

    /// Whether a token of an answer is computed in another way than one of a prompt, so that what is remembered of it must not be taken for
    /// that of a prompt.
    pub(crate) fn tells_answers_from_prompts(&self) -> bool {
        self.is_on_card()
    }

    pub(crate) fn is_on_card(&self) -> bool {
        matches!(self.place, Place::Card(..))
    }

    /// Reads the spans' tokens in one step, and gives the logits (wanted, vocab), span after span. A token's logits are the same
    /// bits whatever else is in the step and however its sequence was cut into steps. `Invalid` if a token is out of the
    /// vocabulary, a sequence past the context or its blocks, or the step past `step_tokens_max`; nothing has been read then.
    pub fn forward(&mut self, spans: &mut [Span<'_>]) -> Result<&mut [f32], Error> {
        self.check(spans)?;
        let logits = match &mut self.place {
            Place::Cpu(cpu) => cpu.forward(&self.config, spans),
            Place::Card(card, _) => card.forward(&self.config, spans)?,
        };
        for span in spans {
            span.kv.tokens += span.tokens.len();
        }
        Ok(logits)
    }

    fn check(&self, spans: &[Span<'_>]) -> Result<(), Error> {
        let context = self.config.max_position_embeddings;
        let tokens: usize = spans.iter().map(|span| span.tokens.len()).sum();
        if tokens > self.step_tokens_max {
            return Err(Error::invalid("tokens", format!("are {tokens} in one step; at most {} fit", self.step_tokens_max)));
        }
        for span in spans {
            if let Some(token) = span.tokens.iter().find(|token| **token as usize >= self.config.vocab_size) {
                return Err(Error::invalid("tokens", format!("contain {token}; the model's ids end at {}", self.config.vocab_size - 1)));
            }
            if span.kv.tokens + span.tokens.len() > context {
                return Err(Error::PromptTooLong { prompt_tokens: Some(span.kv.tokens + span.tokens.len()), context_tokens_max: context });
            }
            if span.kv.tokens + span.tokens.len() > span.kv.room() {
                return Err(Error::invalid(
                    "kv",
                    format!("has room for {} tokens and is to hold {}", span.kv.room(), span.kv.tokens + span.tokens.len()),
                ));
            }
            if let Some(block) = span.kv.blocks.iter().find(|block| **block as usize >= self.kv_blocks()) {
                return Err(Error::invalid("kv", format!("lies in block {block}; there are {}", self.kv_blocks())));
            }
        }
        Ok(())
    }

    /// Bytes of the weights in memory.
    pub fn weights_bytes(&self) -> u64 {
        match &self.place {
            Place::Cpu(cpu) => cpu.weights.packed.bytes(),
            Place::Card(card, _) => card.weights_bytes(),
        }
    }

    /// Whether the weights came, packed, from the cache.
    pub fn is_from_cache(&self) -> bool {
        match &self.place {
            Place::Cpu(cpu) => cpu.weights.packed.is_from_cache(),
            Place::Card(..) => false,
        }
    }

    /// Bytes of weights that a step which makes tokens cannot but read: every matrix it multiplies by, tables and embedding apart.
    pub fn step_bytes(&self) -> u64 {
        match &self.place {
            Place::Cpu(cpu) => cpu.step_bytes(),
            Place::Card(card, _) => card.step_bytes(),
        }
    }

    /// Multiplications and additions of a token that is read, in the products of the layers: all but attention, and what only tokens whose logits
    /// are wanted pass through, that is the head and, on the CPU, what follows attention in the last layer.
    pub fn layer_operations(&self) -> u64 {
        let (hidden, ffn) = (self.config.hidden_size as u64, self.config.ffn_dim as u64);
        let behind_attention = hidden * hidden + 2 * hidden * ffn;
        let all = self.config.num_hidden_layers as u64 * (3 * hidden * hidden + behind_attention);
        2 * (all - if self.is_on_card() { 0 } else { behind_attention })
    }

    /// To measure how fast the memory is that the weights lie in.
    pub fn read_probe(&self) -> ReadProbe {
        match &self.place {
            Place::Cpu(cpu) => ReadProbe::new(cpu.weights.packed.memory(), self.threads()),
            Place::Card(card, _) => ReadProbe::of_card(card.card().clone()),
        }
    }

    pub(crate) fn threads(&self) -> usize {
        self.compute_threads().count()
    }

    /// Its threads, for what is done between its steps: others would only take the processors from them.
    pub(crate) fn compute_threads(&self) -> Arc<Threads> {
        match &self.place {
            Place::Cpu(cpu) => Arc::clone(cpu.cpu.threads()),
            Place::Card(_, threads) => Arc::clone(threads),
        }
    }

    /// What meters the energy it takes, where a card tells.
    pub(crate) fn energy_meter(&self) -> Option<EnergyMeter> {
        match &self.place {
            Place::Cpu(_) => None,
            Place::Card(card, _) => card.card().bus_id().and_then(|bus| EnergyMeter::at_bus(&bus)),
        }
    }

    pub(crate) fn kernels(&self) -> String {
        match &self.place {
            Place::Cpu(cpu) => cpu.cpu.tier().name().to_owned(),
            Place::Card(card, _) => card.kernels(),
        }
    }

    /// Equal for equal weights, shape, precision, kernels and [`NUMERICS_VERSION`]: then equal tokens have equal logits.
    pub(crate) fn fingerprint(&self) -> blake3::Hash {
        let digest = match &self.place {
            Place::Cpu(cpu) => cpu.weights.digest,
            Place::Card(card, _) => card.digest(),
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(digest.as_bytes());
        hasher.update(format!("{:?} {} {} {NUMERICS_VERSION}", self.config, self.precision.name(), self.kernels()).as_bytes());
        hasher.finalize()
    }
}

/// The card that a model is to be computed on, with room for it: free `now`, or if others made room. `None` for the CPU. With
/// [`DeviceChoice::Auto`] whatever speaks against a card is said in the log, and the CPU taken.
fn card_for(config: &OptConfig, checkpoint: &Checkpoint, options: &LoadOptions, now: bool) -> Result<Option<Card>, Error> {
    if options.device == DeviceChoice::Cpu || options.device == DeviceChoice::Auto && !Card::has_driver() {
        return Ok(None);
    }
    let found = OnCard::supports(config).and_then(|()| Card::open(0)).and_then(|card| {
        let needed_bytes = OnCard::bytes(config, &tensors_unread(checkpoint)?, options)?;
        card.hold(needed_bytes, now)?;
        Ok(card)
    });
    match found {
        Ok(card) => Ok(Some(card)),
        Err(error) if options.device == DeviceChoice::Auto => {
            tracing::info!(%error, "the model is computed on the CPU");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The system hands out memory it does not have and ends whoever uses it; so what a model will come to use is compared before.
fn foresee_memory(config: &OptConfig, checkpoint: &Checkpoint, options: &LoadOptions) -> Result<(), Error> {
    let weights_bytes = Weights::bytes(config, &tensors_unread(checkpoint)?, options.precision)?;
    let working_bytes = Model::working_bytes(config, options);
    let Some(memory) = available_memory() else { return Ok(()) };
    let held = memory.hold(weights_bytes.saturating_add(working_bytes));
    if held.is_err() && options.kv_tokens_max > 0 && memory.hold(weights_bytes).is_ok() {
        let MachineMemory { total_bytes, available_bytes } = memory;
        return Err(Error::invalid(
            "kv_tokens_max",
            format!(
                "is {}, which with all else takes {working_bytes} bytes beside the weights' {weights_bytes}, and {available_bytes} of this machine's {total_bytes} bytes are free; lower it",
                options.kv_tokens_max
            ),
        ));
    }
    held
}
