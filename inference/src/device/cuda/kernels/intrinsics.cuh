// What the kernels ask of the machine beyond plain C++: each instruction under one name, so that the same sources compile for a card
// (NVRTC) and for a host that runs them one thread after the other (inference/emulator, for tests where there is no card).
#pragma once

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// A matrix by rows as the card's own copying engine is told of it: a `CUtensorMap` (CUDA driver API), of bytes, in tiles of 16 rows and 128
// bytes, or strips of 16 rows and 16 bytes, what is outside being zero.
struct alignas(64) TileMap {
    u64 words[16];
};
constexpr int TILE_ROWS = 16, TILE_BYTES = 128, STRIP_BYTES = 16;

#ifdef EMULATED
#include "emulator.h"
#else

#define KERNEL extern "C" __global__ void
#define DEVICE __device__ __forceinline__
// Shared by the threads of a block.
#define SHARED __shared__
// The same, as many bytes as the launch asks for.
#define SHARED_AT_LAUNCH(name) extern __shared__ __align__(128) u8 name[]
#define BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)

// Programmatic dependent launch: what the kernel before has written may be read after this.
DEVICE void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel's blocks may begin, up to where they wait.
DEVICE void let_next_begin() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// 16 bytes that are read once and never written while the kernel runs.
DEVICE uint4 load_streaming(const void* from) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}

// The same of 8 and 4 bytes.
DEVICE uint2 load_streaming8(const void* from) {
    uint2 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
    return v;
}
DEVICE u32 load_streaming4(const void* from) {
    u32 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.u32 %0, [%1];" : "=r"(v) : "l"(from));
    return v;
}

// Asks for a line of 128 bytes to be in the second cache when it is read.
DEVICE void ask_for(const void* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); }

