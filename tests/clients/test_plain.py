"""curl, wget and aria2c: resumed, in parallel, verified."""

import contextlib
import hashlib
import subprocess

import pytest

from conftest import GATED, OPEN, tool
from portal import until


@pytest.fixture
def weights(demo):
    return hashlib.sha256((demo / "model.safetensors").read_bytes()).hexdigest()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(*command, cwd, status=0):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@contextlib.contextmanager
def stalled(relay, file, *command):
    """A download by way of the relay that stands still when about three million bytes have come; its body cuts it."""
    relay.stall_after(3_000_000)
    running = subprocess.Popen(command, cwd=file.parent, stderr=subprocess.DEVNULL)
    until("bytes are on the disk", lambda: running.poll() is None and file.exists() and file.stat().st_size > 1_000_000)
    yield running
    relay.stall_after(None)
    running.wait(timeout=60)


def test_curl_goes_on_where_it_was_cut(portal, relay, token, weights, tmp_path):
    path, bearer, file = f"/{GATED}/resolve/main/model.safetensors", f"Authorization: Bearer {token}", tmp_path / "model.safetensors"
    url = portal.url + path
    with stalled(relay, file, tool("curl"), "-fsSL", "-H", bearer, "-O", relay.url + path) as running:
        running.kill()
    part = file.stat().st_size
    said = run(tool("curl"), "-fsSL", "-C", "-", "-D", "-", "-H", bearer, "-O", url, cwd=tmp_path)
    assert f"content-range: bytes {part}-" in said.lower(), said
    assert sha256(file) == weights
    # Complete already: the portal says that nothing is left (416); curl calls that an error only because of -f, and keeps the file.
    said = run(tool("curl"), "-fsSL", "-C", "-", "-H", bearer, "-O", url, cwd=tmp_path, status=22)
    assert "416" in said and sha256(file) == weights
    run(tool("curl"), "-sSL", "-C", "-", "-H", bearer, "-O", url, cwd=tmp_path)
    assert sha256(file) == weights


def test_curl_goes_on_after_the_portal_was_killed(portal, relay, weights, tmp_path):
    path, file = f"/{OPEN}/resolve/main/model.safetensors", tmp_path / "model.safetensors"
    with stalled(relay, file, tool("curl"), "-fsSL", "-O", relay.url + path) as running:
        portal.kill()
    assert running.returncode in (18, 56), "curl sees that the transfer was cut"
    assert 1_000_000 < file.stat().st_size < 11_849_536
    portal.start()
    run(tool("curl"), "-fsSL", "-C", "-", "-O", portal.url + path, cwd=tmp_path)
    assert sha256(file) == weights


def test_curl_leaves_no_file_behind_a_closed_gate(portal, stranger, tmp_path):
    url = f"{portal.url}/{GATED}/resolve/main/model.safetensors"
    said = run(tool("curl"), "-fL", "-H", f"Authorization: Bearer {stranger}", "-O", url, cwd=tmp_path, status=22)
    assert "403" in said and not (tmp_path / "model.safetensors").exists()


def test_wget_goes_on_where_it_was_cut(portal, weights, tmp_path, demo):
    (tmp_path / "model.safetensors").write_bytes((demo / "model.safetensors").read_bytes()[:5_000_000])
    said = run(tool("wget"), "-c", "-nv", "-S", f"{portal.url}/{OPEN}/resolve/main/model.safetensors", cwd=tmp_path)
    assert "206 Partial Content" in said, said
    assert sha256(tmp_path / "model.safetensors") == weights


def test_aria2_fetches_in_parallel_and_verifies(portal, relay, token, weights, tmp_path):
    # Asking for the checksum is aria2's own doing: it sends Want-Digest and compares when the answer carries one.
    parallel = ("-x8", "-s8", "-k1M", "--console-log-level=info", "--check-integrity=true", f"--header=Authorization: Bearer {token}")
    relay.stall_after(2_000_000)
    command = [tool("aria2c"), *parallel, f"{relay.url}/{GATED}/resolve/main/model.safetensors"]
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until("it asks for several ranges", lambda: len(relay.resumed) > 4)
    relay.stall_after(None)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 0 and sha256(tmp_path / "model.safetensors") == weights, said
    assert "sha-256" in said.lower(), said
