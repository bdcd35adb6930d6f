"""`hf auth login`, unmodified: signed in from a browser, without a token being copied."""

import filecmp
import html
import http.cookiejar
import re
import urllib.parse
import urllib.request

from conftest import GATED

PASSWORD = "three sluices and a weir"


class Browser:
    """As much of a browser as the portal's pages need: cookies, and forms that are sent as they stand."""

    def __init__(self, base):
        self.base = base
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def open(self, url, fields=None):
        body = urllib.parse.urlencode(fields).encode() if fields else None
        request = urllib.request.Request(urllib.parse.urljoin(self.base, url), body, {"Accept": "text/html"})
        with self.opener.open(request, timeout=30) as answer:
            return answer.read().decode()

    def send(self, page, action, **typed):
        """Sends the form of `page` that goes to `action`, with its hidden fields."""
        [form] = re.findall(rf'<form method="post" action="{re.escape(action)}".*?</form>', page, re.S)
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
        return self.open(action, {name: html.unescape(value) for name, value in hidden} | typed)


def waits(login, said):
    """Reads what `hf` prints until it shows the address to open."""
    while "user_code=" not in said:
        line = login.stdout.readline()
        assert line, login.communicate()
        said += line
    return re.search(r"http\S+user_code=\S+", said)[0]


def test_hf_is_signed_in_from_a_browser_and_downloads(hub, portal, demo):
    portal.sluice("user", "add", "lise@university.edu", "--name", "Lise", "--password-stdin", stdin=f"{PASSWORD}\n")
    portal.sluice("grant", "add", "lise@university.edu", GATED, "--reason", "client tests")
    login = hub.start("auth", "login")
    browser = Browser(portal.url)
    page = browser.open(waits(login, ""))
    page = browser.send(page, "/sign-in", email="lise@university.edu", password=PASSWORD)
    assert "hf auth login" in page and "python-httpx" in page, page
    browser.send(page, "/device/approve")
    said = "\n".join(login.communicate(timeout=60))
    assert login.returncode == 0, said

    assert "lise@university.edu" in hub.hf("auth", "whoami")
    hub.hf("download", GATED)
    assert filecmp.cmp(hub.snapshot() / "model.safetensors", demo / "model.safetensors", shallow=False)
    token = (hub.cache / "token").read_text().strip()
    assert token.startswith("slc_")
    assert "hf auth login 20" in browser.open("/account/tokens")

    # Revoked there, it is refused here.
    page = browser.open("/account/tokens")
    [revoke] = re.findall(r'action="(/account/tokens/tok_\w+/revoke)"', page)
    browser.send(page, revoke)
    assert "Invalid" in hub.hf("auth", "whoami", status=1)


def test_hf_is_told_when_its_owner_says_no(hub, portal):
    portal.sluice("user", "add", "emmy@university.edu", "--name", "Emmy", "--password-stdin", stdin=f"{PASSWORD}\n")
    login = hub.start("auth", "login")
    browser = Browser(portal.url)
    page = browser.send(browser.open(waits(login, "")), "/sign-in", email="emmy@university.edu", password=PASSWORD)
    browser.send(page, "/device/deny")
    said = "\n".join(login.communicate(timeout=60))
    assert login.returncode != 0 and "denied" in said, said
    assert not (hub.cache / "token").exists()
