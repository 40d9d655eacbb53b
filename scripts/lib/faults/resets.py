"""A thousand connections end with RST while their echoes are under way."""

import os
import socket
import struct

from .. import ws
from .account import MIB, Account, anonymous
from .crowd import Crowd
from .witness import watching

CONNECTIONS, MESSAGES, MESSAGE = 1000, 4, 16 << 10

# What the first storm may leave: receive buffers that have become real, spare pages of the allocator. Later ones leave no more.
SPARE, GROWTH = 16 * MIB, 4 * MIB

TITLE = f"{CONNECTIONS} connections reset during echo"
SERVER = {"flags": []}


def inflict(server, quick):
    """Again and again, so that what leaks adds up."""
    host, _, port = server.host.rpartition(":")
    storms = 2 if quick else 10
    account = Account(server.pid)
    after = []
    with watching(server) as witness:
        inside = Account(server.pid)
        for _ in range(storms):
            with Crowd(host, int(port)) as crowd:
                _storm(crowd.open(CONNECTIONS))
            settled = inside.settle(limit_s=20, spare=SPARE)
            after.append(anonymous(server.pid))
        inside.memory = after[0]
        inside.settle(limit_s=10, spare=GROWTH)
        seen = witness.verdict(worst_s=2)
    account.settle(limit_s=10, spare=SPARE)
    return {"storms": storms, "MiB after each": [round(memory / MIB, 1) for memory in after],
            "seconds to settle": round(settled, 2), "witness": seen}


def _storm(connections):
    frame = ws.encode(ws.BINARY, os.urandom(MESSAGE))
    for connection in connections:
        for _ in range(MESSAGES):
            try:
                connection.send(frame)
            except BlockingIOError:
                break
    for connection in connections:
        # Linger for no time: close sends RST (socket(7)).
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
