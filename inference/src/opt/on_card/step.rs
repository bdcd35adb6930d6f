//! A step of one answer as one kernel (`kernels/step.cu`): the tables it is told of the model, and how it is begun. Where a card or a model
//! is not made for it, the step is computed kernel by kernel, to the same numbers.

use bytemuck::Zeroable;

use super::buffers::{SLICES, context_blocks, stride};
use super::forward::OnCard;
use super::layout::{Held, Order};
use super::pass::{Io, NormRows, Pass, THREADS, norm_args};
use super::weights::{Matrix, Norm};
use crate::device::cuda::{
    Buffer, Card, ColumnsArgs, STAGE_ATTEND, STAGE_COLUMNS, STAGE_HEAD, STAGE_NORMED, STAGE_PRODUCT, StepArgs, StepFlow, StepStage,
};
use crate::error::Error;
use crate::opt::config::OptConfig;

/// As step.cu has them: rows and bytes of a tile, bytes of a strip, warps of a block.
const TILE_ROWS: usize = 16;
const TILE_BYTES: usize = 128;
const STRIP_BYTES: usize = 16;
const WARPS: usize = 8;
/// Tiles begin at multiples of so many bytes.
const TILES_ALIGNMENT: usize = 1024;

/// What the kernel is told.
#[derive(Debug)]
pub(super) struct Step {
    kernel: String,
    blocks: usize,
    shared_bytes: usize,
    args: StepArgs,
    // What the addresses of `args` lead to.
    _tables: [Buffer; 4],
}

impl Step {
    /// `None` if the card or the model is not made for it.
    pub(super) fn plan(model: &OnCard, config: &OptConfig) -> Result<Option<Self>, Error> {
        let Some(held) = held_alike(model).filter(|_| config.do_layer_norm_before && !config.has_projection()) else { return Ok(None) };
        let x_cols = stride(config.hidden_size).max(slice_cols(config.ffn_dim));
        let shared_bytes = TILES_ALIGNMENT + queue_bytes(held) + 2 * x_cols;
        let kernel = format!("step_{}", held.name());
        let blocks = model.card.blocks_together(&kernel, THREADS, shared_bytes);
        if blocks == 0 {
            return Ok(None);
        }
        let guesses = model.card.alloc(4 * config.num_hidden_layers)?;
        let mut plan = Plan {
            pass: Pass { config, model, tokens: 1, splits: 1 },
            guesses: guesses.address(),
            blocks: blocks as u32,
            stages: Vec::new(),
            beside: Vec::new(),
            flows: Vec::new(),
            units: 0,
        };
        plan.all()?;
        plan.look_ahead();
        let meeting = model.card.alloc(8)?;
        let (stages, flows) = (uploaded(&model.card, &plan.stages)?, uploaded(&model.card, &plan.flows)?);
        let inputs = plan.pass.inputs();
        let args = StepArgs {
            stages: stages.address(),
            flows: flows.address(),
            meeting: meeting.address(),
            contexts: inputs.contexts,
            fresh: inputs.fresh,
            blocks: inputs.blocks,
            slots: inputs.slots,
            first: 0,
            last: plan.stages.len() as u32,
            flows_count: plan.flows.len() as u32,
            blocks_count: context_blocks(config) as u32,
            x_cols: x_cols as u32,
            unused: 0,
        };
        let step = Self { kernel, blocks, shared_bytes, args, _tables: [stages, flows, meeting, guesses] };
        // Some ways of sharing a card do not let all blocks of a kernel be there at once: found out with a step of nothing.
        let nothing = StepArgs { last: 0, flows_count: 0, ..args };
        match step.launch(&model.card, &nothing).and_then(|()| model.card.wait()) {
            Ok(()) => Ok(Some(step)),
            Err(cause) => {
                tracing::info!(%cause, "a step of one answer is computed kernel by kernel");
                Ok(None)
            }
        }
    }

    /// Begins the layers and the head of one token, whose embedding is there.
    pub(super) fn begin(&self, card: &Card) -> Result<(), Error> {
        self.launch(card, &self.args)
    }

    fn launch(&self, card: &Card, args: &StepArgs) -> Result<(), Error> {
        card.launch_step(&self.kernel, self.blocks, THREADS, self.shared_bytes, args)
    }
}

/// How the matrices of the layers are held, if they are held alike, the head as goes with it, and all at places that tiles can be copied from.
fn held_alike(model: &OnCard) -> Option<Held> {
    let mut layers = model.weights.layers.iter().flat_map(|layer| [&layer.qkv_proj, &layer.out_proj, &layer.fc1, &layer.fc2]);
    let held = model.weights.layers.first()?.qkv_proj.layout.held;
    let is_made_for = |matrix: &Matrix, held: Held| matrix.layout.held == held && matrix.layout.stride_bytes().is_multiple_of(16);
    let head = if held == Held::Int4 { Held::Int8 } else { held };
    (layers.all(|matrix| is_made_for(matrix, held)) && is_made_for(&model.weights.lm_head, head)).then_some(held)
}

