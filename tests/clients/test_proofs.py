"""What a release proves to tools that know nothing of us: sha256sum, b3sum, aria2c by Metalink, and the OpenSSF's own verifier."""

import hashlib
import subprocess
import urllib.request
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from conftest import GATED, OPEN, tool
from portal import BINARY

MODEL_SIGNING = Path(__file__).parents[2] / ".tools/model-signing/bin/model_signing"


def run(*command, cwd, status=0):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == status, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{said}"
    return said


def revision(portal, model):
    with urllib.request.urlopen(f"{portal.url}/{model}/proof/main/SHA256SUMS") as answer:
        return answer.url.split("/proof/")[1].split("/")[0]


def proof(portal, model, file):
    with urllib.request.urlopen(f"{portal.url}/{model}/proof/{revision(portal, model)}/{file}") as answer:
        return answer.read()


@pytest.fixture
def folder(portal, tmp_path):
    """The open model as aria2c fetches it by its Metalink."""
    run(tool("aria2c"), "-q", "-V", f"{portal.url}/{OPEN}/proof/main/release.meta4", cwd=tmp_path)
    for leftover in tmp_path.glob("*.meta4"):
        leftover.unlink()
    return tmp_path


def change_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_aria2c_fetches_and_mends_by_metalink(portal, folder, demo):
    weights = folder / "model.safetensors"
    assert weights.read_bytes() == (demo / "model.safetensors").read_bytes()
    assert {file.name for file in folder.iterdir()} == {line.split("  ")[1] for line in proof(portal, OPEN, "SHA256SUMS").decode().splitlines()}
    change_a_bit(weights)
    run(tool("aria2c"), "-q", "-V", "--allow-overwrite=true", f"{portal.url}/{OPEN}/proof/main/release.meta4", cwd=folder)
    assert weights.read_bytes() == (demo / "model.safetensors").read_bytes()


def test_aria2c_needs_a_token_for_a_gated_model(portal, token, tmp_path, demo):
    link = f"{portal.url}/{GATED}/proof/main/release.meta4"
    run(tool("aria2c"), "-q", link, cwd=tmp_path, status=24)
    run(tool("aria2c"), "-q", "-V", "--allow-overwrite=true", f"--header=Authorization: Bearer {token}", link, cwd=tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (demo / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("program", "sums"), [("sha256sum", "SHA256SUMS"), ("b3sum", "B3SUMS")])
def test_sums_are_checked_by_their_tools(portal, folder, program, sums):
    (folder / sums).write_bytes(proof(portal, OPEN, sums))
    assert "model.safetensors: OK" in run(tool(program), "-c", sums, cwd=folder)
    change_a_bit(folder / "model.safetensors")
    assert "model.safetensors: FAILED" in run(tool(program), "-c", sums, cwd=folder, status=1)


def test_the_reference_tool_verifies_a_release(portal, folder):
    with urllib.request.urlopen(f"{portal.url}/.well-known/sluice-key.pem") as answer:
        (folder / "sluice-key.pem").write_bytes(answer.read())

    def verify(bundle, status=0):
        (folder / bundle).write_bytes(proof(portal, OPEN, bundle))
        command = [MODEL_SIGNING, "verify", "key", "--public_key", "sluice-key.pem", "--signature", bundle, "."]
        return run(*command, cwd=folder, status=status)

    # As the model's page tells: the files, the key and the bundles in one folder.
    verify("model.sig")
    verify("documents.sig")
    (folder / "extra.bin").write_text("more")
    assert "extra.bin" in verify("model.sig", status=1)
    (folder / "extra.bin").unlink()
    change_a_bit(folder / "README.md")
    verify("model.sig")
    assert "README.md" in verify("documents.sig", status=1)
    change_a_bit(folder / "model.safetensors")
    assert "model.safetensors" in verify("model.sig", status=1)


def test_sluice_verify_checks_what_another_tool_has_fetched(portal, folder):
    with urllib.request.urlopen(f"{portal.url}/.well-known/sluice-key.pem") as answer:
        (folder.parent / "publisher.pem").write_bytes(answer.read())
    command = [BINARY, "verify", ".", "--key", folder.parent / "publisher.pem"]
    assert "model.sig" in run(*command, cwd=folder, status=2), "it says what is missing"
    for bundle in ("model.sig", "documents.sig"):
        (folder / bundle).write_bytes(proof(portal, OPEN, bundle))
    assert f"{OPEN} at {revision(portal, OPEN)}: " in run(*command, cwd=folder)
    # Whoever took a signature away could change what it speaks of.
    (folder / "documents.sig").rename(folder.parent / "documents.sig")
    assert "fetch model.sig and documents.sig both" in run(*command, cwd=folder, status=3)
    (folder / "config.json").rename(folder.parent / "config.json")
    assert "fetch model.sig and documents.sig both" in run(*command, cwd=folder, status=3), "nor may it be taken"
    (folder.parent / "config.json").rename(folder / "config.json")
    (folder.parent / "documents.sig").rename(folder / "documents.sig")
    change_a_bit(folder / "README.md")
    (folder / "extra.bin").write_text("more")
    said = run(*command, cwd=folder, status=3)
    assert "differs  README.md" in said and "extra    extra.bin" in said
    weights_alone = [*command, "--signature", "model.sig"]
    (folder / "extra.bin").unlink()
    assert "do not speak of" in run(*weights_alone, cwd=folder) and (folder / "README.md").exists()
    change_a_bit(folder / "model.safetensors")
    assert "differs  model.safetensors" in run(*weights_alone, cwd=folder, status=3)


def test_a_rotated_key_verifies_at_once_and_the_portal_need_not_restart(portal, folder):
    key = folder / "sluice-key.pem"
    made = portal.sluice("key", "rotate", "--overlap-days", "1").strip()
    with urllib.request.urlopen(f"{portal.url}/.well-known/sluice-key.pem") as answer:
        key.write_bytes(answer.read())
    public = serialization.load_pem_public_key(key.read_bytes())
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert hashlib.sha256(der).hexdigest() == made, "the id is the digest of the key's DER"
    (folder / "model.sig").write_bytes(proof(portal, OPEN, "model.sig"))
    run(MODEL_SIGNING, "verify", "key", "--public_key", key, "--signature", "model.sig", ".", cwd=folder)
