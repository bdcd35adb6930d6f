// y (tokens, rows) = x (tokens, cols) · wᵀ for a few tokens and weights that lie row by row, read once, straight into registers.
//
// Each of a block's eight warps takes every eighth pair of chunks of the columns; a sum runs over a warp's chunks in order, then over the
// warps in order. So a number does not depend on how many tokens there are, nor on how many rows a block has.
#include "product.cuh"

// RT: 16 rows so many times; NT: 8 tokens so many times.
template <int HELD, int NT, int RT>
DEVICE void product(const ProductArgs& a) {
    using E = typename Choose<HELD == HELD_BFLOAT>::E;
    constexpr int CHUNK = chunk_cols<HELD>();
    constexpr int AHEAD = RT > 1 || NT == 8 ? 1 : HELD == HELD_INT4 ? 2 : 4;    // chunks read at once
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    const u32 tiles = (a.rows + 16 * RT - 1) / (16 * RT);
    const int chunks = (int)(a.cols / CHUNK), steps = chunks_of_warp(chunks) / AHEAD;

    // What is read next: a step of a tile of rows. The steps of all the block's tiles follow one another without a gap.
    u32 next_tile = blockIdx.x;
    int next_step = 0, next_chunk = first_chunk(warp);
    u32 rows[RT][2];
    Weights next[AHEAD][RT];
    Scales next_scales[AHEAD][RT];
    auto read = [&]() {
        if (next_tile >= tiles) return;
        if (next_step == 0) {
#pragma unroll
            for (int r = 0; r < RT; r++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    rows[r][half] = min(next_tile * 16 * RT + 16 * r + 8 * half + g, a.rows - 1);
                }
        }
#pragma unroll
        for (int u = 0; u < AHEAD; u++) {
            const int c = next_chunk;
            next_chunk = chunk_after(c);
            if (c < chunks) {
#pragma unroll
                for (int r = 0; r < RT; r++) {
                    const u8* at = (const u8*)a.w + 16 * t + c * 64;
                    next[u][r].upper = load_streaming(at + (u64)rows[r][0] * a.row_bytes);
                    next[u][r].lower = load_streaming(at + (u64)rows[r][1] * a.row_bytes);
                    if (HELD == HELD_INT4) {
                        const u32 groups = groups_held(a.cols);
                        const u64 upper = (u64)rows[r][0] * groups + 4 * c, lower = (u64)rows[r][1] * groups + 4 * c;
                        next_scales[u][r].upper = load_streaming8((const u8*)a.scales + upper * 2);
                        next_scales[u][r].lower = load_streaming8((const u8*)a.scales + lower * 2);
                        next_scales[u][r].upper_zeros = load_streaming4((const u8*)a.zeros + upper);
                        next_scales[u][r].lower_zeros = load_streaming4((const u8*)a.zeros + lower);
                    }
                }
            }
        }
        if (++next_step == steps) next_step = 0, next_chunk = first_chunk(warp), next_tile += gridDim.x;
    };

    // The weights are nobody's to write: they are asked for before the kernel before this has ended.
    read();
    let_next_begin();
    wait_for_previous();

    // Of token g; tokens 8n + g are there for 8n < `there`.
    const u16* x = (const u16*)a.x + (u64)g * a.x_stride + (HELD == HELD_INT8 ? 16 : 8) * t;
    const int there = (int)a.tokens - g;

    // Sums are handed over in one of two rooms, so that those of the tile before may still be read.
    constexpr int TOKENS = 8 * NT, STRIDE = 16 * RT + 4, PARTS = NT <= 2 ? WARPS : 1;
    SHARED float totals[2][PARTS][TOKENS * STRIDE];
    int room = 0;
    for (u32 tile = blockIdx.x; tile < tiles; tile += gridDim.x, room = 1 - room) {
        const u32 first_row = tile * 16 * RT;
        float (&total)[PARTS][TOKENS * STRIDE] = totals[room];
        float sums[RT][NT][4];
#pragma unroll
        for (int r = 0; r < RT; r++)
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) sums[r][n][i] = 0.0f;

        // What the sums of the tile will meet is asked for before them. (Threads take the same row of each token.)
        auto row_of_thread = [&]() { return first_row + threadIdx.x % (16 * RT); };
        auto bias_of_thread = [&]() { return a.bias && row_of_thread() < a.rows ? ((const float*)a.bias)[row_of_thread()] : 0.0f; };
        auto scale_of_thread = [&]() { return HELD == HELD_INT8 && row_of_thread() < a.rows ? ((const float*)a.scales)[row_of_thread()] : 1.0f; };
        constexpr bool EARLY = NT < 8;  // if there are registers
        const float bias = EARLY ? bias_of_thread() : 0.0f, scale = EARLY ? scale_of_thread() : 1.0f;

        int chunk = first_chunk(warp);
        for (int step = 0; step < steps; step++) {
            Weights w[AHEAD][RT];
            Scales scales[AHEAD][RT];
#pragma unroll
            for (int u = 0; u < AHEAD; u++)
#pragma unroll
                for (int r = 0; r < RT; r++) {
                    w[u][r] = next[u][r];
                    if (HELD == HELD_INT4) scales[u][r] = next_scales[u][r];
                }
            read();
#pragma unroll
            for (int u = 0; u < AHEAD; u++) {
                const int c = chunk;
                chunk = chunk_after(c);
                if (c >= chunks) break;
                if constexpr (HELD == HELD_INT4) {
#pragma unroll
                    for (int r = 0; r < RT; r++) multiply_int4<NT>(sums[r], w[u][r], scales[u][r], x + c * CHUNK, a.x_stride, there);
                } else {
#pragma unroll
                    for (int n = 0; n < NT; n++) {
                        const uint4* at = (const uint4*)(x + 8 * n * a.x_stride + c * CHUNK);
                        uint4 xs[2] = {make_uint4(0, 0, 0, 0), make_uint4(0, 0, 0, 0)};
                        if (8 * n < there) {
                            xs[0] = at[0];
                            if constexpr (HELD == HELD_INT8) xs[1] = at[1];
                        }
#pragma unroll
                        for (int r = 0; r < RT; r++) {
                            if constexpr (HELD == HELD_INT8) multiply_int8(sums[r][n], w[u][r], xs);
                            else multiply_16bit<E>(sums[r][n], w[u][r], xs[0]);
                        }
                    }
                }
            }
        }

        // A lane holds of rows g and g + 8 tokens 2t and 2t + 1. With few of them all warps write theirs at once; else warp after warp adds its own.
        for (int turn = 0; turn < WARPS; turn++) {
            if (turn == warp) {
                float* part = total[PARTS == 1 ? 0 : warp];
#pragma unroll
                for (int n = 0; n < NT; n++) {
                    // All that is there is read before any of it is written: one after the other would be waited for one after the other.
                    float before[RT][4];
#pragma unroll
                    for (int r = 0; r < RT; r++)
#pragma unroll
                        for (int i = 0; i < 4; i++)
                            before[r][i] = PARTS > 1 || turn == 0 ? 0.0f : part[(8 * n + 2 * t + i % 2) * STRIDE + 16 * r + g + 8 * (i / 2)];
#pragma unroll
                    for (int r = 0; r < RT; r++)
#pragma unroll
                        for (int i = 0; i < 4; i++)
                            part[(8 * n + 2 * t + i % 2) * STRIDE + 16 * r + g + 8 * (i / 2)] =
                                PARTS > 1 || turn == 0 ? sums[r][n][i] : before[r][i] + sums[r][n][i];
                }
            }
            if (PARTS == 1) sync_block();
        }
        if (PARTS > 1) sync_block();
        for (int place = threadIdx.x; place < TOKENS * 16 * RT; place += WARPS * WARP) {
            const u32 token = place / (16 * RT), row = row_of_thread();
            bool is_there = token < a.tokens && row < a.rows, is_let_through = false;
            if (is_there) {
                float sum = 0.0f;
#pragma unroll
                for (int part = 0; part < PARTS; part++) {
                    float of_part = total[part][token * STRIDE + place % (16 * RT)];
                    sum = part == 0 ? of_part : sum + of_part;
                }
                const u32 slot = a.after == AFTER_QKV ? ((const u32*)a.slots)[token] : NOWHERE;
                // One rounding, whatever the compiler thinks best elsewhere.
                is_let_through = finish<E>(a, fmaf(sum, EARLY ? scale : scale_of_thread(), EARLY ? bias : bias_of_thread()), row, token, slot);
            }
            if (a.after == AFTER_RELU) {
                // All lanes of a warp, or of half a warp, have the same token.
                u32 where = lanes_where(is_let_through);
                if (RT == 1) where = lane < 16 ? where & 0xffffu : where >> 16;
                if (where && lane % (RT == 1 ? 16 : WARP) == 0) add_atomically((u32*)a.counts + token, (u32)ones_in(where));
            }
        }
    }
}

