"""The desk's pages and commands at a steady rate: desk.py BASE_URL DATABASE_SOCKET [PER_SECOND] [SECONDS].

Each request has its moment, and its time counts from that moment, so that a server that stands still is not measured as idle.
Sessions are put into the database, because nobody signs in five hundred times to be measured. Prints tables for BENCHMARKS.md.
"""

import asyncio
import base64
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from urllib.parse import urlencode, urlsplit

CONNECTIONS = 8
SEED = "benchbenchbenchbenchbenchbe"
# The model that the applications are for, and a file of it.
MODEL = "/sluice/opt-verse-6m-gated"
FILE = f"{MODEL}/resolve/main/config.json"
WEIGHTS = f"{MODEL}/resolve/main/model.safetensors"
# What an applicant answers, without licence and clauses.
ANSWERS = {
    "role": "academic",
    "organisation": "Institute 1",
    "country": "IT",
    "title": "Negation, once more",
    "summary": "We ask how errors on negated statements change with the size of the model. " * 20,
    "lay_summary": "Language models overlook the word not. " * 8,
    "areas": "interpretability",
    "uses_evaluation": "on",
    "months": "6",
    "commercial": "no",
    "derived_weights": "none",
    "storage_kind": "institution",
    "storage_location": "The institute's cluster",
    "controls_accounts": "on",
    "security_contact": "security@institute.example",
    "capacity": "self",
}


def sql(socket, statement):
    asked = ["psql", "-qAt", "-F", "\t", "-h", socket, "-U", "sluice", "-d", "sluice", "-v", "ON_ERROR_STOP=1", "-c", statement]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in said.splitlines()]


def secret(prefix=""):
    """A secret of a session, or behind its prefix of a token, with the checksum that the portal looks for before it asks the database."""
    random = os.urandom(25)
    check = hashlib.sha256(prefix.encode() + random).digest()[:5]
    return prefix + base64.b32encode(random + check).decode().lower()


def sign_in(socket, accounts):
    """A cookie for each account."""
    secrets = [secret() for _ in accounts]
    rows = (f"('{account}'::uuid, '\\x{hashlib.sha256(one.encode()).hexdigest()}'::bytea)" for account, one in zip(accounts, secrets))
    sql(
        socket,
        "insert into session (id, account_id, secret_hash, user_agent, created_at, last_seen_at, expires_at) "
        f"select gen_random_uuid(), a, s, 'bench', now(), now(), now() + interval '1 day' from (values {', '.join(rows)}) v(a, s)",
    )
    return [f"sluice={one}; sluice-form={SEED}" for one in secrets]


def tokens(socket, accounts):
    """An access token for each account, for all that takes access."""
    made = [secret("slc_") for _ in accounts]
    rows = (f"('{account}'::uuid, '\\x{hashlib.sha256(one.encode()).hexdigest()}'::bytea)" for account, one in zip(accounts, made))
    sql(
        socket,
        "insert into token (id, account_id, name, secret_hash, hint, scopes, created_at, expires_at) "
        "select gen_random_uuid(), a, 'bench', s, 'slc_…', array['download', 'api'], now(), now() + interval '1 day' "
        f"from (values {', '.join(rows)}) v(a, s)",
    )
    return made


def printed(prefix, uuid):
    """An id as addresses name it: 26 digits of Crockford's base 32."""
    bits = int(uuid.replace("-", ""), 16)
    return prefix + "_" + "".join("0123456789abcdefghjkmnpqrstvwxyz"[bits >> 5 * place & 31] for place in reversed(range(26)))


async def ask(reader, writer, host, method, path, who, body=b"", kind="application/x-www-form-urlencoded"):
    """Asks as `who`: a cookie, or a whole line of the head."""
    who = who if ": " in who else f"Cookie: {who}"
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nAccept-Encoding: gzip, br\r\n{who}\r\n"
    if body:
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"\r\n" + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in answer.decode().lower().split("\r\n")[1:] if ": " in line)
    if fields.get("transfer-encoding") == "chunked":
        content = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            content += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    else:
        content = await reader.readexactly(int(fields.get("content-length", 0)))
    return int(answer.split(b" ", 2)[1]), content


