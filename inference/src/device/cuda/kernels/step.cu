// A whole step of one answer as one kernel: all layers and the head. What the kernels for each part compute, by the same arithmetic in the
// same order, without the card's memory ever resting between them.
//
// Blocks stay from the first stage to the last, and meet between two stages. Each warp has a queue of tiles on their way into shared memory,
// of the weights it will multiply next, and next after that; it does not end with the stage, so that the weights of what follows are on
// their way while blocks wait for each other, for the norm, or for attention. (Weights are nobody's to write.)
//
// For cards that copy tiles. On others the kernels are empty, and never begun.
#include "attend.cuh"
#include "one_columns.cuh"
#include "product.cuh"

#ifdef HAS_TILES

constexpr int BLOCKS_KNOWN = 64;    // of keys and values, whose numbers are kept at hand: 2,048 tokens
constexpr int NORM_WARPS = 16;      // of the norm as rows.cu has it; here each warp does the work of two

struct ProductRoom {
    float totals[2][WARPS][16];     // those of the tile before may still be read
};

// One row of x against all rows of the matrix that the queue has come to, as product_*_8 does it.
template <int HELD, bool GROUPS>
DEVICE void product(const ProductArgs& a, u32 first, const u16* x, u32 slot, ProductRoom& room, Queue<GROUPS>& of_warp) {
    using OfWarp = Queue<GROUPS>;
    using E = typename Choose<HELD == HELD_BFLOAT>::E;
    constexpr int COLS = chunk_cols<HELD>();
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    // Which row of a tile is row g of a fragment does not matter; so that eight lanes read from all banks, two rows of theirs are four apart.
    const int row_of_tile = g / 2 + g % 2 * 4;
    const u32 tiles = (a.rows + TILE_ROWS - 1) / TILE_ROWS;
    const int chunks = (int)(a.cols / COLS);
    x += (HELD == HELD_INT8 ? 16 : 8) * t;
    OfWarp queue = of_warp;
    int of_tile = 0;
    for (u32 tile = (blockIdx.x + gridDim.x - first) % gridDim.x; tile < tiles; tile += gridDim.x, of_tile = 1 - of_tile) {
        float sums[1][4] = {{0.0f, 0.0f, 0.0f, 0.0f}};
        // What the sums of the tile will meet is asked for before them.
        const u32 row = tile * TILE_ROWS + lane;
        const bool is_mine = warp == 0 && lane < TILE_ROWS && row < a.rows;
        const float bias = is_mine && a.bias ? ((const float*)a.bias)[row] : 0.0f;
        const float scale = HELD == HELD_INT8 && is_mine ? ((const float*)a.scales)[row] : 1.0f;
        const float before = is_mine && a.after == AFTER_ADD ? ((const float*)a.y)[row] : 0.0f;
        for (int pair = warp; 2 * pair < chunks; pair += WARPS) {
            uint4 xs[2][2];
            if constexpr (HELD != HELD_INT4)
#pragma unroll
                for (int u = 0; u < 2; u++) {
                    const uint4* at = (const uint4*)(x + (2 * pair + u) * COLS);
                    const bool is_there = g == 0 && 2 * pair + u < chunks;
                    xs[u][0] = is_there ? at[0] : make_uint4(0, 0, 0, 0);
                    if constexpr (HELD == HELD_INT8) xs[u][1] = is_there ? at[1] : make_uint4(0, 0, 0, 0);
                }
            const u8* from = queue.take();
            Weights w[2];
            Scales scales[2];
#pragma unroll
            for (int u = 0; u < 2; u++) {
                const u8* at = from + row_of_tile * TILE_BYTES + ((4 * u + t) ^ row_of_tile) * 16;
                w[u].upper = *(const uint4*)at, w[u].lower = *(const uint4*)(at + 8 * TILE_BYTES);
                if constexpr (HELD == HELD_INT4) {
                    const u8* strip = from - warp * (OfWarp::TILE - OfWarp::STRIP) + row_of_tile * STRIP_BYTES;
                    const u8 *of_scales = strip + OfWarp::SCALES + 8 * u, *of_zeros = strip + OfWarp::ZEROS + pair % 2 * 8 + 4 * u;
                    scales[u].upper = *(const uint2*)of_scales, scales[u].lower = *(const uint2*)(of_scales + 8 * STRIP_BYTES);
                    scales[u].upper_zeros = *(const u32*)of_zeros, scales[u].lower_zeros = *(const u32*)(of_zeros + 8 * STRIP_BYTES);
                }
            }
#pragma unroll
            for (int u = 0; u < 2; u++) {
                if (2 * pair + u >= chunks) break;
                if constexpr (HELD == HELD_INT4) multiply_int4<1>(sums, w[u], scales[u], x + (2 * pair + u) * COLS, 0, 1 - g);
                else if constexpr (HELD == HELD_INT8) multiply_int8(sums[0], w[u], xs[u]);
                else multiply_16bit<E>(sums[0], w[u], xs[u][0]);
            }
            queue.give_back();
        }
        float (&total)[WARPS][16] = room.totals[of_tile];
        if (t == 0) total[warp][row_of_tile] = sums[0][0], total[warp][row_of_tile + 8] = sums[0][2];
        sync_block();
        if (warp == 0) {
            bool is_let_through = false;
            if (is_mine) {
                float all = total[0][lane];
#pragma unroll
                for (int part = 1; part < WARPS; part++) all += total[part][lane];
                all = fmaf(all, scale, bias);
                if (a.after == AFTER_ADD) ((float*)a.y)[row] = before + all;
                else is_let_through = finish<E>(a, all, row, 0, slot);
            }
            if (a.after == AFTER_RELU) {
                u32 where = lanes_where(is_let_through);
                if (where && lane == 0) add_atomically((u32*)a.counts, (u32)ones_in(where));
            }
        }
    }
    sync_warp();
    if (lane == 0) of_warp = queue;
    sync_warp();
}

