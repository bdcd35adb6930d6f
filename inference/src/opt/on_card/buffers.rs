//! Where the numbers of a step lie on the card, named for what they hold; sized when the model loads.

use super::weights::Weights;
use crate::device::cuda::{Buffer, Card};
use crate::error::Error;
use crate::ops::attention::BLOCK_TOKENS;
use crate::opt::config::OptConfig;

/// The most tokens that are computed as answers at once.
pub(super) const ROWS_MAX: usize = 64;
/// The same of prompts.
pub(super) const PROMPT_TOKENS_MAX: usize = 2048;
/// Tokens that a block of the attention kernel attends to.
pub(super) const SPLIT_TOKENS: usize = 128;
/// Slices of the columns that are added up one after the other, as `columns.cu` has them.
pub(super) const SLICES: usize = 8;
/// Rows of 16 bits are filled up to multiples of so many numbers, with zeros that meet the zeros of the weights.
const STRIDE: usize = 128;
/// Products of many tokens write whole multiples of so many.
const TOKENS_STEP: usize = 64;

/// From one row of 16-bit numbers to the next.
pub(super) fn stride(cols: usize) -> usize {
    cols.next_multiple_of(STRIDE)
}

/// Room for one way of computing: answers, or prompts.
#[derive(Debug)]
pub(super) struct Rows {
    /// What a step is told, one table behind the other: [`Inputs`]
    pub(super) inputs: Buffer,
    /// f32 (rows, hidden): the residual stream
    pub(super) x: Buffer,
    /// 16 bits (rows, embed): where the embedding is narrower than the stream
    pub(super) embedded: Buffer,
    /// 16 bits (rows, hidden): the stream's norm, and what the heads saw
    pub(super) normed: Buffer,
    pub(super) attended: Buffer,
    /// 16 bits (rows, ffn)
    pub(super) inner: Buffer,
}

impl Rows {
    fn new(card: &Card, config: &OptConfig, rows: usize, blocks: usize) -> Result<Self, Error> {
        let narrow = |cols: usize| card.alloc(2 * rows * stride(cols));
        Ok(Self {
            inputs: card.alloc(4 * Self::input_words(rows, blocks))?,
            x: card.alloc(4 * rows * config.hidden_size)?,
            embedded: narrow(config.word_embed_proj_dim)?,
            normed: narrow(config.hidden_size)?,
            attended: narrow(config.hidden_size)?,
            inner: narrow(config.ffn_dim)?,
        })
    }

    /// Of each row five words, or three and a tile of four of a prompt's.
    pub(super) fn input_words(rows: usize, blocks: usize) -> usize {
        8 * rows + blocks
    }

    fn bytes(config: &OptConfig, rows: usize, blocks: usize) -> usize {
        let narrow = stride(config.word_embed_proj_dim) + 2 * stride(config.hidden_size) + stride(config.ffn_dim);
        4 * Self::input_words(rows, blocks) + rows * (4 * config.hidden_size + 2 * narrow)
    }
}

/// What only answers need.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) rows: Rows,
    /// f32 (rows, hidden), scaled
    pub(super) q: Buffer,
    /// How many of `inner` are not zero
    pub(super) counts: Buffer,
    /// The parts of sums that several blocks make, and how many have made theirs
    pub(super) partial: Buffer,
    pub(super) arrived: Buffer,
    pub(super) seen: Buffer,
    pub(super) seen_arrived: Buffer,
    /// Which rows of a stream go into the head
    pub(super) wanted: Buffer,
    /// 16 bits (rows, hidden) and (rows, embed), f32 (rows, vocab)
    pub(super) head: Buffer,
    pub(super) projected: Buffer,
    pub(super) logits: Buffer,
}

/// What only prompts need.
#[derive(Debug)]
pub(super) struct Prompts {
    pub(super) rows: Rows,
    /// 16 bits (rows, 3 · hidden), halves (rows, hidden)
    pub(super) qkv: Buffer,
    pub(super) q: Buffer,
    /// A matrix made halves again
    pub(super) widened: Buffer,
}

/// Words for the tokens of a step, as addresses: their ids, positions in the table of positions, how many tokens they attend to, from which
/// on these are of this step, where their keys and values go, and of each the blocks of its sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs {
    pub(super) ids: u64,
    pub(super) positions: u64,
    pub(super) contexts: u64,
    pub(super) fresh: u64,
    pub(super) slots: u64,
    pub(super) blocks: u64,
}

