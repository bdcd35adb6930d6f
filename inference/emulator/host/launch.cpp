// What Rust calls.
#include "machine.h"

#include <cstdio>

__thread uint3 blockIdx;
__thread dim3 blockDim, gridDim;

namespace emulator {
static const Kernel* find(const char* name) {
    for (size_t t = 0; t < tables_count; t++)
        for (size_t i = 0; i < tables[t].count; i++)
            if (!strcmp(tables[t].kernels[i].name, name)) return &tables[t].kernels[i];
    return nullptr;
}

// Static, since a launch's message is read after it; a machine is a few hundred kilobytes, and its stacks.
static Machine& of_this_thread() {
    static thread_local std::unique_ptr<Machine> owned;
    if (!owned) owned.reset(new Machine());
    return *owned;
}

// The i-th of `count` places, x fastest.
static uint3 place(u64 i) { return {(u32)(i % gridDim.x), (u32)(i / gridDim.x % gridDim.y), (u32)(i / gridDim.x / gridDim.y)}; }

template <class... A>
static const char* refuse(Machine& m, const char* format, A... args) {
    snprintf(m.message, sizeof m.message, format, args...);
    return m.message;
}

// Null, or what went wrong: there until this thread launches again.
extern "C" const char* emulator_launch(const char* name, const u32* grid, u32 block, void* const* args, size_t args_count, bool reverse) {
    Machine& m = of_this_thread();
    const Kernel* kernel = find(name);
    if (!kernel) return refuse(m, "there is no kernel %s", name);
    if (args_count != kernel->arguments) return refuse(m, "%s takes %zu arguments, not %zu", name, kernel->arguments, args_count);
    if (block == 0 || block > kernel->threads_max) return refuse(m, "%s has blocks of 1 to %u threads, not %u", name, kernel->threads_max, block);
    if (!grid[0] || !grid[1] || !grid[2] || grid[0] > 0x7fffffff || grid[1] > 65535 || grid[2] > 65535)
        return refuse(m, "%s: no card has a grid of (%u, %u, %u) blocks", name, grid[0], grid[1], grid[2]);
#ifdef __AVX2__
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c"))
        return refuse(m, "the emulator was built on a newer processor: cargo clean -p emulator");
#endif
    machine = &m;
    gridDim = {grid[0], grid[1], grid[2]}, blockDim = {block, 1, 1};
    m.kernel = kernel, m.args = args, m.reverse = reverse, m.failed = false;
    u64 blocks = (u64)grid[0] * grid[1] * grid[2];
    for (u64 i = 0; i < blocks && !m.failed; i++) {
        blockIdx = place(reverse ? blocks - 1 - i : i);
        m.run_block();
    }
    return m.failed ? m.message : nullptr;
}

// The i-th kernel's name, null after the last.
extern "C" const char* emulator_kernel(size_t i) {
    for (size_t t = 0; t < tables_count; t++) {
        if (tables[t].trial) continue;
        if (i < tables[t].count) return tables[t].kernels[i].name;
        i -= tables[t].count;
    }
    return nullptr;
}
}
