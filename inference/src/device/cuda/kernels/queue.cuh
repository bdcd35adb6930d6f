// The queue of tiles of a step's warp: weights on their way into shared memory, whatever the stage that will multiply them.
#pragma once
#include "numbers.cuh"
#include "tables.cuh"

constexpr int THREADS = WARPS * WARP;

#ifdef HAS_TILES
constexpr u32 depth(bool groups) { return groups ? 4 : 5; }     // tiles that a warp has room for
constexpr u32 ON_THE_WAY = 2;                                   // of these, those that are on their way at once

// A warp's tiles: of each unit of work every eighth, of one matrix after the other. GROUPS: at four bits, with strips of what their groups
// of columns share.
//
// While tiles are taken, few are on their way: whatever a multiprocessor reads or writes beside them stands behind those, and blocks that
// meet wait for it. While a warp waits for something else it looks what has come, and fills its room.
template <bool GROUPS>
struct Queue {
    static constexpr u32 DEPTH = depth(GROUPS);
    static constexpr int TILE = TILE_BYTES * TILE_ROWS, STRIP = STRIP_BYTES * TILE_ROWS;
    static constexpr int SCALES = WARPS * TILE, ZEROS = SCALES + WARPS * STRIP;    // behind the tiles of all warps
    static constexpr int SLOT = GROUPS ? (ZEROS + WARPS * STRIP) : SCALES;
    static_assert(SLOT % 1024 == 0, "tiles lie at multiples of 1,024");

    const StepFlow* flows;
    u32 count, flow, unit, i;
    u32 units, inner, across;
    u32 slot, turn;         // of the tile to be taken next
    u32 ahead, here;        // tiles asked for from there on, and how many of them are known to have come
    u8* memory;             // of this warp, in slot 0
    u64* arrivals;          // likewise

    DEVICE void begin(u8* room, u64* of_warp, const StepArgs& a, u32 first) {
        flows = (const StepFlow*)a.flows, count = a.flows_count, flow = first, slot = turn = ahead = here = 0;
        memory = room + threadIdx.x / WARP * TILE, arrivals = of_warp;
        if (threadIdx.x % WARP == 0)
            for (u32 k = 0; k < DEPTH; k++) begin_arrivals(arrivals + k);
        sync_warp();
        if (flow < count) enter();
        find();
#pragma unroll 1
        for (u32 k = 0; k < ON_THE_WAY; k++) push();
    }

    DEVICE void enter() {
        const StepFlow& of = flows[flow];
        units = of.guess && *(const u32*)of.guess ? 0 : of.units;
        inner = of.inner, across = of.across, i = threadIdx.x / WARP;
        unit = (blockIdx.x + gridDim.x - of.first) % gridDim.x;
    }

    // From where it stands to the next tile there is.
    DEVICE void find() {
        while (flow < count && (unit >= units || i >= inner)) {
            if (unit < units && threadIdx.x / WARP < inner) unit += gridDim.x, i = threadIdx.x / WARP;
            else if (++flow < count) enter();
        }
    }

    // Where the next tile begins in its matrix: in which place of a row of tiles, and in which row.
    DEVICE u32 column() const { return across ? unit % across : i; }
    DEVICE u32 row() const { return (across ? unit / across * inner + i : unit) * TILE_ROWS; }

    // Asks for the next tile; there must be room.
    DEVICE void push() {
        if (flow == count) return;
        if (threadIdx.x % WARP == 0) {
            const StepFlow& of = flows[flow];
            const bool has_strips = GROUPS && of.has_scales;
            const u32 into = after(ahead);
            u8* to = memory + into * SLOT;
            expect_bytes(arrivals + into, has_strips ? TILE + 2 * STRIP : TILE);
            copy_tile(to, &of.map, column() * TILE_BYTES, row(), arrivals + into);
            if (has_strips) {
                // A scale is two bytes, a zero point one; each strip has those of two tiles.
                u8* strip = to - threadIdx.x / WARP * (TILE - STRIP);
                copy_tile(strip + SCALES, &of.scales, column() * STRIP_BYTES, row(), arrivals + into);
                copy_tile(strip + ZEROS, &of.zeros, column() / 2 * STRIP_BYTES, row(), arrivals + into);
            }
        }
        ahead++;
        i += WARPS;
        find();
    }

    // The slot so many behind the one to be taken next.
    DEVICE u32 after(u32 more) const { return slot + more - (slot + more < DEPTH ? 0 : DEPTH); }

    // The tile taken has been read by the whole warp, and another may be copied over it.
    DEVICE void give_back() {
        sync_warp();
        if (++slot == DEPTH) slot = 0, turn ^= 1;
        ahead--;
        if (here) here--;
        if (ahead < here + ON_THE_WAY) push();
    }

    // Looks what has come, and asks for another tile if there is room: of one lane, while the warp waits for something else.
    DEVICE void look() {
        if (here < ahead && has_arrived(arrivals + after(here), turn ^ (slot + here >= DEPTH))) here++;
        if (ahead < DEPTH && ahead < here + ON_THE_WAY) push();
    }

    // Waits for the next tile, which lies where the next copy goes.
    DEVICE const u8* take() {
        wait_for_arrival(arrivals + slot, turn);
        return memory + slot * SLOT;
    }
};
#endif
