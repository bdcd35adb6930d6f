// Attention of single tokens to all before them and themselves, over paged keys and values (Dao et al., "Flash-Decoding", 2023).
//
// Four warps have one head of one token and a split of 128 of the tokens it attends to, each warp a page of 32; those that come last to a
// head join the splits in order. Splits are the same whoever else attends.
#pragma once
#include "numbers.cuh"
#include "tables.cuh"

constexpr int ATTEND_WARPS = 4;
constexpr int ATTEND_THREADS = ATTEND_WARPS * WARP;
constexpr int PAGE = 32;
constexpr float LOG2_E = 1.4426950408889634f;
constexpr float NOTHING = -1e30f;   // below all scores

constexpr int pieces(int dim) { return dim / 8; }               // of 16 bytes in a row of keys or values
constexpr int abreast(int dim) { return WARP / pieces(dim); }   // rows of values that a warp reads at once

// What the threads of a split share.
template <int DIM>
struct AttendRoom {
    float weights[ATTEND_WARPS][PAGE];
    float highest_of[ATTEND_WARPS], total_of[ATTEND_WARPS];
    float seen[ATTEND_WARPS][abreast(DIM)][DIM];
    u32 is_last;
};

// What a row attends to.
struct AttendRow {
    u32 context, fresh;
    const u32* blocks;
};

DEVICE u32 splits_of(u32 context) { return (context + ATTEND_WARPS * PAGE - 1) / (ATTEND_WARPS * PAGE); }

// One split of a head of a row, by `thread` of 128. All threads of the block meet in here, those with nothing to do too: a split behind the
// row's last. Before `ready` returns only what earlier steps have kept is read. LATE: values are asked for once there are scores, and
// those of wide heads in two halves, as their keys are, for want of registers.
template <int DIM, bool LATE, class Ready>
DEVICE void attend(const AttendArgs& a, const AttendRow& of, u32 split, u32 head, u32 row, u32 thread, AttendRoom<DIM>& room, Ready ready) {
    constexpr int PIECES = pieces(DIM), ABREAST = abreast(DIM), ROUNDS = (PAGE + ABREAST - 1) / ABREAST, HALF = LATE && ROUNDS > 8 ? ROUNDS / 2 : ROUNDS;
    constexpr bool IN_TWO = LATE && DIM > 80;
    const int lane = thread % WARP, warp = thread / WARP, g = lane / 4, t = lane % 4;
    const u32 heads = a.kv.heads;
    auto& [weights, highest_of, total_of, seen, is_last] = room;

    const u32 context = of.context, splits = splits_of(context);
    const bool is_there = split < splits;
    const u32 page = split * ATTEND_WARPS + warp;
    const int count = page * PAGE < context ? (int)min((u32)PAGE, context - page * PAGE) : 0;
    // What earlier steps have kept is there already, and asked for before the kernel before this has ended.
    const int kept = min(count, max(0, (int)of.fresh - (int)(page * PAGE)));
    float highest = NOTHING, total = 0.0f;
    float values[8];
#pragma unroll
    for (int i = 0; i < 8; i++) values[i] = 0.0f;
    const int piece = lane % PIECES, part = lane / PIECES;
    const u32 block = count > 0 ? of.blocks[page] : 0;
    const u16* keys = (const u16*)a.kv.memory + ((((u64)block * a.kv.layers + a.kv.layer) * 2) * heads + head) * PAGE * DIM;
    const u16* there = keys + (u64)heads * PAGE * DIM;
    // Lane 4g + t has of keys g and g + 8, of each sixteen, four numbers in each sixteen.
    uint2 of_keys[2][2][DIM / 16];
    uint4 of_values[ROUNDS];
    auto read_keys = [&](int begin, int end, int first_m, int last_m) {
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int token = 16 * m + 8 * half + g;
                if (IN_TWO && first_m <= m && m < last_m)
#pragma unroll
                    for (int c = 0; c < DIM / 16; c++) of_keys[m][half][c] = make_uint2(0, 0);
                if (first_m <= m && m < last_m && begin <= token && token < end)
#pragma unroll
                    for (int c = 0; c < DIM / 16; c++) of_keys[m][half][c] = load_once8(keys + token * DIM + 16 * c + 4 * t);
            }
    };
    auto read_values = [&](int begin, int end, int first_round, int last_round) {
#pragma unroll
        for (int round = 0; round < ROUNDS; round++) {
            int token = round * ABREAST + part;
            if (LATE && first_round <= round && round < last_round) of_values[round] = make_uint4(0, 0, 0, 0);
            if (first_round <= round && round < last_round && part < ABREAST && begin <= token && token < end)
                of_values[round] = load_once(there + token * DIM + 8 * piece);
        }
    };
    if (!IN_TWO)
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
                for (int c = 0; c < DIM / 16; c++) of_keys[m][half][c] = make_uint2(0, 0);
    if (!LATE)
