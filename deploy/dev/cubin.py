"""Reads of a cubin, the ELF file that holds compiled kernels, what they cost: registers, shared memory, stack, constants, code."""

import struct
from dataclasses import dataclass

FUNCTION = 2
# Attributes of `.nv.info`, as `cuobjdump -elf` names them; each is a symbol's number and a value.
FRAME_SIZE, MIN_STACK_SIZE, REGCOUNT = 0x11, 0x12, 0x2F
VALUE_FOLLOWS = 4
# From this architecture on, the sections of shared memory begin with what is the driver's.
RESERVED_FROM, RESERVED_BYTES = 90, 1024


@dataclass
class Kernel:
    name: str
    registers: int
    shared_bytes: int
    stack_bytes: int
    constant_bytes: int
    code_bytes: int


class Unreadable(Exception):
    pass


def kernels(cubin, arch):
    """Every kernel of a cubin for such an architecture ("sm_90a"). Unreadable where one does not say what it costs."""
    if cubin[:5] != b"\x7fELF\x02":
        raise Unreadable("not an ELF file of 64 bits")
    sections = read_sections(cubin)
    sizes = {name: size for name, _, size in sections}
    said = attributes(body(cubin, sections, ".nv.info"))
    reserved = RESERVED_BYTES if int(arch[3:].rstrip("af")) >= RESERVED_FROM else 0
    found = []
    for number, name in functions(cubin, sections):
        if f".text.{name}" not in sizes:
            # It lies inside a kernel, which calls it: `$kernel$division`. What it uses is counted there.
            continue
        cost = {what: said.get((what, number)) for what in (REGCOUNT, FRAME_SIZE, MIN_STACK_SIZE)}
        if cost[REGCOUNT] is None or cost[FRAME_SIZE] is None:
            raise Unreadable(f"{name} does not say what registers and what stack it uses")
        constants = sum(size for section, size in sizes.items() if section.startswith(".nv.constant") and section.endswith("." + name))
        found.append(
            Kernel(
                name=name,
                registers=cost[REGCOUNT],
                shared_bytes=max(0, sizes.get(f".nv.shared.{name}", 0) - reserved),
                # Spilled registers lie on the stack too; the second is with the functions that this one calls.
                stack_bytes=max(cost[FRAME_SIZE], cost[MIN_STACK_SIZE] or 0, sizes.get(f".nv.local.{name}", 0)),
                constant_bytes=constants,
                code_bytes=sizes[f".text.{name}"],
            )
        )
    if not found:
        raise Unreadable("no kernel in it")
    return sorted(found, key=lambda kernel: kernel.name)


def read_sections(elf):
    """(name, offset, size) of each. A section that only takes room in memory has its size and no bytes."""
    (headers_at,) = struct.unpack_from("<Q", elf, 0x28)
    width, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, headers_at + width * i) for i in range(count)]
    texts = headers[names][4]
    return [(text(elf, texts + header[0]), header[4], header[5]) for header in headers]


def functions(elf, sections):
    """(symbol's number, name) of each."""
    symbols, (_, texts, _) = body(elf, sections, ".symtab"), section(sections, ".strtab")
    for number, (name, kind) in enumerate(struct.iter_unpack("<IB19x", symbols)):
        if kind & 15 == FUNCTION:
            yield number, text(elf, texts + name)


def attributes(info):
    """{(attribute, symbol's number): value}. An attribute says in four bytes what it is and its value, or how long that is."""
    found, at = {}, 0
    while at + 4 <= len(info):
        form, what, length = struct.unpack_from("<BBH", info, at)
        at += 4
        if form == VALUE_FOLLOWS:
            if length == 8:
                number, value = struct.unpack_from("<II", info, at)
                found[what, number] = value
            at += length
    return found


def section(sections, name):
    for found in sections:
        if found[0] == name:
            return found
    raise Unreadable(f"no section {name}")


def body(elf, sections, name):
    _, offset, size = section(sections, name)
    return elf[offset : offset + size]


def text(elf, at):
    return elf[at : elf.index(b"\0", at)].decode()
