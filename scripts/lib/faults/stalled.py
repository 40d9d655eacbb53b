"""A handler blocks its core for seconds: the other core's connections must not notice, and nothing is lost on this one."""

import time

from .. import ws
from ..common import Failure
from .account import MIB, Account, anonymous
from .crowd import Crowd, echo
from .witness import on_core, watching

STALL_S = 6.0

# Connections of the blocked core with a message on the way, and callers who come meanwhile.
NEIGHBOURS, CALLERS = 20, 100

# Publishes from the other core meanwhile: more than the mailbox of the blocked core takes. Each waits for the answer to the one
# before, or else many would travel as one.
PUBLISHES, PAYLOAD = 10_000, 64

# A mailbox may hold 64 MiB; these messages are far smaller.
SPARE = 48 * MIB

TITLE = f"a core blocked for {STALL_S:.0f} s by a handler"
SERVER = {"flags": ["--cores", "2"], "victim": True}


def inflict(server, _quick):
    """The blocked core's connections wait, and get all that is theirs afterwards."""
    host, _, port = server.host.rpartition(":")
    address = (host, int(port))
    with watching(server, core=0) as witness:
        account = Account(server.pid)
        with _Scene(address) as scene:
            begin = time.monotonic()
            scene.stall()
            with Crowd(*address) as crowd:
                crowd.ask(CALLERS)
                early = crowd.wait(CALLERS, limit_s=STALL_S / 3)
                taken = scene.publish()
                memory = anonymous(server.pid)
                waited = scene.neighbours_are_answered(begin)
                if crowd.wait(CALLERS, limit_s=20) < CALLERS:
                    raise Failure("callers who came during the stall were never answered")
                for caller in crowd.answered:
                    echo(caller, b"after the stall")
            delivered = scene.delivered(taken)
        seen = witness.verdict(worst_s=1.0)
        settled = account.settle(limit_s=20, spare=SPARE)
    if not 0 < early < CALLERS:
        raise Failure(f"{early} of {CALLERS} callers were answered during the stall: the core was not blocked alone")
    return {"callers answered meanwhile": early, "published": PUBLISHES, "taken by the mailbox": taken,
            "refused, and said so": PUBLISHES - taken, "delivered": delivered,
            "neighbours waited s": round(waited, 2), "MiB at most": round(memory / MIB, 1),
            "seconds to settle": round(settled, 2), "witness": seen}


class _Scene:
    """Connections on both cores of the victim."""

    def __init__(self, address):
        self._publisher = on_core(*address, "/topics?pub=news", 0)
        self._subscriber = on_core(*address, "/topics?sub=news", 1)
        self._staller = on_core(*address, f"/stall?ms={STALL_S * 1e3:.0f}", 1)
        self._neighbours = [on_core(*address, "/echo", 1) for _ in range(NEIGHBOURS)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for socket in (self._publisher, self._subscriber, self._staller, *self._neighbours):
            socket.__exit__()

    def stall(self):
        """Blocks core 1, and sends it messages."""
        self._staller.send(ws.TEXT, b"stall")
        time.sleep(0.1)
        for neighbour in self._neighbours:
            neighbour.send(ws.TEXT, b"hello")

    def publish(self):
        """Publishes from core 0; how many core 1 will get."""
        taken = 0
        for number in range(PUBLISHES):
            self._publisher.send(ws.TEXT, _news(number))
            _, answer = self._publisher.receive()
            said = dict(pair.split("=") for pair in answer.decode().split())
            if int(said["forwarded"]) + int(said["refused"]) != 1:
                raise Failure(f"publish {number} said {answer.decode()!r}")
            taken += int(said["forwarded"])
        if not 0 < taken < PUBLISHES:
            raise Failure(f"{taken} of {PUBLISHES} were taken: the mailbox was never full")
        return taken

    def neighbours_are_answered(self, begin):
        """How long after `begin` the last one was."""
        for neighbour in self._neighbours:
            if neighbour.receive() != (ws.TEXT, b"hello"):
                raise Failure("a message sent to the blocked core came back changed")
        waited = time.monotonic() - begin
        if waited < STALL_S:
            raise Failure("the core was not blocked")
        return waited

    def delivered(self, taken):
        """The subscriber on core 1 gets what was taken, in order, and no more."""
        last = -1
        for _ in range(taken):
            _, payload = self._subscriber.receive()
            number = int(payload.split()[0])
            if number <= last:
                raise Failure(f"message {number} came after {last}")
            last = number
        if not self._subscriber.silent(0.3):
            raise Failure("the subscriber got more than the publisher was told")
        return taken


def _news(number):
    return f"{number} ".encode().ljust(PAYLOAD, b".")
