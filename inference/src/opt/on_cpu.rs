//! The forward pass of OPT on the CPU (Zhang et al., "OPT: Open Pre-trained Transformer Language Models", arXiv 2205.01068).

use super::config::{Activation, LAYER_NORM_EPSILON, OptConfig, POSITION_OFFSET};
use super::model::Span;
use super::weights::{Layer, Linear, Norm, Weights};
use crate::checkpoint::Checkpoint;
use crate::device::{After, Cpu, KvStore, kept_bits};
use crate::error::Error;
use crate::ops::Tier;
use crate::ops::aligned::Aligned;
use crate::ops::attention::BLOCK_TOKENS;
use crate::ops::linear::{Activations, Columns};
use crate::options::LoadOptions;

/// A model on the CPU: weights, threads and buffers.
#[derive(Debug)]
pub(super) struct OnCpu {
    pub(super) weights: Weights,
    pub(super) cpu: Cpu,
    pub(super) kv: KvStore,
    buffers: Buffers,
}

/// Where a step's numbers live, named for what they hold; sized for the largest step when the model loads.
#[derive(Debug, Default)]
struct Buffers {
    /// (tokens, embed)
    embedded: Aligned<f32>,
    /// (tokens, hidden): the residual stream
    x: Aligned<f32>,
    /// (tokens, hidden): its norm, where a block reads it
    normed: Aligned<f32>,
    q: Aligned<f32>,
    k: Aligned<f32>,
    v: Aligned<f32>,
    /// (tokens, hidden): what the heads saw
    attended: Aligned<f32>,
    /// (tokens, ffn)
    inner: Aligned<f32>,
    /// The same, made ready for fc2 as it is made
    inner_packed: Activations,
    /// Whatever is multiplied next, made ready for it
    packed: Activations,
    /// Of `inner`, the columns that are not all zero
    columns: Columns,
    /// (wanted, embed): the stream as it goes into the head, of models whose hidden size is another
    projected: Aligned<f32>,
    /// (wanted, vocab): grows with what is asked for
    logits: Aligned<f32>,
}

