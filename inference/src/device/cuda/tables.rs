//! What a launch is told: one structure for each kernel, equal to those of `kernels/tables.cuh`. Addresses are the card's.

use bytemuck::{Pod, Zeroable};

/// A matrix's weights: halves, bfloats, or bytes and nibbles with scales.
pub(crate) const HELD_HALF: u32 = 0;
pub(crate) const HELD_BFLOAT: u32 = 1;
pub(crate) const HELD_INT8: u32 = 2;
pub(crate) const HELD_INT4: u32 = 3;

/// What becomes of the sums of a product.
pub(crate) const AFTER_STORE: u32 = 0;
pub(crate) const AFTER_ADD: u32 = 1;
pub(crate) const AFTER_NARROW: u32 = 2;
pub(crate) const AFTER_RELU: u32 = 3;
pub(crate) const AFTER_GELU: u32 = 4;
pub(crate) const AFTER_QKV: u32 = 5;

/// What the blocks of a step do before they meet again.
pub(crate) const STAGE_PRODUCT: u32 = 0;
pub(crate) const STAGE_NORMED: u32 = 1;
pub(crate) const STAGE_HEAD: u32 = 2;
pub(crate) const STAGE_COLUMNS: u32 = 3;
pub(crate) const STAGE_ATTEND: u32 = 4;

/// The slot of a row that is nobody's.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// The memory of keys and values.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct Paged {
    pub(crate) memory: u64,
    pub(crate) layers: u32,
    pub(crate) layer: u32,
    pub(crate) heads: u32,
    pub(crate) head_dim: u32,
}

/// `product_*`
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct ProductArgs {
    pub(crate) w: u64,
    pub(crate) scales: u64,
    pub(crate) zeros: u64,
    pub(crate) bias: u64,
    pub(crate) x: u64,
    pub(crate) y: u64,
    pub(crate) counts: u64,
    pub(crate) slots: u64,
    pub(crate) kv: Paged,
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    pub(crate) tokens: u32,
    pub(crate) x_stride: u32,
    pub(crate) y_stride: u32,
    pub(crate) after: u32,
    pub(crate) scale: f32,
    pub(crate) row_bytes: u32,
}

/// `columns_*`
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct ColumnsArgs {
    pub(crate) w: u64,
    pub(crate) scales: u64,
    pub(crate) bias: u64,
    pub(crate) x: u64,
    pub(crate) y: u64,
    pub(crate) counts: u64,
    pub(crate) partial: u64,
    pub(crate) arrived: u64,
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    pub(crate) tokens: u32,
    pub(crate) x_stride: u32,
    pub(crate) y_stride: u32,
    pub(crate) few_percent: u32,
}

/// `norm`
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct NormArgs {
    pub(crate) x: u64,
    pub(crate) row_of: u64,
    pub(crate) gain: u64,
    pub(crate) bias: u64,
    pub(crate) y: u64,
    pub(crate) hidden: u32,
    pub(crate) y_stride: u32,
    pub(crate) normalise: u32,
    pub(crate) keep: u32,
    pub(crate) counts: u64,
    pub(crate) epsilon: f32,
    pub(crate) bfloat: u32,
}

/// `embed`
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct EmbedArgs {
    pub(crate) ids: u64,
    pub(crate) positions: u64,
    pub(crate) tokens: u64,
    pub(crate) scales: u64,
    pub(crate) table: u64,
    pub(crate) x: u64,
    pub(crate) embedded: u64,
    pub(crate) hidden: u32,
    pub(crate) embed: u32,
    pub(crate) row_bytes: u32,
    pub(crate) held: u32,
    pub(crate) stride: u32,
    pub(crate) bfloat: u32,
}

/// `attend_*`
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct AttendArgs {
    pub(crate) q: u64,
    pub(crate) y: u64,
    pub(crate) contexts: u64,
    pub(crate) fresh: u64,
    pub(crate) blocks: u64,
    pub(crate) partial: u64,
    pub(crate) arrived: u64,
    pub(crate) kv: Paged,
    pub(crate) blocks_stride: u32,
    pub(crate) y_stride: u32,
    pub(crate) splits_max: u32,
    pub(crate) bfloat: u32,
}

/// Some tokens of one prompt that follow one another.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct PromptTile {
    pub(crate) row: u32,
    pub(crate) rows: u32,
    pub(crate) position: u32,
    pub(crate) blocks: u32,
}

/// `attend_prompt_*`
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct AttendPromptArgs {
    pub(crate) q: u64,
    pub(crate) y: u64,
    pub(crate) tiles: u64,
    pub(crate) blocks: u64,
    pub(crate) kv: Paged,
    pub(crate) y_stride: u32,
    pub(crate) bfloat: u32,
}

/// `split`
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct SplitArgs {
    pub(crate) qkv: u64,
    pub(crate) bias: u64,
    pub(crate) q: u64,
    pub(crate) slots: u64,
    pub(crate) kv: Paged,
    pub(crate) hidden: u32,
    pub(crate) bfloat: u32,
    pub(crate) scale: f32,
    pub(crate) unused: u32,
}

/// `activate`
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct ActivateArgs {
    pub(crate) x: u64,
    pub(crate) bias: u64,
    pub(crate) cols: u32,
    pub(crate) stride: u32,
    pub(crate) gelu: u32,
    pub(crate) bfloat: u32,
}

/// `add_bias`
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct AddBiasArgs {
    pub(crate) x: u64,
    pub(crate) bias: u64,
    pub(crate) cols: u32,
    pub(crate) unused: u32,
}

/// `widen`
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct WidenArgs {
    pub(crate) w: u64,
    pub(crate) scales: u64,
    pub(crate) zeros: u64,
    pub(crate) y: u64,
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    pub(crate) row_bytes: u32,
    pub(crate) y_stride: u32,
    pub(crate) held: u32,
    pub(crate) by_column: u32,
}

/// A matrix by rows as the card's own copying engine is told of it.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct TileMap(pub(crate) [u64; 16]);

/// A matrix that a step reads, in the order in which it does.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct StepFlow {
    pub(crate) map: TileMap,
    pub(crate) scales: TileMap,
    pub(crate) zeros: TileMap,
    pub(crate) guess: u64,
    pub(crate) units: u32,
    pub(crate) inner: u32,
    pub(crate) first: u32,
    pub(crate) across: u32,
    pub(crate) has_scales: u32,
    pub(crate) unused: [u32; 9],
}

/// A stage of a step.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct StepStage {
    pub(crate) stage: u32,
    pub(crate) flow: u32,
    pub(crate) first: u32,
    pub(crate) not_used: u32,
    pub(crate) clear: u64,
    pub(crate) guess: u64,
    pub(crate) ahead: [u64; 4],
    pub(crate) ahead_bytes: [u32; 4],
    pub(crate) norm: NormArgs,
    pub(crate) product: ProductArgs,
    pub(crate) columns: ColumnsArgs,
    pub(crate) attend: AttendArgs,
    pub(crate) at_its_end: u64,
}

/// `step_*`
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct StepArgs {
    pub(crate) stages: u64,
    pub(crate) flows: u64,
    pub(crate) meeting: u64,
    pub(crate) contexts: u64,
    pub(crate) fresh: u64,
    pub(crate) blocks: u64,
    pub(crate) slots: u64,
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) flows_count: u32,
    pub(crate) blocks_count: u32,
    pub(crate) x_cols: u32,
    pub(crate) unused: u32,
}

// As large as the kernels have them, which copy them as they are.
const _: () = assert!(size_of::<StepFlow>() == 448 && size_of::<StepStage>() == 464 && size_of::<StepArgs>() == 80);
