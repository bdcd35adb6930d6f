"""SeaweedFS as a process: an object store behind the S3 interface, with one bucket."""

import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

READY_WAIT_S = 60
ACCESS_KEY, SECRET_KEY, BUCKET = "testkey", "testsecret123", "weights"
OURS = Path(__file__).parents[2] / ".tools/dev/bin/weed"


def free_ports(count):
    """So many ports in a row that nobody listens on, below those that the system gives to whoever asks for any."""
    for first in range(9_000, 11_000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as free:
                    free.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise RuntimeError(f"no {count} free ports in a row")


def status(url, **more):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, **more), timeout=2).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


class Store:
    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-store-", dir="/tmp"))
        self.port = free_ports(8)
        identity = {"name": "app", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": ["Admin"]}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (self.folder / "data").mkdir()
        names = ("s3.port", "master.port", "volume.port", "filer.port", "s3.port.grpc", "master.port.grpc", "volume.port.grpc", "filer.port.grpc")
        log = (self.folder / "log.txt").open("a")
        self.process = subprocess.Popen(
            [
                OURS if OURS.exists() else "weed", "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                f"-dir={self.folder / 'data'}", f"-s3.config={self.folder / 's3.json'}", "-s3", "-filer", "-s3.port.iceberg=0", "-s3.port.lance=0",
                *(f"-{name}={self.port + place}" for place, name in enumerate(names)),
                "-master.electionTimeout=1s", "-volume.preStopSeconds=0", "-volume.max=0", "-master.volumeSizeLimitMB=256", "-master.telemetry=false",
                "-volume.minFreeSpace=100MiB",
            ],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )
        try:
            self.make_bucket()
        except BaseException:
            self.close()
            raise

    def make_bucket(self):
        """Once it takes objects, which is some seconds after it was started."""
        filer = f"http://127.0.0.1:{self.port + 3}"
        deadline = time.monotonic() + READY_WAIT_S
        while not (status(f"{filer}/.probe", data=b"ready", method="PUT") == 201 and status(f"http://localhost:{self.port}") == 403):
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "log.txt").read_text()
            time.sleep(0.05)
        assert status(f"{filer}/buckets/{BUCKET}/", method="POST") == 201

    @property
    def settings(self):
        """What a portal has to know to keep its weights here. The store's name is not the portal's."""
        return {
            "SLUICE_OBJECTS": f"s3://{BUCKET}/sluice", "AWS_ENDPOINT_URL": f"http://localhost:{self.port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }

    def close(self):
        # Its clean end takes a quarter of a minute, and its data goes anyway.
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
