"""Compiles the engine's CUDA kernels with NVRTC, which wants no GPU and no toolkit, into the files that the engine carries.

    kernels.py build             compiles what has changed and writes built/, unless a kernel is refused
    kernels.py check             compiles all and compares with built/, byte by byte; --results FILE writes it down for count.py
    kernels.py quick             compares hashes only, without a compiler
    kernels.py table             what the built kernels cost
    kernels.py one NAME ARCH     writes the cubin of NAME.cu to the standard output, even if it is refused

For each NAME.cu: NAME.sm_80.cubin (also for 8.6), NAME.sm_89.cubin, NAME.sm_90a.cubin, and NAME.ptx, which the driver compiles for newer
cards. The compiler is given sources and no folder, so the same sources give the same bytes anywhere. A kernel is refused if it spills
registers or uses local memory, whatever the compiler warns of included.
"""

import argparse
import ctypes
import functools
import hashlib
import re
import sys
import xml.etree.ElementTree as xml
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path

import cubin

PACKAGE = "nvidia-cuda-nvrtc-cu12"
CUBINS = ["sm_80", "sm_89", "sm_90a"]
PTX = "compute_80"
ARCHS = [*CUBINS, PTX]
# The sources are a host's too (intrinsics.cuh), and say `constexpr int f()` as one does there.
OPTIONS = ["--std=c++17", "--device-as-default-execution-space", "--no-source-include"]
# For the log alone; it is compared with what the cubin says.
REPORT = ["--ptxas-options=-v"]
BUILT, RECORD = "built", "SOURCES"
# What ptxas tells of a kernel that is as it should be. Other lines are warnings, "Potential Performance Loss" among them.
QUIET = re.compile(
    r"ptxas (info +: (\d+ bytes gmem.*|Compiling entry function .*|Function properties for .*|Used \d+ registers.*|Compile time.*)"
    r"|        \. +\d+ bytes stack frame.*)"
)
SPILLS = re.compile(r"Function properties for (\S+)\n.* (\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
# More live numbers than a thread of so large a block has registers.
SPILLING = """
extern "C" __global__ void __launch_bounds__(1024) spilling(const float* x, float* y) {
    float v[96];
    #pragma unroll
    for (int i = 0; i < 96; i++) v[i] = x[i * 1024 + threadIdx.x];
    #pragma unroll
    for (int i = 0; i < 96; i++) y[i * 1024 + threadIdx.x] = v[i] * v[(i * 7 + 3) % 96] + v[95 - i];
}
"""


class Refused(Exception):
    """The compiler's own words."""


class Nvrtc:
    """The compiler's library, from its wheel."""

    def __init__(self):
        try:
            files = {path.name: path.locate() for path in metadata.files(PACKAGE)}
        except metadata.PackageNotFoundError:
            sys.exit(f"{PACKAGE} is not installed here: use `make kernels`")
        # By hand, since the library does not know where its wheel lies; the two are of one version.
        builtins = next(path for name, path in files.items() if re.fullmatch(r"libnvrtc-builtins\.so\.[\d.]+", name))
        library = next(path for name, path in files.items() if re.fullmatch(r"libnvrtc\.so\.\d+", name))
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(library))
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def call(self, name, *arguments):
        code = getattr(self.library, "nvrtc" + name)(*arguments)
        if code:
            raise Refused(f"{name}: {self.library.nvrtcGetErrorString(code).decode()}")

    def text(self, program, what):
        size = ctypes.c_size_t()
        self.call(f"Get{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.call(f"Get{what}", program, buffer)
        return buffer.raw

    def compile(self, name, source, headers, arch):
        """(what was compiled, what the compiler said)"""
        options = [f"--gpu-architecture={arch}", *OPTIONS, *([] if arch == PTX else REPORT)]
        program = ctypes.c_void_p()
        texts, names = strings(headers.values()), strings(map(str.encode, headers))
        self.call("CreateProgram", ctypes.byref(program), source, name.encode(), len(headers), texts, names)
        try:
            self.call("CompileProgram", program, len(options), strings(option.encode() for option in options))
        except Refused as error:
            raise Refused(f"{error}\n{self.log(program)}") from None
        else:
            compiled = self.text(program, "PTX" if arch == PTX else "CUBIN")
            return (compiled.rstrip(b"\0") if arch == PTX else compiled), self.log(program)
        finally:
            self.call("DestroyProgram", ctypes.byref(program))

    def log(self, program):
        return self.text(program, "ProgramLog").rstrip(b"\0").decode().strip()


def strings(texts):
    texts = list(texts)
    return (ctypes.c_char_p * len(texts))(*texts)


@functools.cache
def nvrtc():
    """The library, loaded once by each process that compiles."""
    return Nvrtc()


def compile_one(job):
    """(bytes or None, faults) of one source for one architecture; runs in a process of its own."""
    name, source, headers, arch = job
    try:
        compiled, log = nvrtc().compile(name, source, headers, arch)
        return compiled, faults(compiled, log, arch)
    except Refused as error:
        return None, [str(error)]


def faults(compiled, log, arch):
    """What is wrong with what has compiled: each kernel that uses local memory, by the compiler's word and by the cubin's; each warning."""
    warnings = [line for line in log.splitlines() if line.strip() and not QUIET.fullmatch(line.rstrip())]
    found = ["\n".join(warnings)] if warnings else []
    if arch == PTX:
        return found
    try:
        costs = cubin.kernels(compiled, arch)
    except cubin.Unreadable as error:
        return [*found, f"the cubin cannot be read: {error}"]
    spills = {name: tuple(map(int, bytes)) for name, *bytes in SPILLS.findall(log)}
    for name, (stack, stores, loads) in spills.items():
        if stack or stores or loads:
            found.append(f"{name} uses local memory: {stack} bytes of stack; spills: {stores} bytes stored, {loads} bytes loaded")
    for kernel in costs:
        if kernel.name not in spills:
            found.append(f"the compiler has not told of {kernel.name} whether it spills")
        elif kernel.stack_bytes and not any(spills[kernel.name]):
            found.append(f"{kernel.name} uses local memory: {kernel.stack_bytes} bytes of stack, by its cubin")
    return found


def sources(folder):
    """({NAME.cu: bytes}, {header's name: bytes})"""
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in (".cu", ".cuh")}
    headers = {name: text for name, text in files.items() if name.endswith(".cuh")}
    return {name: text for name, text in files.items() if name not in headers}, headers


