// Attention of many tokens of a prompt to all before them and themselves, over paged keys and values (Dao, "FlashAttention-2",
// arXiv 2307.08691). A block has one head and 64 tokens, each of its four warps 16; pages of 32 tokens pass through shared memory.
//
// Pages are taken in order, and one that lies behind a token changes nothing for it: so its numbers do not depend on who is beside it.
#include "numbers.cuh"
#include "tables.cuh"

constexpr int ATTEND_WARPS = 4;
constexpr int PAGE = 32;
constexpr float LOG2_E = 1.4426950408889634f;
constexpr float NOTHING = -1e30f;

template <int DIM>
DEVICE void attend_prompt(const AttendPromptArgs& a) {
    constexpr int STRIDE = DIM + 8;     // so that eight rows lie in different banks
    constexpr int PIECES = DIM / 8;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    const u32 head = blockIdx.y, heads = a.kv.heads, hidden = heads * DIM;
    SHARED __align__(16) u16 keys[2][PAGE * STRIDE];
    SHARED __align__(16) u16 values[2][PAGE * STRIDE];

    let_next_begin();
    wait_for_previous();
    const PromptTile tile = ((const PromptTile*)a.tiles)[blockIdx.x];
    const u32* blocks = (const u32*)a.blocks + tile.blocks;
    const int pages = (int)((tile.position + tile.rows + PAGE - 1) / PAGE);

    auto read = [&](int page) {
        u32 block = blocks[page];
        const u16* from = (const u16*)a.kv.memory + ((((u64)block * a.kv.layers + a.kv.layer) * 2) * heads + head) * PAGE * DIM;
        for (int piece = threadIdx.x; piece < 2 * PAGE * PIECES; piece += ATTEND_WARPS * WARP) {
            int row = piece % (PAGE * PIECES) / PIECES, col = piece % PIECES * 8;
            bool is_value = piece >= PAGE * PIECES;
            // What lies behind the last token may be anything, and must not be multiplied, not even by zero.
            bool wanted = (u32)(page * PAGE + row) < tile.position + tile.rows;
            u16* to = (is_value ? values : keys)[page % 2] + row * STRIDE + col;
            copy_beside(to, from + (is_value ? (u64)heads * PAGE * DIM : 0) + row * DIM + col, wanted);
        }
        mark_copies();
    };

    // Queries g and g + 8 of the warp's sixteen.
    u32 q[DIM / 16][4];
    const int rows[2] = {warp * 16 + g, warp * 16 + g + 8};
#pragma unroll
    for (int half = 0; half < 2; half++) {
        bool is_there = rows[half] < (int)tile.rows;
        const u16* from = (const u16*)a.q + (u64)(tile.row + (is_there ? rows[half] : 0)) * hidden + head * DIM;
#pragma unroll
        for (int c = 0; c < DIM / 16; c++) {
            q[c][half] = is_there ? *(const u32*)(from + 16 * c + 2 * t) : 0;
            q[c][half + 2] = is_there ? *(const u32*)(from + 16 * c + 2 * t + 8) : 0;
        }
    }
    float seen[DIM / 8][4];
#pragma unroll
    for (int d = 0; d < DIM / 8; d++)
#pragma unroll
        for (int i = 0; i < 4; i++) seen[d][i] = 0.0f;
    float highest[2] = {NOTHING, NOTHING}, total[2] = {0.0f, 0.0f};
    // The last token that a row of the warp may see, counted from the beginning.
    const int last[2] = {(int)tile.position + rows[0], (int)tile.position + rows[1]};
    const int last_of_warp = (int)tile.position + warp * 16 + 15;

    read(0);
    for (int page = 0; page < pages; page++) {
        if (page + 1 < pages) {
            read(page + 1);
            wait_for_copies<1>();
        } else {
            wait_for_copies<0>();
        }
        sync_block();
        if (page * PAGE <= last_of_warp) {
            const u16* k = keys[page % 2];
            const u16* v = values[page % 2];
            float scores[PAGE / 8][4];
#pragma unroll
            for (int n = 0; n < PAGE / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) scores[n][i] = 0.0f;
#pragma unroll
            for (int c = 0; c < DIM / 16; c++)
#pragma unroll
                for (int n = 0; n < PAGE / 16; n++) {
                    // Sixteen keys by sixteen numbers: matrices (keys 0–7, numbers 0–7), (0–7, 8–15), (8–15, 0–7), (8–15, 8–15).
                    u32 of_keys[4];
                    load_matrices(of_keys, k + (16 * n + lane / 16 * 8 + lane % 8) * STRIDE + 16 * c + lane / 8 % 2 * 8);
                    multiply_halves(scores[2 * n], q[c][0], q[c][1], q[c][2], q[c][3], of_keys[0], of_keys[1]);
                    multiply_halves(scores[2 * n + 1], q[c][0], q[c][1], q[c][2], q[c][3], of_keys[2], of_keys[3]);
                }
            float top[2] = {highest[0], highest[1]};
#pragma unroll
            for (int n = 0; n < PAGE / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int token = page * PAGE + 8 * n + 2 * t + i % 2;
                    scores[n][i] = token <= last[i / 2] ? scores[n][i] * LOG2_E : NOTHING;
                    top[i / 2] = fmaxf(top[i / 2], scores[n][i]);
                }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                top[half] = fmaxf(top[half], from_lane_xor(top[half], 1));
                top[half] = fmaxf(top[half], from_lane_xor(top[half], 2));
            }
            // After the first pages most leave the highest where it is, and nothing has to be scaled.
            if (lanes_where(top[0] > highest[0] || top[1] > highest[1]))
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    float factor = exp2_about(highest[half] - top[half]);
                    highest[half] = top[half];
                    total[half] *= factor;
#pragma unroll
                    for (int d = 0; d < DIM / 8; d++) seen[d][2 * half] *= factor, seen[d][2 * half + 1] *= factor;
                }
            u32 weights[PAGE / 8][2];
#pragma unroll
            for (int n = 0; n < PAGE / 8; n++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    // A token that has seen nothing yet keeps nothing: 2^(NOTHING - NOTHING) would be one.
                    bool any = highest[half] > NOTHING;
                    float first = any ? exp2_about(scores[n][2 * half] - highest[half]) : 0.0f;
                    float second = any ? exp2_about(scores[n][2 * half + 1] - highest[half]) : 0.0f;
                    weights[n][half] = halves_of(first, second);
                    total[half] += first_half(weights[n][half]) + second_half(weights[n][half]);
                }
#pragma unroll
            for (int n = 0; n < PAGE / 16; n++)
#pragma unroll
                for (int d = 0; d < DIM / 16; d++) {
                    // Sixteen values by sixteen numbers, turned: matrices (values 0–7, numbers 0–7), (8–15, 0–7), (0–7, 8–15), (8–15, 8–15).
                    u32 of_values[4];
                    load_matrices_turned(of_values, v + (16 * n + lane / 8 % 2 * 8 + lane % 8) * STRIDE + 16 * d + lane / 16 * 8);
                    multiply_halves(seen[2 * d], weights[2 * n][0], weights[2 * n][1], weights[2 * n + 1][0], weights[2 * n + 1][1], of_values[0], of_values[1]);
                    multiply_halves(seen[2 * d + 1], weights[2 * n][0], weights[2 * n][1], weights[2 * n + 1][0], weights[2 * n + 1][1], of_values[2], of_values[3]);
                }
        }
        sync_block();
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        total[half] += from_lane_xor(total[half], 1);
        total[half] += from_lane_xor(total[half], 2);
        if (rows[half] >= (int)tile.rows) continue;
        u16* y = (u16*)a.y + (u64)(tile.row + rows[half]) * a.y_stride + head * DIM;
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) {
            float first = seen[d][2 * half] / total[half], second = seen[d][2 * half + 1] / total[half];
            *(u32*)(y + 8 * d + 2 * t) = a.bfloat ? bfloats_of(first, second) : halves_of(first, second);
        }
    }
}

KERNEL BOUNDS(128, 3) attend_prompt_16(AttendPromptArgs a) { attend_prompt<16>(a); }
KERNEL BOUNDS(128, 3) attend_prompt_64(AttendPromptArgs a) { attend_prompt<64>(a); }
KERNEL BOUNDS(128, 3) attend_prompt_80(AttendPromptArgs a) { attend_prompt<80>(a); }
KERNEL BOUNDS(128, 3) attend_prompt_128(AttendPromptArgs a) { attend_prompt<128>(a); }
