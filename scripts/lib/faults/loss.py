"""A fifth of all packets is lost, both ways: slow, and nothing worse."""

import json
import subprocess
import sys

from ..common import ROOT, Failure
from .account import MIB, Account

LOSS_PERCENT, CONNECTIONS = 20, 50

# Far more than it takes: a round trip costs a retransmission time-out (200 ms and up) every third time.
LIMIT_S = 200

TITLE = f"{LOSS_PERCENT}% of packets lost both ways, {CONNECTIONS} connections"
SERVER = {"flags": ["--idle-timeout", "120s"], "network": True}


def inflict(server, quick):
    """Every message comes back whole and in order over a lossy link."""
    account = Account(server.pid)
    link = server.link
    link.lose(LOSS_PERCENT)
    host, _, port = server.host.rpartition(":")
    argv = [sys.executable, "-B", "-m", "lib.faults.loss_client", host, port,
            str(CONNECTIONS), str(5 if quick else 40)]
    try:
        done = subprocess.run(link.there(argv), cwd=ROOT / "scripts", stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        raise Failure(f"the clients were not through within {LIMIT_S} s") from None
    if done.returncode != 0:
        raise Failure(f"a client failed: {done.stderr.strip().splitlines()[-1:]}")
    told = json.loads(done.stdout)
    dropped = link.dropped()
    if min(dropped) < CONNECTIONS:
        raise Failure(f"only {dropped} packets were lost: this was no lossy link")
    link.lose(0)
    settled = account.settle(limit_s=30, spare=16 * MIB)
    return {**told, "packets lost each way": list(dropped), "seconds to settle": round(settled, 2)}
