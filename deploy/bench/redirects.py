"""Permission checks and signed redirects at a steady rate: redirects.py PID URL TOKEN [PER_SECOND] [SECONDS].

Each request has its moment, and its time counts from that moment, so that a server that stands still is not measured as idle.
Prints a row: rate, 50th and 99th percentile, the worst, and the processor time of the server per request.
"""

import asyncio
import os
import sys
import time
from urllib.parse import urlsplit

CONNECTIONS = 16


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def connection(url, request, moments, took):
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    while moments:
        at = moments.pop()
        await asyncio.sleep(max(0, at - time.perf_counter()))
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        took.append((time.perf_counter() - at) * 1000)
        assert head.startswith(b"HTTP/1.1 302"), head


async def main(pid, url, token, per_second=500, seconds=20):
    request = f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    await connection(url, request, [time.perf_counter()] * 100, [])
    begun, used, took = time.perf_counter() + 0.5, cpu_s(pid), []
    moments = [begun + number / per_second for number in reversed(range(per_second * seconds))]
    await asyncio.gather(*(connection(url, request, moments, took) for _ in range(CONNECTIONS)))
    took.sort()
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))]  # noqa: E731
    print(f"| {per_second}/s | {at(0.5):.2f} ms | {at(0.99):.2f} ms | {took[-1]:.2f} ms | {(cpu_s(pid) - used) / len(took) * 1e6:.0f} µs |")


asyncio.run(main(int(sys.argv[1]), urlsplit(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:])))
