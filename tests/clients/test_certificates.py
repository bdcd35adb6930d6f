"""A portal's certificate that is not of today: to whoever asks it is the same as a clock of one's own that is a day off."""

import datetime
import ssl
import subprocess
import time

import pytest
import trustme

from conftest import OPEN
from portal import BINARY
from secured import HOST, Front

DAY = datetime.timedelta(days=1)


@pytest.fixture
def authority(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    return authority


def pulls(portal, authority, folder, begins, ends):
    """A pull by TLS with a certificate that is good from `begins` to `ends`, in days from now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST, not_before=now + begins * DAY, not_after=now + ends * DAY).configure_cert(context)
    front = Front(portal.port, context)
    environment = {"HOME": str(folder), "SLUICE_ENDPOINT": front.url, "SSL_CERT_FILE": str(folder / "authority.pem")}
    try:
        command = [BINARY, "pull", OPEN, "pulled", "--include", "config.json"]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    finally:
        front.close()


def test_a_certificate_of_today_is_taken(portal, authority, tmp_path, demo):
    done = pulls(portal, authority, tmp_path, -1, 1)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pulled/config.json").read_bytes() == (demo / "config.json").read_bytes()


@pytest.mark.parametrize("days", [(0.5, 2), (-2, -0.5)], ids=["late", "early"])
def test_a_clock_that_is_off_is_named_at_once(portal, authority, tmp_path, days):
    begun = time.monotonic()
    done = pulls(portal, authority, tmp_path, *days)
    assert done.returncode == 1 and "certificate" in done.stderr, done.stderr
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    assert f"this machine's clock says {today}" in done.stderr, done.stderr
    assert time.monotonic() - begun < 10, "asking again would not help"
