// What `intrinsics.cuh` asks for, on a host: the same names with the same meaning, for a C++17 compiler.
//
// The threads of a block are fibers on one thread of the system. Each runs until it meets the others: all lanes of its warp in a shuffle, a
// vote, a product of matrices or `sync_warp`, all threads of its block in `sync_block`. Who meets whom is in machine.cpp.
#pragma once

#ifdef EMULATOR_SCAN
// For the preprocessor alone: build.rs reads which kernels there are.
#define KERNEL emulator_kernel
#define BOUNDS(threads, blocks) emulator_bounds(threads)
#else

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define KERNEL void
#define BOUNDS(threads, blocks)
#define DEVICE inline
#define SHARED static thread_local
#define SHARED_AT_LAUNCH(name) static thread_local __attribute__((aligned(128))) u8 name[227 * 1024]
#define __align__(n) __attribute__((aligned(n)))

struct uint3 { u32 x, y, z; };
struct int2 { int x, y; };
struct int4 { int x, y, z, w; };
struct alignas(8) uint2 { u32 x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
typedef uint3 dim3;
inline uint2 make_uint2(u32 x, u32 y) { return {x, y}; }
inline uint3 make_uint3(u32 x, u32 y, u32 z) { return {x, y, z}; }
inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline float __uint_as_float(u32 bits) {
    float v;
    memcpy(&v, &bits, 4);
    return v;
}
inline u32 __float_as_uint(float v) {
    u32 bits;
    memcpy(&bits, &v, 4);
    return bits;
}
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }

// As `max` and `min` of PTX, which C leaves open: +0 is more than -0; and a number more than none.
namespace emulator {
inline float larger(float a, float b) {
    if (a == b) return __uint_as_float(__float_as_uint(a) & __float_as_uint(b));
    return a > b || b != b ? a : b;
}
inline float smaller(float a, float b) {
    if (a == b) return __uint_as_float(__float_as_uint(a) | __float_as_uint(b));
    return a < b || b != b ? a : b;
}
}
#define fmaxf emulator::larger
#define fminf emulator::smaller

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline u32 min(u32 a, u32 b) { return a < b ? a : b; }
inline u32 max(u32 a, u32 b) { return a > b ? a : b; }
inline u32 min(u32 a, int b) { return min(a, (u32)b); }
inline u32 max(u32 a, int b) { return max(a, (u32)b); }
inline u32 min(int a, u32 b) { return min((u32)a, b); }
inline u32 max(int a, u32 b) { return max((u32)a, b); }
inline u64 min(u64 a, u64 b) { return a < b ? a : b; }
inline u64 max(u64 a, u64 b) { return a > b ? a : b; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }

#include "halves.h"
#include "meet.h"

#define threadIdx (emulator::running->index)
extern __thread uint3 blockIdx;
extern __thread dim3 blockDim, gridDim;

// Blocks run one after the other, and so do kernels.
inline void wait_for_previous() {}
inline void let_next_begin() {}

inline uint4 load_streaming(const void* from) { return emulator::load<uint4>(from); }
inline uint2 load_streaming8(const void* from) { return emulator::load<uint2>(from); }
inline uint4 load_once(const void* from) { return emulator::load<uint4>(from); }
inline uint2 load_once8(const void* from) { return emulator::load<uint2>(from); }
inline u32 load_streaming4(const void* from) { return emulator::load<u32>(from); }
inline float load_fresh(const float* from) { return emulator::load<float>(from); }

inline void copy_beside(void* to, const void* from, bool wanted) { emulator::copy(to, from, wanted); }
inline void ask_for(const void*) {}

#define HAS_TILES
// A tile is there at once; `arrival` counts how many were told of.
inline void begin_arrivals(u64* arrival) { *arrival = 0; }
inline void expect_bytes(u64* arrival, u32) { ++*arrival; }
inline void copy_tile(void* to, const TileMap* map, u32 byte, u32 row, u64*) { emulator::copy_tile(to, map->words, byte, row); }
inline bool has_arrived(u64* arrival, u32 turn) { return *arrival % 2 != turn; }
inline void wait_for_arrival(u64* arrival, u32 turn) {
    if (*arrival % 2 == turn) emulator::fail("waits for a tile that nobody has asked for");
}
inline u8* aligned_from(u8* at, u32 bytes) { return at + (-(uintptr_t)at & (bytes - 1)); }

inline void mark_copies() { emulator::mark_copies(); }
template <int OPEN>
inline void wait_for_copies() { emulator::finish_copies(OPEN); }

inline float exp2_about(float x) {
    float y = exp2f(x);
    return y < 1.17549435e-38f ? 0.0f : y;
}

// As `prmt`: a nibble's upper bit asks for the byte's sign in all of its bits.
inline u32 select_bytes(u32 a, u32 b, u32 which) {
    u64 bytes = (u64)b << 32 | a;
    u32 selected = 0;
    for (int i = 0; i < 4; i++) {
        u32 nibble = which >> 4 * i & 15;
        u32 byte = (u32)(bytes >> 8 * (nibble & 7)) & 0xff;
        if (nibble & 8) byte = byte & 0x80 ? 0xff : 0;
        selected |= byte << 8 * i;
    }
    return selected;
}
inline int ones_in(u32 v) { return __builtin_popcount(v); }
inline int last_one_in(u32 v) { return __builtin_ffs((int)v) - 1; }

inline u32 add_atomically(u32* at, u32 v) { return __atomic_fetch_add(at, v, __ATOMIC_SEQ_CST); }
// Blocks run one after the other: a block that waits for another would wait for ever.
inline void add_released(u32*, u32) {}
inline u32 load_relaxed(const u32*) { emulator::fail("waits for another block"); }
inline u32 load_acquired(const u32*) { emulator::fail("waits for another block"); }
inline void tell_block(u32*, u32) {}
inline u32 heard_in_block(const u32*) { emulator::fail("waits for another block"); }
inline void fence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// Where a call stands, for the message when threads that had to meet did not.
#define EMULATOR_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()
inline void sync_block(EMULATOR_HERE) { emulator::meet(emulator::BLOCK, file, line); }
inline void sync_warp(EMULATOR_HERE) { emulator::meet(emulator::WARP, file, line); }
inline float from_lane_xor(float v, int mask, EMULATOR_HERE) {
    return __uint_as_float(emulator::shuffle(emulator::FROM_LANE_XOR, __float_as_uint(v), mask, file, line));
}
inline u32 from_lane(u32 v, int lane, EMULATOR_HERE) { return emulator::shuffle(emulator::FROM_LANE, v, lane, file, line); }
inline u32 lanes_where(bool v, EMULATOR_HERE) { return emulator::shuffle(emulator::LANES_WHERE, v, 0, file, line); }
inline void multiply_halves(float (&d)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1, EMULATOR_HERE) {
    emulator::multiply(emulator::MULTIPLY_HALVES, d, {a0, a1, a2, a3, b0, b1}, file, line);
}
inline void multiply_bfloats(float (&d)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1, EMULATOR_HERE) {
    emulator::multiply(emulator::MULTIPLY_BFLOATS, d, {a0, a1, a2, a3, b0, b1}, file, line);
}
inline void load_matrices(u32 (&r)[4], const void* row, EMULATOR_HERE) { emulator::matrices(emulator::LOAD_MATRICES, r, row, file, line); }
inline void load_matrices_turned(u32 (&r)[4], const void* row, EMULATOR_HERE) {
    emulator::matrices(emulator::LOAD_MATRICES_TURNED, r, row, file, line);
}
#undef EMULATOR_HERE
#endif
