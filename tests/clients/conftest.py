"""The real clients against the real portal: one process, one data folder, the demo models that its first start publishes."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from hub import Hub  # noqa: E402
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


@pytest.fixture(scope="session")
def demo():
    """The folder that the demo models are published from."""
    return Path(__file__).parents[2] / "deploy/demo/opt-verse-6m"


def tool(name):
    """The path of a program that `make test` installs."""
    path = shutil.which(name)
    assert path, f"{name} is not installed; `make test` installs it"
    return path
