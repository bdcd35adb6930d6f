"""huggingface_hub 0.36, which transformers 4 brings: it speaks by requests, lists by `siblings`, and goes on in a file where it was cut."""

import signal
import sys
from pathlib import Path

import pytest

from conftest import GATED, OPEN
from hub import Hub, same_files
from portal import until

PROGRAMS = Path(sys.prefix).with_name("clients-0.36") / "bin"
# It writes a file in pieces of this size.
PIECE = 10 * 1024 * 1024


@pytest.fixture
def old(portal, tmp_path):
    assert (PROGRAMS / "hf").exists(), f"{PROGRAMS} has no hf; `make test` installs it"
    return Hub(portal.url, tmp_path, PROGRAMS)


def test_an_open_model_is_downloaded_without_an_account(old, demo):
    assert old.python("import huggingface_hub; print(huggingface_hub.__version__)").startswith("0.36.")
    old.hf("download", OPEN)
    same_files(old.snapshot(), demo)


def test_a_gated_model_is_for_who_may_have_it_and_the_refusal_says_why(old, portal, token, stranger):
    said = old.hf("download", GATED, token=stranger, status=1)
    assert "needs an approved application" in said and f"{portal.url}/{GATED}/apply" in said, said
    old.hf("download", GATED, "model.safetensors", token=token)


def test_a_killed_download_goes_on_where_it_was_cut(old, relay, demo):
    old.endpoint = relay.url
    old.hf("download", OPEN, "--exclude", "model.safetensors")
    relay.stall_after(PIECE + 500_000)
    running = old.start("download", OPEN)
    until("a piece is on the disk", lambda: [blob.stat().st_size for blob in old.cache.rglob("*.incomplete")] == [PIECE])
    running.send_signal(signal.SIGKILL)
    running.communicate()
    relay.requests.clear()
    relay.stall_after(None)
    old.hf("download", OPEN)
    same_files(old.snapshot(), demo)
    [fetched] = relay.asked("GET", "/resolve/")
    assert fetched.endswith("/model.safetensors") and relay.resumed == [(fetched, PIECE)], relay.resumed
