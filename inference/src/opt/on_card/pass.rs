//! What is begun for tokens that are computed as answers: for each layer a norm, the products of queries, keys and values, attention, the
//! product behind it, a norm, and the two products of the feed-forward part.

use super::buffers::{Inputs, ROWS_MAX, SLICES, context_blocks, splits_max, stride};
use super::forward::OnCard;
use super::layout::{Held, Order};
use super::weights::{Layer, Matrix, Norm};
use crate::device::cuda::{
    AFTER_ADD, AFTER_GELU, AFTER_NARROW, AFTER_QKV, AFTER_RELU, AFTER_STORE, AttendArgs, ColumnsArgs, EmbedArgs, NormArgs, Paged,
    ProductArgs,
};
use crate::error::Error;
use crate::opt::config::{Activation, LAYER_NORM_EPSILON, OptConfig};

/// Threads of a block.
pub(super) const THREADS: u32 = 256;
const ATTEND_THREADS: u32 = 128;
pub(super) const NORM_THREADS: u32 = 512;
/// Rows of a block of the product by columns.
const COLUMNS_ROWS: usize = 64;
/// The most columns behind a ReLU, in percent, for which it pays to read them alone.
const FEW_PERCENT: u32 = 40;
/// From so many rows on, blocks of 64 rows keep all processors of a large card at work.
const WIDE_ROWS: usize = 128 * 64;

/// A pass of so many tokens, each attending to so many splits at most.
pub(super) struct Pass<'a> {
    pub(super) config: &'a OptConfig,
    pub(super) model: &'a OnCard,
    pub(super) tokens: usize,
    pub(super) splits: usize,
}

/// Where a product's 16-bit inputs lie, and where its results go.
pub(super) struct Io {
    pub(super) x: u64,
    pub(super) x_cols: usize,
    pub(super) y: u64,
    pub(super) y_stride: usize,
    pub(super) after: u32,
}

