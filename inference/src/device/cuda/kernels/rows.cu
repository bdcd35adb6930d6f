// What is done to each token by itself: looked up, normed, turned into what is multiplied next.
#include "numbers.cuh"
#include "tables.cuh"

constexpr int THREADS = 256;
constexpr int NORM_THREADS = 512;
constexpr int NORM_WARPS = NORM_THREADS / WARP;

// Over the block of a norm, the same bits in all its threads.
DEVICE float block_sum(float v) {
    SHARED float of_warps[NORM_WARPS];
    v = warp_sum(v);
    sync_block();
    if (threadIdx.x % WARP == 0) of_warps[threadIdx.x / WARP] = v;
    sync_block();
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < NORM_WARPS; w++) sum += of_warps[w];
    return sum;
}

DEVICE float weight(u64 row_at, u32 held, u32 col) {
    switch (held) {
        case HELD_HALF: return value_of<Halves>(((const u16*)row_at)[col]);
        case HELD_BFLOAT: return value_of<Bfloats>(((const u16*)row_at)[col]);
        default: return (float)((const i8*)row_at)[col];
    }
}

// x = the token's embedding + that of its position; where the embedding is narrower, it goes to `embedded` and x is the position's alone.
KERNEL BOUNDS(THREADS, 4) embed_rows(EmbedArgs a) {
    let_next_begin();
    wait_for_previous();
    u32 row = blockIdx.x, id = ((const u32*)a.ids)[row], position = ((const u32*)a.positions)[row];
    const float* table = (const float*)a.table + (u64)position * a.hidden;
    float* x = (float*)a.x + (u64)row * a.hidden;
    u64 from = a.tokens + (u64)id * a.row_bytes;
    float scale = a.held == HELD_INT8 ? ((const float*)a.scales)[id] : 1.0f;
    for (u32 col = threadIdx.x; col < a.hidden; col += THREADS) x[col] = table[col] + (a.embedded ? 0.0f : weight(from, a.held, col) * scale);
    if (a.embedded == 0) return;
    u16* embedded = (u16*)a.embedded + (u64)row * a.stride;
    for (u32 col = threadIdx.x; col < a.embed; col += THREADS) {
        float v = weight(from, a.held, col) * scale;
        embedded[col] = a.bfloat ? one_of<Bfloats>(v) : one_of<Halves>(v);
    }
}

// y = layer norm of x (Ba et al., arXiv 1607.06450), or x itself, as 16 bits. A multiple of 4 wide, up to EACH · 2,048.
template <int EACH>
DEVICE void norm_of(const NormArgs& a) {
    const float4 ones = make_float4(1.0f, 1.0f, 1.0f, 1.0f), zeros = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    let_next_begin();
    const u32 row = blockIdx.x, first = 4 * threadIdx.x;
    float4 v[EACH], gain[EACH], bias[EACH];
    // Gain and bias are nobody's to write.
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        u32 col = i * 4 * NORM_THREADS + first;
        gain[i] = a.gain && col < a.hidden ? *(const float4*)((const float*)a.gain + col) : ones;
        bias[i] = a.bias && col < a.hidden ? *(const float4*)((const float*)a.bias + col) : zeros;
    }
    wait_for_previous();
    if (a.counts && threadIdx.x == 0) ((u32*)a.counts)[row] = 0;
    float* x = (float*)a.x + (u64)(a.row_of ? ((const u32*)a.row_of)[row] : row) * a.hidden;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        u32 col = i * 4 * NORM_THREADS + first;
        v[i] = col < a.hidden ? *(const float4*)(x + col) : zeros;
        sum += sum_of(v[i]);
    }
    if (a.normalise) {
        float mean = block_sum(sum) / (float)a.hidden, squares = 0.0f;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            if (i * 4 * NORM_THREADS + first >= a.hidden) continue;
            v[i] = less(v[i], mean);
            squares += squares_of(v[i]);
        }
        float factor = 1.0f / sqrtf(block_sum(squares) / (float)a.hidden + a.epsilon);
#pragma unroll
        for (int i = 0; i < EACH; i++) v[i] = scaled(v[i], factor, gain[i], bias[i]);
    }
    u16* y = (u16*)a.y + (u64)row * a.y_stride;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        u32 col = i * 4 * NORM_THREADS + first;
        if (col >= a.hidden) continue;
        if (a.keep) *(float4*)(x + col) = v[i];
        uint2 bits;
        if (a.bfloat) bits.x = bfloats_of(v[i].x, v[i].y), bits.y = bfloats_of(v[i].z, v[i].w);
        else bits.x = halves_of(v[i].x, v[i].y), bits.y = halves_of(v[i].z, v[i].w);
        *(uint2*)(y + col) = bits;
    }
}

KERNEL BOUNDS(NORM_THREADS, 2) norm_rows_4096(NormArgs a) { norm_of<2>(a); }
KERNEL BOUNDS(NORM_THREADS, 1) norm_rows_12288(NormArgs a) { norm_of<6>(a); }

