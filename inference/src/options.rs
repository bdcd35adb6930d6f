//! How a model is loaded: threads, limits, precision.

use std::time::Duration;

use crate::cache::PackedCache;
use crate::error::Error;
use crate::ops::Tier;
use crate::ops::attention::BLOCK_TOKENS;
use crate::opt::OptConfig;
use crate::scheduler::Limits;

/// The most compute threads: more than any machine has cores.
pub const THREADS_MAX: usize = 1024;
/// The most sequences that may be allowed to run at once.
pub const RUNNING_MAX: usize = 4096;
/// The most tokens of one step: the longest context there is.
pub const STEP_TOKENS_MAX: usize = 1 << 16;

/// How a model is loaded. Every limit is a number here; full means a prompt refusal, never endless waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Compute threads; 0 takes one for each core. At most [`THREADS_MAX`].
    pub threads: usize,
    /// The most sequences that run at once. At most [`RUNNING_MAX`].
    pub running_max: usize,
    /// The most of them that belong to one account; 0 is no limit of its own.
    pub account_running_max: usize,
    /// The most requests that wait for a place; one more is refused as `Busy`.
    pub waiting_max: usize,
    /// The most of them that belong to one account; 0 is no limit of its own.
    pub account_waiting_max: usize,
    /// The most tokens that all running sequences may come to hold, prompts and answers together, rounded up to whole
    /// blocks of 32; 0 takes four full contexts, on a card as many as there may run, if they fit.
    pub kv_tokens_max: usize,
    /// The most tokens read in one step. At least `running_max`, at most [`STEP_TOKENS_MAX`].
    pub step_tokens_max: usize,
    /// How long the reading of prompts may make a step last while others are being answered: as many tokens are read as have been
    /// measured to fit, and a few in any case. While nobody is being answered, steps are as large as they may be.
    pub stall_max: Duration,
    /// How weights are held and multiplied.
    pub precision: Precision,
    /// Where to compute.
    pub device: DeviceChoice,
    /// The instructions to compute with; `None` takes the best this CPU has. To compare them: all give the same tokens.
    pub tier: Option<Tier>,
    /// Where packed weights are kept for the next load; `None` keeps none.
    pub cache: Option<PackedCache>,
}

/// How weights are held and multiplied. Sums are always f32 or exact; norms, biases and the residual stream are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// Weights as stored, all arithmetic f32: the model as published.
    #[default]
    Exact,
    /// Weights and what they are multiplied by rounded to bfloat16 (eight significant bits).
    Bf16,
    /// Weights of eight bits with a scale for each row, multiplied by activations of eight bits with scale and zero point for each token; of
    /// those that stand out among the token's, sixteen bits count (as in LLM.int8(), arXiv 2208.07339, but for each token by itself).
    Int8,
    /// Weights of four bits with scale and zero point for every 32, multiplied by such activations, of which fewer stand out. The embedding
    /// keeps eight bits, and is multiplied as in `Int8`.
    Int4,
}

impl Precision {
    /// All there are, the most exact first.
    pub const ALL: [Precision; 4] = [Precision::Exact, Precision::Bf16, Precision::Int8, Precision::Int4];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == name)
    }

    /// Its name, for people, settings and fingerprints.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Exact => "exact",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
            Precision::Int4 => "int4",
        }
    }
}

/// Where a model is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceChoice {
    /// On an NVIDIA card, if there is one that can hold the model; else on the CPU.
    Auto,
    /// On the CPU.
    #[default]
    Cpu,
    /// On an NVIDIA card; an error if there is none, or none that can hold the model.
    Cuda,
}

impl DeviceChoice {
    /// All there are.
    pub const ALL: [DeviceChoice; 3] = [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.name() == name)
    }

    /// Its name, for people and settings.
    pub fn name(self) -> &'static str {
        match self {
            DeviceChoice::Auto => "auto",
            DeviceChoice::Cpu => "cpu",
            DeviceChoice::Cuda => "cuda",
        }
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            running_max: 8,
            account_running_max: 0,
            waiting_max: 32,
            account_waiting_max: 0,
            kv_tokens_max: 0,
            step_tokens_max: 128,
            stall_max: Duration::from_millis(100),
            precision: Precision::Exact,
            device: DeviceChoice::Cpu,
            tier: None,
            cache: None,
        }
    }
}

impl LoadOptions {
    /// `Invalid` with the field that asks for more than anybody can have. Whoever makes threads and buffers relies on it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (field, value, max) in [
            ("threads", self.threads, THREADS_MAX),
            ("running_max", self.running_max, RUNNING_MAX),
            ("step_tokens_max", self.step_tokens_max, STEP_TOKENS_MAX),
        ] {
            if value > max {
                return Err(Error::invalid(field, format!("is {value}; at most {max} are possible")));
            }
        }
        Ok(())
    }

    /// Blocks of the KV cache: whole ones, at least one.
    pub(crate) fn kv_blocks(&self, config: &OptConfig) -> usize {
        let tokens = if self.kv_tokens_max == 0 { 4 * config.max_position_embeddings } else { self.kv_tokens_max };
        tokens.div_ceil(BLOCK_TOKENS)
    }

    /// Tokens of the largest step.
    pub(crate) fn step_tokens(&self) -> usize {
        self.step_tokens_max.max(self.running_max.max(1))
    }

    pub(crate) fn limits(&self) -> Limits {
        let or = |limit: usize, all: usize| if limit == 0 { all } else { limit.min(all) };
        let running_max = self.running_max.max(1);
        Limits {
            running_max,
            account_running_max: or(self.account_running_max, running_max),
            waiting_max: self.waiting_max,
            account_waiting_max: or(self.account_waiting_max, self.waiting_max),
            step_tokens_max: self.step_tokens(),
            stall_max: self.stall_max,
        }
    }
}
