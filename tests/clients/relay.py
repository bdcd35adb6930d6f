"""A TCP relay before the portal: it writes down what is asked for and, told to, stops passing bytes on."""

import re
import socket
import threading

HEAD = re.compile(rb"^(GET|HEAD|POST) (\S+) HTTP/1\.1\r\n((?:.+\r\n)*)", re.MULTILINE)
RANGE = re.compile(rb"^range: *bytes=(\d+)-", re.MULTILINE | re.IGNORECASE)


class Relay:
    def __init__(self, port):
        self.target = port
        self.requests = []
        # The same with all that was said with it.
        self.heard = []
        # (path, first byte) of what was asked for from somewhere on.
        self.resumed = []
        self.stalled = threading.Event()
        self._room = None
        self._go_on = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stall_after(self, count):
        """Passes `count` more bytes of answers on, and then none; None: as many as come."""
        with self._go_on:
            self._room = count
            self.stalled.clear()
            self._go_on.notify_all()

    def asked(self, method, part=""):
        """The paths asked for by `method` that contain `part`."""
        return [path for verb, path in self.requests if verb == method and part in path]

    def close(self):
        self.stall_after(None)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket()
            # Little waits on the way, so that a stall is felt at the other end.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            server.connect(("127.0.0.1", self.target))
            threading.Thread(target=self._pass, args=(client, server, self._write_down), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, self._wait_for_room), daemon=True).start()

    def _pass(self, source, sink, look):
        try:
            while data := source.recv(65536):
                look(data)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _write_down(self, data):
        for verb, path, headers in HEAD.findall(data):
            self.requests.append((verb.decode(), path.decode()))
            self.heard.append(f"{verb.decode()} {path.decode()} {headers.decode(errors='replace')}")
            if found := RANGE.search(headers):
                self.resumed.append((path.decode(), int(found[1])))

    def _wait_for_room(self, data):
        with self._go_on:
            while self._room is not None and self._room < len(data):
                self.stalled.set()
                self._go_on.wait()
            if self._room is not None:
                self._room -= len(data)
