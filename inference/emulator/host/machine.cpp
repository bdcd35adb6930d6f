#include "machine.h"

#include <cstdarg>
#include <cstdio>

namespace emulator {
__thread Seen* running;
__thread Machine* machine;
const char* const NAMES[] = {"sync_block", "sync_warp", "from_lane_xor", "from_lane", "lanes_where", "multiply_halves", "multiply_bfloats",
                             "load_matrices", "load_matrices_turned"};

static void go_on_with(Thread* thread) {
    Thread& me = self();
    running = thread;
    change(me.fiber, thread->fiber);
}

void fail(const char* format, ...) {
    va_list args;
    va_start(args, format);
    int begun = snprintf(machine->message, sizeof machine->message, "%s, block (%u, %u, %u), thread %u: ", machine->kernel->name, blockIdx.x,
                         blockIdx.y, blockIdx.z, running->index.x);
    vsnprintf(machine->message + begun, sizeof machine->message - begun, format, args);
    va_end(args);
    machine->failed = true;
    change(self().fiber, machine->launcher);
    __builtin_unreachable();
}

// All living lanes of the warp wait; `last` of them arrived last.
static void all_arrived(Warp& warp, Thread& last) {
    for (Thread* other = last.next; other != &last; other = other->next) {
        if (other->kind != last.kind || other->line != last.line || other->file != last.file)
            fail("the lanes of a warp wait at different places: thread %u in %s at %s:%d, thread %u in %s at %s:%d", other->index.x,
                 NAMES[other->kind], other->file, other->line, last.index.x, NAMES[last.kind], last.file, last.line);
    }
    warp.arrived = 0;
    if (last.kind != BLOCK) return settle(warp, last.kind);
    if (machine->ended_threads) fail("waits in sync_block at %s:%d, where others have ended", last.file, last.line);
    warp.resume = &last;
    if (++machine->waiting_warps < machine->living_warps) go_on_with(warp.next->resume);
    else machine->waiting_warps = 0;
}

void meet(Kind kind, const char* file, int line) {
    Thread& me = self();
    me.kind = kind, me.file = file, me.line = line;
    if (++me.warp->arrived < me.warp->living) go_on_with(me.next);
    else all_arrived(*me.warp, me);
}

static void end() {
    Thread& me = self();
    Warp& warp = *me.warp;
    finish_copies(0);
    machine->ended_threads++;
    if (machine->waiting_warps) fail("has ended, while others wait in sync_block at %s:%d", warp.before->resume->file, warp.before->resume->line);
    warp.lanes[me.lane] = nullptr;
    me.before->next = me.next, me.next->before = me.before;
    if (--warp.living) {
        if (warp.arrived == warp.living) all_arrived(warp, *me.before);
        go_on_with(me.next);
    }
    warp.before->next = warp.next, warp.next->before = warp.before;
    if (--machine->living_warps) go_on_with(warp.next->resume);
    change(me.fiber, machine->launcher);
    __builtin_unreachable();
}

static void begin() {
    machine->kernel->call(machine->args);
    end();
}

// The i-th of `count` comes after this one.
static u32 after(u32 i, u32 count, bool reverse) { return (reverse ? i + count - 1 : i + 1) % count; }

void Machine::run_block() {
    u32 count = blockDim.x, warp_count = (count + LANES - 1) / LANES;
    living_warps = warp_count, waiting_warps = ended_threads = 0;
    stacks.want(count);
    for (u32 w = 0; w < warp_count; w++) {
        Warp& warp = warps[w];
        Thread* first = threads + w * LANES;
        warp.living = count - w * LANES < LANES ? count - w * LANES : LANES;
        warp.arrived = 0;
        warp.resume = first + (reverse ? warp.living - 1 : 0);
        warp.next = warps + after(w, warp_count, reverse), warp.before = warps + after(w, warp_count, !reverse);
        for (u32 lane = 0; lane < LANES; lane++) {
            warp.lanes[lane] = nullptr;
            if (lane >= warp.living) continue;
            Thread& thread = first[lane];
            warp.lanes[lane] = &thread;
            thread.index = {w * LANES + lane, 0, 0};
            thread.warp = &warp, thread.lane = lane;
            thread.next = first + after(lane, warp.living, reverse), thread.before = first + after(lane, warp.living, !reverse);
            thread.copies.clear(), thread.marks = 0;
            prepare(thread.fiber, stacks.bottom(thread.index.x), stacks.top(thread.index.x), begin);
        }
    }
    running = warps[reverse ? warp_count - 1 : 0].resume;
    change(launcher, self().fiber);
}
}
