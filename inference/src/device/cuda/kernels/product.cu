// y (tokens, rows) = x (tokens, cols) · wᵀ for a few tokens and weights that lie row by row, read once, straight into registers.
//
// Each of a block's eight warps takes every eighth chunk of the columns; a sum runs over a warp's chunks in order, then over the warps in
// order. So a number does not depend on how many tokens there are, nor on how many rows a block has.
//
// The tensor cores multiply (16 rows, 16 columns) by (16 columns, 8 tokens). Which columns stand in which place of a fragment does not
// matter as long as it is the same for both, so each lane reads 16 bytes in a row: lane 4g + t those of row g, the t-th of four pieces.
#include "numbers.cuh"
#include "tables.cuh"

constexpr int WARPS = 8;
constexpr int GROUP = 32;   // columns that share a scale at four bits

// Columns of a chunk: 64 bytes of each row.
template <int HELD>
constexpr int chunk_cols() { return HELD == HELD_INT8 ? 64 : HELD == HELD_INT4 ? 128 : 32; }

// Of one chunk, a lane's weights of 16 rows (g and g + 8).
struct Weights {
    uint4 upper, lower;
};

// At four bits, the scales and zero points of a chunk's four groups, for both rows.
struct Scales {
    uint2 upper, lower;
    u32 upper_zeros, lower_zeros;
};

template <class E>
DEVICE void multiply_16bit(float (&sum)[4], const Weights& w, uint4 x) {
    E::multiply(sum, w.upper.x, w.lower.x, w.upper.y, w.lower.y, x.x, x.y);
    E::multiply(sum, w.upper.z, w.lower.z, w.upper.w, w.lower.w, x.z, x.w);
}

DEVICE void multiply_int8(float (&sum)[4], const Weights& w, const uint4 (&x)[2]) {
    const u32 upper[4] = {w.upper.x, w.upper.y, w.upper.z, w.upper.w}, lower[4] = {w.lower.x, w.lower.y, w.lower.z, w.lower.w};
    const u32 xs[8] = {x[0].x, x[0].y, x[0].z, x[0].w, x[1].x, x[1].y, x[1].z, x[1].w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        u32 a0, a1, a2, a3;
        halves_of_bytes(upper[i], a0, a2);
        halves_of_bytes(lower[i], a1, a3);
        multiply_halves(sum, a0, a1, a2, a3, xs[2 * i], xs[2 * i + 1]);
    }
}

// The nibbles of a word hold columns 0 to 7 of its piece, pairs in places 0 and 4, 1 and 5, 2 and 6, 3 and 7. (1024 + n is 0x6400 | n.)
DEVICE u32 nibble_pair(u32 word, int pair, u32 zero) { return halves_minus(((word >> (4 * pair)) & 0x000f000fu) | 0x64006400u, zero); }

template <int NT>
DEVICE void multiply_int4(float (&sums)[NT][4], const Weights& w, const Scales& scales, const u16* x, u32 stride, int there) {
    const u32 upper[4] = {w.upper.x, w.upper.y, w.upper.z, w.upper.w}, lower[4] = {w.lower.x, w.lower.y, w.lower.z, w.lower.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        u32 pair_upper = i < 2 ? scales.upper.x : scales.upper.y, pair_lower = i < 2 ? scales.lower.x : scales.lower.y;
        float scale_upper = i % 2 ? second_half(pair_upper) : first_half(pair_upper);
        float scale_lower = i % 2 ? second_half(pair_lower) : first_half(pair_lower);
        u32 zero_upper = 0x64006400u | ((scales.upper_zeros >> (8 * i)) & 0xffu) * 0x00010001u;
        u32 zero_lower = 0x64006400u | ((scales.lower_zeros >> (8 * i)) & 0xffu) * 0x00010001u;
        u32 a[4][2];
#pragma unroll
        for (int pair = 0; pair < 4; pair++) {
            a[pair][0] = nibble_pair(upper[i], pair, zero_upper);
            a[pair][1] = nibble_pair(lower[i], pair, zero_lower);
        }
#pragma unroll
        for (int n = 0; n < NT; n++) {
            uint4 xs = 8 * n < there ? *(const uint4*)(x + 8 * n * stride + GROUP * i) : make_uint4(0, 0, 0, 0);
            float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
            multiply_halves(sum, a[0][0], a[0][1], a[1][0], a[1][1], xs.x, xs.y);
            multiply_halves(sum, a[2][0], a[2][1], a[3][0], a[3][1], xs.z, xs.w);
            sums[n][0] = fmaf(scale_upper, sum[0], sums[n][0]), sums[n][1] = fmaf(scale_upper, sum[1], sums[n][1]);
            sums[n][2] = fmaf(scale_lower, sum[2], sums[n][2]), sums[n][3] = fmaf(scale_lower, sum[3], sums[n][3]);
        }
    }
}

