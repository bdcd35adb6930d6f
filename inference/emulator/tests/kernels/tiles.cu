// Tiles and strips of a matrix, copied as an engine does it that no thread waits for.
#include "intrinsics.cuh"

struct Copied {
    const TileMap* map;
    u8* out;            // (16, 128) or (16, 16) bytes, by rows
    u32 byte, row;
    u32 is_strip, waits_for;
};

KERNEL BOUNDS(32, 1) trial_tile(Copied c) {
    SHARED_AT_LAUNCH(memory);
    SHARED u64 arrival;
    u8* room = aligned_from(memory, 1024);
    const u32 row_bytes = c.is_strip ? STRIP_BYTES : TILE_BYTES;
    if (threadIdx.x == 0) {
        begin_arrivals(&arrival);
        expect_bytes(&arrival, row_bytes * TILE_ROWS);
        copy_tile(room, c.map, c.byte, c.row, &arrival);
    }
    sync_warp();
    wait_for_arrival(&arrival, c.waits_for);
    for (u32 at = threadIdx.x; at < row_bytes * TILE_ROWS; at += 32) {
        u32 row = at / row_bytes, place = at % row_bytes / 16;
        u32 from = c.is_strip ? at : row * row_bytes + (place ^ (row % 8)) * 16 + at % 16;
        c.out[at] = room[from];
    }
}