class Portal:
    def __init__(self, base, per_second, seconds):
        self.url, self.per_second, self.seconds = urlsplit(base), per_second, seconds

    async def head(self, *request):
        """The head of the answer, by name."""
        reader, writer = await asyncio.open_connection(self.url.hostname, self.url.port)
        method, path, who = request
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {self.url.netloc}\r\n{who}\r\n\r\n".encode())
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        writer.close()
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}

    async def once(self, *request):
        reader, writer = await asyncio.open_connection(self.url.hostname, self.url.port)
        said = await ask(reader, writer, self.url.netloc, *request)
        writer.close()
        return said

    async def worker(self, requests, took, expected):
        reader, writer = await asyncio.open_connection(self.url.hostname, self.url.port)
        while requests:
            at, request = requests.pop()
            await asyncio.sleep(max(0, at - time.perf_counter()))
            status, content = await ask(reader, writer, self.url.netloc, *request)
            took.append(((time.perf_counter() - at) * 1000, len(content)))
            assert status == expected, (status, request[:2], content[:3000])
        writer.close()

    async def measure(self, name, requests, expected=200):
        """A row: how long half of them took, 99 of 100, the slowest; how large the answer is on its way."""
        requests = requests[: self.per_second * self.seconds]
        begun, took = time.perf_counter() + 0.2, []
        timed = [(begun + number / self.per_second, request) for number, request in enumerate(requests)][::-1]
        await asyncio.gather(*(self.worker(timed, took, expected) for _ in range(CONNECTIONS)))
        times = sorted(taken for taken, _ in took)
        at = lambda share: times[min(len(times) - 1, int(len(times) * share))]  # noqa: E731
        size = max(size for _, size in took) / 1000
        print(f"| {name} | {len(times)} | {at(0.5):.1f} ms | {at(0.99):.1f} ms | {times[-1]:.1f} ms | {size:.1f} kB |", flush=True)


def read_whole(socket):
    """How often each table of over 10,000 rows was read from end to end."""
    time.sleep(2)  # the database's own counts are a second old
    return dict(sql(socket, "select relname, seq_scan from pg_stat_user_tables where n_live_tup > 10000"))


def tell_read_whole(what, before, after):
    """What was read without an index, which at size it must not be."""
    more = {table: int(times) - int(before.get(table, 0)) for table, times in after.items()}
    told = ", ".join(f"`{table}` {times} times" for table, times in sorted(more.items()) if times > 0)
    print(f"\nTables of over 10,000 rows that {what} read from end to end: {told or 'none'}.\n", flush=True)


def everywhere(cookie, token):
    """What asks whether somebody has access, as a browser and as a program: each with what a yes is."""
    bearer = f"Authorization: Bearer {token}"
    prompt = json.dumps({"model": MODEL[1:], "prompt": "In", "max_tokens": 1}).encode()
    return [
        (("GET", FILE, f"Cookie: {cookie}"), 307),
        (("GET", FILE, bearer), 307),
        (("GET", f"/api/models{MODEL}/auth-check", bearer), 200),
        (("POST", "/v1/completions", bearer, prompt, "application/json"), 200),
    ]


async def until_it_holds(portal, name, orders, is_given):
    """A row: from the moment that each of `orders` is sent until all that its holder may ask has answered in its sense."""
    took = []
    for order, probes in orders:
        begun = time.perf_counter()
        status, content = await portal.once(*order)
        assert status == 303, (status, order[1], content[:3000])
        for probe, yes in probes:
            while (await portal.once(*probe))[0] != (yes if is_given else 403):
                assert time.perf_counter() - begun < 10, (order[1], probe)
        took.append((time.perf_counter() - begun) * 1000)
    tell_times(name, took)


def probed(socket, orders, rows):
    """Each order with what its holder asks, who stands in the second column of its row."""
    accounts = [account for _, account in rows]
    return list(zip(orders, map(everywhere, sign_in(socket, accounts), tokens(socket, accounts))))


