"""Many connections at once, without a thread for each."""

import select
import socket
import time

from .. import ws
from ..common import Failure

# The key of RFC 6455 section 1.3; its answer is not checked here, `ws` does that.
_REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Crowd:
    """Connections to one server that have asked for an upgrade; `answered` have got it."""

    def __init__(self, host, port, path="/echo"):
        self._address = (host, port)
        self._request = _REQUEST.format(path=path).encode()
        self._poll = select.poll()
        self._waiting = {}
        self.answered = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, count):
        """Connects so many more, each with its request."""
        for _ in range(count):
            connection = socket.create_connection(self._address, timeout=10)
            connection.sendall(self._request)
            connection.setblocking(False)
            self._waiting[connection.fileno()] = connection
            self._poll.register(connection, select.POLLIN)

    def wait(self, count, limit_s):
        """Waits until so many are answered in all. Returns how many are, after the limit too."""
        deadline = time.monotonic() + limit_s
        while len(self.answered) < count and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in self._poll.poll(left * 1e3):
                self._answer(descriptor)
        return len(self.answered)

    def open(self, count, limit_s=30):
        """So many open connections."""
        self.ask(count)
        if (got := self.wait(count, limit_s)) < count:
            raise Failure(f"only {got} of {count} connections were answered within {limit_s} s")
        return self.answered

    def take(self, count):
        """Answered connections, which are the caller's from now on."""
        taken, self.answered = self.answered[:count], self.answered[count:]
        return taken

    def close(self):
        """Closes all."""
        for connection in [*self._waiting.values(), *self.answered]:
            connection.close()
        self._waiting, self.answered = {}, []

    def _answer(self, descriptor):
        self._poll.unregister(descriptor)
        connection = self._waiting.pop(descriptor)
        head = connection.recv(4096)
        if not head.startswith(b"HTTP/1.1 101 ") or not head.endswith(b"\r\n\r\n"):
            connection.close()
            raise Failure(f"an upgrade was answered with {head[:60]!r}")
        self.answered.append(connection)


def echo(connection, payload, limit_s=10):
    """One message there and back on a connection of a crowd."""
    connection.settimeout(limit_s)
    connection.sendall(ws.encode(ws.BINARY, payload))
    expect(connection, payload)


def expect(connection, payload):
    """Reads the one binary frame that has this payload."""
    wanted = server_frame(payload)
    received = bytearray()
    while len(received) < len(wanted):
        piece = connection.recv(len(wanted) - len(received))
        if not piece:
            raise Failure(f"the connection ended after {len(received)} of {len(wanted)} bytes")
        received += piece
    if received != wanted:
        raise Failure("a reply differs from what was sent")


def server_frame(payload):
    """A binary frame as a server sends it (RFC 6455 section 5.2)."""
    length = len(payload)
    if length < 126:
        return bytes([0x82, length]) + payload
    if length < 1 << 16:
        return b"\x82\x7e" + length.to_bytes(2, "big") + payload
    return b"\x82\x7f" + length.to_bytes(8, "big") + payload
