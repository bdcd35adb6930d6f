"""OpenSSF Model Signing: the reference tool verifies ours, ours verifies the reference tool's, and both refuse what was changed."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from portal import BINARY

TOOLS = Path(__file__).parents[2] / ".tools/model-signing/bin"
OURS = Path(os.environ.get("SLUICE_MODEL_SIGNATURE") or BINARY.with_name("model-signature"))
SHARD_BYTES = 1 << 20
SHARDED = """
import pathlib, sys, model_signing
hashing = model_signing.hashing.Config().use_shard_serialization(shard_size=int(sys.argv[4]))
model_signing.signing.Config().use_elliptic_key_signer(private_key=pathlib.Path(sys.argv[1])).set_hashing_config(hashing).sign(*sys.argv[2:4])
"""
# The tool's command line compares whole files only; ranges are for its library.
VERIFIED = """
import sys, model_signing
model_signing.verifying.Config().use_elliptic_key_verifier(public_key=sys.argv[1]).verify(*sys.argv[2:4])
"""


def run(*command, status=0):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def reference_verifies(folder, bundle, key, method="files", status=0):
    if method == "files":
        return run(TOOLS / "model_signing", "verify", "key", "--signature", bundle, "--public_key", key, folder, status=status)
    return run(TOOLS / "python", "-c", VERIFIED, key, folder, bundle, status=status)


@pytest.fixture
def keys(tmp_path):
    """A key of ours, both halves."""
    run(OURS, "key", tmp_path / "private.pem")
    (tmp_path / "public.pem").write_text(run(OURS, "public", tmp_path / "private.pem"))
    return tmp_path / "private.pem", tmp_path / "public.pem"


@pytest.fixture
def model(tmp_path):
    """Files of every kind of size: empty, shorter than a range, just one, two and a bit."""
    folder = tmp_path / "model"
    (folder / "original").mkdir(parents=True)
    for name, size in {"empty.txt": 0, "config.json": 17, "one.bin": SHARD_BYTES, "original/part-0.bin": 2 * SHARD_BYTES + 5}.items():
        (folder / name).write_bytes(hashlib.shake_256(name.encode()).digest(size))
    return folder


def change_a_bit(file, place=0):
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("method", ["files", str(SHARD_BYTES)])
def test_the_reference_tool_verifies_ours(model, keys, tmp_path, method):
    private, public = keys
    bundle = tmp_path / "model.sig"
    run(OURS, "sign", private, model, method, bundle, "config.json")
    reference_verifies(model, bundle, public, method)

    (model / "extra.bin").write_text("more")
    assert "extra.bin" in reference_verifies(model, bundle, public, method, status=1)
    (model / "extra.bin").unlink()
    change_a_bit(model / "original/part-0.bin", 2 * SHARD_BYTES + 1)
    assert "original/part-0.bin" in reference_verifies(model, bundle, public, method, status=1)
    change_a_bit(model / "original/part-0.bin", 2 * SHARD_BYTES + 1)
    (model / "one.bin").unlink()
    assert "one.bin" in reference_verifies(model, bundle, public, method, status=1)


def test_ours_verifies_the_reference_tools(model, keys, tmp_path):
    private, public = keys
    run(TOOLS / "model_signing", "sign", "key", "--private_key", private, "--signature", tmp_path / "model.sig", model)
    signed = dict(reversed(line.split(" ", 1)) for line in run(OURS, "verify", public, tmp_path / "model.sig").splitlines())
    files = [file for file in model.rglob("*") if file.is_file()]
    assert signed == {str(file.relative_to(model)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    run(TOOLS / "python", "-c", SHARDED, private, model, tmp_path / "chunks.sig", str(SHARD_BYTES))
    lines = run(OURS, "verify", public, tmp_path / "chunks.sig").splitlines()
    content = (model / "original/part-0.bin").read_bytes()[2 * SHARD_BYTES :]
    assert f"{hashlib.sha256(content).hexdigest()} original/part-0.bin:{2 * SHARD_BYTES}:{2 * SHARD_BYTES + 5}" in lines
    assert len(lines) == 5, "an empty file has no ranges"


@pytest.mark.parametrize(("name", "place"), [("model.sig", ""), ("chunks.sig", ": chunk 2")])
def test_sluice_verify_checks_a_folder_that_the_reference_tool_has_signed(model, keys, tmp_path, name, place):
    private, public = keys
    bundle = tmp_path / name
    if name == "model.sig":
        run(TOOLS / "model_signing", "sign", "key", "--private_key", private, "--signature", bundle, model)
    else:
        run(TOOLS / "python", "-c", SHARDED, private, model, bundle, str(SHARD_BYTES))

    def verify(status=0):
        return run(BINARY, "verify", model, "--key", public, "--signature", bundle, status=status)

    assert "as signed" in verify()
    (model / "extra.bin").write_text("more")
    assert "extra    extra.bin" in verify(3)
    (model / "extra.bin").unlink()
    change_a_bit(model / "original/part-0.bin", 2 * SHARD_BYTES + 1)
    assert f"differs  original/part-0.bin{place}\n" in verify(3)
    change_a_bit(model / "original/part-0.bin", 2 * SHARD_BYTES + 1)
    (model / "one.bin").rename(tmp_path / "elsewhere.bin")
    assert "missing  one.bin" in verify(3)
    (model / "one.bin").symlink_to(tmp_path / "elsewhere.bin")
    assert "is a link" in verify(3)
    (model / "one.bin").unlink()
    (tmp_path / "elsewhere.bin").rename(model / "one.bin")
    assert "as signed" in verify()
    change_a_bit(bundle, len(bundle.read_bytes()) // 2)
    verify(3)


def test_ours_verifies_the_reference_tools_over_p384(model, tmp_path):
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    run("openssl", "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", private)
    run("openssl", "ec", "-in", private, "-pubout", "-out", public)
    run(TOOLS / "model_signing", "sign", "key", "--private_key", private, "--signature", tmp_path / "model.sig", model)
    assert len(run(OURS, "verify", public, tmp_path / "model.sig").splitlines()) == 4
    change_a_bit(tmp_path / "model.sig", (tmp_path / "model.sig").read_text().index('"payload":') + 40)
    run(OURS, "verify", public, tmp_path / "model.sig", status=1)


def test_the_same_bundle_is_refused_by_both(model, keys, tmp_path):
    private, public = keys
    bundle, other = tmp_path / "model.sig", tmp_path / "other.pem"
    run(OURS, "sign", private, model, "files", bundle)
    run(OURS, "key", tmp_path / "other-private.pem")
    other.write_text(run(OURS, "public", tmp_path / "other-private.pem"))
    reference_verifies(model, bundle, other, status=1)
    assert "another key" in run(OURS, "verify", other, bundle, status=1)
    change_a_bit(bundle, bundle.read_text().index('"payload":"') + 40)
    reference_verifies(model, bundle, public, status=1)
    run(OURS, "verify", public, bundle, status=1)
