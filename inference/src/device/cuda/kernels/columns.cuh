// y (tokens, rows) += x (tokens, cols) · wᵀ + bias for what a ReLU gave, and weights that lie column by column: columns that meet
// nothing but zeros are not read.
//
// Each token is multiplied in one of two ways, by its own count of what is not zero and nothing else, so that its number does not depend
// on who is beside it. With few, products are added one by one in the order of the columns, where leaving out a zero changes nothing;
// with many, by the tensor cores.
//
// The columns are cut into eight slices; the block that comes last to 64 rows adds the slices up in order.
#pragma once
#include "numbers.cuh"
#include "tables.cuh"

constexpr int ROWS = 64;            // of a block
constexpr int SLICES = 8;
constexpr int TOGETHER = 4;         // tokens whose columns are read together where there are few
constexpr int LISTED = 128;         // columns that a group of eight lanes looks through at a time
constexpr int STRIDE = ROWS + 4;

// Columns of a slice.
DEVICE u32 slice_cols_of(u32 cols) { return (cols + SLICES * 512 - 1) / (SLICES * 512) * 512; }

// Whether so few of a token's columns are not zero that they are added one by one.
DEVICE bool is_few(const ColumnsArgs& a, u32 token) { return (u64)((const u32*)a.counts)[token] * 100 <= (u64)a.few_percent * a.cols; }

// Eight weights of one column, as they are held.
template <int HELD>
struct Eight {
    uint4 v;
    DEVICE void read(const u8* at) { v = load_streaming(at); }
    DEVICE void clear() { v = make_uint4(0, 0, 0, 0); }
};
template <>
struct Eight<HELD_INT8> {
    uint2 v;
    DEVICE void read(const u8* at) { v = load_streaming8(at); }
    DEVICE void clear() { v = make_uint2(0, 0); }
};

DEVICE u32 word_of(uint4 v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// Number j of both, in one word.
template <int HELD>
DEVICE u32 pair_of(const Eight<HELD>& first, const Eight<HELD>& second, int j) {
    if constexpr (HELD == HELD_INT8) {
        u32 a = j < 4 ? first.v.x : first.v.y, b = j < 4 ? second.v.x : second.v.y;
        u32 bytes = select_bytes(a, b, (u32)((4 + j % 4) << 4 | j % 4)) ^ 0x80808080u;
        return halves_minus(select_bytes(bytes, 0x64646464u, 0x4140), 0x64806480u);
    } else {
        return select_bytes(word_of(first.v, j / 2), word_of(second.v, j / 2), j % 2 ? 0x7632u : 0x5410u);
    }
}

template <int HELD, class E>
DEVICE void widen(const Eight<HELD>& w, float (&out)[8]) {
    if constexpr (HELD == HELD_INT8) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            u32 a, b;
            halves_of_bytes(half ? w.v.y : w.v.x, a, b);
            out[4 * half] = first_half(a), out[4 * half + 1] = second_half(a), out[4 * half + 2] = first_half(b), out[4 * half + 3] = second_half(b);
        }
    } else {
        widen8<E>(w.v, out);
    }
}

// Keeps a slice's sums of so many rows of each token, as `of` gives them; whoever comes last to the tile adds its slices up in order.
template <int HELD, int TILE_OF_ROWS, class Of>
DEVICE void join_slices(const ColumnsArgs& a, u32 first_row, u32 tile, u32 slice, u32& is_last, Of of) {
    float* partial = (float*)a.partial;
#pragma unroll 1
    for (u32 place = threadIdx.x; place < a.tokens * TILE_OF_ROWS; place += WARPS * WARP) {
        u32 token = place / TILE_OF_ROWS, row = first_row + place % TILE_OF_ROWS;
        float sum = of(token, place % TILE_OF_ROWS);
        if (row < a.rows) partial[((u64)slice * a.tokens + token) * a.rows + row] = sum;
    }
    sync_block();
    if (threadIdx.x == 0) {
        fence();
        u32* arrived = (u32*)a.arrived + tile;
        is_last = add_atomically(arrived, 1) == SLICES - 1;
        if (is_last) *arrived = 0;
        fence();
    }
    sync_block();
    if (!is_last) return;
#pragma unroll 1
    for (u32 place = threadIdx.x; place < a.tokens * TILE_OF_ROWS; place += WARPS * WARP) {
        u32 token = place / TILE_OF_ROWS, row = first_row + place % TILE_OF_ROWS;
        if (row >= a.rows) continue;
        const float bias = a.bias ? ((const float*)a.bias)[row] : 0.0f;
        float sum = 0.0f;
#pragma unroll
        for (int s = 0; s < SLICES; s++) sum += load_fresh(partial + ((u64)s * a.tokens + token) * a.rows + row);
        ((float*)a.y)[(u64)token * a.y_stride + row] += fmaf(sum, HELD == HELD_INT8 ? ((const float*)a.scales)[row] : 1.0f, bias);
    }
}

