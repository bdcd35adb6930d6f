"""Many downloads at once that hardly move, and what others feel of it: slow_clients.py PID URL CLIENTS.

Prints a row: clients, memory of the process before and with them (KiB each), and the slowest of a hundred HEADs before and meanwhile.
"""

import asyncio
import resource
import sys
import time
from urllib.parse import urlsplit

HEADS = 200
READ_EVERY_S = 1.0
WATCH_S = 15


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


async def slow(url, started):
    reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=4096)
    writer.write(f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    started.release()
    while await reader.read(4096):
        await asyncio.sleep(READ_EVERY_S)


async def heads(url):
    """The 99th percentile of HEADs, one after the other, in ms."""
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    took = []
    for _ in range(HEADS):
        begun = time.perf_counter()
        writer.write(f"HEAD {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        took.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(0.01)
    writer.close()
    return sorted(took)[HEADS * 99 // 100]


async def main(pid, url, count):
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    quiet_ms, before = await heads(url), resident_kib(pid)
    started = asyncio.Semaphore(0)
    clients = []
    for number in range(count):
        clients.append(asyncio.create_task(slow(url, started)))
        if number % 50 == 49:
            await asyncio.sleep(0.05)
    for _ in range(count):
        await started.acquire()
    await asyncio.sleep(WATCH_S)
    meanwhile_ms, during = await heads(url), resident_kib(pid)
    for client in clients:
        client.cancel()
    print(f"| {count} | {before // 1024} MiB | {during // 1024} MiB | {(during - before) / count:.1f} KiB | {quiet_ms:.2f} ms | {meanwhile_ms:.2f} ms |")


asyncio.run(main(int(sys.argv[1]), urlsplit(sys.argv[2]), int(sys.argv[3])))
