// Attention of single tokens to all before them and themselves, over paged keys and values (Dao et al., "Flash-Decoding", 2023).
//
// A block has one head of one token and a split of 128 of the tokens it attends to, each of its four warps a page of 32; the block that
// comes last to a head joins the splits in order. Splits are the same whoever else attends.
#include "numbers.cuh"
#include "tables.cuh"

constexpr int WARPS = 4;
constexpr int PAGE = 32;
constexpr float LOG2_E = 1.4426950408889634f;
constexpr float NOTHING = -1e30f;   // below all scores

template <int DIM>
DEVICE void attend(const AttendArgs& a) {
    constexpr int PIECES = DIM / 8;             // of 16 bytes in a row of keys or values
    constexpr int ABREAST = WARP / PIECES;      // rows of values that a warp reads at once
    constexpr int ROUNDS = (PAGE + ABREAST - 1) / ABREAST;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    const u32 split = blockIdx.x, head = blockIdx.y, row = blockIdx.z, heads = a.kv.heads;

    SHARED float weights[WARPS][PAGE];
    SHARED float highest_of[WARPS], total_of[WARPS];
    SHARED float seen[WARPS][ABREAST][DIM];
    SHARED u32 is_last;

    let_next_begin();
    const u32 context = ((const u32*)a.contexts)[row], splits = (context + WARPS * PAGE - 1) / (WARPS * PAGE);
    const u32 page = split * WARPS + warp;
    const int count = page * PAGE < context ? (int)min((u32)PAGE, context - page * PAGE) : 0;
    // What earlier steps have kept is there already, and asked for before the kernel before this has ended.
    const int kept = min(count, max(0, (int)((const u32*)a.fresh)[row] - (int)(page * PAGE)));
    float highest = NOTHING, total = 0.0f;
    float values[8];
#pragma unroll
    for (int i = 0; i < 8; i++) values[i] = 0.0f;
    const int piece = lane % PIECES, part = lane / PIECES;
    const u32 block = count > 0 ? ((const u32*)a.blocks)[(u64)row * a.blocks_stride + page] : 0;
    const u16* keys = (const u16*)a.kv.memory + ((((u64)block * a.kv.layers + a.kv.layer) * 2) * heads + head) * PAGE * DIM;
    const u16* there = keys + (u64)heads * PAGE * DIM;
    // Lane 4g + t has of keys g and g + 8, of each sixteen, four numbers in each sixteen.
    uint2 of_keys[2][2][DIM / 16];
    uint4 of_values[ROUNDS];
    auto read = [&](int begin, int end) {
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int token = 16 * m + 8 * half + g;
                if (begin <= token && token < end)
#pragma unroll
                    for (int c = 0; c < DIM / 16; c++) of_keys[m][half][c] = load_once8(keys + token * DIM + 16 * c + 4 * t);
            }
#pragma unroll
        for (int round = 0; round < ROUNDS; round++) {
            int token = round * ABREAST + part;
            if (part < ABREAST && begin <= token && token < end) of_values[round] = load_once(there + token * DIM + 8 * piece);
        }
    };
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int c = 0; c < DIM / 16; c++) of_keys[m][half][c] = make_uint2(0, 0);
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) of_values[round] = make_uint4(0, 0, 0, 0);
    read(0, kept);
    wait_for_previous();
    if (split * WARPS * PAGE >= context) return;

    if (count > 0) {
        read(kept, count);
        // Scores of 16 keys at a time by the tensor cores: the query in two halves, upper and lower, as two tokens, so that nothing of it is lost.
        const float* q = (const float*)a.q + (u64)row * heads * DIM + head * DIM;
        float scores[2][4];
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) scores[m][i] = 0.0f;
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
#pragma unroll
            for (int m = 0; m < 2; m++)
                multiply_halves(scores[m], of_keys[m][0][c].x, of_keys[m][1][c].x, of_keys[m][0][c].y, of_keys[m][1][c].y, first, second);
        }
        if (t == 0)
#pragma unroll
            for (int m = 0; m < 2; m++)
#pragma unroll
                for (int half = 0; half < 2; half++) weights[warp][16 * m + 8 * half + g] = scores[m][2 * half] + scores[m][2 * half + 1];
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
    for (int w = 0; w < WARPS; w++) top = fmaxf(top, highest_of[w]);
    float factors[WARPS];
#pragma unroll
    for (int w = 0; w < WARPS; w++) factors[w] = exp2_about(highest_of[w] - top), sum = fmaf(total_of[w], factors[w], sum);
    float v = 0.0f;
    const int d = threadIdx.x;
    if (d < DIM)
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            float of_warp = 0.0f;
#pragma unroll
            for (int p = 0; p < ABREAST; p++) of_warp += seen[w][p][d];
            v = fmaf(of_warp, factors[w], v);
        }
    u16* y = (u16*)a.y + (u64)row * a.y_stride + head * DIM;
    if (splits > 1) {
        const u64 each = DIM + 2;
        float* partial = (float*)a.partial + ((u64)row * heads + head) * a.splits_max * each;
        if (d < DIM) partial[split * each + d] = v;
        if (d == 0) partial[split * each + DIM] = top, partial[split * each + DIM + 1] = sum;
        fence();
        sync_block();
        if (threadIdx.x == 0) {
            u32* arrived = (u32*)a.arrived + (u64)row * heads + head;
            is_last = add_atomically(arrived, 1) == splits - 1;
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
    if (d < DIM) y[d] = a.bfloat ? one_of<Bfloats>(v / sum) : one_of<Halves>(v / sum);
}

KERNEL BOUNDS(128, 3) attend_16(AttendArgs a) { attend<16>(a); }
KERNEL BOUNDS(128, 3) attend_64(AttendArgs a) { attend<64>(a); }
KERNEL BOUNDS(128, 3) attend_80(AttendArgs a) { attend<80>(a); }
KERNEL BOUNDS(128, 3) attend_128(AttendArgs a) { attend<128>(a); }