// Says whether something is there that a ReLU has let through.
template <class E>
DEVICE bool finish(const ProductArgs& a, float sum, u32 row, u32 token) {
    float v = sum + (a.bias ? ((const float*)a.bias)[row] : 0.0f);
    u64 at = (u64)token * a.y_stride + row;
    switch (a.after) {
        case AFTER_STORE: ((float*)a.y)[at] = v; break;
        case AFTER_ADD: ((float*)a.y)[at] += v; break;
        case AFTER_NARROW: ((u16*)a.y)[at] = one_of<E>(v); break;
        case AFTER_RELU: {
            u16 bits = one_of<E>(fmaxf(v, 0.0f));
            ((u16*)a.y)[at] = bits;
            return (bits & 0x7fff) != 0;
        }
        case AFTER_GELU: ((u16*)a.y)[at] = one_of<E>(v * 0.5f * (1.0f + erff(v * 0.70710678118654752f))); break;
        case AFTER_QKV: {
            u32 hidden = a.rows / 3, part = row / hidden, place = row % hidden;
            if (part == 0) {
                ((float*)a.y)[(u64)token * a.y_stride + place] = v * a.scale;
                break;
            }
            u32 slot = ((const u32*)a.slots)[token];
            if (slot == NOWHERE) break;
            u32 head = place / a.kv.head_dim, d = place % a.kv.head_dim;
            u64 tile = (((u64)(slot / 32) * a.kv.layers + a.kv.layer) * 2 + (part - 1)) * a.kv.heads + head;
            ((u16*)a.kv.memory)[(tile * 32 + slot % 32) * a.kv.head_dim + d] = one_of<Halves>(v);
        }
    }
    return false;
}

// RT: 16 rows so many times; NT: 8 tokens so many times.
template <int HELD, int NT, int RT>
DEVICE void product(const ProductArgs& a) {
    using E = typename Choose<HELD == HELD_BFLOAT>::E;
    constexpr int CHUNK = chunk_cols<HELD>();
    constexpr int AHEAD = RT > 1 || NT == 8 ? 1 : HELD == HELD_INT4 ? 2 : 4;    // chunks read at once
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    const u32 tiles = (a.rows + 16 * RT - 1) / (16 * RT);
    const int chunks = (int)(a.cols / CHUNK), steps = (chunks + AHEAD * WARPS - 1) / (AHEAD * WARPS);

    // What is read next: a step of a tile of rows. The steps of all the block's tiles follow one another without a gap.
    u32 next_tile = blockIdx.x;
    int next_step = 0;
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
            int c = warp + (next_step * AHEAD + u) * WARPS;
            if (c < chunks) {
#pragma unroll
                for (int r = 0; r < RT; r++) {
                    const u8* at = (const u8*)a.w + 16 * t + c * 64;
                    next[u][r].upper = load_streaming(at + (u64)rows[r][0] * a.row_bytes);
                    next[u][r].lower = load_streaming(at + (u64)rows[r][1] * a.row_bytes);
                    if (HELD == HELD_INT4) {
                        const u32 chunk_groups = a.cols / GROUP / 4;
                        const u64 upper = (u64)rows[r][0] * chunk_groups + c, lower = (u64)rows[r][1] * chunk_groups + c;
                        next_scales[u][r].upper = load_streaming8((const u8*)a.scales + upper * 8);
                        next_scales[u][r].lower = load_streaming8((const u8*)a.scales + lower * 8);
                        next_scales[u][r].upper_zeros = load_streaming4((const u8*)a.zeros + upper * 4);
                        next_scales[u][r].lower_zeros = load_streaming4((const u8*)a.zeros + lower * 4);
                    }
                }
            }
        }
        if (++next_step == steps) next_step = 0, next_tile += gridDim.x;
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
                int c = warp + (step * AHEAD + u) * WARPS;
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
            u32 token = place / (16 * RT), row = first_row + place % (16 * RT);
            bool is_there = token < a.tokens && row < a.rows, is_let_through = false;
            if (is_there) {
                float sum = 0.0f;
#pragma unroll
                for (int part = 0; part < PARTS; part++) {
                    float of_part = total[part][token * STRIDE + place % (16 * RT)];
                    sum = part == 0 ? of_part : sum + of_part;
                }
                if (HELD == HELD_INT8) sum *= ((const float*)a.scales)[row];
                is_let_through = finish<E>(a, sum, row, token);
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
