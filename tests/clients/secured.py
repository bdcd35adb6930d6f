"""What stands around a portal in earnest: TLS before it, as a reverse proxy ends it, and a mail server with STARTTLS and passwords."""

import asyncio
import contextlib
import email
import email.policy
import ssl
import threading

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from portal import free_port

HOST = "127.0.0.1"
USER, PASSWORD = b"sluice", b"weir and lock"


class Authority:
    """A certificate authority of the test's own, and a certificate for this machine."""

    def __init__(self, folder):
        authority = trustme.CA()
        self.file = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.file)
        self.of_servers = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(HOST).configure_cert(self.of_servers)
        self.of_clients = ssl.create_default_context(cafile=self.file)


class Front:
    """Ends TLS and passes the bytes on to `port`."""

    def __init__(self, port, context):
        self.target = port
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        starting = asyncio.start_server(self._serve, HOST, 0, ssl=context)
        server = asyncio.run_coroutine_threadsafe(starting, self.loop).result(timeout=10)
        self.url = f"https://{HOST}:{server.sockets[0].getsockname()[1]}"

    def close(self):
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(timeout=10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def _end(self):
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection(HOST, self.target)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

    async def _pass(self, source, sink):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()


class MailServer:
    """Takes mails by STARTTLS from who has the password. `answers`: what it says to an address instead of taking the mail."""

    def __init__(self, context):
        self.answers = {}
        self.mails = []
        security = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": self._knows}
        self.controller = Controller(self, hostname=HOST, port=free_port(), **security)
        self.controller.start()
        self.url = f"smtp://{USER.decode()}:{PASSWORD.decode().replace(' ', '%20')}@{HOST}:{self.controller.port}?tls=required"

    def to(self, address):
        """The mails that were taken for an address."""
        return [mail for mail in self.mails if mail["to"] == address]

    def close(self):
        self.controller.stop()

    def _knows(self, server, session, envelope, mechanism, given):
        return AuthResult(success=(given.login, given.password) == (USER, PASSWORD))

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        assert session.ssl and session.authenticated
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 Taken"
