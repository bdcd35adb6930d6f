"""`sluice serve` as a process: started, killed, started again on the same data."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

READY_WAIT_S = 90
WAIT_S = 60
BINARY = Path(os.environ.get("SLUICE_BIN") or Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parents[2] / "target")) / "debug/sluice")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until(what, ask):
    """Asks again until the answer is something, and returns it."""
    deadline = time.monotonic() + WAIT_S
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"waited {WAIT_S} s until {what}"
        time.sleep(0.05)
    return answer


class Portal:
    """`settings`: variables of the environment besides the usual ones."""

    def __init__(self, **settings):
        self.settings = settings
        # Under /tmp and passable, because the account that runs PostgreSQL may be another than ours.
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-clients-", dir="/tmp"))
        self.folder.chmod(0o711)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL" and not name.startswith("SLUICE_")}
        return kept | {
            "SLUICE_DATA_DIR": str(self.folder / "data"),
            "SLUICE_LISTEN": f"127.0.0.1:{self.port}",
            "SLUICE_ENGINE_MEMORY_BYTES": "1000000000",
            **self.settings,
        }

    def start(self):
        log = (self.folder / "log.txt").open("a")
        self.process = subprocess.Popen([BINARY, "serve"], env=self.environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_WAIT_S
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/readyz", timeout=2)
                return
            except (urllib.error.URLError, OSError):
                ended = self.process.poll()
                late = time.monotonic() > deadline
                assert ended is None and not late, f"the portal is not ready ({ended}):\n{(self.folder / 'log.txt').read_text()}"
                time.sleep(0.05)

    def kill(self):
        """`kill -9`, and nothing else."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0, (self.folder / "log.txt").read_text()

    def remove(self):
        if self.process and self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sluice(self, *arguments, stdin=""):
        """A command on this portal's data; returns its result."""
        done = subprocess.run([BINARY, *arguments], env=self.environment(), input=stdin, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"sluice {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}"
        return done.stdout.strip()
