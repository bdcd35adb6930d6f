// The product by columns of one row, whose weights come by the queue of a step, or are read by what the row has.
#pragma once
#include "columns.cuh"
#include "queue.cuh"

#ifdef HAS_TILES
// What the product by columns shares. A lane has eight rows of 16 bits, or sixteen of 8: 128 bytes of each column are read at once.
template <int HELD>
struct OneColumnsRoom {
    static constexpr int ROWS = HELD == HELD_INT8 ? 128 : 64;
    float total[WARPS][ROWS];
    u16 listed[WARPS][4][LISTED];
    u32 is_last;
};

// Of 16 bytes of a column, the s-th eight weights.
template <int HELD>
DEVICE Eight<HELD> eight_of(uint4 v, int s) {
    Eight<HELD> eight;
    if constexpr (HELD == HELD_INT8) eight.v = s ? make_uint2(v.z, v.w) : make_uint2(v.x, v.y);
    else eight.v = v;
    return eight;
}

// One row of x by the columns of the matrix that the queue has come to, as columns_* does it.
template <int HELD>
DEVICE void columns_of_one(const ColumnsArgs& a, u32 first, u32 guess, u16* x, OneColumnsRoom<HELD>& room, Queue<false>& of_warp) {
    using E = typename Choose<HELD == HELD_BFLOAT>::E;
    constexpr int BYTES = HELD == HELD_INT8 ? 1 : 2, ROWS = OneColumnsRoom<HELD>::ROWS, SETS = ROWS / 64;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    const u32 slice_cols = slice_cols_of(a.cols), across = (a.rows + ROWS - 1) / ROWS;
    const bool few = is_few(a, 0), is_queued = !guess;
    Queue<false> queue = of_warp;
#pragma unroll 1
    for (u32 unit = (blockIdx.x + gridDim.x - first) % gridDim.x; unit < across * SLICES; unit += gridDim.x) {
        const u32 tile = unit % across, slice = unit / across, begin = slice * slice_cols, end = min(begin + slice_cols, a.cols);
        // The slice of x, zeros behind its end.
        for (u32 col = 8 * threadIdx.x; col < slice_cols; col += 8 * THREADS)
            *(uint4*)(x + col) = begin + col < a.cols ? *(const uint4*)((const u16*)a.x + begin + col) : make_uint4(0, 0, 0, 0);
        sync_block();
        if (is_queued || !few) {
            // Lane 4g + t has of each sixteen columns those from 4t on; product j is that of rows j and j + 4 of each eight.
            float sums[SETS][4][4];
#pragma unroll
            for (int s = 0; s < SETS; s++)
#pragma unroll
                for (int j = 0; j < 4; j++)
#pragma unroll
                    for (int i = 0; i < 4; i++) sums[s][j][i] = 0.0f;
            const u8* w = (const u8*)a.w + ((u64)tile * ROWS * BYTES + 16 * g);
#pragma unroll 1
            for (u32 step = warp; step < slice_cols / TILE_ROWS; step += WARPS) {
                uint4 of_col[4];
                if (is_queued) {
                    const u8* from = queue.take();
#pragma unroll
                    for (int i = 0; i < 4; i++) of_col[i] = *(const uint4*)(from + (4 * t + i) * TILE_BYTES + ((g ^ ((4 * t + i) % 8)) * 16));
                    queue.give_back();
                } else {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        const u32 col = begin + step * TILE_ROWS + 4 * t + i;
                        of_col[i] = col < end && (tile * ROWS + 16 / BYTES * g) < a.rows ? load_streaming(w + (u64)col * a.rows * BYTES) : make_uint4(0, 0, 0, 0);
                    }
                }
                const uint2 xs = g == 0 ? *(const uint2*)(x + step * TILE_ROWS + 4 * t) : make_uint2(0, 0);
#pragma unroll
                for (int s = 0; s < SETS; s++) {
                    Eight<HELD> eight[4];
#pragma unroll
                    for (int i = 0; i < 4; i++) eight[i] = eight_of<HELD>(of_col[i], s);
#pragma unroll
                    for (int j = 0; j < 4; j++)
                        E::multiply(sums[s][j], pair_of<HELD>(eight[0], eight[1], j), pair_of<HELD>(eight[0], eight[1], j + 4),
                                    pair_of<HELD>(eight[2], eight[3], j), pair_of<HELD>(eight[2], eight[3], j + 4), xs.x, xs.y);
                }
            }
            if (t == 0)
#pragma unroll
                for (int s = 0; s < SETS; s++)
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        float* at = room.total[warp] + 8 * SETS * g + 8 * s + j;
                        at[0] = sums[s][j][0], at[4] = sums[s][j][2];
                    }
        }
        if (few) {
            // A group of eight lanes has a part of the warp's columns, and of each 16 bytes a lane.
            const int group = lane / 8, part_cols = (int)slice_cols / WARPS / 4;
            const u32 row = tile * ROWS + 8 * SETS * (lane % 8);
            const u8* w = (const u8*)a.w + (u64)(row < a.rows ? row : 0) * BYTES;
            float sums[8 * SETS];
#pragma unroll
            for (int i = 0; i < 8 * SETS; i++) sums[i] = 0.0f;
#pragma unroll 1
            for (int sub = 0; sub < part_cols; sub += LISTED) {
                int count = 0;
#pragma unroll 1
                for (int q = 0; q < 4; q++) {
                    const u16* part = x + (warp * 4 + q) * part_cols + sub;
                    int found = 0;
#pragma unroll 1
                    for (int base = 0; base < LISTED && sub + base < part_cols; base += WARP) {
                        const bool is_there = sub + base + lane < part_cols && (part[base + lane] & 0x7fff) != 0;
                        const u32 where = lanes_where(is_there);
                        if (is_there) room.listed[warp][q][found + ones_in(where & ((1u << lane) - 1))] = (u16)(sub + base + lane);
                        found += ones_in(where);
                    }
                    if (q == group) count = found;
                }
                sync_warp();
                const u32 from = (u32)((warp * 4 + group) * part_cols);
                constexpr int AT_ONCE = HELD == HELD_INT8 ? 2 : 4;   // as many as there are registers for
#pragma unroll 1
                for (int place = 0; place < count; place += AT_ONCE) {
                    uint4 read[AT_ONCE];
                    u32 cols[AT_ONCE];
#pragma unroll
                    for (int u = 0; u < AT_ONCE; u++) {
                        cols[u] = from + (place + u < count ? room.listed[warp][group][place + u] : 0);
                        if (place + u < count) read[u] = load_streaming(w + (u64)(begin + cols[u]) * a.rows * BYTES);
                    }
#pragma unroll
                    for (int u = 0; u < AT_ONCE; u++)
                        if (place + u < count) {
                            const float v = value_of<E>(x[cols[u]]);
#pragma unroll
                            for (int s = 0; s < SETS; s++) {
                                float numbers[8];
                                widen<HELD, E>(eight_of<HELD>(read[u], s), numbers);
#pragma unroll
                                for (int i = 0; i < 8; i++) sums[8 * s + i] = fmaf(v, numbers[i], sums[8 * s + i]);
                            }
                        }
                }
                sync_warp();
            }
#pragma unroll
            for (int i = 0; i < 8 * SETS; i++) {
                sums[i] += from_lane_xor(sums[i], 8);
                sums[i] += from_lane_xor(sums[i], 16);
            }
            if (group == 0)
#pragma unroll
                for (int i = 0; i < 8 * SETS; i++) room.total[warp][8 * SETS * lane + i] = sums[i];
        }
        sync_block();
        join_slices<HELD, ROWS>(a, tile * ROWS, tile, slice, room.is_last, [&](u32, u32 row) {
            float sum = 0.0f;
#pragma unroll
            for (int part = 0; part < WARPS; part++) sum += room.total[part][row];
            return sum;
        });
    }
    sync_warp();
    if (lane == 0) of_warp = queue;
    sync_warp();
}
#endif
