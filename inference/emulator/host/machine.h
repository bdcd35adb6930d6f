// A block's threads, and the warps they form.
#pragma once
#include <memory>
#include <vector>

#include "intrinsics.cuh"
#include "fiber.h"
#include "kernel.h"

namespace emulator {
constexpr u32 LANES = 32, THREADS_MAX = 1024;

struct Warp;

struct Copy {
    void* to;
    const void* from;
    bool wanted;
    u32 mark;   // how many marks were set before it
};

struct Thread : Seen {
    Fiber fiber;
    Warp* warp;
    u32 lane;
    Thread *next, *before;  // the living threads of the warp, in a ring
    // Where it waits.
    Kind kind;
    const char* file;
    int line;
    std::vector<Copy> copies;
    u32 marks;
};

// Invariant: threads of a warp run in the order of its ring, each up to where it meets the others; so who comes after a thread that waits
// has not yet arrived, and who goes on after all have arrived is the last to arrive, or who comes after it. Warps of a block likewise.
struct Warp {
    Thread* lanes[LANES];   // null where there is no thread, or no longer
    u32 living, arrived;
    Thread* resume;         // who goes on when it is the warp's turn
    Warp *next, *before;    // the living warps of the block, in a ring
    // What the lanes bring, and what they take away.
    u32 word[LANES];
    int from[LANES];
    float d[LANES][4];
    u32 ab[LANES][6];
    const void* row[LANES];
    u32 result[LANES][4];
};

struct Machine {
    Stacks stacks;
    Thread threads[THREADS_MAX];
    Warp warps[THREADS_MAX / LANES];
    Fiber launcher;
    const Kernel* kernel;
    void* const* args;
    bool reverse, failed;
    u32 living_warps, waiting_warps, ended_threads;
    char message[1024];

    void run_block();
};

// This thread's machine, while it launches.
extern __thread Machine* machine;
inline Thread& self() { return *static_cast<Thread*>(running); }

// What `kind` makes of what the lanes have brought; all living lanes of the warp have.
void settle(Warp& warp, Kind kind);
extern const char* const NAMES[];
}