#pragma unroll
        for (int round = 0; round < ROUNDS; round++) of_values[round] = make_uint4(0, 0, 0, 0);
    if (!IN_TWO) read_keys(0, kept, 0, 2);
    if (!LATE) read_values(0, kept, 0, ROUNDS);
    ready();

    if (count > 0) {
        if (IN_TWO) read_keys(0, count, 0, 1);
        else read_keys(kept, count, 0, 2);
        if (!LATE) read_values(kept, count, 0, ROUNDS);
        // Scores of 16 keys at a time by the tensor cores: the query in two halves, upper and lower, as two tokens, so that nothing of it is lost.
        const float* q = (const float*)a.q + (u64)row * heads * DIM + head * DIM;
        float scores[2][4];
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) scores[m][i] = 0.0f;
        u32 of_query[DIM / 16][2];
#pragma unroll
        for (int c = 0; c < DIM / 16; c++) {
            u32 first = 0, second = 0;
            if (g < 2) {
                float4 v = *(const float4*)(q + 16 * c + 4 * t);
                first = halves_of(v.x, v.y), second = halves_of(v.z, v.w);
                if (g == 1) {
                    first = halves_of(v.x - first_half(first), v.y - second_half(first));
                    second = halves_of(v.z - first_half(second), v.w - second_half(second));
                }
            }
            of_query[c][0] = first, of_query[c][1] = second;
        }
#pragma unroll
        for (int m = 0; m < 2; m++) {
            if (IN_TWO && m == 1) read_keys(0, count, 1, 2);
#pragma unroll
            for (int c = 0; c < DIM / 16; c++)
                multiply_halves(scores[m], of_keys[m][0][c].x, of_keys[m][1][c].x, of_keys[m][0][c].y, of_keys[m][1][c].y, of_query[c][0], of_query[c][1]);
        }
        if (t == 0)
#pragma unroll
            for (int m = 0; m < 2; m++)
#pragma unroll
                for (int half = 0; half < 2; half++) weights[warp][16 * m + 8 * half + g] = scores[m][2 * half] + scores[m][2 * half + 1];
        if (LATE) read_values(0, count, 0, HALF);
        sync_warp();
        float score = lane < count ? weights[warp][lane] * LOG2_E : NOTHING;
        highest = warp_max(score);
        float weight = lane < count ? exp2_about(score - highest) : 0.0f;
        total = warp_sum(weight);
        sync_warp();
        weights[warp][lane] = weight;
        sync_warp();
        if (part < ABREAST)
#pragma unroll
            for (int round = 0; round < ROUNDS; round++) {
                int token = round * ABREAST + part;
                if (round == HALF) read_values(0, count, HALF, ROUNDS);
                if (token < count) {
                    float numbers[8];
                    widen8<Halves>(of_values[round], numbers);
#pragma unroll
                    for (int i = 0; i < 8; i++) values[i] = fmaf(weights[warp][token], numbers[i], values[i]);
                }
            }
    }
    if (part < ABREAST)
#pragma unroll
        for (int i = 0; i < 8; i++) seen[warp][part][8 * piece + i] = values[i];
    if (lane == 0) highest_of[warp] = highest, total_of[warp] = total;
    sync_block();

    // The warps joined.
    float top = NOTHING, sum = 0.0f;
#pragma unroll
    for (int w = 0; w < ATTEND_WARPS; w++) top = fmaxf(top, highest_of[w]);
    float factors[ATTEND_WARPS];
#pragma unroll
    for (int w = 0; w < ATTEND_WARPS; w++) factors[w] = exp2_about(highest_of[w] - top), sum = fmaf(total_of[w], factors[w], sum);
    float v = 0.0f;
    const int d = (int)thread;
    if (d < DIM)
#pragma unroll
        for (int w = 0; w < ATTEND_WARPS; w++) {
            float of_warp = 0.0f;
#pragma unroll
            for (int p = 0; p < ABREAST; p++) of_warp += seen[w][p][d];
            v = fmaf(of_warp, factors[w], v);
        }
    u16* y = (u16*)a.y + (u64)row * a.y_stride + head * DIM;
    if (splits > 1) {
        const u64 each = DIM + 2;
        float* partial = (float*)a.partial + ((u64)row * heads + head) * a.splits_max * each;
        if (is_there && d < DIM) partial[split * each + d] = v;
        if (is_there && d == 0) partial[split * each + DIM] = top, partial[split * each + DIM + 1] = sum;
        sync_block();
        if (thread == 0) {
            fence();
            u32* arrived = (u32*)a.arrived + (u64)row * heads + head;
            is_last = is_there && add_atomically(arrived, 1) == splits - 1;
            if (is_last) *arrived = 0;
            fence();
        }
        sync_block();
        if (!is_last) return;
        top = NOTHING, sum = 0.0f, v = 0.0f;
        for (u32 s = 0; s < splits; s++) top = fmaxf(top, load_fresh(partial + s * each + DIM));
        for (u32 s = 0; s < splits; s++) {
            float factor = exp2_about(load_fresh(partial + s * each + DIM) - top);
            sum = fmaf(load_fresh(partial + s * each + DIM + 1), factor, sum);
            if (d < DIM) v = fmaf(load_fresh(partial + s * each + d), factor, v);
        }
    }
    if (is_there && d < DIM) y[d] = a.bfloat ? one_of<Bfloats>(v / sum) : one_of<Halves>(v / sum);
}