// The norm of the one row, as norm_rows_* has it, to shared memory. Of that norm's 512 threads each has two's share, of which up to 4,096
// columns are kept in registers; what is wider is read three times. Up to `cols` there are zeros behind it.
DEVICE void norm(const NormArgs& a, u16* y, u32 cols, float (&of_warps)[2][NORM_WARPS]) {
    constexpr int KEPT = 2;
    constexpr u32 ABREAST = 4 * 2 * THREADS;
    const float4 ones = make_float4(1.0f, 1.0f, 1.0f, 1.0f), zeros = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const float* x = (const float*)a.x;
    const u32 hidden = a.hidden, first[2] = {4 * threadIdx.x, 4 * (THREADS + threadIdx.x)};
    auto read = [&](u64 from, u32 col, float4 none) { return from && col < hidden ? *(const float4*)((const float*)from + col) : none; };
    auto put = [&](u32 col, float4 u) {
        if (col >= hidden) return;
        uint2 bits;
        if (a.bfloat) bits.x = bfloats_of(u.x, u.y), bits.y = bfloats_of(u.z, u.w);
        else bits.x = halves_of(u.x, u.y), bits.y = halves_of(u.z, u.w);
        *(uint2*)(y + col) = bits;
    };
    // Over the threads of each of the norm's warps, then over its warps, in the same order.
    auto block_sum = [&](float (&sums)[2], float (&of)[NORM_WARPS]) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = warp_sum(sums[half]);
            if (lane == 0) of[half * WARPS + warp] = sum;
        }
        sync_block();
        float sum = 0.0f;
#pragma unroll
        for (int w = 0; w < NORM_WARPS; w++) sum += of[w];
        return sum;
    };
    for (u32 col = hidden + threadIdx.x; col < cols; col += THREADS) y[col] = 0;
    float4 v[KEPT][2], gains[KEPT][2], biases[KEPT][2];