impl Pass<'_> {
    pub(super) fn run(&self) -> Result<(), Error> {
        let answers = &self.model.answers;
        self.embed()?;
        if let Some(step) = self.model.step.as_ref().filter(|_| self.tokens == 1) {
            return step.begin(&self.model.card);
        }
        for (number, layer) in self.model.weights.layers.iter().enumerate() {
            self.layer(number, layer)?;
        }
        self.head(answers.rows.x.address(), 0)
    }

    pub(super) fn inputs(&self) -> Inputs {
        Inputs::of(self.model.answers.rows.inputs.address(), self.tokens)
    }

    fn embed(&self) -> Result<(), Error> {
        let (rows, weights, inputs) = (&self.model.answers.rows, &self.model.weights, self.inputs());
        embed(self.model, self.config, self.tokens, (inputs.ids, inputs.positions), (rows.x.address(), rows.embedded.address()))?;
        let Some((project_in, _)) = &weights.projection else { return Ok(()) };
        self.product(
            project_in,
            &Io {
                x: rows.embedded.address(),
                x_cols: self.config.word_embed_proj_dim,
                y: rows.x.address(),
                y_stride: self.config.hidden_size,
                after: AFTER_ADD,
            },
        )
    }

    fn layer(&self, number: usize, layer: &Layer) -> Result<(), Error> {
        let (config, answers) = (self.config, &self.model.answers);
        let (x, rows) = (answers.rows.x.address(), &answers.rows);
        // Where norms come after a block, the one before it has been made already.
        if config.do_layer_norm_before || number == 0 {
            self.norm((x, 0), &layer.self_attn_layer_norm, rows.normed.address(), config.do_layer_norm_before, false)?;
        }
        let kv = self.paged(number);
        self.product_into(&layer.qkv_proj, &self.qkv_io(), kv)?;
        self.attend(kv)?;
        self.product(&layer.out_proj, &self.out_io())?;
        let before_fc = if config.do_layer_norm_before { &layer.final_layer_norm } else { &layer.self_attn_layer_norm };
        self.norm((x, answers.counts.address()), before_fc, rows.normed.address(), true, !config.do_layer_norm_before)?;
        self.product(&layer.fc1, &self.fc1_io())?;
        match layer.fc2.layout.order {
            Order::ByColumn => self.columns(&layer.fc2)?,
            Order::ByRow => self.product(&layer.fc2, &self.fc2_io())?,
        }
        if !config.do_layer_norm_before {
            self.norm((x, 0), &layer.final_layer_norm, rows.normed.address(), true, true)?;
        }
        Ok(())
    }

    pub(super) fn qkv_io(&self) -> Io {
        let (answers, hidden) = (&self.model.answers, self.config.hidden_size);
        Io { x: answers.rows.normed.address(), x_cols: hidden, y: answers.q.address(), y_stride: hidden, after: AFTER_QKV }
    }

    pub(super) fn out_io(&self) -> Io {
        let (rows, hidden) = (&self.model.answers.rows, self.config.hidden_size);
        Io { x: rows.attended.address(), x_cols: hidden, y: rows.x.address(), y_stride: hidden, after: AFTER_ADD }
    }

    pub(super) fn fc1_io(&self) -> Io {
        let rows = &self.model.answers.rows;
        let after = match self.config.activation {
            Activation::Relu => AFTER_RELU,
            Activation::Gelu => AFTER_GELU,
        };
        let (x, y) = (rows.normed.address(), rows.inner.address());
        Io { x, x_cols: self.config.hidden_size, y, y_stride: stride(self.config.ffn_dim), after }
    }

    pub(super) fn fc2_io(&self) -> Io {
        let rows = &self.model.answers.rows;
        let (x, y) = (rows.inner.address(), rows.x.address());
        Io { x, x_cols: self.config.ffn_dim, y, y_stride: self.config.hidden_size, after: AFTER_ADD }
    }

    /// Logits from 16 bits of the norm, or of what was projected from it.
    pub(super) fn head_io(&self, x: u64, x_cols: usize) -> Io {
        Io { x, x_cols, y: self.model.answers.logits.address(), y_stride: self.config.vocab_size, after: AFTER_STORE }
    }

    /// Logits of these rows of a stream, or of all if `wanted` is 0.
    pub(super) fn head(&self, stream: u64, wanted: u64) -> Result<(), Error> {
        let (config, answers, weights) = (self.config, &self.model.answers, &self.model.weights);
        let norm = weights.final_layer_norm.unwrap_or_default();
        let head = answers.head.address();
        norm_rows(
            self.model,
            config,
            self.tokens,
            &NormRows { x: stream, row_of: wanted, norm, y: head, normalise: weights.final_layer_norm.is_some(), keep: false, counts: 0 },
        )?;
        let (x, x_cols) = match &weights.projection {
            None => (head, config.hidden_size),
            Some((_, project_out)) => {
                let (y, embed) = (answers.projected.address(), config.word_embed_proj_dim);
                self.product(project_out, &Io { x: head, x_cols: config.hidden_size, y, y_stride: stride(embed), after: AFTER_NARROW })?;
                (y, embed)
            }
        };
        self.product(&weights.lm_head, &self.head_io(x, x_cols))
    }

    fn norm(&self, (x, counts): (u64, u64), norm: &Norm, y: u64, normalise: bool, keep: bool) -> Result<(), Error> {
        norm_rows(self.model, self.config, self.tokens, &NormRows { x, row_of: 0, norm: *norm, y, normalise, keep, counts })
    }

    pub(super) fn paged(&self, layer: usize) -> Paged {
        paged(self.model, self.config, layer)
    }

    fn product(&self, matrix: &Matrix, io: &Io) -> Result<(), Error> {
        self.product_into(matrix, io, self.paged(0))
    }

    fn product_into(&self, matrix: &Matrix, io: &Io, kv: Paged) -> Result<(), Error> {
        let layout = matrix.layout;
        let (kernel, block_rows) = kernel_of(layout.held, layout.rows, self.tokens);
        let blocks = layout.rows.div_ceil(block_rows).min(blocks_abreast(layout.held, self.tokens) * self.model.card.processors());
        self.model.card.launch(&kernel, [blocks as u32, 1, 1], THREADS, &self.product_args(matrix, io, kv))
    }

    pub(super) fn product_args(&self, matrix: &Matrix, io: &Io, kv: Paged) -> ProductArgs {
        let layout = matrix.layout;
        ProductArgs {
            w: matrix.weights,
            scales: matrix.scales,
            zeros: matrix.zeros,
            bias: matrix.bias,
            x: io.x,
            y: io.y,
            counts: self.model.answers.counts.address(),
            slots: self.inputs().slots,
            kv,
            rows: layout.rows as u32,
            cols: layout.cols_held() as u32,
            tokens: self.tokens as u32,
            x_stride: stride(io.x_cols) as u32,
            y_stride: io.y_stride as u32,
            after: io.after,
            scale: query_scale(self.config),
            row_bytes: layout.stride_bytes() as u32,
        }
    }

    fn columns(&self, matrix: &Matrix) -> Result<(), Error> {
        let layout = matrix.layout;
        let kernel = format!("columns_{}_{}", layout.held.name(), tokens_of_kernel(self.tokens));
        let grid = [layout.rows.div_ceil(COLUMNS_ROWS) as u32, SLICES as u32, 1];
        self.model.card.launch(&kernel, grid, THREADS, &self.columns_args(matrix))
    }

    pub(super) fn columns_args(&self, matrix: &Matrix) -> ColumnsArgs {
        let (layout, answers, io) = (matrix.layout, &self.model.answers, self.fc2_io());
        ColumnsArgs {
            w: matrix.weights,
            scales: matrix.scales,
            bias: matrix.bias,
            x: io.x,
            y: io.y,
            counts: answers.counts.address(),
            partial: answers.partial.address(),
            arrived: answers.arrived.address(),
            rows: layout.rows as u32,
            cols: layout.cols as u32,
            tokens: self.tokens as u32,
            x_stride: stride(io.x_cols) as u32,
            y_stride: io.y_stride as u32,
            few_percent: FEW_PERCENT,
        }
    }

    fn attend(&self, kv: Paged) -> Result<(), Error> {
        let kernel = format!("attend_{}", self.config.head_dim());
        let grid = [self.splits as u32, self.config.num_attention_heads as u32, self.tokens as u32];
        self.model.card.launch(&kernel, grid, ATTEND_THREADS, &self.attend_args(kv))
    }

    pub(super) fn attend_args(&self, kv: Paged) -> AttendArgs {
        let (config, answers) = (self.config, &self.model.answers);
        AttendArgs {
            q: answers.q.address(),
            y: answers.rows.attended.address(),
            contexts: self.inputs().contexts,
            fresh: self.inputs().fresh,
            blocks: self.inputs().blocks,
            partial: answers.seen.address(),
            arrived: answers.seen_arrived.address(),
            kv,
            blocks_stride: context_blocks(config) as u32,
            y_stride: stride(config.hidden_size) as u32,
            splits_max: splits_max(config) as u32,
            bfloat: u32::from(is_bfloat(self.model)),
        }
    }
}

