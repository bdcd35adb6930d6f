//! How a model is loaded: threads, limits, kernels.

use crate::ops::attention::BLOCK_TOKENS;
use crate::opt::OptConfig;

/// How a model is loaded. Every limit is a number here; full means a prompt refusal, never endless waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Compute threads; 0 takes one for each core.
    pub threads: usize,
    /// The most sequences that run at once.
    pub running_max: usize,
    /// The most requests that wait for a place; one more is refused as `Busy`.
    pub waiting_max: usize,
    /// The most tokens that all running sequences may come to hold, prompts and answers together, rounded up to whole
    /// blocks of 32; 0 takes four full contexts.
    pub kv_tokens_max: usize,
    /// The most tokens read in one step: how long a prompt may hold up those who are being answered. At least `running_max`.
    pub step_tokens_max: usize,
    /// Which kernels compute.
    pub kernels: Kernels,
}

/// Which kernels compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// The plain loops that say what every other version means. Slow; to compare with.
    Reference,
    /// The fastest this CPU runs.
    Fast,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { threads: 0, running_max: 8, waiting_max: 32, kv_tokens_max: 0, step_tokens_max: 128, kernels: Kernels::Fast }
    }
}

impl LoadOptions {
    /// Blocks of the KV cache: whole ones, at least one.
    pub(crate) fn kv_blocks(&self, config: &OptConfig) -> usize {
        let tokens = if self.kv_tokens_max == 0 { 4 * config.max_position_embeddings } else { self.kv_tokens_max };
        tokens.div_ceil(BLOCK_TOKENS)
    }

    pub(crate) fn running(&self) -> usize {
        self.running_max.max(1)
    }

    pub(crate) fn step_tokens(&self) -> usize {
        self.step_tokens_max.max(self.running())
    }
}
