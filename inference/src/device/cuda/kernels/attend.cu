// The attention of single tokens: a block for each split (x), head (y) and row (z).
#include "attend.cuh"

template <int DIM>
DEVICE void attend_of_block(const AttendArgs& a) {
    SHARED AttendRoom<DIM> room;
    let_next_begin();
    const u32 row = blockIdx.z;
    const AttendRow of = {((const u32*)a.contexts)[row], ((const u32*)a.fresh)[row], (const u32*)a.blocks + (u64)row * a.blocks_stride};
    attend<DIM, false>(a, of, blockIdx.x, blockIdx.y, row, threadIdx.x, room, [] { wait_for_previous(); });
}

KERNEL BOUNDS(128, 3) attend_16(AttendArgs a) { attend_of_block<16>(a); }
KERNEL BOUNDS(128, 3) attend_64(AttendArgs a) { attend_of_block<64>(a); }
KERNEL BOUNDS(128, 3) attend_80(AttendArgs a) { attend_of_block<80>(a); }
KERNEL BOUNDS(128, 3) attend_128(AttendArgs a) { attend_of_block<128>(a); }