/// The kernels are for 8, 16, 32 and 64 tokens.
pub(super) fn tokens_of_kernel(tokens: usize) -> usize {
    debug_assert!(tokens <= ROWS_MAX, "no more are computed at once");
    tokens.next_power_of_two().clamp(8, ROWS_MAX)
}

/// The kernel of a product, and the rows of its blocks (as product.cu has them).
pub(super) fn kernel_of(held: Held, rows: usize, tokens: usize) -> (String, usize) {
    let kernel_tokens = tokens_of_kernel(tokens);
    let is_wide = kernel_tokens == ROWS_MAX && rows >= WIDE_ROWS && matches!(held, Held::Half | Held::Bfloat);
    let block_rows = match (held, kernel_tokens) {
        _ if is_wide => 64,
        (_, 8) | (Held::Int4, _) => 16,
        _ => 32,
    };
    (format!("product_{}_{kernel_tokens}{}", held.name(), if is_wide { "_wide" } else { "" }), block_rows)
}

/// Blocks of a product that a processor works on at once, as product.cu is bounded.
fn blocks_abreast(held: Held, tokens: usize) -> usize {
    match (held, tokens_of_kernel(tokens)) {
        (_, ROWS_MAX) | (Held::Int4, 32) => 1,
        _ => 2,
    }
}

/// What the scores of attention are scaled by, on the query's side.
pub(super) fn query_scale(config: &OptConfig) -> f32 {
    (config.head_dim() as f32).powf(-0.5)
}

/// Whether activations are bfloats.
pub(super) fn is_bfloat(model: &OnCard) -> bool {
    model.weights.layers.first().is_some_and(|layer| layer.fc1.layout.held == Held::Bfloat)
}

pub(super) fn paged(model: &OnCard, config: &OptConfig, layer: usize) -> Paged {
    Paged {
        memory: model.kv.address(),
        layers: config.num_hidden_layers as u32,
        layer: layer as u32,
        heads: config.num_attention_heads as u32,
        head_dim: config.head_dim() as u32,
    }
}

pub(super) fn embed(
    model: &OnCard,
    config: &OptConfig,
    tokens: usize,
    (ids, positions): (u64, u64),
    (x, embedded): (u64, u64),
) -> Result<(), Error> {
    let matrix = &model.weights.embed_tokens;
    let args = EmbedArgs {
        ids,
        positions,
        tokens: matrix.weights,
        scales: matrix.scales,
        table: model.weights.embed_positions,
        x,
        embedded: if model.weights.projection.is_some() { embedded } else { 0 },
        hidden: config.hidden_size as u32,
        embed: config.word_embed_proj_dim as u32,
        row_bytes: matrix.layout.stride_bytes() as u32,
        held: matrix.layout.held.number(),
        stride: stride(config.word_embed_proj_dim) as u32,
        bfloat: u32::from(is_bfloat(model)),
    };
    model.card.launch("embed_rows", [tokens as u32, 1, 1], THREADS, &args)
}

/// What a norm is made of and where it goes.
pub(super) struct NormRows {
    pub(super) x: u64,
    pub(super) row_of: u64,
    pub(super) norm: Norm,
    pub(super) y: u64,
    pub(super) normalise: bool,
    pub(super) keep: bool,
    pub(super) counts: u64,
}

pub(super) fn norm_rows(model: &OnCard, config: &OptConfig, tokens: usize, rows: &NormRows) -> Result<(), Error> {
    let kernel = if config.hidden_size <= 4096 { "norm_rows_4096" } else { "norm_rows_12288" };
    model.card.launch(kernel, [tokens as u32, 1, 1], NORM_THREADS, &norm_args(model, config, rows))
}

pub(super) fn norm_args(model: &OnCard, config: &OptConfig, rows: &NormRows) -> NormArgs {
    NormArgs {
        x: rows.x,
        row_of: rows.row_of,
        gain: rows.norm.gain,
        bias: rows.norm.bias,
        y: rows.y,
        hidden: config.hidden_size as u32,
        y_stride: stride(config.hidden_size) as u32,
        normalise: u32::from(rows.normalise),
        keep: u32::from(rows.keep),
        counts: rows.counts,
        epsilon: LAYER_NORM_EPSILON,
        bfloat: u32::from(is_bfloat(model)),
    }
}
