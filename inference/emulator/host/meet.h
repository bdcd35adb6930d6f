// What the names of emulator.h stand on: where threads meet, and what fails loudly.
#pragma once

namespace emulator {
// Where threads meet: of a block, or (all others) of a warp.
enum Kind : int { BLOCK, WARP, FROM_LANE_XOR, FROM_LANE, LANES_WHERE, MULTIPLY_HALVES, MULTIPLY_BFLOATS, LOAD_MATRICES, LOAD_MATRICES_TURNED };

// What a kernel sees of the thread that runs.
struct Seen {
    uint3 index;
};
extern __thread Seen* running;

// Ends the launch with this message, and where it was.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Waits until all who had to come are at this place.
void meet(Kind kind, const char* file, int line);
u32 shuffle(Kind kind, u32 v, int lane, const char* file, int line);
void multiply(Kind kind, float (&d)[4], const u32 (&ab)[6], const char* file, int line);
void matrices(Kind kind, u32 (&r)[4], const void* row, const char* file, int line);

// At once; in a reversed launch as late as `finish_copies` allows.
void copy(void* to, const void* from, bool wanted);
void mark_copies();
void finish_copies(u32 open);

// 16 rows of a tile's bytes of a matrix, told as (address, bytes of a row, rows, bytes of a tile's row); zeros outside of it.
void copy_tile(void* to, const u64* matrix, u32 byte, u32 row);

// A card refuses addresses that are no multiple of what is read; a host would not.
inline void aligned(const void* at, size_t bytes) {
    if ((uintptr_t)at % bytes) fail("%p is no multiple of %zu bytes", at, bytes);
}

template <class T>
inline T load(const void* from) {
    aligned(from, sizeof(T));
    T v;
    memcpy(&v, from, sizeof(T));
    return v;
}
}
