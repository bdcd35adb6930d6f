//! What is begun for tokens of prompts: the same steps as for answers, with products of many tokens.

use super::buffers::stride;
use super::forward::{OnCard, Token, slot};
use super::layout::Order;
use super::pass::{NormRows, embed, is_bfloat, norm_rows, paged, query_scale};
use super::weights::{Layer, Matrix, Norm};
use crate::device::cuda::{ActivateArgs, AddBiasArgs, AttendPromptArgs, Finish, Gemm, SplitArgs, WidenArgs};
use crate::error::Error;
use crate::opt::config::{Activation, OptConfig, POSITION_OFFSET};
use crate::opt::model::Span;

const THREADS: u32 = 256;
/// Tokens of a block of the attention kernel.
const TILE_TOKENS: usize = 64;
const ATTEND_THREADS: u32 = 128;

/// Begins to read so many tokens; the stream of their last layer is left in the prompts' `x`.
pub(super) fn read(model: &mut OnCard, config: &OptConfig, spans: &[Span<'_>], tokens: &[Token]) -> Result<(), Error> {
    let inputs = write_inputs(model, spans, tokens)?;
    let reading = Reading { model, config, tokens: tokens.len(), inputs };
    reading.embed()?;
    for (number, layer) in model.weights.layers.iter().enumerate() {
        reading.layer(number, layer)?;
    }
    Ok(())
}

/// Words for the tokens of prompts, as addresses: ids, positions, where keys and values go, the tiles of attention, and blocks.
#[derive(Debug, Clone, Copy)]
struct Inputs {
    ids: u64,
    positions: u64,
    slots: u64,
    tiles: u64,
    tiles_count: usize,
    blocks: u64,
}

fn write_inputs(model: &mut OnCard, spans: &[Span<'_>], tokens: &[Token]) -> Result<Inputs, Error> {
    let (mut tiles, mut blocks) = (Vec::<u32>::new(), Vec::<u32>::new());
    let mut row = 0;
    for of_span in tokens.chunk_by(|a, b| a.span == b.span) {
        let table = blocks.len() as u32;
        blocks.extend(spans[of_span[0].span].kv.blocks());
        for tile in of_span.chunks(TILE_TOKENS) {
            tiles.extend([row, tile.len() as u32, tile[0].position as u32, table]);
            row += tile.len() as u32;
        }
    }
    let base = model.prompts.rows.inputs.address();
    let mut words = model.inputs();
    let mut end = 0;
    let mut put = |count: usize, numbers: &mut dyn Iterator<Item = u32>| {
        let part = words.put(count, numbers);
        end = part.end;
        base + part.start as u64
    };
    let count = tokens.len();
    let inputs = Inputs {
        // First, as each of its entries is read at once, and an address must be a multiple of four words.
        tiles: put(tiles.len(), &mut tiles.iter().copied()),
        ids: put(count, &mut tokens.iter().map(|token| token.id)),
        positions: put(count, &mut tokens.iter().map(|token| (token.position + POSITION_OFFSET) as u32)),
        slots: put(count, &mut tokens.iter().map(|token| slot(spans[token.span].kv, token.position))),
        blocks: put(blocks.len(), &mut blocks.iter().copied()),
        tiles_count: tiles.len() / 4,
    };
    model.copy_in(base, 0..end)?;
    Ok(inputs)
}

struct Reading<'a> {
    model: &'a OnCard,
    config: &'a OptConfig,
    tokens: usize,
    inputs: Inputs,
}

/// A product's 16-bit inputs and its results.
struct Io {
    x: u64,
    x_stride: usize,
    y: u64,
    y_stride: usize,
}

impl Reading<'_> {
    fn embed(&self) -> Result<(), Error> {
        let (config, rows) = (self.config, &self.model.prompts.rows);
        let (x, embedded) = (rows.x.address(), rows.embedded.address());
        embed(self.model, config, self.tokens, (self.inputs.ids, self.inputs.positions), (x, embedded))?;
        match &self.model.weights.projection {
            None => Ok(()),
            Some((project_in, _)) => {
                self.add(project_in, &Io { x: embedded, x_stride: stride(config.word_embed_proj_dim), y: x, y_stride: config.hidden_size })
            }
        }
    }

    fn layer(&self, number: usize, layer: &Layer) -> Result<(), Error> {
        let (config, prompts) = (self.config, &self.model.prompts);
        let (hidden, rows) = (config.hidden_size, &prompts.rows);
        let (x, normed, attended) = (rows.x.address(), rows.normed.address(), rows.attended.address());
        if config.do_layer_norm_before || number == 0 {
            self.norm(&layer.self_attn_layer_norm, config.do_layer_norm_before, false)?;
        }
        let qkv = Io { x: normed, x_stride: stride(hidden), y: prompts.qkv.address(), y_stride: 3 * hidden };
        self.multiply(&layer.qkv_proj, &qkv, Finish::Narrow)?;
        self.attend(number, layer)?;
        self.add(&layer.out_proj, &Io { x: attended, x_stride: stride(hidden), y: x, y_stride: hidden })?;
        let before_fc = if config.do_layer_norm_before { &layer.final_layer_norm } else { &layer.self_attn_layer_norm };
        self.norm(before_fc, true, !config.do_layer_norm_before)?;
        self.inner(layer)?;
        let inner = Io { x: rows.inner.address(), x_stride: stride(config.ffn_dim), y: x, y_stride: hidden };
        self.add(&layer.fc2, &inner)?;
        if !config.do_layer_norm_before {
            self.norm(&layer.final_layer_norm, true, true)?;
        }
        Ok(())
    }

    /// fc1 and what follows it, by the library in one where it can.
    fn inner(&self, layer: &Layer) -> Result<(), Error> {
        let (config, rows) = (self.config, &self.model.prompts.rows);
        let (hidden, ffn) = (stride(config.hidden_size), stride(config.ffn_dim));
        let io = Io { x: rows.normed.address(), x_stride: hidden, y: rows.inner.address(), y_stride: ffn };
        let matrix = &layer.fc1;
        let is_relu = config.activation == Activation::Relu;
        if is_relu && matrix.narrow_bias != 0 && self.try_multiply(matrix, &io, Finish::Relu { bias: matrix.narrow_bias })? {
            return Ok(());
        }
        self.multiply(matrix, &io, Finish::Narrow)?;
        let args = ActivateArgs {
            x: io.y,
            bias: matrix.bias,
            cols: config.ffn_dim as u32,
            stride: ffn as u32,
            gelu: u32::from(!is_relu),
            bfloat: u32::from(is_bfloat(self.model)),
        };
        self.model.card.launch("activate_rows", [self.tokens as u32, 1, 1], THREADS, &args)
    }

    fn attend(&self, number: usize, layer: &Layer) -> Result<(), Error> {
        let (config, prompts, card) = (self.config, &self.model.prompts, &self.model.card);
        let kv = paged(self.model, config, number);
        let bfloat = u32::from(is_bfloat(self.model));
        let split = SplitArgs {
            qkv: prompts.qkv.address(),
            bias: layer.qkv_proj.bias,
            q: prompts.q.address(),
            slots: self.inputs.slots,
            kv,
            hidden: config.hidden_size as u32,
            bfloat,
            scale: query_scale(config),
            unused: 0,
        };
        card.launch("split_qkv", [self.tokens as u32, 1, 1], THREADS, &split)?;
        let args = AttendPromptArgs {
            q: prompts.q.address(),
            y: prompts.rows.attended.address(),
            tiles: self.inputs.tiles,
            blocks: self.inputs.blocks,
            kv,
            y_stride: stride(config.hidden_size) as u32,
            bfloat,
        };
        let kernel = format!("attend_prompt_{}", config.head_dim());
        card.launch(&kernel, [self.inputs.tiles_count as u32, config.num_attention_heads as u32, 1], ATTEND_THREADS, &args)
    }

    fn norm(&self, norm: &Norm, normalise: bool, keep: bool) -> Result<(), Error> {
        let rows = &self.model.prompts.rows;
        let (x, y) = (rows.x.address(), rows.normed.address());
        norm_rows(self.model, self.config, self.tokens, &NormRows { x, row_of: 0, norm: *norm, y, normalise, keep, counts: 0 })
    }

    /// Adds product and bias to the stream, by the library in one where it can.
    fn add(&self, matrix: &Matrix, io: &Io) -> Result<(), Error> {
        if self.try_multiply(matrix, io, Finish::Add { bias: matrix.bias })? {
            return Ok(());
        }
        self.multiply(matrix, io, Finish::Add { bias: 0 })?;
        let args = AddBiasArgs { x: io.y, bias: matrix.bias, cols: self.config.hidden_size as u32, unused: 0 };
        self.model.card.launch("add_bias_rows", [self.tokens as u32, 1, 1], THREADS, &args)
    }

    fn multiply(&self, matrix: &Matrix, io: &Io, finish: Finish) -> Result<(), Error> {
        if self.try_multiply(matrix, io, finish)? {
            return Ok(());
        }
        let (rows, cols) = (matrix.layout.rows, matrix.layout.cols);
        Err(Error::Internal { problem: format!("cuBLASLt knows no way to multiply {rows} by {cols}") })
    }

    fn try_multiply(&self, matrix: &Matrix, io: &Io, finish: Finish) -> Result<bool, Error> {
        let Some(blas) = &self.model.blas else { return Ok(false) };
        let layout = matrix.layout;
        let by_column = layout.order == Order::ByColumn;
        let (w, w_stride) = if layout.held.is_widened() {
            (self.widen(matrix)?, if by_column { layout.rows } else { layout.cols_held() })
        } else {
            (matrix.weights, layout.stride_bytes() / 2)
        };
        let Io { x, x_stride, y, y_stride } = *io;
        let (rows, cols, tokens) = (layout.rows, layout.cols, self.tokens);
        let bfloat = is_bfloat(self.model);
        blas.multiply(&self.model.card, &Gemm { w, w_stride, by_column, x, x_stride, y, y_stride, rows, cols, tokens, bfloat, finish })
    }

    /// The matrix in halves.
    fn widen(&self, matrix: &Matrix) -> Result<u64, Error> {
        let (layout, to) = (matrix.layout, self.model.prompts.widened.address());
        let by_column = layout.order == Order::ByColumn;
        let (rows, cols) = if by_column { (layout.cols, layout.rows) } else { (layout.rows, layout.cols_held()) };
        let args = WidenArgs {
            w: matrix.weights,
            scales: matrix.scales,
            zeros: matrix.zeros,
            y: to,
            rows: rows as u32,
            cols: cols as u32,
            row_bytes: layout.stride_bytes() as u32,
            y_stride: cols as u32,
            held: layout.held.number(),
            by_column: u32::from(by_column),
        };
        self.model.card.launch("widen_rows", [rows as u32, 1, 1], THREADS, &args)?;
        Ok(to)
    }
}