#pragma unroll
    for (int i = 0; i < KEPT; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const u32 col = i * ABREAST + first[half];
            v[i][half] = read(a.x, col, zeros), gains[i][half] = read(a.gain, col, ones), biases[i][half] = read(a.bias, col, zeros);
        }
    if (!a.normalise) {
#pragma unroll
        for (int i = 0; i < KEPT; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) put(i * ABREAST + first[half], v[i][half]);
        for (u32 col = KEPT * ABREAST + first[0]; col < hidden; col += ABREAST / 2) put(col, *(const float4*)(x + col));
        sync_block();
        return;
    }
    float sums[2], squares[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        sums[half] = sum_of(v[0][half]) + sum_of(v[1][half]);
        for (u32 col = KEPT * ABREAST + first[half]; col < hidden; col += ABREAST) sums[half] += sum_of(*(const float4*)(x + col));
    }
    const float mean = block_sum(sums, of_warps[0]) / (float)hidden;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        squares[half] = 0.0f;
#pragma unroll
        for (int i = 0; i < KEPT; i++) {
            v[i][half] = less(v[i][half], mean);
            if (i * ABREAST + first[half] < hidden) squares[half] += squares_of(v[i][half]);
        }
        for (u32 col = KEPT * ABREAST + first[half]; col < hidden; col += ABREAST) squares[half] += squares_of(less(*(const float4*)(x + col), mean));
    }
    const float factor = 1.0f / sqrtf(block_sum(squares, of_warps[1]) / (float)hidden + a.epsilon);
#pragma unroll
    for (int i = 0; i < KEPT; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) put(i * ABREAST + first[half], scaled(v[i][half], factor, gains[i][half], biases[i][half]));
    for (u32 col = KEPT * ABREAST + first[0]; col < hidden; col += ABREAST / 2)
        put(col, scaled(less(*(const float4*)(x + col), mean), factor, read(a.gain, col, ones), read(a.bias, col, zeros)));
    sync_block();
}

// Two splits at a time, by four warps each. `ready` is called once: until then only what earlier steps have kept is read.
template <int DIM, class Ready>
DEVICE void attend_all(const AttendArgs& a, const AttendRow& of, AttendRoom<DIM> (&rooms)[2], Ready ready) {
    const u32 half = threadIdx.x / ATTEND_THREADS, thread = threadIdx.x % ATTEND_THREADS, heads = a.kv.heads;
    const u32 splits = splits_of(of.context), units = heads * splits;
    u32 first = 2 * blockIdx.x;
#pragma unroll 1
    do {
        const u32 unit = first + half;
        // Behind the last there is nothing to do, but to meet the other half.
        attend<DIM, true>(a, of, unit < units ? unit / heads : splits, unit % heads, 0, thread, rooms[half], [&] {
            if (first == 2 * blockIdx.x) ready();
        });
        sync_block();
        first += 2 * gridDim.x;
    } while (first < units);
}

// Asks for what a stage further on reads of the card's memory beside its weights. Whoever asks for it only then waits until all that is
// in the queues has come.
DEVICE void ask_ahead(const StepStage& stage) {
    u32 line = threadIdx.x * gridDim.x + blockIdx.x;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const u32 lines = (stage.ahead_bytes[k] + 127) / 128;
        if (line < lines) return ask_for((const void*)(stage.ahead[k] + 128ull * line));
        line -= lines;
    }
}

// Asks for the keys and values of earlier steps that this block will attend to first, in the stage behind.
DEVICE void ask_for_kept(const Paged& kv, const AttendRow& of) {
    const u32 unit = 2 * blockIdx.x + threadIdx.x / ATTEND_THREADS, split = unit / kv.heads;
    const u64 page_bytes = 2ull * PAGE * kv.head_dim;
    for (u32 page = split * ATTEND_WARPS; page < (split + 1) * ATTEND_WARPS && page * PAGE < of.fresh; page++) {
        const u64 keys = kv.memory + ((((u64)of.blocks[page] * kv.layers + kv.layer) * 2) * kv.heads + unit % kv.heads) * page_bytes;
        for (u32 at = threadIdx.x % ATTEND_THREADS * 128; at < min((u32)PAGE, of.fresh - page * PAGE) * 2 * kv.head_dim; at += ATTEND_THREADS * 128) {
            ask_for((const void*)(keys + at));
            ask_for((const void*)(keys + kv.heads * page_bytes + at));
        }
    }
}