// 16 and 8 bytes that are read once, and that the kernel before may have written.
DEVICE uint4 load_once(const void* from) {
    uint4 v;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from) : "memory");
    return v;
}
DEVICE uint2 load_once8(const void* from) {
    uint2 v;
    asm volatile("ld.global.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from) : "memory");
    return v;
}

// Two halves in a word, the first in its lower bits; rounded to nearest, ties to even; what is too large becomes the largest half.
DEVICE u32 halves_of(float first, float second) {
    u32 word;
    first = fminf(fmaxf(first, -65504.0f), 65504.0f);
    second = fminf(fmaxf(second, -65504.0f), 65504.0f);
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
    return word;
}
// The same as bfloats, whose range is that of f32.
DEVICE u32 bfloats_of(float first, float second) {
    u32 word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
    return word;
}
DEVICE float first_half(u32 word) {
    float v;
    asm("{ .reg .b16 lo, hi; mov.b32 {lo, hi}, %1; cvt.f32.f16 %0, lo; }" : "=f"(v) : "r"(word));
    return v;
}
DEVICE float second_half(u32 word) {
    float v;
    asm("{ .reg .b16 lo, hi; mov.b32 {lo, hi}, %1; cvt.f32.f16 %0, hi; }" : "=f"(v) : "r"(word));
    return v;
}
DEVICE float first_bfloat(u32 word) { return __uint_as_float(word << 16); }
DEVICE float second_bfloat(u32 word) { return __uint_as_float(word & 0xffff0000u); }

// Differences of two pairs of halves.
DEVICE u32 halves_minus(u32 a, u32 b) {
    u32 d;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
}

// mma.m16n8k16: d (16, 8) += a (16, 16) · b (16, 8), a and b of halves, d of singles. Fragments as in the PTX ISA, 9.7.14.
DEVICE void multiply_halves(float (&d)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
DEVICE void multiply_bfloats(float (&d)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Four 8 × 8 matrices of 16-bit numbers from shared memory, lane i giving the address of row i % 8 of matrix i / 8; each lane gets of each
// matrix two numbers of row lane / 4, or with `turned` of column lane / 4.
DEVICE void load_matrices(u32 (&r)[4], const void* row) {
    u32 at = (u32)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}
DEVICE void load_matrices_turned(u32 (&r)[4], const void* row) {
    u32 at = (u32)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

// 16 bytes from global to shared memory, beside what the thread goes on with; if not `wanted`, zeros. What was begun before a mark is
// there once no more than so many later marks are open, and all threads have passed a barrier.
DEVICE void copy_beside(void* to, const void* from, bool wanted) {
    u32 at = (u32)__cvta_generic_to_shared(to);
    int bytes = wanted ? 16 : 0;
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
}
DEVICE void mark_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int OPEN>
DEVICE void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(OPEN) : "memory");
}

// Tiles and strips are copied by an engine that no thread waits for (PTX ISA, `cp.async.bulk.tensor`; compute capability 9.0). `arrival` counts
// what has come: begun by one thread, then told by one thread how many bytes will come, and waited for by all with 0, 1, 0, ... in turn. 16
// bytes in the u-th place of a tile's row r lie in place u ^ (r % 8), so that lanes may read a column without standing in each other's
// way; where a tile goes is a multiple of 1,024, a strip of 128.
#if __CUDA_ARCH__ >= 900
#define HAS_TILES
DEVICE void begin_arrivals(u64* arrival) {
    u32 at = (u32)__cvta_generic_to_shared(arrival);
    asm volatile("mbarrier.init.shared.b64 [%0], 1;\n\tfence.proxy.async.shared::cta;" ::"r"(at) : "memory");
}
DEVICE void expect_bytes(u64* arrival, u32 bytes) {
    u32 at = (u32)__cvta_generic_to_shared(arrival);
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
}
DEVICE void copy_tile(void* to, const TileMap* map, u32 byte, u32 row, u64* arrival) {
    u32 at = (u32)__cvta_generic_to_shared(arrival), room = (u32)__cvta_generic_to_shared(to);
    // Read once: the first to make room in the second cache, so that everything else stays there.
    u64 policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(room),
        "l"(map), "r"(byte), "r"(row), "r"(at), "l"(policy)
        : "memory");
}
DEVICE bool has_arrived(u64* arrival, u32 turn) {
    u32 at = (u32)__cvta_generic_to_shared(arrival), has;
    asm volatile("{ .reg .pred has;\n\tmbarrier.test_wait.parity.shared.b64 has, [%1], %2;\n\tselp.u32 %0, 1, 0, has; }" : "=r"(has) : "r"(at), "r"(turn) : "memory");
    return has;
}
DEVICE void wait_for_arrival(u64* arrival, u32 turn) {
    u32 at = (u32)__cvta_generic_to_shared(arrival);
    asm volatile(
        "{ .reg .pred is_there;\n\tAGAIN: mbarrier.try_wait.parity.shared.b64 is_there, [%0], %1;\n\t@is_there bra THERE;\n\tbra AGAIN;\n\tTHERE: }" ::"r"(at),
        "r"(turn)
        : "memory");
}
#endif
// The first place from `at` on that is a multiple of `bytes`, in shared memory.
DEVICE u8* aligned_from(u8* at, u32 bytes) { return at + (-(u32)__cvta_generic_to_shared(at) & (bytes - 1)); }

// 2^x to about two bits less than f32 has.
DEVICE float exp2_about(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE void sync_block() { __syncthreads(); }
DEVICE void sync_warp() { __syncwarp(); }
DEVICE float from_lane_xor(float v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
DEVICE u32 from_lane(u32 v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
DEVICE u32 lanes_where(bool v) { return __ballot_sync(0xffffffffu, v); }
DEVICE u32 select_bytes(u32 a, u32 b, u32 which) { return __byte_perm(a, b, which); }
DEVICE int ones_in(u32 v) { return __popc(v); }
DEVICE int last_one_in(u32 v) { return __ffs(v) - 1; } // the lowest, counted from 0; -1 for none
// Adds, and gives what was there before.
DEVICE u32 add_atomically(u32* at, u32 v) { return atomicAdd(at, v); }
// Adds, told to all that acquire it: with it they see what this thread has written, or has seen written by those it met.
DEVICE void add_released(u32* at, u32 v) { asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(at), "r"(v) : "memory"); }
// What is there now, whoever wrote it, and nothing else.
DEVICE u32 load_relaxed(const u32* from) {
    u32 v;
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(from) : "memory");
    return v;
}
// A number for the threads of the block that wait for it.
DEVICE void tell_block(u32* at, u32 v) {
    asm volatile("st.release.cta.shared.u32 [%0], %1;" ::"r"((u32)__cvta_generic_to_shared(at)), "r"(v) : "memory");
}
DEVICE u32 heard_in_block(const u32* from) {
    u32 v;
    asm volatile("ld.acquire.cta.shared.u32 %0, [%1];" : "=r"(v) : "r"((u32)__cvta_generic_to_shared(from)) : "memory");
    return v;
}
// What is there now, whoever wrote it; what its writer wrote before is seen after this.
DEVICE u32 load_acquired(const u32* from) {
    u32 v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(from) : "memory");
    return v;
}
// What this thread has written, or has seen written by those it met, is seen by all before what it writes next.
DEVICE void fence() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }
// Past the first cache: for what other blocks of the same kernel have written.
DEVICE float load_fresh(const float* from) { return __ldcg(from); }
#endif
