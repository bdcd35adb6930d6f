// Fibers: several stacks on one thread of the system, of which one runs.
#pragma once
#include <cstddef>
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulator {
#ifdef __x86_64__
struct Fiber {
    void* stack;    // where it stopped
};
#else
struct Fiber {
    ucontext_t context;
};
#endif

// So that `fiber` begins with `entry` (which never returns) on the stack that ends at `top`.
void prepare(Fiber& fiber, void* bottom, void* top, void (*entry)());

// Stops `from`, and goes on with `to`.
void change(Fiber& from, Fiber& to);

// Stacks of one thread of the system, each with a page below it that nobody may touch.
class Stacks {
public:
    ~Stacks();
    void want(size_t count);
    char* bottom(size_t i) const { return memory + i * STRIDE + GUARD; }
    char* top(size_t i) const;

private:
    static constexpr size_t COUNT_MAX = 1024, GUARD = 4096 * 16, BYTES = 192 * 1024, STRIDE = GUARD + BYTES;
    char* memory = nullptr;
    size_t ready = 0;
};
}
