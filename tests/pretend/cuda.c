// A driver of CUDA's without a card: memory is the machine's, kernels do nothing, and what is asked for is written down. So what the engine asks
// a driver for can be tried where there is none. PRETEND_LOG names the file; PRETEND says what this card cannot do, or what fails.
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, TOO_LARGE_TOGETHER = 720, LAUNCH_FAILED = 719 };
enum { MULTIPROCESSORS = 16, CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76 };
enum { COOPERATIVE = 2, PROGRAMMATIC = 6 };

static int pretends(const char* what) {
    const char* told = getenv("PRETEND");
    return told && strstr(told, what);
}

static void note(const char* format, ...) {
    FILE* log = fopen(getenv("PRETEND_LOG"), "a");
    if (!log) return;
    va_list args;
    va_start(args, format);
    vfprintf(log, format, args);
    va_end(args);
    fputc('\n', log);
    fclose(log);
}

// What the driver is told of a launch (cuda.h, `CUlaunchConfig`), as far as it is looked at.
struct attribute { uint32_t id; char pad[4]; char value[64]; };
struct launch { uint32_t grid[3], block[3], shared_bytes; void* stream; struct attribute* attributes; uint32_t count; };

int cuInit(unsigned flags) { return OK; }
int cuDriverGetVersion(int* version) { *version = pretends("old driver") ? 11080 : 13000; return OK; }
int cuDeviceGet(int* device, int ordinal) { *device = ordinal; return ordinal ? INVALID_VALUE : OK; }
int cuDeviceGetCount(int* count) { *count = 1; return OK; }
int cuDeviceGetName(char* name, int size, int device) { snprintf(name, size, "pretended card"); return OK; }
int cuDeviceGetPCIBusId(char* name, int size, int device) { snprintf(name, size, "0000:00:00.0"); return OK; }
int cuDeviceGetAttribute(int* value, int attribute, int device) {
    *value = attribute == CAPABILITY_MAJOR ? (pretends("ampere") ? 8 : 9) : attribute == CAPABILITY_MINOR ? 0 : attribute == MULTIPROCESSORS ? 132 : 0;
    return OK;
}
int cuDevicePrimaryCtxRetain(void** context, int device) { *context = (void*)1; return OK; }
int cuDevicePrimaryCtxRelease(int device) { return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { return OK; }
int cuCtxSetCurrent(void* context) { return OK; }
int cuStreamCreate(void** stream, unsigned flags) { *stream = (void*)2; return OK; }
int cuStreamDestroy(void* stream) { return OK; }
int cuStreamDestroy_v2(void* stream) { return OK; }
int cuStreamSynchronize(void* stream) { return OK; }
int cuModuleLoadData(void** module, const void* image) { *module = (void*)3; return OK; }
int cuModuleUnload(void* module) { return OK; }
int cuModuleGetFunction(void** function, void* module, const char* name) { *function = strdup(name); return OK; }
int cuMemGetInfo_v2(size_t* available, size_t* all) { *available = *all = pretends("small") ? 64u << 20 : (size_t)80 << 30; return OK; }
int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
    *address = (uint64_t)aligned_alloc(256, (bytes + 255) / 256 * 256);
    return *address ? OK : OUT_OF_MEMORY;
}
int cuMemFree_v2(uint64_t address) { free((void*)address); return OK; }
int cuMemHostAlloc(void** address, size_t bytes, unsigned flags) { return cuMemAlloc_v2((uint64_t*)address, bytes); }
int cuMemFreeHost(void* address) { free(address); return OK; }
int cuMemsetD8Async(uint64_t to, unsigned char byte, size_t bytes, void* stream) { memset((void*)to, byte, bytes); return OK; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) { memcpy((void*)to, from, bytes); return OK; }
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) { memcpy(to, (void*)from, bytes); return OK; }
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream) { memmove((void*)to, (void*)from, bytes); return OK; }
int cuEventCreate(void** event, unsigned flags) { *event = (void*)4; return OK; }
int cuEventRecord(void* event, void* stream) { return OK; }
int cuEventSynchronize(void* event) { return OK; }
int cuEventDestroy_v2(void* event) { return OK; }
int cuStreamBeginCapture_v2(void* stream, int mode) { note("records"); return OK; }
int cuStreamEndCapture(void* stream, void** graph) { *graph = (void*)5; return OK; }
int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long flags) { *exec = (void*)6; return OK; }
int cuGraphLaunch(void* exec, void* stream) { note("replays"); return OK; }
int cuGraphDestroy(void* graph) { return OK; }
int cuGraphExecDestroy(void* exec) { return OK; }
int cuFuncSetAttribute(void* function, int attribute, int value) { return OK; }
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* function, int threads, size_t shared_bytes) {
    *blocks = pretends("no room") ? 0 : 2;
    return OK;
}
int cuTensorMapEncodeTiled(void* map, int type, unsigned rank, void* address, const uint64_t* sizes, const uint64_t* strides, const unsigned* box,
                           const unsigned* steps, int interleave, int swizzle, int promotion, int outside) {
    // What the engine that copies asks of a matrix (CUDA driver API, "Tensor Map Object Management").
    return (uint64_t)map % 64 || (uint64_t)address % 16 || strides[0] % 16 || strides[0] < sizes[0] || box[0] % 16 ? INVALID_VALUE : OK;
}
int cuLaunchKernelEx(const struct launch* launch, void* function, void** arguments, void** extra) {
    int together = launch->count && launch->attributes->id == COOPERATIVE;
    if (together && pretends("not together")) return TOO_LARGE_TOGETHER;
    if (pretends("fails")) return LAUNCH_FAILED;
    note("%s %u blocks of %u, %u bytes%s", (char*)function, launch->grid[0], launch->block[0], launch->shared_bytes,
         together ? ", together" : launch->count && launch->attributes->id == PROGRAMMATIC ? ", early" : "");
    return OK;
}
int cuGetErrorName(int code, const char** name) {
    *name = code == LAUNCH_FAILED ? "CUDA_ERROR_LAUNCH_FAILED" : code == TOO_LARGE_TOGETHER ? "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE" : "CUDA_ERROR";
    return OK;
}
int cuGetErrorString(int code, const char** text) { return cuGetErrorName(code, text); }
