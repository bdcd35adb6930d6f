"""A real mail server for the stories: mail_server.py FOLDER PORT (plain | starttls | tls)

Whatever it takes becomes one line of FOLDER/mails.jsonl. FOLDER/orders.json, read again for every mail, says what it does otherwise:
{"answers": {"ada@university.edu": "451 4.7.1 later"}, "slow": {"bob@university.edu": 2.5}}. With TLS it wants a password, and its authority's certificate is
FOLDER/ca.pem. It ends with whoever holds the other end of its standard input."""

import email
import email.policy
import json
import pathlib
import ssl
import sys
import threading
import time

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

HOST = "127.0.0.1"
USER, PASSWORD = b"sluice", b"weir and lock"
FOLDER, PORT, SECURITY = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
WRITING = threading.Lock()


def orders(kind, address):
    file = FOLDER / "orders.json"
    return json.loads(file.read_text()).get(kind, {}).get(address) if file.exists() else None


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if answer := orders("answers", address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        raw = envelope.original_content
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        if seconds := orders("slow", envelope.rcpt_tos[0]):
            (FOLDER / "slowly").touch()
            await server.loop.run_in_executor(None, time.sleep, seconds)
        part = lambda kind: (found := mail.get_body((kind,))) and found.get_content().replace("\r\n", "\n")
        line = {
            "to": envelope.rcpt_tos, "from": envelope.mail_from, "head": [[name, str(value)] for name, value in mail.items()],
            "text": part("plain"), "html": part("html"), "raw": raw.decode("latin-1"),
            "tls": session.ssl is not None or SECURITY == "tls", "authenticated": session.authenticated,
        }
        with WRITING, (FOLDER / "mails.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        return "250 Taken"


def knows(server, session, envelope, mechanism, given):
    return AuthResult(success=(given.login, given.password) == (USER, PASSWORD), handled=False, auth_data=given)


def context():
    """The same certificate after a restart."""
    chain = FOLDER / "server.pem"
    if not chain.exists():
        authority = trustme.CA()
        authority.cert_pem.write_to_path(FOLDER / "ca.pem")
        authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


class Server(Controller):
    def factory(self):
        password = {"auth_required": True, "authenticator": knows}
        if SECURITY == "starttls":
            return SMTP(self.handler, tls_context=context(), require_starttls=True, hostname="mx.test", **password)
        if SECURITY == "tls":
            return SMTP(self.handler, auth_require_tls=False, hostname="mx.test", **password)
        return SMTP(self.handler, hostname="mx.test")


server = Server(Handler(), hostname=HOST, port=PORT, ssl_context=context() if SECURITY == "tls" else None)
context()
server.start()
print("ready", flush=True)
sys.stdin.read()