/// Bytes of all tiles that a block has room for.
fn queue_bytes(held: Held) -> usize {
    let (depth, strips) = if held == Held::Int4 { (4, 2) } else { (5, 0) };
    depth * WARPS * TILE_ROWS * (TILE_BYTES + strips * STRIP_BYTES)
}

/// What the sums of a matrix meet: its bias, and at eight bits its scales; singles, one for each row.
fn of_sums(matrix: &Matrix) -> [(u64, u32); 2] {
    let bytes = 4 * matrix.layout.rows as u32;
    let scales = if matrix.layout.held == Held::Int8 { matrix.scales } else { 0 };
    [(matrix.bias, bytes), (scales, bytes)]
}

/// Columns of a slice, as columns.cuh has them.
fn slice_cols(cols: usize) -> usize {
    cols.div_ceil(SLICES * 512) * 512
}

fn uploaded<T: bytemuck::Pod>(card: &Card, table: &[T]) -> Result<Buffer, Error> {
    let bytes: &[u8] = bytemuck::cast_slice(table);
    let buffer = card.alloc(bytes.len())?;
    let mut pinned = card.pinned(bytes.len())?;
    pinned[..bytes.len()].copy_from_slice(bytes);
    card.copy_in(buffer.address(), &pinned, 0..bytes.len())?;
    card.wait()?;
    Ok(buffer)
}

struct Plan<'a> {
    pass: Pass<'a>,
    guesses: u64,
    blocks: u32,
    stages: Vec<StepStage>,
    /// What each stage reads beside its weights, and how many bytes.
    beside: Vec<Vec<(u64, u32)>>,
    flows: Vec<StepFlow>,
    /// Units of work so far: the blocks go on in turn from one matrix to the next, so that each has as many as the others.
    units: u32,
}

