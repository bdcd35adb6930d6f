// What a launch is told: one structure for each kernel, equal to those of ../tables.rs.
#pragma once
#include "intrinsics.cuh"

// How a matrix is held.
enum Held : u32 { HELD_HALF = 0, HELD_BFLOAT = 1, HELD_INT8 = 2, HELD_INT4 = 3 };

// What becomes of the sums of a product, bias included.
enum After : u32 {
    AFTER_STORE = 0,    // singles, written to `y`
    AFTER_ADD = 1,      // added to the singles of `y`
    AFTER_NARROW = 2,   // 16 bits, written to `y`
    AFTER_RELU = 3,     // max(·, 0), 16 bits; how many are not zero is added to `counts`
    AFTER_GELU = 4,     // · Φ(·), 16 bits
    AFTER_QKV = 5,      // the first third scaled, singles, to `y`; the others to the paged memory of keys and values
};

// No place for keys and values: of a row that is nobody's.
constexpr u32 NOWHERE = 0xffffffffu;

// A model's memory of keys and values: halves [block][layer][keys, values][head][32 tokens][head_dim].
struct Paged {
    u64 memory;
    u32 layers, layer, heads, head_dim;
};

struct ProductArgs {
    u64 w, scales, zeros;   // int8: scales f32 [rows]; int4: scales f16, zeros u8, [rows][groups]
    u64 bias;               // f32 [rows], or 0
    u64 x;                  // 16 bits [tokens][x_stride]
    u64 y;                  // [tokens][y_stride]
    u64 counts;             // u32 [tokens]
    u64 slots;              // u32 [tokens]: block · 32 + place of the token; NOWHERE for none
    Paged kv;
    u32 rows, cols;         // cols: a multiple of what a chunk of the format has
    u32 tokens, x_stride, y_stride;
    u32 after;
    float scale;
    u32 row_bytes;
};

struct ColumnsArgs {
    u64 w, scales, bias, x, y, counts;
    u64 partial;            // f32 [slices][tokens][rows]
    u64 arrived;            // u32 [tiles], zero before and after
    u32 rows, cols, tokens, x_stride, y_stride, few_percent;
};

struct NormArgs {
    u64 x, row_of, gain, bias, y;   // x f32 [rows][hidden]; row_of u32 or 0; y 16 bits [rows][y_stride]
    u32 hidden, y_stride;
    u32 normalise, keep;            // keep: the norm becomes the stream itself
    u64 counts;                     // u32 [rows], set to zero; or 0
    float epsilon;
    u32 bfloat;
};

struct EmbedArgs {
    u64 ids, positions, tokens, scales, table;  // table f32 (positions, hidden); tokens held as `held`
    u64 x, embedded;                            // embedded: 16 bits [rows][stride] where the embedding is narrower than the stream, else 0
    u32 hidden, embed, row_bytes, held, stride, bfloat;
};

struct AttendArgs {
    u64 q;                  // f32 [rows][hidden], scaled
    u64 y;                  // 16 bits [rows][y_stride]
    u64 contexts;           // u32 [rows]: tokens to attend to; 0: no row
    u64 fresh;              // u32 [rows]: of the row's sequence, tokens from here on were written in this step
    u64 blocks;             // u32 [rows][blocks_stride]
    u64 partial;            // f32 [rows][heads][splits_max][head_dim + 2]
    u64 arrived;            // u32 [rows][heads], zero before and after
    Paged kv;
    u32 blocks_stride, y_stride, splits_max, bfloat;
};

struct PromptTile {
    u32 row, rows, position, blocks;    // first row of the step, how many, position of the first, where its blocks begin in the table
};

struct AttendPromptArgs {
    u64 q;                  // halves [tokens][hidden], scaled
    u64 y;
    u64 tiles;              // PromptTile [tiles]
    u64 blocks;             // u32
    Paged kv;
    u32 y_stride, bfloat;
};

struct SplitArgs {
    u64 qkv, bias, q, slots;    // qkv 16 bits [tokens][3 hidden]; bias f32 or 0; q halves [tokens][hidden]
    Paged kv;
    u32 hidden, bfloat;
    float scale;
    u32 unused;
};

struct ActivateArgs {
    u64 x, bias;                // x: 16 bits [rows][stride], in place; bias f32 or 0
    u32 cols, stride, gelu, bfloat;
};

struct AddBiasArgs {
    u64 x, bias;                // f32 [rows][cols]
    u32 cols, unused;
};

struct WidenArgs {
    u64 w, scales, zeros, y;    // y halves [rows][y_stride]
    u32 rows, cols, row_bytes, y_stride, held, by_column;
};

// A matrix that a step reads, in the order in which it does: in tiles of 16 rows and 128 bytes, of its rows, or of its columns if it lies
// column by column.
struct StepFlow {
    TileMap map;
    TileMap scales, zeros;  // in strips, at four bits
    u64 guess;              // by columns: a u32 that says that few of them will be read, which the queue leaves to the stage
    u32 units, inner;       // units of work, and the tiles of each
    u32 first;              // the block that has the first unit
    u32 across;             // by columns: units beside one another, each behind the last of them being further down by `inner` tiles; or 0
    u32 has_scales;
    u32 unused[9];
};

// What the blocks of a step do before they meet again.
enum Stage : u32 {
    STAGE_PRODUCT = 0,  // of what lies at `product.x`
    STAGE_NORMED = 1,   // the same of a norm of the stream
    STAGE_HEAD = 2,     // the same, with a matrix held as those outside of the layers
    STAGE_COLUMNS = 3,
    STAGE_ATTEND = 4,
};

struct alignas(16) StepStage {
    u32 stage;
    u32 flow;               // this stage's, or the first behind it
    u32 first;              // the flow's
    u32 unused;
    u64 clear;              // a u32 that becomes zero, or 0
    u64 guess;              // by columns: the flow's; of a stage further on: the same, to be made for the next step; or 0
    u64 ahead[4];           // what the stage after the next reads beside weights, as many bytes each
    u32 ahead_bytes[4];
    NormArgs norm;          // of one row; `y` is nowhere
    ProductArgs product;
    ColumnsArgs columns;
    AttendArgs attend;
};

struct StepArgs {
    u64 stages, flows;      // StepStage [..], StepFlow [flows_count]
    u64 meeting;            // u32 [2], zero before and after
    u64 contexts, fresh, blocks, slots;     // the row's, as attention and products have them
    u32 first, last;        // stages from `first` up to before `last`
    u32 flows_count, blocks_count;
    u32 x_cols, unused;     // how much of a row of 16 bits there is room for in shared memory
};

static_assert(sizeof(StepFlow) == 448 && sizeof(StepStage) == 464 && sizeof(StepArgs) == 80, "as large as tables.rs has them");
