"""A portal that people reach by TLS and that sends its mails by a real server: cookies, links, refusals of the mail server."""

import html
import re
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

import pytest

from portal import Portal, until
from secured import Authority, Front, MailServer

ADMIN = "root@lab.example"
SECRET = "three sluices and a weir"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def mail(authority):
    server = MailServer(authority.of_servers)
    yield server
    server.close()


@pytest.fixture(scope="module")
def front(authority, mail):
    portal = Portal(SLUICE_SMTP_URL=mail.url, SSL_CERT_FILE=str(authority.file))
    front = Front(portal.port, authority.of_servers)
    portal.settings["SLUICE_PUBLIC_URL"] = front.url
    try:
        portal.start()
        portal.sluice("user", "add", ADMIN, "--role", "admin", "--password-stdin", stdin=f"{SECRET}\n")
        yield front
    finally:
        front.close()
        portal.remove()


@pytest.fixture
def browser(front, authority):
    return Browser(front.url, authority.of_clients)


class Cookies(CookieJar):
    """Remembers by name whatever it was ever given: a sentence for the next page is gone once that has shown it."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def set_cookie(self, cookie):
        self.seen[cookie.name] = cookie
        super().set_cookie(cookie)


class Browser:
    """Reads pages, sends their forms, keeps cookies as browsers do: a `Secure` one goes by TLS only."""

    def __init__(self, base, context):
        self.base = base
        self.jar = Cookies()
        self.opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(self.jar))

    def get(self, url, **form):
        with self.opener.open(urllib.parse.urljoin(self.base, url), urllib.parse.urlencode(form).encode() or None) as answer:
            self.headers = answer.headers
            return answer.read().decode()

    def submit(self, page, action, **fields):
        """Sends the form of `page` that goes to `action`, with what it holds already."""
        form = next(part for part in page.split("<form ")[1:] if f'action="{action}"' in part).split("</form>")[0]
        held = {name: html.unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)}
        return self.get(action, **held, **fields)

    def sign_up(self, address):
        said = self.submit(self.get("/sign-up"), "/sign-up", name="Somebody", email=address)
        assert "Check your mail" in said

    def sign_in(self):
        said = self.submit(self.get("/sign-in"), "/sign-in", email=ADMIN, password=SECRET)
        assert "Sign out" in said

    def outbox(self, address):
        """What the admin reads about the newest mail to an address, and that mail's own page."""
        page = self.get("/admin/mail")
        row = next(part for part in page.split("<tr>") if address in part)
        return row, re.search(r'href="(/admin/mail/[^"]+)"', row)[1]


def test_somebody_signs_up_by_tls_and_a_mail(browser, front, mail):
    browser.sign_up("ada@university.edu")
    [letter] = until("the mail has arrived", lambda: mail.to("ada@university.edu"))
    assert letter["subject"] == "Confirm your address" and letter["message-id"] and letter["auto-submitted"] == "auto-generated"
    link = re.search(r"https://\S+", letter.get_body(("plain",)).get_content())[0]
    assert link.startswith(front.url)
    page = browser.get(link)
    action = re.search(r'action="([^"]+)" class="stack"', page)[1]
    assert "Sign out" in browser.submit(page, action, email="ada@university.edu", password=SECRET)

    cookies = browser.jar.seen
    assert {"__Host-sluice", "__Host-sluice-form", "__Host-sluice-flash"} <= cookies.keys() and all(name.startswith("__Host-") for name in cookies), cookies
    for cookie in cookies.values():
        # What browsers ask of a name that begins so.
        assert cookie.secure and cookie.path == "/" and not cookie.domain_specified, cookie
        assert cookie.has_nonstandard_attr("HttpOnly"), cookie
    assert int(browser.headers["strict-transport-security"].removeprefix("max-age=")) >= 31_536_000


def test_a_mail_that_cannot_be_taken_now_is_tried_again(browser, mail):
    mail.answers["later@university.edu"] = "451 4.7.1 come back later"
    browser.sign_up("later@university.edu")
    browser.sign_in()
    until("the first try has failed", lambda: "come back later" in browser.outbox("later@university.edu")[0])
    row, path = browser.outbox("later@university.edu")
    assert "Retrying" in row and "next on" in row, row
    del mail.answers["later@university.edu"]
    browser.submit(browser.get(path), f"{path}/retry")
    until("it has arrived", lambda: mail.to("later@university.edu"))
    until("that is known", lambda: ">Sent<" in browser.outbox("later@university.edu")[0])


def test_a_mail_that_is_refused_for_good_is_shown_as_given_up(browser, mail):
    mail.answers["nobody@university.edu"] = "550 5.1.1 no such mailbox"
    browser.sign_up("nobody@university.edu")
    browser.sign_in()
    until("the try has failed", lambda: "no such mailbox" in browser.outbox("nobody@university.edu")[0])
    row, _ = browser.outbox("nobody@university.edu")
    assert "Given up" in row and "Try again" in row, row
    assert mail.to("nobody@university.edu") == []