def built_name(source, arch):
    return source.removesuffix(".cu") + (".ptx" if arch == PTX else f".{arch}.cubin")


def compile_all(units, headers, kept):
    """({file of built/: bytes}, {what was compiled: faults}) of all sources; what is `kept` is not compiled again."""
    jobs = [(name, source, headers, arch) for name, source in units.items() for arch in ARCHS if built_name(name, arch) not in kept]
    with ProcessPoolExecutor() as processes:
        results = list(processes.map(compile_one, jobs))
    files, wrong = dict(kept), {}
    for (name, _, _, arch), (compiled, found) in zip(jobs, results):
        wrong[f"{name} for {arch}"] = found
        if compiled is not None:
            files[built_name(name, arch)] = compiled
    return files | {RECORD: record(units, headers, files, version())}, wrong


def unchanged(units, headers, built):
    """Those files of built/ that this compiler has made, of these headers and of a source as it is now."""
    old = set(built.get(RECORD, b"").splitlines())
    first, *hashes = record(units, headers, built, version()).splitlines()
    as_before = {line.split()[1].decode() for line in hashes if line in old}
    if first not in old or not as_before.issuperset(headers):
        return {}
    made = {built_name(name, arch) for name in units if name in as_before for arch in ARCHS}
    return {name: content for name, content in built.items() if name in made and f"{BUILT}/{name}" in as_before}


def version():
    return f"{PACKAGE} {metadata.version(PACKAGE)} {' '.join(OPTIONS)}"


def record(units, headers, files, compiler):
    """The text of built/SOURCES: the compiler, and the hashes in the form that sha256sum reads."""
    hashed = units | headers | {f"{BUILT}/{name}": content for name, content in files.items() if name != RECORD}
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in sorted(hashed.items())]
    return "\n".join([f"# Written by `make kernels` with {compiler}", *lines, ""]).encode()


def read_built(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / BUILT).glob("*"))}


def differences(expected, built):
    """{file of built/: what is wrong with it}"""
    wrong = {name: "is missing" for name in expected if name not in built}
    wrong |= {name: "has no source" for name in built if name not in expected}
    return wrong | {name: "is not its source's" for name in built if name in expected and built[name] != expected[name]}


def write_built(folder, files):
    (folder / BUILT).mkdir(exist_ok=True)
    for name in differences(files, read_built(folder)):
        path = folder / BUILT / name
        path.write_bytes(files[name]) if name in files else path.unlink()


