"""Two hosts on this machine, joined by a link that can be made to lose packets.

Network namespaces with a pair of virtual interfaces; needs root, iproute2 and nftables.
"""

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from .common import Failure

# Documentation addresses (RFC 5737): they are nobody's, and exist only between the two.
HERE, THERE = "192.0.2.1", "192.0.2.2"


def missing():
    """What keeps `linked` from working, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (Debian: apt-get install {package})"
    return None


@contextlib.contextmanager
def linked():
    """Two hosts and their link, gone at the end whatever happens."""
    if (reason := missing()) is not None:
        raise Failure(reason)
    link = Link(f"corecast-{os.getpid()}")
    try:
        link.set_up()
        yield link
    finally:
        link.tear_down()


class Link:
    """Host `here` has address `HERE`, host `there` has `THERE`."""

    def __init__(self, name):
        self._here, self._there = f"{name}-here", f"{name}-there"

    def here(self, argv):
        """A command, to be run on the one host."""
        return ["ip", "netns", "exec", self._here, *argv]

    def there(self, argv):
        """A command, to be run on the other."""
        return ["ip", "netns", "exec", self._there, *argv]

    def set_up(self):
        _run("ip", "netns", "add", self._here)
        _run("ip", "netns", "add", self._there)
        _run("ip", "link", "add", "wire", "netns", self._here, "type", "veth",
             "peer", "name", "wire", "netns", self._there)
        for host, address in ((self._here, HERE), (self._there, THERE)):
            _run("ip", "-n", host, "address", "add", f"{address}/24", "dev", "wire")
            _run("ip", "-n", host, "link", "set", "wire", "up")
            _run("ip", "-n", host, "link", "set", "lo", "up")
            self._retransmit_soon(host)

    def _retransmit_soon(self, host):
        """TCP doubles the time between retransmissions up to two minutes: after nine losses in a row, which a
        fifth of all packets makes no rarity, a connection would hang for as long. One second is the least that
        the kernel allows (since 6.15)."""
        if Path("/proc/sys/net/ipv4/tcp_rto_max_ms").exists():
            _run("ip", "netns", "exec", host, "sysctl", "-qw", "net.ipv4.tcp_rto_max_ms=1000")

    def tear_down(self):
        for host in (self._here, self._there):
            with contextlib.suppress(Failure):
                _run("ip", "netns", "delete", host)

    def lose(self, percent):
        """Loses so much of what arrives on either host, from now on."""
        for host in (self._here, self._there):
            rules = "add table inet fault\ndelete table inet fault\n"
            if percent:
                rules += (
                    "table inet fault { chain arriving { type filter hook input priority 0;\n"
                    f"meta iif wire numgen random mod 100 < {percent} counter drop\n}}\n}}\n"
                )
            _run("ip", "netns", "exec", host, "nft", "-f", "-", text=rules)

    def dropped(self):
        """Packets lost on the way to either host since `lose`."""
        return tuple(_dropped(host) for host in (self._here, self._there))


def _dropped(host):
    listed = json.loads(_run("ip", "netns", "exec", host, "nft", "-j", "list", "table", "inet", "fault"))
    rules = [item["rule"]["expr"] for item in listed["nftables"] if "rule" in item]
    return sum(part["counter"]["packets"] for rule in rules for part in rule if "counter" in part)


def _run(*argv, text=""):
    done = subprocess.run(argv, input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise Failure(f"`{' '.join(argv)}`: {done.stderr.strip() or done.returncode}")
    return done.stdout