// What is told of the row, the same in all layers.
struct StepRow {
    AttendRow attend;
    u32 slot;
};

// What a stage keeps in shared memory; one at a time.
template <int HELD>
union StepRoom {
    ProductRoom product;
    OneColumnsRoom<HELD == HELD_INT4 ? HELD_HALF : HELD> columns;   // at four bits there is none
    AttendRoom<16> attend_16[2];
    AttendRoom<64> attend_64[2];
    AttendRoom<80> attend_80[2];
    AttendRoom<128> attend_128[2];
};

// Tells that this block is here, whose own threads have met already.
DEVICE void arrive(u32* arrived) {
    if (threadIdx.x == 0) add_released(arrived, 1);
}

// Waits until all blocks have come the `time`-th time; what they have written is seen after it. One thread looks, and tells the others of its
// block by `met`; each warp asks for tiles meanwhile.
template <bool GROUPS>
DEVICE void wait_for_all(const u32* arrived, u32 time, u32& met, Queue<GROUPS>& of_warp) {
    if (threadIdx.x % WARP == 0) {
        Queue<GROUPS> queue = of_warp;
        while (true) {
            queue.look();
            if (threadIdx.x == 0) {
                if (load_relaxed(arrived) < time * gridDim.x) continue;
                load_acquired(arrived);
                tell_block(&met, time);
                break;
            }
            if (heard_in_block(&met) == time) break;
        }
        of_warp = queue;
    }
    sync_block();
}

