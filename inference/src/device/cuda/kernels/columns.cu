// The product by columns for 8, 16, 32 and 64 tokens: a block for each 64 rows (x) and slice of the columns (y).
#include "columns.cuh"

template <int HELD, int TOKENS>
DEVICE void columns_of_block(const ColumnsArgs& a) {
    SHARED ColumnsRoom<TOKENS> room;
    let_next_begin();
    wait_for_previous();
    columns<HELD, TOKENS>(a, blockIdx.x, blockIdx.y, room);
}

#define COLUMNS(NAME, HELD)                                                              \
    KERNEL BOUNDS(256, 2) columns_##NAME##_8(ColumnsArgs a) { columns_of_block<HELD, 8>(a); }     \
    KERNEL BOUNDS(256, 2) columns_##NAME##_16(ColumnsArgs a) { columns_of_block<HELD, 16>(a); }    \
    KERNEL BOUNDS(256, 1) columns_##NAME##_32(ColumnsArgs a) { columns_of_block<HELD, 32>(a); }    \
    KERNEL BOUNDS(256, 1) columns_##NAME##_64(ColumnsArgs a) { columns_of_block<HELD, 64>(a); }

COLUMNS(half, HELD_HALF)
COLUMNS(bfloat, HELD_BFLOAT)
COLUMNS(int8, HELD_INT8)
