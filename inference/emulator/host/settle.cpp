// What the lanes of a warp do together.
#include "machine.h"

namespace emulator {
static void require_all(const Warp& warp, Kind kind) {
    if (warp.living != LANES) fail("%s is for all 32 lanes of a warp, and %u are there", NAMES[kind], warp.living);
}

static void shuffle_all(Warp& warp, Kind kind) {
    for (u32 lane = 0; lane < LANES; lane++) {
        if (!warp.lanes[lane]) continue;
        u32 from = kind == FROM_LANE ? warp.from[lane] % LANES : lane ^ (u32)warp.from[lane];
        if (from >= LANES || !warp.lanes[from]) fail("%s: lane %u asks for what lane %u has, which is not there", NAMES[kind], lane, from);
        warp.result[lane][0] = warp.word[from];
    }
}

static void vote_all(Warp& warp) {
    u32 where = 0;
    for (u32 lane = 0; lane < LANES; lane++)
        if (warp.lanes[lane] && warp.word[lane]) where |= 1u << lane;
    for (u32 lane = 0; lane < LANES; lane++) warp.result[lane][0] = where;
}

typedef float Row __attribute__((vector_size(32)));     // of eight columns

// PTX ISA, mma.m16n8k16: lane 4g + t holds of a rows g and g + 8, columns 2t, 2t + 1, 2t + 8 and 2t + 9; of b column g, the same rows; of d
// rows g and g + 8, columns 2t and 2t + 1. Sums run in f32, in order.
template <float (*FIRST)(u32), float (*SECOND)(u32)>
static void multiply_all(Warp& warp, Kind kind) {
    require_all(warp, kind);
    float a[16][16];
    Row b[16], d[16];
    for (u32 lane = 0; lane < LANES; lane++) {
        u32 g = lane / 4, t = lane % 4;
        for (u32 i = 0; i < 4; i++) {
            float* at = &a[g + i % 2 * 8][2 * t + i / 2 * 8];
            at[0] = FIRST(warp.ab[lane][i]), at[1] = SECOND(warp.ab[lane][i]);
            d[g + i / 2 * 8][2 * t + i % 2] = warp.d[lane][i];
        }
        for (u32 i = 0; i < 2; i++) {
            b[2 * t + 8 * i][g] = FIRST(warp.ab[lane][4 + i]);
            b[2 * t + 8 * i + 1][g] = SECOND(warp.ab[lane][4 + i]);
        }
    }
    for (u32 k = 0; k < 16; k++)
        for (u32 row = 0; row < 16; row++) d[row] += a[row][k] * b[k];
    for (u32 lane = 0; lane < LANES; lane++)
        for (u32 i = 0; i < 4; i++) warp.d[lane][i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}

static void load_all(Warp& warp, Kind kind) {
    require_all(warp, kind);
    u16 numbers[32][8];
    for (u32 row = 0; row < 32; row++) memcpy(numbers[row], warp.row[row], 16);
    for (u32 lane = 0; lane < LANES; lane++)
        for (u32 m = 0; m < 4; m++) {
            u16(*matrix)[8] = numbers + 8 * m;
            u32 line = lane / 4, pair = lane % 4 * 2;
            bool turned = kind == LOAD_MATRICES_TURNED;
            u32 first = turned ? matrix[pair][line] : matrix[line][pair];
            u32 second = turned ? matrix[pair + 1][line] : matrix[line][pair + 1];
            warp.result[lane][m] = first | second << 16;
        }
}

void settle(Warp& warp, Kind kind) {
    switch (kind) {
        case BLOCK:
        case WARP: return;
        case FROM_LANE_XOR:
        case FROM_LANE: return shuffle_all(warp, kind);
        case LANES_WHERE: return vote_all(warp);
        case MULTIPLY_HALVES: return multiply_all<first_half, second_half>(warp, kind);
        case MULTIPLY_BFLOATS: return multiply_all<first_bfloat, second_bfloat>(warp, kind);
        case LOAD_MATRICES:
        case LOAD_MATRICES_TURNED: return load_all(warp, kind);
    }
}

u32 shuffle(Kind kind, u32 v, int from, const char* file, int line) {
    Thread& me = self();
    me.warp->word[me.lane] = v;
    me.warp->from[me.lane] = from;
    meet(kind, file, line);
    return me.warp->result[me.lane][0];
}

void multiply(Kind kind, float (&d)[4], const u32 (&ab)[6], const char* file, int line) {
    Thread& me = self();
    memcpy(me.warp->ab[me.lane], ab, sizeof ab);
    memcpy(me.warp->d[me.lane], d, sizeof d);
    meet(kind, file, line);
    memcpy(d, me.warp->d[me.lane], sizeof d);
}

void matrices(Kind kind, u32 (&r)[4], const void* row, const char* file, int line) {
    aligned(row, 16);
    Thread& me = self();
    me.warp->row[me.lane] = row;
    meet(kind, file, line);
    memcpy(r, me.warp->result[me.lane], sizeof r);
}

static void finish(const Copy& copy) {
    if (copy.wanted) memcpy(copy.to, copy.from, 16);
    else memset(copy.to, 0, 16);
}

void copy(void* to, const void* from, bool wanted) {
    aligned(to, 16), aligned(from, 16);
    Copy copy = {to, from, wanted, self().marks};
    if (machine->reverse) self().copies.push_back(copy);
    else finish(copy);
}

void copy_tile(void* to, const u64* matrix, u32 byte, u32 row) {
    const u64 row_bytes = matrix[1], rows = matrix[2], tile_bytes = matrix[3], places = tile_bytes / 16;
    aligned(to, places == 8 ? 1024 : 128);
    for (u32 r = 0; r < TILE_ROWS; r++)
        for (u32 place = 0; place < places; place++) {
            u8* at = (u8*)to + r * tile_bytes + (places == 8 ? place ^ (r % 8) : place) * 16;
            u64 from = byte + 16 * place;
            memset(at, 0, 16);
            if (row + r < rows && from < row_bytes)
                memcpy(at, (const u8*)matrix[0] + (row + r) * row_bytes + from, row_bytes - from < 16 ? row_bytes - from : 16);
        }
}

void mark_copies() { self().marks++; }

void finish_copies(u32 open) {
    Thread& me = self();
    size_t done = 0;
    while (done < me.copies.size() && me.copies[done].mark + open < me.marks) finish(me.copies[done++]);
    me.copies.erase(me.copies.begin(), me.copies.begin() + done);
}
}
