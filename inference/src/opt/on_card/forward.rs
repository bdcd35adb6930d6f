//! A model on a card: which tokens of a step are computed in which way, in what order, and where their logits end up.

use std::collections::HashMap;

use super::buffers::{self, Answers, PROMPT_TOKENS_MAX, Prompts, ROWS_MAX, Rows, SPLIT_TOKENS, context_blocks, splits_max};
use super::pass::Pass;
use super::step::Step;
use super::weights::Weights;
use crate::checkpoint::{Checkpoint, TensorIndex};
use crate::device::Threads;
use crate::device::cuda::{Blas, Buffer, Card, NOWHERE, Pinned, Recording, kernels_digest};
use crate::error::Error;
use crate::ops::attention::BLOCK_TOKENS;
use crate::opt::config::{OptConfig, POSITION_OFFSET};
use crate::opt::model::{Kv, Span};
use crate::options::{LoadOptions, Precision};

/// Head widths that there are kernels for.
const HEAD_DIMS: [usize; 4] = [16, 64, 80, 128];
/// The widest stream the norm's kernel holds.
const HIDDEN_MAX: usize = 12_288;
/// Logits of so many tokens stay in pinned memory; more, as when a whole prompt is scored, go on to memory of the usual kind.
const LOGITS_ROWS: usize = 4 * ROWS_MAX;
/// Of a card's memory so much is left alone where nobody has said how much to take.
const SPARE_PERCENT: u64 = 8;
/// What the driver and the libraries take for themselves.
const DRIVER_BYTES: u64 = 1 << 30;

/// A model on a card.
#[derive(Debug)]
pub(crate) struct OnCard {
    // Recordings go before what they lead to.
    recordings: HashMap<Recorded, Recording>,
    /// The step of one answer as one kernel, where there is one.
    pub(super) step: Option<Step>,
    pub(super) answers: Answers,
    pub(super) prompts: Prompts,
    inputs: Pinned,
    pinned_logits: Pinned,
    logits: Vec<f32>,
    pub(super) kv: Buffer,
    kv_blocks: usize,
    pub(super) weights: Weights,
    pub(super) blas: Option<Blas>,
    pub(super) card: Card,
}

/// What a recording is of: up to so many tokens, each attending to up to so many splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Recorded {
    tokens: usize,
    splits: usize,
}

/// A token of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) span: usize,
    pub(super) id: u32,
    pub(super) position: usize,
    /// Where its logits go, if they are wanted.
    pub(super) wanted: Option<usize>,
}

impl OnCard {
    /// Whether the kernels can compute a model of this shape; `Unsupported` says what they cannot.
    pub(crate) fn supports(config: &OptConfig) -> Result<(), Error> {
        let refuse = |field: &str, problem: String| Err(Error::unsupported(field, problem));
        if !HEAD_DIMS.contains(&config.head_dim()) {
            return refuse("num_attention_heads", format!("gives heads of {}; on a card they are {HEAD_DIMS:?} wide", config.head_dim()));
        }
        if config.hidden_size > HIDDEN_MAX || !config.hidden_size.is_multiple_of(8) {
            let hidden = config.hidden_size;
            return refuse("hidden_size", format!("is {hidden}; on a card it is a multiple of 8 up to {HIDDEN_MAX}"));
        }
        if !config.ffn_dim.is_multiple_of(8) || !config.word_embed_proj_dim.is_multiple_of(8) {
            return refuse("ffn_dim", "and word_embed_proj_dim must be multiples of 8 on a card".to_owned());
        }
        Ok(())
    }

    /// Bytes of the card that a model will take: weights, keys and values (of one full context, if that is left to what is free), buffers, and
    /// the libraries'.
    pub(crate) fn bytes(config: &OptConfig, index: &TensorIndex, options: &LoadOptions) -> Result<u64, Error> {
        let blocks = if options.kv_tokens_max == 0 { context_blocks(config) } else { options.kv_blocks(config) };
        let kv = (blocks as u64).saturating_mul(Self::block_bytes(config) as u64);
        let is_widened = matches!(options.precision, Precision::Int8 | Precision::Int4);
        let buffers = buffers::bytes(config, options.step_tokens(), is_widened);
        Ok(Weights::bytes_of(config, index, options.precision)?.saturating_add(kv).saturating_add(buffers).saturating_add(DRIVER_BYTES))
    }