async def fetching(portal, token):
    """A download that runs, for a reader of 6 MB/s, and what tells whether it still does."""
    bearer = f"Authorization: Bearer {token}"
    where = (await portal.head("GET", WEIGHTS, bearer))["location"]
    reader, writer = await asyncio.open_connection(portal.url.hostname, portal.url.port, limit=65_536)
    writer.write(f"GET {where.removeprefix(portal.url.geturl())} HTTP/1.1\r\nHost: {portal.url.netloc}\r\n{bearer}\r\n\r\n".encode())
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")

    async def read():
        try:
            while await reader.read(65_536):
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        writer.close()

    asyncio.create_task(read())

    async def runs():
        _, said = await portal.once("GET", "/metrics", "Accept: text/plain")
        return b"\nsluice_downloads_running 0\n" not in (gzip.decompress(said) if said.startswith(b"\x1f\x8b") else said)

    return runs


async def generating(portal, token):
    """A generation that runs for longer than anybody waits, and what tells whether it still does."""
    asked = json.dumps({"model": MODEL[1:], "prompt": ["In"] * 32, "n": 4, "max_tokens": 480, "ignore_eos": True, "stream": True}).encode()
    reader, writer = await asyncio.open_connection(portal.url.hostname, portal.url.port)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {portal.url.netloc}\r\nAuthorization: Bearer {token}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(asked)}\r\n\r\n".encode() + asked)
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b"data: ")

    async def read():
        while said := await reader.read(65_536):
            if b'{"error":' in said:
                break
        writer.close()

    reading = asyncio.create_task(read())

    async def runs():
        await asyncio.wait([reading], timeout=0.001)
        return not reading.done()

    return runs


async def until_it_ends(portal, name, orders, begin):
    """A row: from the moment that each of `orders` is sent until what its holder has running has ended."""
    took = []
    for order, token in orders:
        runs = await begin(portal, token)
        assert await runs(), "it has not begun"
        begun = time.perf_counter()
        assert (await portal.once(*order))[0] == 303, order[1]
        while await runs():
            assert time.perf_counter() - begun < 10, order[1]
        took.append((time.perf_counter() - begun) * 1000)
    tell_times(name, took)


def tell_times(name, took):
    took.sort()
    print(f"| {name} | {len(took)} | {took[len(took) // 2]:.1f} ms | {took[len(took) * 99 // 100]:.1f} ms | {took[-1]:.1f} ms | |", flush=True)


async def filled_in(portal, cookie):
    """A complete form, every clause on its page ticked and its licence shown."""
    form = gzip.decompress((await portal.once("GET", f"{MODEL}/apply", cookie))[1]).decode()
    shown = dict(re.findall(r'name="(licence_shown|form_shown|csrf)" value="([^"]*)"', form))
    clauses = {name: "on" for name in re.findall(r'name="(agree_[^"]+)"', form)}
    assert clauses and len(shown) == 3, "this is no form"
    return urlencode(ANSWERS | shown | clauses).encode()


