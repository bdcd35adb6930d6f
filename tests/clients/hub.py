"""`hf` and huggingface_hub of one installation, and how one sees that they brought the right files."""

import filecmp
import os
import subprocess
import sys
from pathlib import Path


class Hub:
    """`hf` and the Python library in a process of their own, with a cache of their own and nothing else of this machine's settings."""

    def __init__(self, endpoint, folder, programs=Path(sys.executable).parent):
        self.endpoint = endpoint
        self.folder = folder
        self.programs = programs
        self.cache = folder / "hf"

    def environment(self, token=None):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        mine = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(self.cache), "NO_COLOR": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        return kept | mine | ({"HF_TOKEN": token} if token else {})

    def start(self, *arguments, token=None):
        """`hf …`, running."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([self.programs / "hf", *arguments], env=self.environment(token), **pipes)

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
        done = subprocess.run([self.programs / "python", "-c", code], env=self.environment(token), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{code}\n{done.stderr}"
        return done.stdout.strip()


def same_files(folder, demo):
    """Every published weight and tokenizer file, byte for byte."""
    for name in ("config.json", "model.safetensors", "tokenizer.json", "LICENSE.md"):
        assert filecmp.cmp(Path(folder) / name, demo / name, shallow=False), name