    fn block_bytes(config: &OptConfig) -> usize {
        2 * 2 * config.num_hidden_layers * config.hidden_size * BLOCK_TOKENS
    }

    pub(crate) fn load(
        config: &OptConfig,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        card: Card,
        threads: &Threads,
    ) -> Result<Self, Error> {
        Self::supports(config)?;
        let weights = Weights::load(config, checkpoint, options.precision, &card, threads)?;
        let answers = Answers::new(&card, config)?;
        let prompts = Prompts::new(&card, config, &weights, options.step_tokens())?;
        let blas = Blas::open(&card, PROMPT_TOKENS_MAX.min(options.step_tokens()))?;
        if blas.is_none() {
            tracing::warn!("libcublasLt was not found: prompts are read by the kernels for answers, which takes longer");
        }
        let kv_blocks = match options.kv_tokens_max {
            0 => Self::blocks_that_fit(config, options, &card)?,
            _ => options.kv_blocks(config),
        };
        let kv = card.alloc(kv_blocks * Self::block_bytes(config))?;
        let inputs = card.pinned(inputs_bytes(config, options.step_tokens()))?;
        let pinned_logits = card.pinned(4 * LOGITS_ROWS * config.vocab_size)?;
        let mut model = Self {
            recordings: HashMap::new(),
            step: None,
            answers,
            prompts,
            inputs,
            pinned_logits,
            logits: Vec::new(),
            kv,
            kv_blocks,
            weights,
            blas,
            card,
        };
        model.step = Step::plan(&model, config)?;
        Ok(model)
    }

    /// Full contexts for all that may run, or as much of that as the card has left.
    fn blocks_that_fit(config: &OptConfig, options: &LoadOptions, card: &Card) -> Result<usize, Error> {
        let (free, total) = card.memory()?;
        let free = free.saturating_sub(total / 100 * SPARE_PERCENT) as usize;
        let wanted = options.running_max.max(1) * context_blocks(config);
        Ok((free / Self::block_bytes(config)).clamp(context_blocks(config), wanted.max(context_blocks(config))))
    }

    pub(crate) fn kv_blocks(&self) -> usize {
        self.kv_blocks
    }

    pub(crate) fn weights_bytes(&self) -> u64 {
        self.weights.bytes()
    }

    pub(crate) fn digest(&self) -> blake3::Hash {
        self.weights.digest
    }

    pub(crate) fn card(&self) -> &Card {
        &self.card
    }

    /// What else the numbers depend on: the kernels, the card, and the library that multiplies.
    pub(crate) fn kernels(&self) -> String {
        let (major, minor) = self.card.capability();
        let blas = self.blas.as_ref().map_or("no cuBLASLt".to_owned(), |blas| format!("cuBLASLt {}", blas.version()));
        format!("cuda {major}.{minor} {} on {}, {blas}", kernels_digest((major, minor)), self.card.name())
    }

    /// Matrices that a step of answers cannot but read.
    pub(crate) fn step_bytes(&self) -> u64 {
        let layers = self.weights.layers.iter().flat_map(|layer| [&layer.qkv_proj, &layer.out_proj, &layer.fc1, &layer.fc2]);
        let aside = self.weights.projection.iter().flat_map(|(project_in, project_out)| [project_in, project_out]);
        layers.chain(aside).chain([&self.weights.lm_head]).map(|matrix| matrix.layout.parts().2 as u64).sum()
    }

    /// Begins to copy the keys and values of a block.
    pub(crate) fn copy_block(&mut self, config: &OptConfig, from: u32, to: u32) -> Result<(), Error> {
        let (memory, bytes) = (self.kv.address(), Self::block_bytes(config));
        self.card.copy(memory + u64::from(to) * bytes as u64, memory + u64::from(from) * bytes as u64, bytes)
    }

