"""More input waits than the receive buffers hold: the connections take turns, and nothing is lost."""

import os
import selectors
import signal
import time

from .. import ws
from ..common import Failure
from .account import Account, waiting_input
from .crowd import Crowd, server_frame
from .witness import watching

CONNECTIONS = 300

# One message of each, in bytes.
MESSAGE = 256 << 10

# The receive buffers of one core; what waits must be several times as much.
POOL = 4 << 20

LIMIT_S = 60

TITLE = f"receive buffers exhausted: {CONNECTIONS} connections, {MESSAGE >> 10} KiB each, at once"
SERVER = {"flags": ["--cores", "1"]}


def inflict(server, _quick):
    """The server is stopped until far more waits for it than its pool of 4 buffers holds."""
    host, _, port = server.host.rpartition(":")
    account = Account(server.pid)
    with watching(server) as witness, Crowd(host, int(port)) as crowd:
        talks = [_Talk(connection, index) for index, connection in enumerate(crowd.open(CONNECTIONS))]
        os.kill(server.pid, signal.SIGSTOP)
        try:
            for talk in talks:
                talk.write()
            time.sleep(0.3)
            waiting = waiting_input(int(port))
        finally:
            os.kill(server.pid, signal.SIGCONT)
        if waiting < 2 * POOL:
            raise Failure(f"only {waiting} bytes wait: the buffers were never short")
        start = time.monotonic()
        _finish(talks)
        took = time.monotonic() - start
        # It was stopped as well: what it may not do is wait for all the others' messages.
        seen = witness.verdict(worst_s=5)
    settled = account.settle(limit_s=20, spare=16 << 20)
    return {"bytes waiting": waiting, "times the pool": round(waiting / POOL, 1),
            "messages whole": len(talks), "seconds": round(took, 2),
            "seconds to settle": round(settled, 2), "witness": seen}


class _Talk:
    """One connection's message on its way out, and its echo on its way in."""

    def __init__(self, connection, index):
        self.connection = connection
        payload = bytes([index & 0xFF, index >> 8]) * (MESSAGE // 2)
        self._out = memoryview(ws.encode(ws.BINARY, payload))
        self._wanted = memoryview(server_frame(payload))

    def write(self):
        while self._out:
            try:
                self._out = self._out[self.connection.send(self._out):]
            except BlockingIOError:
                return

    def read(self):
        while self._wanted:
            try:
                piece = self.connection.recv(1 << 16)
            except BlockingIOError:
                return
            if not piece or piece != self._wanted[: len(piece)]:
                raise Failure(f"a reply is wrong or ends {len(self._wanted)} bytes early")
            self._wanted = self._wanted[len(piece):]

    def events(self):
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)

    def over(self):
        return not self._wanted


def _finish(talks):
    deadline = time.monotonic() + LIMIT_S
    with selectors.DefaultSelector() as selector:
        for talk in talks:
            selector.register(talk.connection, talk.events(), talk)
        left = len(talks)
        while left:
            if time.monotonic() > deadline:
                raise Failure(f"{left} of {len(talks)} connections still wait for their replies after {LIMIT_S} s")
            for key, _ in selector.select(1):
                talk = key.data
                talk.write()
                talk.read()
                if talk.over():
                    selector.unregister(talk.connection)
                    left -= 1
                else:
                    selector.modify(talk.connection, talk.events(), talk)
