// Where threads meet, and where they fail to.
#include "intrinsics.cuh"

// y[i] = x[n - 1 - i] within a block, through shared memory.
KERNEL BOUNDS(256, 1) trial_turn(const u32* __restrict__ x, u32* __restrict__ y) {
    SHARED __align__(16) u32 held[256];
    u32 first = blockIdx.x * blockDim.x;
    held[threadIdx.x] = x[first + threadIdx.x];
    sync_block();
    y[first + threadIdx.x] = held[blockDim.x - 1 - threadIdx.x];
}

// Without the barrier: what a reversed launch, or this one, finds.
KERNEL trial_turn_without_waiting(const u32* x, u32* y) {
    SHARED u32 held[256];
    held[threadIdx.x] = 0;
    sync_block();
    held[threadIdx.x] = x[threadIdx.x];
    sync_warp();
    y[threadIdx.x] = held[blockDim.x - 1 - threadIdx.x];
}

template <int MASK>
DEVICE float sum_of(float v) {
    v += from_lane_xor(v, MASK);
    if constexpr (MASK > 1) return sum_of<MASK / 2>(v);
    return v;
}

// Of each warp its sum, the neighbour's number and where numbers are odd.
KERNEL BOUNDS(128, 4) trial_lanes(const u32* x, float* sums, u32* neighbours, u32* odd) {
    u32 v = x[threadIdx.x];
    sums[threadIdx.x] = sum_of<16>((float)v);
    neighbours[threadIdx.x] = from_lane(v, threadIdx.x + 1);
    odd[threadIdx.x] = lanes_where(v % 2 == 1);
}

// The block that comes last adds up what all have written.
KERNEL trial_last_block(const u32* x, u32* partial, u32* arrived, u32* total) {
    SHARED u32 last;
    SHARED u32 mine[2];
    if (threadIdx.x < 2) mine[threadIdx.x] = 0;
    sync_block();
    add_atomically(&mine[threadIdx.x % 2], x[blockIdx.x * blockDim.x + threadIdx.x]);
    sync_block();
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = mine[0] + mine[1];
        fence();
        last = add_atomically(arrived, 1) == gridDim.x - 1;
    }
    sync_block();
    if (!last) return;
    if (threadIdx.x == 0) {
        u32 sum = 0;
        for (u32 i = 0; i < gridDim.x; i++) sum += partial[i];
        *total = sum, *arrived = 0;
    }
}

// Some threads end where others wait.
KERNEL trial_some_end(u32 ending) {
    if (threadIdx.x / ending == 1) return;
    sync_block();
}

KERNEL trial_parted_ways(u32* y) {
    if (threadIdx.x % 2) sync_warp();
    else y[threadIdx.x] = lanes_where(true);
}

KERNEL trial_ended_lane(u32* y) {
    if (threadIdx.x == 3) return;
    sync_warp();
    y[threadIdx.x] = from_lane(threadIdx.x, threadIdx.x);
    y[threadIdx.x] = from_lane(threadIdx.x, 3);
}

KERNEL trial_unaligned(const u8* from, u32* y) { y[threadIdx.x] = load_streaming4(from + threadIdx.x); }

// The place of each block, in all three directions.
KERNEL trial_places(u32* y) {
    u32 place = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    if (threadIdx.x == 0) y[place] = blockIdx.x + 10 * blockIdx.y + 100 * blockIdx.z;
}

// Nothing but meetings, for how long one takes.
KERNEL BOUNDS(256, 1) trial_many_meetings(u32* y, u32 times) {
    u32 v = threadIdx.x;
    for (u32 i = 0; i < times; i++) v = from_lane(v, threadIdx.x + 1);
    y[threadIdx.x] = v;
}
