// A kernel by its name, called as `cuLaunchKernel` does: with pointers to its arguments.
#pragma once
#include <utility>

namespace emulator {
struct Kernel {
    const char* name;
    size_t arguments;
    u32 threads_max;    // as its BOUNDS say
    void (*call)(void* const* args);
};

struct Table {
    const Kernel* kernels;
    size_t count;
    bool trial;         // of this crate's own tests
};
extern const Table tables[];
extern const size_t tables_count;

template <class... A>
constexpr size_t arguments_of(void (*)(A...)) { return sizeof...(A); }

template <class... A, size_t... I>
inline void unpack(void (*kernel)(A...), void* const* args, std::index_sequence<I...>) {
    kernel(*static_cast<const A*>(args[I])...);
}
template <class... A>
inline void call(void (*kernel)(A...), void* const* args) { unpack(kernel, args, std::index_sequence_for<A...>()); }
}