def print_table(files):
    """Of each kernel what it costs, by the cubins alone; whether none uses local memory."""
    rows = [("kernel", "for", "registers", "shared B", "stack B", "constant B", "code B")]
    for name in sorted(files):
        if name.endswith(".cubin"):
            unit, arch, _ = name.split(".")
            try:
                for k in cubin.kernels(files[name], arch):
                    costs = (k.registers, k.shared_bytes, k.stack_bytes, k.constant_bytes, k.code_bytes)
                    rows.append((f"{unit}: {k.name}", arch, *map(str, costs)))
            except cubin.Unreadable as error:
                rows.append((f"{unit}: {error}", arch, *["?"] * 5))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))))
    sys.stdout.flush()
    return all(row[4] == "0" for row in rows[1:])


def report(wrong):
    """Whether nothing is wrong; says what is."""
    for what, found in wrong.items():
        for fault in found:
            print(f"!! {what}: {fault}", file=sys.stderr)
    return not any(wrong.values())


def build(folder):
    units, headers = sources(folder)
    files, wrong = compile_all(units, headers, unchanged(units, headers, read_built(folder)))
    print_table(files)
    if not report(wrong):
        sys.exit("Nothing was written.")
    write_built(folder, files)


def check(folder, results):
    files, wrong = compile_all(*sources(folder), kept={})
    print_table(files)
    for name, what in differences(files, read_built(folder)).items():
        wrong[f"{BUILT}/{name}"] = [f"{what}: run `make kernels` and commit {BUILT}/"]
    # The judge is judged too: formats change with compilers.
    for arch in CUBINS:
        _, found = compile_one(("spilling.cu", SPILLING.encode(), {}, arch))
        seen = any(re.search(r"spilling uses local memory: [1-9]\d* bytes of stack; spills: [1-9]", fault) for fault in found)
        wrong[f"a kernel that spills for {arch}"] = [] if seen else [f"was not found out: {found}"]
    if results:
        suite = xml.Element("testsuite", name="kernels")
        for what, found in wrong.items():
            case = xml.SubElement(suite, "testcase", classname="kernels", name=what)
            if found:
                xml.SubElement(case, "failure").text = "\n".join(found)
        xml.ElementTree(suite).write(results)
    if not report(wrong):
        sys.exit(1)


def quick(folder):
    units, headers = sources(folder)
    files = read_built(folder)
    old = files.get(RECORD, b"")
    compiler = old.decode().partition("\n")[0].partition(" with ")[2]
    names = {RECORD} | {built_name(name, arch) for name in units for arch in ARCHS}
    if names != set(files) or record(units, headers, files, compiler) != old:
        sys.exit(f"What is in {BUILT}/ is not of these sources: run `make kernels` and commit it")
    if not print_table(files):
        sys.exit("A kernel uses local memory.")


def one(folder, name, arch):
    """Writes one cubin to the standard output, refused or not: for those who look why."""
    units, headers = sources(folder)
    if f"{name}.cu" not in units:
        sys.exit(f"There is no {name}.cu in {folder}, only {', '.join(units)}")
    compiled, found = compile_one((f"{name}.cu", units[f"{name}.cu"], headers, arch))
    report({f"{name}.cu for {arch}": found})
    if compiled is None:
        sys.exit(1)
    sys.stdout.buffer.write(compiled)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["build", "check", "quick", "table", "one"])
    parser.add_argument("name", nargs="?", help="of a source, without .cu")
    parser.add_argument("arch", nargs="?", choices=CUBINS, default=CUBINS[-1])
    parser.add_argument("--results", type=Path, help="a JUnit file to write")
    parser.add_argument("--folder", type=Path, default=Path("inference/src/device/cuda/kernels"), help="where the sources are")
    arguments = parser.parse_args()
    if not sources(arguments.folder)[0] and not read_built(arguments.folder):
        print(f"There is no kernel in {arguments.folder}.", file=sys.stderr)
    elif arguments.what == "build":
        build(arguments.folder)
    elif arguments.what == "check":
        check(arguments.folder, arguments.results)
    elif arguments.what == "quick":
        quick(arguments.folder)
    elif arguments.what == "one":
        one(arguments.folder, arguments.name, arguments.arch)
    else:
        print_table(read_built(arguments.folder))


if __name__ == "__main__":
    main()