// Of a prompt's products: queries, scaled, as halves; keys and values to where they are kept. Eight numbers at a time, which are of one head.
template <class E>
DEVICE void split_of(const SplitArgs& a) {
    const u32 token = blockIdx.x, slot = ((const u32*)a.slots)[token];
    const u16* from = (const u16*)a.qkv + (u64)token * 3 * a.hidden;
    u16* q = (u16*)a.q + (u64)token * a.hidden;
    for (u32 place = 8 * threadIdx.x; place < 3 * a.hidden; place += 8 * THREADS) {
        float v[8];
        widen8<E>(*(const uint4*)(from + place), v);
        if (a.bias) {
            const float4* bias = (const float4*)((const float*)a.bias + place);
            float4 lower = bias[0], upper = bias[1];
            v[0] += lower.x, v[1] += lower.y, v[2] += lower.z, v[3] += lower.w, v[4] += upper.x, v[5] += upper.y, v[6] += upper.z, v[7] += upper.w;
        }
        const u32 part = place < a.hidden ? 0 : place < 2 * a.hidden ? 1 : 2, at = place - part * a.hidden;
        const float scale = part == 0 ? a.scale : 1.0f;
        uint4 halves = make_uint4(halves_of(v[0] * scale, v[1] * scale), halves_of(v[2] * scale, v[3] * scale), halves_of(v[4] * scale, v[5] * scale),
                                  halves_of(v[6] * scale, v[7] * scale));
        if (part == 0) {
            *(uint4*)(q + at) = halves;
        } else {
            u32 head = at / a.kv.head_dim, d = at % a.kv.head_dim;
            u64 tile = (((u64)(slot / 32) * a.kv.layers + a.kv.layer) * 2 + (part - 1)) * a.kv.heads + head;
            *(uint4*)((u16*)a.kv.memory + (tile * 32 + slot % 32) * a.kv.head_dim + d) = halves;
        }
    }
}

KERNEL BOUNDS(THREADS, 4) split_qkv(SplitArgs a) {
    let_next_begin();
    wait_for_previous();
    if (a.bfloat) split_of<Bfloats>(a);
    else split_of<Halves>(a);
}

// Bias, then max(·, 0) or · Φ(·), where they lie.
KERNEL BOUNDS(THREADS, 4) activate_rows(ActivateArgs a) {
    let_next_begin();
    wait_for_previous();
    u16* x = (u16*)a.x + (u64)blockIdx.x * a.stride;
    for (u32 col = 2 * threadIdx.x; col < a.cols; col += 2 * THREADS) {
        u32 word = *(const u32*)(x + col);
        float v[2] = {a.bfloat ? first_bfloat(word) : first_half(word), a.bfloat ? second_bfloat(word) : second_half(word)};
#pragma unroll
        for (int i = 0; i < 2; i++) {
            if (a.bias) v[i] += ((const float*)a.bias)[col + i];
            v[i] = a.gelu ? v[i] * 0.5f * (1.0f + erff(v[i] * 0.70710678118654752f)) : fmaxf(v[i], 0.0f);
        }
        *(u32*)(x + col) = a.bfloat ? bfloats_of(v[0], v[1]) : halves_of(v[0], v[1]);
    }
}

KERNEL BOUNDS(THREADS, 4) add_bias_rows(AddBiasArgs a) {
    let_next_begin();
    wait_for_previous();
    float* x = (float*)a.x + (u64)blockIdx.x * a.cols;
    for (u32 col = threadIdx.x; col < a.cols; col += THREADS) x[col] += ((const float*)a.bias)[col];
}

// Weights of eight or four bits made halves again, for products of many tokens.
KERNEL BOUNDS(THREADS, 4) widen_rows(WidenArgs a) {
    let_next_begin();
    wait_for_previous();
    u32 row = blockIdx.x;
    const u8* w = (const u8*)a.w + (u64)row * a.row_bytes;
    u16* y = (u16*)a.y + (u64)row * a.y_stride;
    for (u32 col = threadIdx.x; col < a.cols; col += THREADS) {
        float v;
        if (a.held == HELD_INT8) {
            v = (float)((const i8*)w)[col] * ((const float*)a.scales)[a.by_column ? col : row];
        } else {
            // Chunks of 128: sixteen bytes for each quarter of each of four groups of 32.
            u32 chunk = col / 128, group = col % 128 / 32, quarter = col % 32 / 8, place = col % 8;
            u32 word = *(const u32*)(w + chunk * 64 + quarter * 16 + group * 4);
            u32 nibble = (word >> (place / 2 * 4 + place % 2 * 16)) & 15u;
            u64 at = (u64)row * ((a.row_bytes / 16 + 15) / 16 * 16) + col / 32;
            v = value_of<Halves>(((const u16*)a.scales)[at]) * ((float)nibble - (float)((const u8*)a.zeros)[at]);
        }
        y[col] = one_of<Halves>(v);
    }
}
