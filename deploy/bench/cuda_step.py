"""How long the step of one answer takes on a card by itself: python cuda_step.py [--sizes 6.7b,1.3b] [--precisions half,int8,int4] [--cubin FILE]

The machine code of `step.cu` is begun with tables of OPT's true shapes, each layer with biases and norms of its own, and random weights,
without an engine: what is left out is drawing a token and telling the card of it. With `--cubin` another build is measured
beside the one that the engine carries, which is how a change to the kernel is tried. Beside it, what the card copies of its own memory
(bytes read and written), in the same run. Of 15 repetitions the median counts. Tables are as kernels/tables.cuh has them. Needs the driver
(libcuda) and numpy.
"""

import argparse
import ctypes
import functools
import random
import statistics
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BUILT = Path(__file__).parents[2] / "inference/src/device/cuda/kernels/built/step.sm_90a.cubin"
# layers, hidden size, heads (Zhang et al., arXiv 2205.01068, table 1)
SIZES = {
    "125m": (12, 768, 12), "1.3b": (24, 2048, 32), "2.7b": (32, 2560, 32), "6.7b": (32, 4096, 32), "13b": (40, 5120, 40),
    "30b": (48, 7168, 56),
}  # fmt: skip
VOCAB, CONTEXT, CONTEXT_BLOCKS, REPEAT = 50272, 33, 64, 15
BYTES = {"half": 2.0, "int8": 1.0, "int4": 0.5}
# At four bits, for every 32: the bits of two scales, which are halves, and four zero points.
SCALES, ZEROS = 0x14001400, 0x08080808
RANDOM_BYTES = 1 << 26
SLICES, THREADS, TILE_ROWS, TILE_BYTES, STRIP_BYTES, FEW_PERCENT = 8, 256, 16, 128, 16, 40
STAGE_PRODUCT, STAGE_NORMED, STAGE_HEAD, STAGE_COLUMNS, STAGE_ATTEND = range(5)
AFTER_STORE, AFTER_ADD, AFTER_RELU, AFTER_QKV = 0, 1, 3, 5
NORM, PRODUCT, COLUMNS, ATTEND, PAGED = "<5Q4IQfI", "<8Q", "<8Q6I", "<7Q", "<Q4I"
EMPTY = {"norm": bytes(72), "product": bytes(120), "columns": bytes(88), "attend": bytes(96)}
MULTIPROCESSORS, SHARED_BYTES_MAX, SWIZZLE_128B, PROMOTE_256B = 16, 8, 3, 3
GB = 1e9