// Blocks of 16 rows for up to 8 tokens, of more for more: what is read of x is shared by them.
#define PRODUCTS(NAME, HELD, MANY)                                                              \
    KERNEL BOUNDS(256, 2) product_##NAME##_8(ProductArgs a) { product<HELD, 1, 1>(a); }         \
    KERNEL BOUNDS(256, 2) product_##NAME##_16(ProductArgs a) { product<HELD, 2, MANY>(a); }     \
    KERNEL BOUNDS(256, MANY) product_##NAME##_32(ProductArgs a) { product<HELD, 4, MANY>(a); }     \
    KERNEL BOUNDS(256, 1) product_##NAME##_64(ProductArgs a) { product<HELD, 8, MANY>(a); }

PRODUCTS(half, HELD_HALF, 2)
PRODUCTS(bfloat, HELD_BFLOAT, 2)
PRODUCTS(int8, HELD_INT8, 2)
PRODUCTS(int4, HELD_INT4, 1)

// For matrices of so many rows that blocks of 64 are enough for all processors.
KERNEL BOUNDS(256, 1) product_half_64_wide(ProductArgs a) { product<HELD_HALF, 8, 4>(a); }
KERNEL BOUNDS(256, 1) product_bfloat_64_wide(ProductArgs a) { product<HELD_BFLOAT, 8, 4>(a); }