    /// The logits (wanted, vocab) of a step, span after span. The spans have been checked.
    pub(crate) fn forward(&mut self, config: &OptConfig, spans: &[Span<'_>]) -> Result<&mut [f32], Error> {
        let (mut prompts, mut answers, mut wanted) = (Vec::new(), Vec::new(), 0);
        for (number, span) in spans.iter().enumerate() {
            for (place, id) in span.tokens.iter().enumerate() {
                let position = span.kv.tokens() + place;
                let is_wanted = place >= span.logits_from;
                let token = Token { span: number, id: *id, position, wanted: is_wanted.then_some(wanted) };
                wanted += usize::from(is_wanted);
                if self.blas.is_some() && position < span.kv.prompt_tokens() { prompts.push(token) } else { answers.push(token) }
            }
        }
        let is_large = wanted > LOGITS_ROWS;
        if is_large {
            self.logits.resize(wanted * config.vocab_size, 0.0);
        }
        for tokens in prompts.chunks(PROMPT_TOKENS_MAX) {
            self.read_prompts(config, spans, tokens)?;
            let wanted: Vec<(u32, usize)> = (0..).zip(tokens).filter_map(|(row, token)| token.wanted.map(|place| (row, place))).collect();
            for wanted in wanted.chunks(ROWS_MAX) {
                self.head_of_prompts(config, wanted)?;
                let places: Vec<usize> = wanted.iter().map(|(_, place)| *place).collect();
                self.take_rows(config, 0, &places, is_large)?;
            }
        }
        for tokens in answers.chunks(ROWS_MAX) {
            self.make_answers(config, spans, tokens)?;
            let places: Vec<Option<usize>> = tokens.iter().map(|token| token.wanted).collect();
            self.take_wanted(config, &places, is_large)?;
        }
        self.card.wait()?;
        if is_large {
            return Ok(&mut self.logits);
        }
        Ok(&mut bytemuck::cast_slice_mut(&mut self.pinned_logits)[..wanted * config.vocab_size])
    }

    /// Rows that are wanted lie between some that are not.
    fn take_wanted(&mut self, config: &OptConfig, places: &[Option<usize>], is_large: bool) -> Result<(), Error> {
        let mut row = 0;
        for run in places.chunk_by(|a, b| a.is_some() == b.is_some()) {
            let wanted: Vec<usize> = run.iter().flatten().copied().collect();
            if !wanted.is_empty() {
                self.take_rows(config, row, &wanted, is_large)?;
            }
            row += run.len();
        }
        Ok(())
    }

    /// Begins to copy rows of logits from `row` on to these places, which follow one another as far as rows do.
    fn take_rows(&mut self, config: &OptConfig, mut row: usize, places: &[usize], is_large: bool) -> Result<(), Error> {
        let row_bytes = 4 * config.vocab_size;
        for run in places.chunk_by(|a, b| a + 1 == *b) {
            let from = self.answers.logits.address() + (row * row_bytes) as u64;
            let bytes = run.len() * row_bytes;
            if is_large {
                self.card.copy_out(&mut self.pinned_logits, 0, bytes, from)?;
                self.card.wait()?;
                let logits = bytemuck::cast_slice_mut::<f32, u8>(&mut self.logits);
                logits[run[0] * row_bytes..][..bytes].copy_from_slice(&self.pinned_logits[..bytes]);
            } else {
                self.card.copy_out(&mut self.pinned_logits, run[0] * row_bytes, bytes, from)?;
            }
            row += run.len();
        }
        Ok(())
    }

    /// Computes up to [`ROWS_MAX`] tokens, each by itself, and leaves their logits on the card.
    fn make_answers(&mut self, config: &OptConfig, spans: &[Span<'_>], tokens: &[Token]) -> Result<(), Error> {
        let splits = tokens.iter().map(|token| (token.position + 1).div_ceil(SPLIT_TOKENS)).max().unwrap_or(1);
        let shape = Recorded {
            tokens: if tokens.len() <= 8 { tokens.len().next_power_of_two() } else { tokens.len().next_multiple_of(8) },
            splits: splits.next_power_of_two().min(splits_max(config)),
        };
        // What the card took before must have arrived before it is written over.
        self.card.wait()?;
        let stride = context_blocks(config);
        let mut words = Words { pinned: &mut self.inputs, at: 0 };
        words.put(shape.tokens, tokens.iter().map(|token| token.id));
        words.put(shape.tokens, tokens.iter().map(|token| (token.position + POSITION_OFFSET) as u32));
        words.put(shape.tokens, tokens.iter().map(|token| token.position as u32 + 1));
        let fresh =
            tokens.chunk_by(|a, b| a.span == b.span).flat_map(|of_span| std::iter::repeat_n(of_span[0].position as u32, of_span.len()));
        words.put(shape.tokens, fresh);
        let slots = tokens.iter().map(|token| slot(spans[token.span].kv, token.position));
        words.put(shape.tokens, slots.chain(std::iter::repeat(NOWHERE)));
        let table = tokens.iter().flat_map(|token| {
            let blocks = spans[token.span].kv.blocks();
            (0..stride).map(move |block| blocks.get(block).copied().unwrap_or(0))
        });
        let end = words.put(shape.tokens * stride, table).end;
        self.card.copy_in(self.answers.rows.inputs.address(), &self.inputs, 0..end)?;
        if shape.tokens == 1 && self.step.is_some() {
            // Two kernels are begun as fast as one recording.
            return Pass { config, model: self, tokens: 1, splits: 1 }.run();
        }
        if !self.recordings.contains_key(&shape) {
            let pass = Pass { config, model: self, tokens: shape.tokens, splits: shape.splits };
            let recording = self.card.record(|| pass.run())?;
            self.recordings.insert(shape, recording);
        }
        self.card.replay(&self.recordings[&shape])
    }

    fn read_prompts(&mut self, config: &OptConfig, spans: &[Span<'_>], tokens: &[Token]) -> Result<(), Error> {
        self.card.wait()?;
        super::prompt::read(self, config, spans, tokens)
    }

    fn head_of_prompts(&mut self, config: &OptConfig, wanted: &[(u32, usize)]) -> Result<(), Error> {
        self.card.wait()?;
        let mut words = Words { pinned: &mut self.inputs, at: 0 };
        let rows = words.put(wanted.len(), wanted.iter().map(|(row, _)| *row));
        self.card.copy_in(self.answers.wanted.address(), &self.inputs, rows)?;
        let pass = Pass { config, model: self, tokens: wanted.len(), splits: 1 };
        pass.head(self.prompts.rows.x.address(), self.answers.wanted.address())
    }

    pub(super) fn inputs(&mut self) -> Words<'_> {
        Words { pinned: &mut self.inputs, at: 0 }
    }

    pub(super) fn copy_in(&self, to: u64, part: std::ops::Range<usize>) -> Result<(), Error> {
        self.card.copy_in(to, &self.inputs, part)
    }
}

/// Where the keys and values of a token go: its block and its place in it.
pub(super) fn slot(kv: &Kv, position: usize) -> u32 {
    kv.blocks()[position / BLOCK_TOKENS] * BLOCK_TOKENS as u32 + (position % BLOCK_TOKENS) as u32
}

fn inputs_bytes(config: &OptConfig, tokens_max: usize) -> usize {
    let tokens = tokens_max.clamp(ROWS_MAX, PROMPT_TOKENS_MAX);
    4 * Rows::input_words(tokens, tokens * context_blocks(config))
}

/// Words for the card, one table behind the other.
pub(super) struct Words<'a> {
    pinned: &'a mut Pinned,
    at: usize,
}

impl Words<'_> {
    /// So many words, zeros behind those there are. Gives the bytes they take.
    pub(super) fn put(&mut self, count: usize, words: impl Iterator<Item = u32>) -> std::ops::Range<usize> {
        let begin = self.at;
        let room: &mut [u32] = bytemuck::cast_slice_mut(&mut self.pinned[begin..begin + 4 * count]);
        room.fill(0);
        room.iter_mut().zip(words).for_each(|(room, word)| *room = word);
        self.at = begin + 4 * count;
        begin..self.at
    }
}
