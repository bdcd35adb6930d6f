// What the products by rows share: how a chunk of weights meets its tokens, and what becomes of a sum.
//
// The tensor cores multiply (16 rows, 16 columns) by (16 columns, 8 tokens). Which columns stand in which place of a fragment does not
// matter as long as it is the same for both, so each lane reads 16 bytes in a row: lane 4g + t those of row g, the t-th of four pieces.
#pragma once
#include "numbers.cuh"
#include "tables.cuh"

constexpr int GROUP = 32;   // columns that share a scale at four bits

// Columns of a chunk: 64 bytes of each row.
template <int HELD>
constexpr int chunk_cols() { return HELD == HELD_INT8 ? 64 : HELD == HELD_INT4 ? 128 : 32; }

// A warp's chunks: pairs of them, 128 bytes of each row, go round the warps. The first of them, and the one after another; how many a warp
// has at most, a multiple of 4.
DEVICE int first_chunk(int warp) { return 2 * warp; }
DEVICE int chunk_after(int chunk) { return chunk + (chunk & 1 ? 2 * WARPS - 1 : 1); }
DEVICE int chunks_of_warp(int chunks) { return (chunks + 4 * WARPS - 1) / (4 * WARPS) * 4; }

// Groups of a row at four bits, those that fill it up to a multiple of 16 included.
DEVICE u32 groups_held(u32 cols) { return (cols / GROUP + 15) / 16 * 16; }

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

// What becomes of a sum, bias included; keys and values go to `slot`. Says whether something is there that a ReLU has let through.
template <class E>
DEVICE bool finish(const ProductArgs& a, float v, u32 row, u32 token, u32 slot) {
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
            if (slot == NOWHERE) break;
            u32 head = place / a.kv.head_dim, d = place % a.kv.head_dim;
            u64 tile = (((u64)(slot / 32) * a.kv.layers + a.kv.layer) * 2 + (part - 1)) * a.kv.heads + head;
            ((u16*)a.kv.memory)[(tile * 32 + slot % 32) * a.kv.head_dim + d] = one_of<Halves>(v);
        }
    }
    return false;
}
