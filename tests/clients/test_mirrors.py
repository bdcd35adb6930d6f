"""Mirrors that the operator names (SLUICE_MIRRORS): aria2c finds them in the Metalink, and sluice pull takes the same address."""

import functools
import http.server
import re
import subprocess
import threading
import urllib.request

import pytest

from conftest import GATED, OPEN, tool
from portal import BINARY, Portal
from relay import Relay


class Mirror(http.server.ThreadingHTTPServer):
    """A folder over plain HTTP, with a list of what was asked for."""

    def __init__(self, folder):
        self.folder, self.paths, self.tokens = folder, [], []
        super().__init__(("127.0.0.1", 0), functools.partial(Listing, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Listing(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.paths.append(self.path)
        self.server.tokens.append(self.headers["Authorization"])
        super().do_GET()

    def log_message(self, *_):
        pass


def run(*command, cwd, **more):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, **more)
    assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    with Mirror(tmp_path_factory.mktemp("mirror")) as mirror:
        yield mirror
        mirror.shutdown()


@pytest.fixture(scope="module")
def mirrored(mirror, demo):
    """A portal whose operator names the mirror, which holds the open model under the path that it has at the portal."""
    portal = Portal(SLUICE_MIRRORS=mirror.url)
    try:
        portal.start()
        with urllib.request.urlopen(f"{portal.url}/{OPEN}/proof/main/SHA256SUMS") as answer:
            portal.revision = answer.url.split("/proof/")[1].split("/")[0]
            portal.files = [line.split("  ")[1] for line in answer.read().decode().splitlines()]
        for file in portal.files:
            copy = mirror.folder / OPEN / "resolve" / portal.revision / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            with urllib.request.urlopen(f"{portal.url}/{OPEN}/resolve/{portal.revision}/{file}") as answer:
                copy.write_bytes(answer.read())
        yield portal
    finally:
        portal.remove()


def links(portal, model):
    with urllib.request.urlopen(f"{portal.url}/{model}/proof/main/release.meta4") as answer:
        return answer.read().decode()


def addresses(metalink, file):
    """The addresses that a Metalink has for a file, the first to be asked first."""
    entry = re.search(rf'<file name="{re.escape(file)}">.*?</file>', metalink, re.DOTALL)[0]
    return [address for _, address in sorted((int(place), address) for place, address in re.findall(r'<url priority="(\d+)">([^<]+)<', entry))]


def test_a_metalink_names_the_mirrors_of_an_open_model_and_of_no_other(mirrored, mirror):
    path = f"/{OPEN}/resolve/{mirrored.revision}/model.safetensors"
    assert addresses(links(mirrored, OPEN), "model.safetensors") == [mirrored.url + path, mirror.url + path]
    # Whoever fetches a gated model sends a token to every address.
    assert mirror.url not in links(mirrored, GATED)


def test_sluice_pull_takes_the_address_that_the_metalink_names(mirrored, mirror, demo, tmp_path):
    address = addresses(links(mirrored, OPEN), "config.json")[1].removesuffix("/config.json")
    relay = Relay(mirrored.port)
    mirror.paths.clear()
    try:
        environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "SLUICE_ENDPOINT": relay.url}
        run(BINARY, "pull", OPEN, "pulled", "--mirror", address, cwd=tmp_path, env=environment)
        run(BINARY, "verify", "pulled", cwd=tmp_path, env=environment)
    finally:
        relay.close()
    assert (tmp_path / "pulled/model.safetensors").read_bytes() == (demo / "model.safetensors").read_bytes()
    assert not relay.asked("GET", "/resolve/"), "the portal sends nothing that the mirror has"
    assert {path.rsplit("/", 1)[1] for path in mirror.paths} == set(mirrored.files)


def test_aria2c_goes_to_the_mirror_when_the_portal_is_away(mirrored, mirror, demo, tmp_path):
    (tmp_path / "release.meta4").write_text(links(mirrored, OPEN))
    mirror.paths.clear()
    mirrored.stop()
    try:
        run(tool("aria2c"), "-q", "-V", "--max-tries=2", "-M", "release.meta4", cwd=tmp_path)
    finally:
        mirrored.start()
    (tmp_path / "release.meta4").unlink()
    assert {file.name for file in tmp_path.iterdir()} == set(mirrored.files)
    assert (tmp_path / "model.safetensors").read_bytes() == (demo / "model.safetensors").read_bytes()
    assert {path.rsplit("/", 1)[1] for path in mirror.paths} == set(mirrored.files)
    assert not any(mirror.tokens)