impl OnCpu {
    pub(super) fn load(config: &OptConfig, checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Self, Error> {
        let tier = match options.tier {
            None => Tier::fastest(),
            Some(tier) if Tier::available().contains(&tier) => tier,
            Some(tier) => return Err(Error::unsupported("tier", format!("{} is more than this CPU has", tier.name()))),
        };
        let cpu = Cpu::new(options.threads, tier)?;
        let weights = Weights::load(config, checkpoint, options.precision, cpu.threads(), options.cache.as_ref())?;
        let kv = KvStore::new(
            options.precision,
            config.num_hidden_layers,
            (config.num_attention_heads, config.head_dim()),
            options.kv_blocks(config),
        )?;
        let buffers = Buffers::new(config, options.step_tokens());
        Ok(Self { weights, cpu, kv, buffers })
    }

    /// Bytes a model will take beside its weights: the KV cache and the buffers of a step.
    pub(super) fn working_bytes(config: &OptConfig, options: &LoadOptions) -> u64 {
        let kv_tokens = (options.kv_blocks(config) as u64).saturating_mul(BLOCK_TOKENS as u64);
        kv_tokens
            .saturating_mul(config.footprint(kept_bits(options.precision)).kv_bytes_per_token)
            .saturating_add(Buffers::bytes(config, options.step_tokens()))
    }

    /// The logits (wanted, vocab) of a step, span after span. The spans have been checked.
    pub(super) fn forward(&mut self, config: &OptConfig, spans: &[Span<'_>]) -> &mut [f32] {
        let Self { weights, cpu, kv, buffers } = self;
        let mut pass = Pass { config, weights, cpu, kv };
        pass.embed(spans, buffers);
        for (number, layer) in weights.layers.iter().enumerate() {
            pass.layer(number, layer, spans, buffers);
        }
        pass.head(buffers);
        &mut self.buffers.logits
    }

    /// Bytes of weights that a step which makes tokens cannot but read: every matrix it multiplies by, tables and embedding apart.
    pub(super) fn step_bytes(&self) -> u64 {
        let Weights { projection, layers, lm_head, .. } = &self.weights;
        let layers = layers.iter().flat_map(|layer| [&layer.qkv_proj, &layer.out_proj, &layer.fc1, &layer.fc2]);
        let aside = projection.iter().flat_map(|(project_in, project_out)| [project_in, project_out]);
        layers.chain(aside).chain([lm_head]).map(|linear| linear.weight.format.bytes(linear.weight.rows, linear.weight.cols) as u64).sum()
    }
}

/// One forward pass over a step of T tokens, W of which have their logits wanted. From the last layer's attention on there are no others: nothing
/// would read what becomes of them.
struct Pass<'a> {
    config: &'a OptConfig,
    weights: &'a Weights,
    cpu: &'a Cpu,
    kv: &'a mut KvStore,
}

impl Pass<'_> {
    fn embed(&mut self, spans: &[Span<'_>], b: &mut Buffers) {
        let (cpu, weights) = (self.cpu, self.weights);
        b.resize(self.config, spans.iter().map(|span| span.tokens.len()).sum());
        let ids: Vec<u32> = spans.iter().flat_map(|span| span.tokens).copied().collect();
        let positions =
            spans.iter().flat_map(|span| (span.kv.tokens()..).take(span.tokens.len())).map(|position| position + POSITION_OFFSET);

        for (row, position) in b.x.chunks_exact_mut(self.config.hidden_size).zip(positions) {
            weights.packed.table_row(&weights.embed_positions, position, row); //                  (T, hidden)
        }
        cpu.rows(&weights.packed.panels(&weights.embed_tokens), &ids, &mut b.embedded); //         (T, embed)
        match &weights.projection {
            None => cpu.add(&b.embedded, &mut b.x), //                                             (T, hidden)
            Some((project_in, _)) => {
                self.pack(project_in, &b.embedded, &mut b.packed);
                self.linear(project_in, &b.packed, After::Add, &mut [&mut b.x]); //                (T, hidden)
            }
        }
    }

    fn layer(&mut self, number: usize, layer: &Layer, spans: &[Span<'_>], b: &mut Buffers) {
        let scale = (self.config.head_dim() as f32).powf(-0.5);
        self.norm_before(&layer.self_attn_layer_norm, &b.x, &mut b.normed); //                     (T, hidden)
        self.pack(&layer.qkv_proj, &b.normed, &mut b.packed);
        let qkv = &mut [&mut b.q[..], &mut b.k, &mut b.v];
        self.linear(&layer.qkv_proj, &b.packed, After::ScaleFirst(scale), qkv); //                 3 × (T, hidden)
        self.keep(number, spans, b);
        let is_last = number + 1 == self.weights.layers.len();
        if is_last {
            self.leave_wanted(spans, b); //                                                        (W, hidden)
            if b.x.is_empty() {
                return;
            }
        }
        self.attend(number, spans, is_last, b); //                                                 (T, hidden), or (W, …) from here
        self.pack(&layer.out_proj, &b.attended, &mut b.packed);
        self.linear(&layer.out_proj, &b.packed, After::Add, &mut [&mut b.x]); //                   (T, hidden)
        self.norm_after(&layer.self_attn_layer_norm, b); //                                        (T, hidden)

        self.norm_before(&layer.final_layer_norm, &b.x, &mut b.normed); //                         (T, hidden)
        self.pack(&layer.fc1, &b.normed, &mut b.packed);
        self.feed_forward(layer, b); //                                                            (T, hidden)
        self.norm_after(&layer.final_layer_norm, b); //                                            (T, hidden)
    }

    /// The stream + fc2 · activation(fc1 · what is packed).
    fn feed_forward(&self, layer: &Layer, b: &mut Buffers) {
        let (Linear { weight, bias }, packed) = (&layer.fc1, &self.weights.packed);
        let after = match self.config.activation {
            Activation::Relu => After::Relu,
            Activation::Gelu => After::Gelu,
        };
        if self.cpu.goes_on_packed(weight.format, b.packed.rows()) {
            let format = layer.fc2.weight.format;
            self.cpu.linear_packed(&packed.layout(weight), packed.vector(bias), &b.packed, after, format, &mut b.inner_packed); // (T, ffn)
            self.linear(&layer.fc2, &b.inner_packed, After::Add, &mut [&mut b.x]); //              (T, hidden)
            return;
        }
        self.linear(&layer.fc1, &b.packed, after, &mut [&mut b.inner]); //                         (T, ffn)
        match self.config.activation {
            Activation::Relu => {
                let (weight, bias) = (packed.bands(&layer.fc2.weight), packed.vector(&layer.fc2.bias));
                let found = (&mut b.columns, &mut b.packed);
                self.cpu.linear_behind_relu(&weight, bias, &b.inner, found, After::Add, &mut [&mut b.x]); // (T, hidden)
            }
            Activation::Gelu => {
                self.pack(&layer.fc2, &b.inner, &mut b.packed);
                self.linear(&layer.fc2, &b.packed, After::Add, &mut [&mut b.x]); //                (T, hidden)
            }
        }
    }

    /// Each sequence remembers its new keys and values.
    fn keep(&mut self, number: usize, spans: &[Span<'_>], b: &Buffers) {
        let arrivals = spans.iter().map(|span| (span.tokens.len(), span.kv.tokens(), span.kv.blocks()));
        self.kv.write(self.cpu, number, arrivals, &b.k, &b.v);
    }

    /// Only the rows whose logits are wanted go on.
    fn leave_wanted(&self, spans: &[Span<'_>], b: &mut Buffers) {
        let hidden = self.config.hidden_size;
        let (mut first, mut wanted) = (0, 0);
        for span in spans {
            let (unwanted, end) = (unwanted(span), first + span.tokens.len());
            if first + unwanted > wanted {
                for rows in [&mut b.x, &mut b.q] {
                    rows.copy_within((first + unwanted) * hidden..end * hidden, wanted * hidden);
                }
            }
            (first, wanted) = (end, wanted + span.tokens.len() - unwanted);
        }
        b.resize(self.config, wanted);
    }

    /// Each token attends to all that its sequence remembers up to it. With `only_wanted` those do whose logits are wanted; the others count as tokens before
    /// them.
    fn attend(&self, number: usize, spans: &[Span<'_>], only_wanted: bool, b: &mut Buffers) {
        let parts = spans.iter().map(|span| {
            let left_out = if only_wanted { unwanted(span) } else { 0 };
            (span.tokens.len() - left_out, span.kv.tokens() + left_out, self.kv.layer(number, span.kv.blocks()))
        });
        self.cpu.attention(&b.q, self.config.hidden_size, parts.filter(|(tokens, ..)| *tokens > 0), &mut b.attended);
    }

    fn head(&mut self, b: &mut Buffers) {
        let (config, weights) = (self.config, self.weights);
        let wanted = b.x.len() / config.hidden_size;
        let normed = match &weights.final_layer_norm {
            None => &b.x,
            Some(norm) => {
                self.layer_norm(norm, &b.x, &mut b.normed);
                &b.normed //                                                                       (W, hidden)
            }
        };
        let projected = match &weights.projection {
            None => normed,
            Some((_, project_out)) => {
                b.projected.resize(wanted * project_out.weight.rows);
                self.pack(project_out, normed, &mut b.packed);
                self.linear(project_out, &b.packed, After::Store, &mut [&mut b.projected]); //     (W, embed)
                &b.projected
            }
        };
        b.logits.resize(wanted * config.vocab_size);
        self.pack(&weights.lm_head, projected, &mut b.packed);
        self.linear(&weights.lm_head, &b.packed, After::Store, &mut [&mut b.logits]); //           (W, vocab)
    }

    fn pack(&self, linear: &Linear, x: &[f32], packed: &mut Activations) {
        self.cpu.pack(linear.weight.format, x, linear.weight.cols, packed);
    }

    fn linear(&self, linear: &Linear, x: &Activations, after: After, y: &mut [&mut [f32]]) {
        let packed = &self.weights.packed;
        self.cpu.linear(&packed.layout(&linear.weight), packed.vector(&linear.bias), x, after, y);
    }

    fn layer_norm(&self, norm: &Norm, x: &[f32], normed: &mut [f32]) {
        let (gain, bias) = (self.weights.packed.vector(&norm.gain), self.weights.packed.vector(&norm.bias));
        self.cpu.layer_norm(x, self.config.hidden_size, gain, bias, LAYER_NORM_EPSILON, normed);
    }

    /// What a block reads: the norm of the stream, or in post-norm models the stream itself.
    fn norm_before(&self, norm: &Norm, x: &[f32], normed: &mut [f32]) {
        if self.config.do_layer_norm_before {
            self.layer_norm(norm, x, normed);
        } else {
            normed.copy_from_slice(x);
        }
    }

    /// In post-norm models the stream is normed after each block.
    fn norm_after(&self, norm: &Norm, b: &mut Buffers) {
        if !self.config.do_layer_norm_before {
            self.layer_norm(norm, &b.x, &mut b.normed);
            b.x.copy_from_slice(&b.normed);
        }
    }
}

impl Buffers {
    fn new(config: &OptConfig, tokens_max: usize) -> Self {
        let mut buffers = Self::default();
        buffers.resize(config, tokens_max);
        buffers
    }

    /// Makes every buffer exactly as long as so many tokens need, all of a step or those that go on. Never more than at load, so nothing is allocated.
    fn resize(&mut self, config: &OptConfig, tokens: usize) {
        let hidden = [&mut self.x, &mut self.normed, &mut self.q, &mut self.k, &mut self.v, &mut self.attended];
        for buffer in hidden {
            buffer.resize(tokens * config.hidden_size);
        }
        self.inner.resize(tokens * config.ffn_dim);
        self.embedded.resize(tokens * config.word_embed_proj_dim);
    }

    /// Bytes of all buffers for steps of `tokens` all of which want logits.
    fn bytes(config: &OptConfig, tokens: usize) -> u64 {
        let token = 7 * config.hidden_size + 2 * config.ffn_dim + 2 * config.word_embed_proj_dim + config.vocab_size;
        (size_of::<f32>() * tokens * token) as u64
    }
}

/// Tokens of a span before those whose logits are wanted.
fn unwanted(span: &Span<'_>) -> usize {
    span.logits_from.min(span.tokens.len())
}
