"""The real clients against the real portal: one process, one data folder, the demo models that its first start publishes."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from portal import Portal  # noqa: E402
from relay import Relay  # noqa: E402

OPEN = "sluice/opt-verse-6m"
GATED = "sluice/opt-verse-6m-gated"

HAS_TORCH = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
# A forward pass needs torch, which is too large to install for one test: it runs where torch is already.
collect_ignore = [] if HAS_TORCH else ["test_transformers.py"]


def pytest_report_header():
    return "torch and transformers are here: their test runs" if HAS_TORCH else "torch or transformers is not here: test_transformers.py is left out"


@pytest.fixture(scope="session")
def portal():
    portal = Portal()
    try:
        portal.start()
        yield portal
    finally:
        portal.remove()


@pytest.fixture(scope="session")
def token(portal):
    """The token of somebody who may have the gated model."""
    portal.sluice("user", "add", "ada@university.edu", "--name", "Ada")
    portal.sluice("grant", "add", "ada@university.edu", GATED, "--reason", "client tests", "--days", "30")
    return portal.sluice("token", "add", "ada@university.edu", "--scope", "download")


@pytest.fixture(scope="session")
def stranger(portal):
    """The token of somebody who has not applied."""
    portal.sluice("user", "add", "eve@university.edu", "--name", "Eve")
    return portal.sluice("token", "add", "eve@university.edu", "--scope", "download")


@pytest.fixture
def relay(portal):
    """A relay before the portal that writes down what was asked and can stall."""
    relay = Relay(portal.port)
    yield relay
    relay.close()


@pytest.fixture
def hub(portal, tmp_path):
    return Hub(portal.url, tmp_path)


class Hub:
    """`hf` and the Python library in a process of their own, with a cache of their own and nothing else of this machine's settings."""

    def __init__(self, endpoint, folder):
        self.endpoint = endpoint
        self.folder = folder
        self.cache = folder / "hf"

    def environment(self, token=None):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        mine = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(self.cache), "NO_COLOR": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        return kept | mine | ({"HF_TOKEN": token} if token else {})

    def start(self, *arguments, token=None):
        """`hf …`, running."""
        tool = Path(sys.executable).with_name("hf")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([tool, *arguments], env=self.environment(token), **pipes)

    def hf(self, *arguments, token=None, status=0):
        """`hf …` to its end; returns what it said, stdout and stderr together."""
        running = self.start(*arguments, token=token)
        said = "\n".join(running.communicate(timeout=120))
        assert running.returncode == status, f"hf {' '.join(arguments)} ended with {running.returncode}:\n{said}"
        return said

    def snapshot(self):
        """The folder of the one model in the cache."""
        [folder] = self.cache.glob("hub/models--*/snapshots/*")
        return folder

    def python(self, code, token=None):
        """Runs a few lines of Python and returns what they printed."""
        done = subprocess.run([sys.executable, "-c", code], env=self.environment(token), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{code}\n{done.stderr}"
        return done.stdout.strip()


@pytest.fixture(scope="session")
def demo():
    """The folder that the demo models are published from."""
    return Path(__file__).parents[2] / "deploy/demo/opt-verse-6m"


def tool(name):
    """The path of a program that `make test` installs."""
    path = shutil.which(name)
    assert path, f"{name} is not installed; `make test` installs it"
    return path