impl Plan<'_> {
    fn all(&mut self) -> Result<(), Error> {
        let (model, config) = (self.pass.model, self.pass.config);
        for (number, layer) in model.weights.layers.iter().enumerate() {
            let kv = self.pass.paged(number);
            let norm = Some((&layer.self_attn_layer_norm, true));
            self.product(STAGE_NORMED, &layer.qkv_proj, &self.pass.qkv_io(), norm)?;
            self.last().product.kv = kv;
            // Behind queries, keys and values, and those behind the layer before.
            let (guess, columns) = self.guess(2);
            self.stages.push(StepStage {
                stage: STAGE_ATTEND,
                flow: self.flows.len() as u32,
                guess,
                columns,
                attend: self.pass.attend_args(kv),
                ..StepStage::zeroed()
            });
            self.beside.push(Vec::new());
            self.product(STAGE_PRODUCT, &layer.out_proj, &self.pass.out_io(), None)?;
            self.last().clear = model.answers.counts.address();
            self.product(STAGE_NORMED, &layer.fc1, &self.pass.fc1_io(), Some((&layer.final_layer_norm, true)))?;
            match layer.fc2.layout.order {
                Order::ByColumn => self.columns(number, &layer.fc2)?,
                Order::ByRow => self.product(STAGE_PRODUCT, &layer.fc2, &self.pass.fc2_io(), None)?,
            }
        }
        let norm = model.weights.final_layer_norm.unwrap_or_default();
        let io = self.pass.head_io(0, config.hidden_size);
        self.product(STAGE_HEAD, &model.weights.lm_head, &io, Some((&norm, model.weights.final_layer_norm.is_some())))
    }

    fn last(&mut self) -> &mut StepStage {
        let last = self.stages.len() - 1;
        &mut self.stages[last]
    }

    /// What a stage needs to guess, for the next step, how many columns will be read, if the stage so many before its own reads by columns.
    fn guess(&self, back: usize) -> (u64, ColumnsArgs) {
        let of = self.stages.iter().rev().nth(back - 1).filter(|of| of.stage == STAGE_COLUMNS);
        of.map_or_else(Zeroable::zeroed, |of| (of.guess, of.columns))
    }

    /// A product of what lies at `io.x`, or of the stream's norm.
    fn product(&mut self, stage: u32, matrix: &Matrix, io: &Io, norm: Option<(&Norm, bool)>) -> Result<(), Error> {
        let layout = matrix.layout;
        let (units, pairs) = (layout.rows.div_ceil(TILE_ROWS), layout.stride_bytes().div_ceil(TILE_BYTES));
        let (flow, first) = self.flow(matrix, layout.rows, (units, pairs), 0, 0)?;
        let x = self.pass.model.answers.rows.x.address();
        let norm = norm.map(|(norm, normalise)| {
            let rows = NormRows { x, row_of: 0, norm: *norm, y: 0, normalise, keep: false, counts: 0 };
            norm_args(self.pass.model, self.pass.config, &rows)
        });
        let (guess, columns) = if stage == STAGE_HEAD { self.guess(1) } else { Zeroable::zeroed() };
        self.stages.push(StepStage {
            stage,
            flow,
            first,
            guess,
            columns,
            norm: norm.unwrap_or_else(Zeroable::zeroed),
            product: self.pass.product_args(matrix, io, self.pass.paged(0)),
            ..StepStage::zeroed()
        });
        let of_norm = norm.map_or([(0, 0); 2], |norm| [norm.gain, norm.bias].map(|address| (address, 4 * norm.hidden)));
        self.beside.push(of_norm.into_iter().chain(of_sums(matrix)).filter(|(address, _)| *address != 0).collect());
        Ok(())
    }

    fn columns(&mut self, layer: usize, matrix: &Matrix) -> Result<(), Error> {
        let layout = matrix.layout;
        let across = layout.stride_bytes().div_ceil(TILE_BYTES);
        let guess = self.guesses + 4 * layer as u64;
        let tiles = slice_cols(layout.cols) / TILE_ROWS;
        let (flow, first) = self.flow(matrix, layout.cols, (across * SLICES, tiles), across, guess)?;
        self.stages.push(StepStage {
            stage: STAGE_COLUMNS,
            flow,
            first,
            guess,
            columns: self.pass.columns_args(matrix),
            ..StepStage::zeroed()
        });
        self.beside.push(of_sums(matrix).into_iter().filter(|(address, _)| *address != 0).collect());
        Ok(())
    }

    /// Has each stage ask for what the one after the next reads beside its weights.
    fn look_ahead(&mut self) {
        for (stage, beside) in self.stages.iter_mut().zip(self.beside.iter().skip(2)) {
            for (place, (address, bytes)) in beside.iter().enumerate() {
                (stage.ahead[place], stage.ahead_bytes[place]) = (*address, *bytes);
            }
        }
    }

    /// Its number, and the block that has its first unit.
    fn flow(
        &mut self,
        matrix: &Matrix,
        lines: usize,
        (units, inner): (usize, usize),
        across: usize,
        guess: u64,
    ) -> Result<(u32, u32), Error> {
        let card = &self.pass.model.card;
        let map = card.tile_map(matrix.weights, matrix.layout.stride_bytes(), lines, TILE_BYTES)?;
        let (scale_bytes, zero_bytes) = matrix.layout.group_bytes();
        let has_scales = matrix.layout.held == Held::Int4;
        let (scales, zeros) = match has_scales {
            true => (
                card.tile_map(matrix.scales, scale_bytes, lines, STRIP_BYTES)?,
                card.tile_map(matrix.zeros, zero_bytes, lines, STRIP_BYTES)?,
            ),
            false => Zeroable::zeroed(),
        };
        let first = self.units % self.blocks;
        self.units += units as u32;
        let (units, inner, across) = (units as u32, inner as u32, across as u32);
        self.flows.push(StepFlow {
            map,
            scales,
            zeros,
            guess,
            units,
            inner,
            first,
            across,
            has_scales: u32::from(has_scales),
            unused: [0; 9],
        });
        Ok((self.flows.len() as u32 - 1, first))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use std::path::Path;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::device::Threads;
    use crate::options::{LoadOptions, Precision};

    /// Whether a step of one answer is one kernel for this fixture.
    fn is_one_kernel(name: &str, precision: Precision) -> bool {
        let checkpoint = Checkpoint::open_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt").join(name)).unwrap();
        let config = checkpoint.config().unwrap();
        let options = LoadOptions { precision, threads: 1, kv_tokens_max: 256, ..LoadOptions::default() };
        let model = OnCard::load(&config, &checkpoint, &options, Card::open(0).unwrap(), &Threads::new(1).unwrap()).unwrap();
        model.step.is_some()
    }

    #[test]
    fn what_is_made_for_one_kernel_gets_one() {
        for precision in Precision::ALL {
            for name in ["preln-fp32", "preln-hd80-fp16", "galactica-gelu-nobias-fp16"] {
                assert!(is_one_kernel(name, precision), "{name} {precision:?}");
            }
            assert!(!is_one_kernel("postln-proj-bf16-sharded", precision), "norms behind, and an embedding narrower than the stream");
        }
    }
}
