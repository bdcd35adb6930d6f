#include "fiber.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>

namespace emulator {
#ifdef __x86_64__
// What a called function must preserve is kept on the stack, and the stacks are exchanged. It returns by `ret`, not by a jump: threads mostly
// wait at the same place, so that the processor's guess of where to return to is right.
extern "C" void emulator_change(void** from, void* to);
asm(R"(
    .text
    .p2align 4
    .type emulator_change, @function
emulator_change:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulator_change, . - emulator_change
)");

void prepare(Fiber& fiber, void*, void* top, void (*entry)()) {
    // Six registers, where to go, and a return address that is none.
    void** at = (void**)((uintptr_t)top & ~(uintptr_t)15) - 8;
    for (int i = 0; i < 8; i++) at[i] = nullptr;
    at[6] = (void*)entry;
    fiber.stack = at;
}

void change(Fiber& from, Fiber& to) { emulator_change(&from.stack, to.stack); }
#else
void prepare(Fiber& fiber, void* bottom, void* top, void (*entry)()) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = bottom;
    fiber.context.uc_stack.ss_size = (char*)top - (char*)bottom;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
}

void change(Fiber& from, Fiber& to) { swapcontext(&from.context, &to.context); }
#endif

// Tops differ in their lower bits, or all would compete for the same few lines of the cache.
char* Stacks::top(size_t i) const { return bottom(i) + BYTES - i % 61 * 256; }

void Stacks::want(size_t count) {
    if (!memory) {
        void* got = mmap(nullptr, COUNT_MAX * STRIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (got == MAP_FAILED) {
            perror("no memory for the emulated threads' stacks");
            abort();
        }
        memory = (char*)got;
    }
    for (; ready < count; ready++) mprotect(memory + ready * STRIDE, GUARD, PROT_NONE);
}

Stacks::~Stacks() {
    if (memory) munmap(memory, COUNT_MAX * STRIDE);
}
}