// What the threads of a block share. For few tokens each warp writes its sums apart, and they are added up in order at the end; for more,
// warp after warp.
template <int TOKENS>
struct ColumnsRoom {
    static constexpr int PARTS = TOKENS <= 8 ? WARPS : 1;
    float total[PARTS][TOKENS * STRIDE];
    u16 listed[WARPS][4][LISTED];
    u32 has_few[TOKENS];
    u32 is_last;
};

// 64 rows, from `tile` · 64 on, and one slice of the columns, of up to TOKENS tokens.
template <int HELD, int TOKENS>
DEVICE void columns(const ColumnsArgs& a, u32 tile, u32 slice, ColumnsRoom<TOKENS>& room) {
    using E = typename Choose<HELD == HELD_BFLOAT>::E;
    constexpr int BYTES = HELD == HELD_INT8 ? 1 : 2;
    constexpr int NT = TOKENS / 8;
    constexpr int AHEAD = NT == 1 ? 2 : 1;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    const u32 slice_cols = slice_cols_of(a.cols);
    const u32 begin = slice * slice_cols, end = min(begin + slice_cols, a.cols);
    const u32 first_row = tile * ROWS;

    constexpr int PARTS = ColumnsRoom<TOKENS>::PARTS;
    auto& total = room.total;
    auto& listed = room.listed;
    auto& has_few = room.has_few;

    for (u32 token = threadIdx.x; token < TOKENS; token += WARPS * WARP) {
        has_few[token] = token >= a.tokens || is_few(a, token);
    }
    for (int place = threadIdx.x; place < PARTS * TOKENS * STRIDE; place += WARPS * WARP) total[0][place] = 0.0f;
    float* part = total[PARTS == 1 ? 0 : warp];
    sync_block();
    u64 few = 0;
    for (u32 token = 0; token < a.tokens; token++) few |= (u64)has_few[token] << token;
    const u64 all = a.tokens == 64 ? ~0ull : (1ull << a.tokens) - 1;

    if (few != all && begin < end) {
        // Lane 4g + t has of each sixteen columns those from 4t on, of rows 8g to 8g + 7; product j is that of rows j and j + 4 of each eight.
        const u32 row = min(first_row + 8 * g, a.rows - 8);
        const u8* w = (const u8*)a.w + (u64)row * BYTES;
        const int steps = (int)((end - begin + 15) / 16);
        float sums[4][NT][4];
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) sums[j][n][i] = 0.0f;
        Eight<HELD> next[AHEAD][4];
        auto read = [&](int step) {
#pragma unroll
            for (int u = 0; u < AHEAD; u++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    u32 col = begin + (step + u * WARPS) * 16 + 4 * t + i;
                    if (col < end) next[u][i].read(w + (u64)col * a.rows * BYTES);
                    else next[u][i].clear();
                }
        };
        read(warp);
        for (int step = warp; step < steps; step += AHEAD * WARPS) {
            Eight<HELD> now[AHEAD][4];
#pragma unroll
            for (int u = 0; u < AHEAD; u++)
#pragma unroll
                for (int i = 0; i < 4; i++) now[u][i] = next[u][i];
            read(step + AHEAD * WARPS);
#pragma unroll
            for (int u = 0; u < AHEAD; u++) {
                if (step + u * WARPS >= steps) break;
                u32 col = begin + (step + u * WARPS) * 16 + 4 * t;
                u32 fragments[4][4];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    fragments[j][0] = pair_of<HELD>(now[u][0], now[u][1], j);
                    fragments[j][1] = pair_of<HELD>(now[u][0], now[u][1], j + 4);
                    fragments[j][2] = pair_of<HELD>(now[u][2], now[u][3], j);
                    fragments[j][3] = pair_of<HELD>(now[u][2], now[u][3], j + 4);
                }
#pragma unroll
                for (int n = 0; n < NT; n++) {
                    u32 token = 8 * n + g;
                    uint2 x = make_uint2(0, 0);
                    if (token < a.tokens && col < end) x = *(const uint2*)((const u16*)a.x + (u64)token * a.x_stride + col);
#pragma unroll
                    for (int j = 0; j < 4; j++) E::multiply(sums[j][n], fragments[j][0], fragments[j][1], fragments[j][2], fragments[j][3], x.x, x.y);
                }
            }
        }
        for (int turn = 0; turn < WARPS; turn++) {
            if (turn == warp) {
#pragma unroll
                for (int n = 0; n < NT; n++) {
                    // All that is there is read before any of it is written: one after the other would be waited for one after the other.
                    float before[4][4];
#pragma unroll
                    for (int j = 0; j < 4; j++)
#pragma unroll
                        for (int i = 0; i < 4; i++) before[j][i] = part[(8 * n + 2 * t + i % 2) * STRIDE + 8 * g + j + 4 * (i / 2)];
#pragma unroll
                    for (int j = 0; j < 4; j++)
#pragma unroll
                        for (int i = 0; i < 4; i++) {
                            int token = 8 * n + 2 * t + i % 2;
                            if (!((few >> token) & 1)) part[token * STRIDE + 8 * g + j + 4 * (i / 2)] = before[j][i] + sums[j][n][i];
                        }
                }
            }
            if (PARTS == 1) sync_block();
        }
    }

    if (few != 0 && begin < end) {
        // A group of eight lanes has a part of the warp's columns, and of each the 64 rows, eight a lane.
        const int group = lane / 8, part_cols = (int)slice_cols / WARPS / 4;
        const u32 row = min(first_row + 8 * (lane % 8), a.rows - 8);
        const u8* w = (const u8*)a.w + (u64)row * BYTES;
        for (int first = 0; first < TOKENS; first += TOGETHER) {
            const u32 mine = (u32)(few >> first) & ((1u << TOGETHER) - 1);
            if (mine == 0) continue;
            float sums[TOGETHER][8];
#pragma unroll
            for (int b = 0; b < TOGETHER; b++)
#pragma unroll
                for (int i = 0; i < 8; i++) sums[b][i] = 0.0f;
            const u16* x = (const u16*)a.x + (u64)first * a.x_stride;
            for (int sub = 0; sub < part_cols; sub += LISTED) {
                int count = 0;
#pragma unroll
                for (int q = 0; q < 4; q++) {
                    u32 from = begin + (u32)((warp * 4 + q) * part_cols + sub);
                    int found = 0;
#pragma unroll
                    for (int base = 0; base < LISTED; base += WARP) {
                        u32 col = from + base + lane;
                        u32 bits = 0;
                        if (sub + base + lane < part_cols && col < end) {
#pragma unroll
                            for (int b = 0; b < TOGETHER; b++)
                                if ((mine >> b) & 1) bits |= x[(u64)b * a.x_stride + col];
                        }
                        u32 where = lanes_where((bits & 0x7fffu) != 0);
                        if ((where >> lane) & 1) listed[warp][q][found + ones_in(where & ((1u << lane) - 1))] = (u16)(sub + base + lane);
                        found += ones_in(where);
                    }
                    if (q == group) count = found;
                }
                sync_warp();
                const u32 from = begin + (u32)((warp * 4 + group) * part_cols);
                for (int place = 0; place < count; place += 4) {
                    Eight<HELD> read[4];
                    u32 cols[4];
#pragma unroll
                    for (int u = 0; u < 4; u++)
                        if (place + u < count) {
                            cols[u] = from + listed[warp][group][place + u];
                            read[u].read(w + (u64)cols[u] * a.rows * BYTES);
                        }
#pragma unroll
                    for (int u = 0; u < 4; u++)
                        if (place + u < count) {
                            float numbers[8];
                            widen<HELD, E>(read[u], numbers);
#pragma unroll
                            for (int b = 0; b < TOGETHER; b++)
                                if ((mine >> b) & 1) {
                                    float v = value_of<E>(x[(u64)b * a.x_stride + cols[u]]);
#pragma unroll
                                    for (int i = 0; i < 8; i++) sums[b][i] = fmaf(v, numbers[i], sums[b][i]);
                                }
                        }
                }
                sync_warp();
            }
#pragma unroll
            for (int b = 0; b < TOGETHER; b++)
                if ((mine >> b) & 1)
#pragma unroll
                    for (int i = 0; i < 8; i++) {
                        sums[b][i] += from_lane_xor(sums[b][i], 8);
                        sums[b][i] += from_lane_xor(sums[b][i], 16);
                    }
            for (int turn = 0; turn < WARPS; turn++) {
                if (turn == warp && group == 0) {
#pragma unroll
                    for (int b = 0; b < TOGETHER; b++)
                        if ((mine >> b) & 1)
#pragma unroll
                            for (int i = 0; i < 8; i++) part[(first + b) * STRIDE + 8 * lane + i] += sums[b][i];
                }
                if (PARTS == 1) sync_block();
            }
        }
    }

    // What the slices have, then their sum by whoever comes last.
    sync_block();
    join_slices<HELD, ROWS>(a, first_row, tile, slice, room.is_last, [&](u32 token, u32 row) {
        float sum = 0.0f;
#pragma unroll
        for (int p = 0; p < PARTS; p++) sum += total[p][token * STRIDE + row];
        return sum;
    });
}