// HEAD: how the matrices outside of the layers are held.
template <int HELD, int HEAD>
DEVICE void step(const StepArgs& a) {
    SHARED_AT_LAUNCH(memory);
    SHARED StepRoom<HELD> room;
    using OfWarp = Queue<HELD == HELD_INT4>;
    SHARED u64 arrivals[WARPS][OfWarp::DEPTH];
    SHARED OfWarp queues[WARPS];     // in registers only while tiles are taken
    SHARED u32 met;
    SHARED float of_warps[2][NORM_WARPS];
    SHARED StepStage stages[2];
    SHARED u32 blocks[BLOCKS_KNOWN];
    SHARED StepRow row;
    constexpr int PIECES = sizeof(StepStage) / 16;
    static_assert(sizeof(StepStage) % 16 == 0 && PIECES <= THREADS, "a stage is copied by as many threads as it has pieces");
    // Beside the work; there once it was waited for, and all have met.
    auto copy_stage = [&](u32 s) {
        if (threadIdx.x < PIECES) copy_beside((uint4*)&stages[s & 1] + threadIdx.x, (const uint4*)a.stages + s * PIECES + threadIdx.x, true);
        mark_copies();
    };
    u8* tiles = aligned_from(memory, 1024);
    u16* x_here = (u16*)(tiles + OfWarp::DEPTH * OfWarp::SLOT);
    u32* meeting = (u32*)a.meeting;
    copy_stage(a.first);
    wait_for_copies<0>();
    sync_block();
    OfWarp& queue = queues[threadIdx.x / WARP];
    {
        OfWarp begun;
        begun.begin(tiles, arrivals[threadIdx.x / WARP], a, stages[a.first & 1].flow);
        if (threadIdx.x % WARP == 0) queue = begun;
        if (threadIdx.x == 0) met = 0;
    }
    wait_for_previous();
    const bool is_known = a.blocks_count <= BLOCKS_KNOWN;
    if (is_known && threadIdx.x < a.blocks_count) blocks[threadIdx.x] = ((const u32*)a.blocks)[threadIdx.x];
    if (threadIdx.x == 0) {
        row.slot = *(const u32*)a.slots;
        row.attend = {*(const u32*)a.contexts, *(const u32*)a.fresh, is_known ? blocks : (const u32*)a.blocks};
    }
    sync_block();
#pragma unroll 1
    for (u32 s = a.first; s < a.last; s++) {
        const StepStage& stage = stages[s & 1];
        // All that has nothing to wait for comes before the waiting.
        if (s > a.first) arrive(meeting);
        if (s + 1 < a.last) copy_stage(s + 1);
        ask_ahead(stage);
        if (stage.stage == STAGE_NORMED && stage.product.after == AFTER_QKV) ask_for_kept(stage.product.kv, row.attend);
        auto wait = [&] {
            if (s > a.first) wait_for_all(meeting, s - a.first, met, queue);
        };
        if (stage.stage != STAGE_ATTEND) wait();
        // Behind the meeting, since the product by columns may be the stage before; attention's is further back. One block has no part in most attention.
        if (blockIdx.x == gridDim.x - 1 && threadIdx.x == 0) {
            if (stage.guess && stage.stage != STAGE_COLUMNS) *(u32*)stage.guess = is_few(stage.columns, 0);
            if (stage.clear) *(u32*)stage.clear = 0;
        }
        const u16* x = (const u16*)stage.product.x;
        if (stage.stage == STAGE_NORMED || stage.stage == STAGE_HEAD) {
            norm(stage.norm, x_here, stage.product.cols, of_warps);
            x = x_here;
        } else if (stage.stage == STAGE_PRODUCT && stage.product.cols <= a.x_cols) {
            for (u32 col = 8 * threadIdx.x; col < stage.product.cols; col += 8 * THREADS) *(uint4*)(x_here + col) = *(const uint4*)(x + col);
            sync_block();
            x = x_here;
        }
        // The same code for both, if the matrices are held alike.
        switch (HEAD == HELD && stage.stage == STAGE_HEAD ? STAGE_NORMED : stage.stage) {
            case STAGE_PRODUCT:
            case STAGE_NORMED:
                product<HELD>(stage.product, stage.first, x, row.slot, room.product, queue);
                break;
            case STAGE_HEAD:
                if constexpr (HEAD != HELD) product<HEAD>(stage.product, stage.first, x, row.slot, room.product, queue);
                break;
            case STAGE_COLUMNS:
                if constexpr (HELD != HELD_INT4)
                    columns_of_one<HELD>(stage.columns, stage.first, *(const u32*)stage.guess, x_here, room.columns, queue);
                break;
            case STAGE_ATTEND:
                switch (stage.attend.kv.head_dim) {
                    case 16: attend_all<16>(stage.attend, row.attend, room.attend_16, wait); break;
                    case 64: attend_all<64>(stage.attend, row.attend, room.attend_64, wait); break;
                    case 80: attend_all<80>(stage.attend, row.attend, room.attend_80, wait); break;
                    case 128: attend_all<128>(stage.attend, row.attend, room.attend_128, wait); break;
                }
        }
        wait_for_copies<0>();
        sync_block();
    }
    // The last to leave makes the counters zero again.
    if (threadIdx.x == 0 && add_atomically(meeting + 1, 1) == gridDim.x - 1) meeting[0] = 0, meeting[1] = 0;
}
#else
template <int, int>
DEVICE void step(const StepArgs&) {}
#endif

KERNEL BOUNDS(THREADS, 2) step_half(StepArgs a) { step<HELD_HALF, HELD_HALF>(a); }
KERNEL BOUNDS(THREADS, 2) step_bfloat(StepArgs a) { step<HELD_BFLOAT, HELD_BFLOAT>(a); }
KERNEL BOUNDS(THREADS, 2) step_int8(StepArgs a) { step<HELD_INT8, HELD_INT8>(a); }
KERNEL BOUNDS(THREADS, 2) step_int4(StepArgs a) { step<HELD_INT4, HELD_INT8>(a); }