impl Inputs {
    /// Of so many tokens, from this address on.
    pub(super) fn of(address: u64, tokens: usize) -> Self {
        let [ids, positions, contexts, fresh, slots, blocks] = [0, 1, 2, 3, 4, 5].map(|table| address + (4 * table * tokens) as u64);
        Self { ids, positions, contexts, fresh, slots, blocks }
    }
}

/// Blocks of a full context.
pub(super) fn context_blocks(config: &OptConfig) -> usize {
    config.max_position_embeddings.div_ceil(BLOCK_TOKENS)
}

/// Splits of a full context.
pub(super) fn splits_max(config: &OptConfig) -> usize {
    config.max_position_embeddings.div_ceil(SPLIT_TOKENS)
}

impl Answers {
    pub(super) fn new(card: &Card, config: &OptConfig) -> Result<Self, Error> {
        let (heads, hidden) = (config.num_attention_heads, config.hidden_size);
        Ok(Self {
            rows: Rows::new(card, config, ROWS_MAX, ROWS_MAX * context_blocks(config))?,
            q: card.alloc(4 * ROWS_MAX * hidden)?,
            counts: card.alloc(4 * ROWS_MAX)?,
            partial: card.alloc(4 * SLICES * ROWS_MAX * hidden)?,
            arrived: card.alloc(4 * hidden)?,
            seen: card.alloc(4 * ROWS_MAX * heads * splits_max(config) * (config.head_dim() + 2))?,
            seen_arrived: card.alloc(4 * ROWS_MAX * heads)?,
            wanted: card.alloc(4 * ROWS_MAX)?,
            head: card.alloc(2 * ROWS_MAX * stride(hidden))?,
            projected: card.alloc(2 * ROWS_MAX * stride(config.word_embed_proj_dim))?,
            logits: card.alloc(4 * ROWS_MAX * config.vocab_size)?,
        })
    }

    fn bytes(config: &OptConfig) -> usize {
        let (heads, hidden) = (config.num_attention_heads, config.hidden_size);
        let seen = heads * splits_max(config) * (config.head_dim() + 2) + heads;
        let singles = hidden + 2 + SLICES * hidden + seen + config.vocab_size;
        Rows::bytes(config, ROWS_MAX, ROWS_MAX * context_blocks(config))
            + 4 * ROWS_MAX * singles
            + 2 * ROWS_MAX * (stride(hidden) + stride(config.word_embed_proj_dim))
            + 4 * hidden
    }
}

impl Prompts {
    pub(super) fn new(card: &Card, config: &OptConfig, weights: &Weights, tokens_max: usize) -> Result<Self, Error> {
        let rows = tokens_max.min(PROMPT_TOKENS_MAX).next_multiple_of(TOKENS_STEP);
        let widened = Self::widened(weights.layers.first().is_some_and(|layer| layer.fc1.layout.held.is_widened()), config);
        Ok(Self {
            rows: Rows::new(card, config, rows, Self::blocks(config, rows))?,
            qkv: card.alloc(2 * rows * 3 * config.hidden_size)?,
            q: card.alloc(2 * rows * config.hidden_size)?,
            widened: card.alloc(widened)?,
        })
    }

    /// Each token may be a sequence's only one.
    fn blocks(config: &OptConfig, rows: usize) -> usize {
        rows * context_blocks(config)
    }

    fn widened(is_widened: bool, config: &OptConfig) -> usize {
        let (hidden, ffn) = (config.hidden_size, config.ffn_dim);
        if is_widened { 2 * (ffn.max(3 * hidden) * stride(hidden)).max(hidden * stride(ffn)) } else { 0 }
    }

    fn bytes(config: &OptConfig, tokens_max: usize, is_widened: bool) -> usize {
        let rows = tokens_max.min(PROMPT_TOKENS_MAX).next_multiple_of(TOKENS_STEP);
        Rows::bytes(config, rows, Self::blocks(config, rows)) + rows * 8 * config.hidden_size + Self::widened(is_widened, config)
    }
}

/// Bytes of all buffers.
pub(super) fn bytes(config: &OptConfig, tokens_max: usize, is_widened: bool) -> u64 {
    (Answers::bytes(config) + Prompts::bytes(config, tokens_max, is_widened)) as u64
}
