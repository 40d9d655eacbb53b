"""A client process is killed while each of its connections is in the middle of a frame."""

import multiprocessing
import os
import signal
import time

from .. import ws
from ..common import Failure
from .account import MIB, Account, anonymous, waiting_input
from .crowd import Crowd
from .witness import watching

# Messages of 1 MiB, of which so many bytes are sent.
CONNECTIONS, MESSAGE, SENT = 500, 1 * MIB, 64 << 10

SPARE, GROWTH = 16 * MIB, 4 * MIB

# What the server may hold for a byte that has arrived: its buffer grows by doubling.
OVERHEAD = 2.2

TITLE = f"client killed (SIGKILL) with {CONNECTIONS} connections in mid-frame"
SERVER = {"flags": []}

_fork = multiprocessing.get_context("fork")


def inflict(server, quick):
    """The half messages' memory comes back, every time."""
    rounds = 2 if quick else 10
    account = Account(server.pid)
    held, after = 0, []
    with watching(server) as witness:
        inside = Account(server.pid)
        for _ in range(rounds):
            now = _kill_in_mid_frame(server) - inside.memory
            if not 0.8 <= now / (CONNECTIONS * SENT) <= OVERHEAD:
                raise Failure(f"{now / MIB:.1f} MiB are held for {CONNECTIONS * SENT / MIB:.1f} MiB that arrived")
            held = max(held, now)
            settled = inside.settle(limit_s=20, spare=SPARE)
            after.append(anonymous(server.pid))
        inside.memory = after[0]
        inside.settle(limit_s=10, spare=GROWTH)
        seen = witness.verdict(worst_s=2)
    account.settle(limit_s=10, spare=SPARE)
    return {"rounds": rounds, "MiB held in mid-frame": round(held / MIB, 1),
            "MiB after each": [round(memory / MIB, 1) for memory in after],
            "seconds to settle": round(settled, 2), "witness": seen}


def _kill_in_mid_frame(server):
    """The server's memory when all frames were half there."""
    ours, theirs = _fork.Pipe()
    client = _fork.Process(target=_half_send, args=(server.host, theirs), daemon=True)
    client.start()
    theirs.close()
    try:
        if not ours.poll(60):
            raise Failure("the client did not get its connections into mid-frame within 60 s")
        try:
            told = ours.recv()
        except EOFError:
            raise Failure("the client ended before it could be killed") from None
        if told != "sent":
            raise Failure(told)
        return _held(server)
    finally:
        os.kill(client.pid, signal.SIGKILL)
        client.join()


def _held(server):
    """The server's memory once it has taken in all that was sent."""
    port = int(server.host.rpartition(":")[2])
    deadline = time.monotonic() + 20
    while waiting_input(port) > 0:
        if time.monotonic() > deadline:
            raise Failure("the server does not read what was sent")
        time.sleep(0.05)
    time.sleep(0.2)
    return anonymous(server.pid)


def _half_send(address, pipe):
    host, _, port = address.rpartition(":")
    part = ws.encode(ws.BINARY, bytes(MESSAGE))[:SENT]
    crowd = Crowd(host, int(port))
    try:
        for connection in crowd.open(CONNECTIONS):
            connection.setblocking(True)
            connection.sendall(part)
        pipe.send("sent")
    except (OSError, Failure) as error:
        pipe.send(f"{type(error).__name__}: {error}")
    signal.pause()
