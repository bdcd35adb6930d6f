"""The real clients where the portal sends them to a bucket for the bytes: under another host name, by signed addresses."""

import contextlib
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import GATED, OPEN, tool
from hub import Hub, same_files
from portal import Portal
from relay import Relay
from store import Store

WITH_0_36 = Path(sys.prefix).with_name("clients-0.36") / "bin"


@pytest.fixture(scope="module")
def store():
    with contextlib.closing(Store()) as store:
        yield store


@pytest.fixture(scope="module")
def afar(store):
    """A portal whose weights lie in the bucket."""
    portal = Portal(**store.settings)
    try:
        portal.start()
        portal.sluice("user", "add", "ada@university.edu", "--name", "Ada")
        portal.sluice("grant", "add", "ada@university.edu", GATED, "--reason", "client tests", "--days", "30")
        portal.token = portal.sluice("token", "add", "ada@university.edu", "--scope", "download")
        yield portal
    finally:
        portal.remove()


@pytest.fixture
def weights(demo):
    return hashlib.sha256((demo / "model.safetensors").read_bytes()).hexdigest()


def run(*command, cwd, status=0):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("programs", [None, WITH_0_36], ids=["hub", "hub-0.36"])
def test_hf_downloads_what_its_token_may(afar, demo, tmp_path, programs):
    hub = Hub(afar.url, tmp_path, *([programs] if programs else []))
    hub.hf("download", GATED, "--local-dir", str(tmp_path / "all"), token=afar.token)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "all" / name).read_bytes() == (demo / name).read_bytes(), name
    hub.hf("download", OPEN)
    same_files(hub.snapshot(), demo)
    code = f"import huggingface_hub; print(huggingface_hub.hf_hub_download({GATED!r}, 'config.json'))"
    assert Path(hub.python(code, token=afar.token)).read_bytes() == (demo / "config.json").read_bytes()


def test_the_token_stays_with_the_portal(store, demo, tmp_path):
    """A relay stands where the store is, and writes down what it is told."""
    relay = Relay(store.port)
    settings = store.settings | {"AWS_ENDPOINT_URL": relay.url.replace("127.0.0.1", "localhost")}
    portal = Portal(**settings)
    try:
        portal.start()
        portal.sluice("user", "add", "ada@university.edu", "--name", "Ada")
        portal.sluice("grant", "add", "ada@university.edu", GATED, "--reason", "client tests", "--days", "30")
        token = portal.sluice("token", "add", "ada@university.edu", "--scope", "download")
        url, bearer = f"{portal.url}/{GATED}/resolve/main/model.safetensors", f"Authorization: Bearer {token}"
        relay.heard.clear()
        Hub(portal.url, tmp_path / "new").hf("download", GATED, token=token)
        Hub(portal.url, tmp_path / "old", WITH_0_36).hf("download", GATED, token=token)
        run(tool("curl"), "-fsSL", "-H", bearer, "-o", "curl", url, cwd=tmp_path)
        run(tool("aria2c"), "-x4", "-s4", "-k1M", "-o", "aria2", f"--header={bearer}", url, cwd=tmp_path)
        run(tool("wget"), "-q", f"--header={bearer}", "-O", "wget", url, cwd=tmp_path)
        assert len(relay.heard) > 10 and any("X-Amz-Signature" in line for line in relay.heard)
        assert not any(token in line for line in relay.heard)
        assert len({sha256(tmp_path / name) for name in ("curl", "aria2", "wget")} | {sha256(demo / "model.safetensors")}) == 1
    finally:
        portal.remove()
        relay.close()


def test_curl_goes_on_where_it_was_cut(afar, demo, weights, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((demo / "model.safetensors").read_bytes()[:5_000_000])
    bearer = f"Authorization: Bearer {afar.token}"
    said = run(tool("curl"), "-fsSL", "-C", "-", "-D", "-", "-H", bearer, "-O", f"{afar.url}/{GATED}/resolve/main/model.safetensors", cwd=tmp_path)
    assert "302 Found" in said and "content-range: bytes 5000000-" in said.lower(), said
    assert sha256(tmp_path / "model.safetensors") == weights


def test_aria2_fetches_an_open_model_from_the_bucket_and_a_gated_one_from_the_portal(afar, weights, tmp_path):
    parallel = ("-x8", "-s8", "-k1M", "--console-log-level=info", "--check-integrity=true")
    said = run(tool("aria2c"), *parallel, "-o", "open", f"{afar.url}/{OPEN}/resolve/main/model.safetensors", cwd=tmp_path)
    assert "X-Amz-Signature" in said and sha256(tmp_path / "open") == weights
    header = f"--header=Authorization: Bearer {afar.token}"
    said = run(tool("aria2c"), *parallel, header, "-o", "gated", f"{afar.url}/{GATED}/resolve/main/model.safetensors", cwd=tmp_path)
    assert "X-Amz-Signature" not in said and sha256(tmp_path / "gated") == weights and "sha-256" in said.lower()