async def main(base, socket, per_second=50, seconds=10):
    portal, many = Portal(base, per_second, seconds), per_second * seconds
    grace = sign_in(socket, [sql(socket, "select id from account where role = 'reviewer' order by id limit 1")[0][0]])[0]
    # As many of each state, in turns: a case that waits asks for more than one that is over.
    of_all = sql(
        socket,
        "select id, account_id, state from (select id, account_id, state, row_number() over (partition by state order by random()) as place "
        f"from application where state <> 'draft') each order by place, state limit {many}",
    )
    waiting = [row[0] for row in sql(socket, f"select id from application where state = 'submitted' and claimed_by is null order by random() limit {2 * many}")]
    applicants = sign_in(socket, [account for _, account, _ in of_all])
    page = lambda path, cookie=grace: ("GET", path, cookie)  # noqa: E731
    root = sign_in(socket, [sql(socket, "select id from account where email = 'root@lab.example'")[0][0]])[0]
    for path in ["/review", f"/review/{printed('app', waiting[0])}"]:
        for _ in range(20):
            await portal.once(*page(path))
    before = read_whole(socket)
    print(f"| page, {per_second} a second | asked | half are within | 99 of 100 | the slowest | on its way |")
    print("|---|---|---|---|---|---|")
    for view in ["all", "mine", "unclaimed", "overdue", "applicant", "decided"]:
        await portal.measure(f"queue: {view}", [page(f"/review?view={view}")] * many)
    await portal.measure("queue: search, one person", [page(f"/review?q=person+{number * 17 % 100_000 + 1}") for number in range(many)])
    await portal.measure("queue: search, an institute", [page(f"/review?q=institute+{number % 997}") for number in range(many)])
    await portal.measure("queue: search, a word of all", [page("/review?q=negation")] * many)
    await portal.measure("case, of every state", [page(f"/review/{printed('app', one)}") for one, _, _ in of_all])
    await portal.measure("case that waits", [page(f"/review/{printed('app', one)}") for one in waiting])
    mine = [page(f"/applications/{printed('app', one)}", cookie) for (one, _, _), cookie in zip(of_all, applicants)]
    await portal.measure("applicant's page, of every state", mine)
    await portal.measure("applicant's list", [page("/applications", cookie) for cookie in applicants])
    await portal.measure("record", [page("/admin/audit", root)] * many)
    people = [f"person{number * 17 % 100_000 + 1}@institute{(number * 17 % 100_000 + 1) % 997}.example" for number in range(many)]
    await portal.measure("record: what one person did", [page(f"/admin/audit?by={one}", root) for one in people])
    days = [time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400 * (1 + number % 1000))) for number in range(many)]
    await portal.measure("record: one day", [page(f"/admin/audit?from={day}&to={day}", root) for day in days])
    await portal.measure("record: a kind that is rare", [page("/admin/audit?kind=release", root)] * many)
    await portal.measure("people: search", [page(f"/admin/people?q={one}", root) for one in people])
    after = read_whole(socket)
    tell_read_whole("pages", before, after)

    csrf = re.search(rb'name="csrf" value="([^"]+)"', gzip.decompress((await portal.once(*page("/review")))[1]))
    assert csrf, "the queue has no form"
    post = lambda path, **fields: ("POST", path, grace, urlencode({"csrf": csrf[1].decode(), **fields}).encode())  # noqa: E731
    until = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 90 * 86_400))
    print(f"| command, {per_second} a second | asked | half are within | 99 of 100 | the slowest | |")
    print("|---|---|---|---|---|---|")
    # Whoever has withdrawn may apply again at once.
    again = sql(socket, f"select account_id from application where state = 'withdrawn' order by random() limit {many}")
    again = sign_in(socket, [row[0] for row in again])
    form = await filled_in(portal, again[0])
    before = read_whole(socket)
    await portal.measure("submit", [("POST", f"{MODEL}/apply", cookie, form) for cookie in again], 303)
    cases = [printed("app", one) for one in waiting]
    await portal.measure("claim", [post(f"/review/{one}/claim") for one in cases[:many]], 303)
    await portal.measure("comment", [post(f"/review/{one}/comment", lane="internal", text="Sound.") for one in cases[:many]], 303)
    await portal.measure("approve", [post(f"/review/{one}/approve", until=until) for one in cases[: many // 2]], 303)
    await portal.measure("decline", [post(f"/review/{one}/decline", reason="duplicate", text="See the other.") for one in cases[many // 2 : many]], 303)
    tell_read_whole("commands", before, read_whole(socket))

    print("| from the click until it holds | tried | half are within | 99 of 100 | the slowest | |")
    print("|---|---|---|---|---|---|")
    holders = sql(socket, "select id, account_id from access_grant where revoked_at is null and expires_at > now() order by random() limit 200")
    path = lambda one: f"/admin/grants/{printed('grant', one)}/revoke"  # noqa: E731
    orders = [post(path(one), reason="The project has ended.") for one, _ in holders]
    await until_it_holds(portal, "a revocation", probed(socket, orders, holders), False)
    waiting = sql(socket, "select id, account_id from application where state = 'submitted' and claimed_by is null limit 200")
    orders = [post(f"/review/{printed('app', one)}/approve", until=until) for one, _ in waiting]
    await until_it_holds(portal, "an approval", probed(socket, orders, waiting), True)
    holders = sql(socket, "select id, account_id from access_grant where revoked_at is null and expires_at > now() order by random() limit 200")
    orders = [post(path(one), reason="The project has ended.") for one, _ in holders]
    orders = list(zip(orders, tokens(socket, [account for _, account in holders])))
    await until_it_ends(portal, "a revocation, for what is being downloaded", orders[:100], fetching)
    await until_it_ends(portal, "a revocation, for what is being generated", orders[100:], generating)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3], *map(int, sys.argv[3:])))