class Driver:
    """CUDA's driver, whose calls fail loudly."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        self.cuInit(0)
        device, context, count = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_int()
        self.cuDeviceGet(ctypes.byref(device), 0)
        self.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
        self.cuCtxSetCurrent(context)
        self.cuDeviceGetAttribute(ctypes.byref(count), MULTIPROCESSORS, device)
        self.processors = count.value
        self.events = [ctypes.c_void_p() for _ in range(2)]
        for event in self.events:
            self.cuEventCreate(ctypes.byref(event), 0)

    def __getattr__(self, name):
        def call(*arguments):
            code = getattr(self.library, name)(*arguments)
            if code:
                text = ctypes.c_char_p()
                self.library.cuGetErrorName(code, ctypes.byref(text))
                raise SystemExit(f"{name}: {text.value}")

        return call

    def alloc(self, size, word=0):
        """Memory full of this word."""
        address = ctypes.c_uint64()
        self.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size))
        self.cuMemsetD32_v2(address, ctypes.c_uint(word), ctypes.c_size_t(size // 4))
        return address.value

    def free(self, address):
        self.cuMemFree_v2(ctypes.c_uint64(address))

    def upload(self, data, size=0):
        address = self.alloc(max(len(data), size, 256))
        self.cuMemcpyHtoD_v2(ctypes.c_uint64(address), data, ctypes.c_size_t(len(data)))
        return address

    def fill(self, address, size, pattern):
        """Copies of what lies at another address, one behind the other."""
        for at in range(0, size, RANDOM_BYTES):
            count = ctypes.c_size_t(min(RANDOM_BYTES, size - at))
            self.cuMemcpyDtoD_v2(ctypes.c_uint64(address + at), ctypes.c_uint64(pattern), count)

    def seconds(self, work):
        """The median of what it takes, by the card's own clock."""
        work(), work(), self.cuCtxSynchronize()
        taken = []
        for _ in range(REPEAT):
            self.cuEventRecord(self.events[0], None), work(), self.cuEventRecord(self.events[1], None)
            self.cuEventSynchronize(self.events[1])
            milliseconds = ctypes.c_float()
            self.cuEventElapsedTime(ctypes.byref(milliseconds), *self.events)
            taken.append(milliseconds.value / 1e3)
        return statistics.median(taken)

    def copy_bandwidth(self):
        size = 2 << 30
        source, target = self.alloc(size), self.alloc(size)
        addresses = ctypes.c_uint64(target), ctypes.c_uint64(source)
        taken = self.seconds(lambda: self.cuMemcpyDtoDAsync_v2(*addresses, ctypes.c_size_t(size), None))
        self.free(source), self.free(target)
        return 2 * size / taken

    def function(self, cubin, name):
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self.cuModuleLoadData(ctypes.byref(module), cubin.read_bytes())
        self.cuModuleGetFunction(ctypes.byref(function), module, name.encode())
        return function

    def tile_map(self, address, row_bytes, rows, tile_bytes=TILE_BYTES):
        raw = ctypes.create_string_buffer(192)
        at = -(-ctypes.addressof(raw) // 64) * 64
        sizes, strides = (ctypes.c_uint64 * 2)(row_bytes, rows), (ctypes.c_uint64 * 1)(row_bytes)
        box, each = (ctypes.c_uint * 2)(tile_bytes, TILE_ROWS), (ctypes.c_uint * 2)(1, 1)
        swizzle = SWIZZLE_128B if tile_bytes == TILE_BYTES else 0
        where = ctypes.c_void_p(address)
        self.cuTensorMapEncodeTiled(ctypes.c_void_p(at), 0, 2, where, sizes, strides, box, each, 0, swizzle, PROMOTE_256B, 0)
        return ctypes.string_at(at, 128)


@functools.cache
def random_weights(precision):
    """Bytes of a trained model's spread."""
    draw = np.random.default_rng(1)
    if precision == "half":
        return draw.normal(0, 0.02, RANDOM_BYTES // 2).astype(np.float16).tobytes()
    if precision == "int8":
        return draw.normal(0, 30, RANDOM_BYTES).clip(-127, 127).astype(np.int8).tobytes()
    return draw.integers(0, 256, RANDOM_BYTES, np.uint8).tobytes()


@dataclass
class Flow:
    """A matrix in the order in which it is read."""

    weights: int
    rows: int
    cols: int
    each: float
    guess: int = 0


class Model:
    """A model's memory and tables on the card. `zeros`: the share of fc2's inputs that is zero."""

    def __init__(self, driver, size, precision, zeros):
        self.driver, self.precision = driver, precision
        self.layers, self.hidden, self.heads = SIZES[size]
        self.each, self.each_of_head = BYTES[precision], max(BYTES[precision], 1.0)
        hidden, ffn = self.hidden, 4 * self.hidden
        shapes = [(3 * hidden, hidden), (hidden, hidden), (ffn, hidden), (hidden, ffn)]
        held = self.layers * sum(self.held(shape) for shape in shapes) + VOCAB * hidden * int(self.each_of_head)
        self.step_bytes, self.memory = held, []
        self.next = self.keep(driver.alloc((held + (4 * self.layers + 1) * 1024) // 4 * 4))
        self.random = {kind: self.keep(driver.upload(random_weights(kind))) for kind in {precision, "int8" if precision == "int4" else precision}}
        single = lambda value: struct.unpack("<I", struct.pack("<f", value))[0]  # noqa: E731
        room = lambda size, word=0: self.keep(driver.alloc(size + 256, word))  # noqa: E731
        random.seed(1)
        biases = struct.pack(f"<{ffn}f", *(-100.0 if random.random() < zeros else 100.0 for _ in range(ffn)))
        # Of each matrix and norm its own, as a model has them: what is read again and again would stay in the second cache.
        self.singles = lambda count, value: room(4 * count, single(value))
        self.bias1 = lambda: self.keep(driver.upload(biases))
        x = np.random.default_rng(2).normal(0, 1, hidden).astype(np.float32).tobytes()
        self.x = self.keep(driver.upload(x))
        self.q, self.attended, self.inner = room(4 * hidden), room(2 * hidden), room(2 * ffn)
        self.counts, self.logits, self.guesses = room(4), room(4 * VOCAB), room(4 * self.layers)
        words = lambda *numbers: self.keep(driver.upload(struct.pack(f"<{len(numbers)}I", *numbers), 256))  # noqa: E731
        self.slots, self.contexts, self.fresh = words(CONTEXT - 1), words(CONTEXT), words(CONTEXT - 1)
        self.blocks = words(*range(CONTEXT_BLOCKS))
        self.kv = room(4 * self.layers * hidden * 32 * (CONTEXT_BLOCKS + 2))
        self.partial, self.arrived = room(4 * SLICES * hidden), room(4 * hidden)
        self.seen, self.seen_arrived = room(4 * self.heads * 16 * (hidden // self.heads + 2)), room(4 * self.heads)
        self.meeting = room(8)
        self.stages, self.flows = [], []
        self.plan()

    def keep(self, address):
        self.memory.append(address)
        return address

    def close(self):
        for address in self.memory:
            self.driver.free(address)

    def held(self, shape):
        numbers = shape[0] * shape[1]
        return int(numbers * self.each) + (numbers // 32 * 3 if self.precision == "int4" else 0)

    def matrix(self, rows, cols, each, guess=0):
        flow = Flow(self.next, rows, cols, each, guess)
        numbers, driver = rows * cols, self.driver
        driver.fill(flow.weights, int(numbers * each), self.random["int8" if each == 1 else self.precision])
        if each < 1:
            scales, zeros = flow.weights + numbers // 2, flow.weights + numbers // 2 + numbers // 16
            driver.cuMemsetD32_v2(ctypes.c_uint64(scales), ctypes.c_uint(SCALES), ctypes.c_size_t(numbers // 64))
            driver.cuMemsetD32_v2(ctypes.c_uint64(zeros), ctypes.c_uint(ZEROS), ctypes.c_size_t(numbers // 128))
        self.next += (self.held((rows, cols)) if each == self.each else int(rows * cols * each)) // 256 * 256 + 512
        self.flows.append(flow)
        return flow

    def paged(self, layer):
        return struct.pack(PAGED, self.kv, self.layers, layer, self.heads, self.hidden // self.heads)

    def stage(self, stage, flow, clear=0, guess=0, beside=(), **parts):
        self.stages.append((stage, flow, clear, guess, beside, {**EMPTY, **parts}))

    def product(self, stage, shape, x, y, after, layer=0, each=None, **more):
        flow = self.matrix(*shape, each or self.each)
        beside = []
        norm = EMPTY["norm"]
        if stage != STAGE_PRODUCT:
            gain, bias = self.singles(self.hidden, 1.0), self.singles(self.hidden, 0.0)
            norm = struct.pack(NORM, self.x, 0, gain, bias, 0, self.hidden, 0, 1, 0, 0, 1e-5, 0)
            beside += [(gain, 4 * self.hidden), (bias, 4 * self.hidden)]
        bias, scales = self.of_sums(shape[0], flow.each, beside, after)
        args = struct.pack(PRODUCT, flow.weights, scales, 0, bias, x, y, self.counts, self.slots) + self.paged(layer)
        args += struct.pack("<6IfI", *shape, 1, 0, 0, after, 0.1, int(shape[1] * flow.each))
        self.stage(stage, len(self.flows) - 1, beside=beside, norm=norm, product=args, **more)

    def of_sums(self, rows, each, beside, after):
        """Bias and scales, which are noted."""
        bias = 0 if after == AFTER_STORE else self.bias1() if after == AFTER_RELU else self.singles(rows, 0.0)
        scales = self.singles(rows, 0.0006) if each == 1.0 else 0
        beside += [(address, 4 * rows) for address in (bias, scales) if address]
        return bias, scales

    def plan(self):
        hidden, ffn, behind = self.hidden, 4 * self.hidden, {}
        for layer in range(self.layers):
            self.product(STAGE_NORMED, (3 * hidden, hidden), 0, self.q, AFTER_QKV, layer)
            attend = struct.pack(ATTEND, self.q, self.attended, self.contexts, self.fresh, self.blocks, self.seen, self.seen_arrived)
            attend += self.paged(layer) + struct.pack("<4I", CONTEXT_BLOCKS, hidden, 16, 0)
            self.stage(STAGE_ATTEND, len(self.flows), attend=attend, **behind)
            self.product(STAGE_PRODUCT, (hidden, hidden), self.attended, self.x, AFTER_ADD, layer, clear=self.counts)
            self.product(STAGE_NORMED, (ffn, hidden), 0, self.inner, AFTER_RELU, layer)
            if self.precision == "int4":
                self.product(STAGE_PRODUCT, (hidden, ffn), self.inner, self.x, AFTER_ADD, layer)
                continue
            guess = self.guesses + 4 * layer
            flow = self.matrix(hidden, ffn, self.each, guess)
            beside = []
            bias, scales = self.of_sums(hidden, self.each, beside, AFTER_ADD)
            addresses = flow.weights, scales, bias, self.inner, self.x, self.counts, self.partial, self.arrived
            columns = struct.pack(COLUMNS, *addresses, hidden, ffn, 1, ffn, hidden, FEW_PERCENT)
            behind = {"columns": columns, "guess": guess}
            self.stage(STAGE_COLUMNS, len(self.flows) - 1, beside=beside, **behind)
        self.product(STAGE_HEAD, (VOCAB, hidden), 0, self.logits, AFTER_STORE, each=self.each_of_head, **behind)

    def tables(self, blocks):
        """(stages, flows), of so many blocks."""
        firsts, flows, begun = [], b"", 0
        for flow in self.flows:
            strips, has_strips, across = bytes(256), 0, 0
            line = int((flow.rows if flow.guess else flow.cols) * flow.each)
            tiles = self.driver.tile_map(flow.weights, line, flow.cols if flow.guess else flow.rows)
            if flow.guess:
                across = -(-line // TILE_BYTES)
                units, inner = across * SLICES, -(-flow.cols // (SLICES * 512)) * 512 // TILE_ROWS
            else:
                units, inner = -(-flow.rows // TILE_ROWS), -(-line // TILE_BYTES)
            if flow.each < 1:
                has_strips, scales = 1, flow.weights + int(flow.rows * flow.cols * flow.each)
                zeros = scales + flow.rows * flow.cols // 16
                strips = self.driver.tile_map(scales, flow.cols // 16, flow.rows, STRIP_BYTES)
                strips += self.driver.tile_map(zeros, flow.cols // 32, flow.rows, STRIP_BYTES)
            first = begun % blocks
            firsts.append(first)
            flows += tiles + strips + struct.pack("<Q5I", flow.guess, units, inner, first, across, has_strips) + bytes(36)
            begun += units
        stages = b""
        for number, (stage, flow, clear, guess, _, parts) in enumerate(self.stages):
            first = 0 if stage == STAGE_ATTEND else firsts[flow]
            # What the stage after the next reads beside weights.
            ahead = [list(beside) for *_, beside, _ in self.stages[number + 2 : number + 3]] or [[]]
            ahead = (ahead[0] + [(0, 0)] * 4)[:4]
            stages += struct.pack("<4I2Q", stage, flow, first, 0, clear, guess)
            stages += struct.pack("<4Q4I", *(address for address, _ in ahead), *(size for _, size in ahead))
            stages += b"".join(parts.values()) + bytes(8)
        return self.keep(self.driver.upload(stages)), self.keep(self.driver.upload(flows))

    def seconds(self, cubin):
        function, hidden = self.driver.function(cubin, f"step_{self.precision}"), self.hidden
        queue = 4 * 20480 if self.precision == "int4" else 5 * 16384
        shared = 1024 + queue + 2 * max(hidden, -(-4 * hidden // (SLICES * 512)) * 512)
        abreast = ctypes.c_int()
        self.driver.cuFuncSetAttribute(function, SHARED_BYTES_MAX, shared)
        fits = ctypes.byref(abreast), function, THREADS, ctypes.c_size_t(shared)
        self.driver.cuOccupancyMaxActiveBlocksPerMultiprocessor(*fits)
        blocks = abreast.value * self.driver.processors
        stages, flows = self.tables(blocks)
        addresses = stages, flows, self.meeting, self.contexts, self.fresh, self.blocks, self.slots
        args = struct.pack("<7Q6I", *addresses, 0, len(self.stages), len(self.flows), CONTEXT_BLOCKS, max(hidden, 512), 0)
        buffer = ctypes.create_string_buffer(args, len(args))
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(buffer))
        launch = function, blocks, 1, 1, THREADS, 1, 1, shared, None, arguments
        return self.driver.seconds(lambda: self.driver.cuLaunchCooperativeKernel(*launch))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="6.7b,1.3b,13b")
    parser.add_argument("--precisions", default="half,int8,int4")
    parser.add_argument("--cubin", action="append", type=Path, default=[])
    options = parser.parse_args()
    driver = Driver()
    copy = driver.copy_bandwidth()
    print(f"The card copies {copy / GB:.0f} GB/s.\n")
    print("| size | precision | zeros | machine code | a step | of the copy |\n|---|---|---|---|---|---|")
    for size in options.sizes.split(","):
        for precision in options.precisions.split(","):
            for zeros in (0.5, 0.9) if precision != "int4" else (0.5,):
                model = Model(driver, size, precision, zeros)
                for cubin in [BUILT, *options.cubin]:
                    taken = model.seconds(cubin)
                    share = 100 * model.step_bytes / taken / copy
                    print(f"| {size} | {precision} | {100 * zeros:.0f} % | {cubin.name} | {taken * 1e6:.0f} µs | {share:.1f} % |", flush=True)
                model.close()


if __name__ == "__main__":
    main()
