"""Network namespaces: for programs that listen on every address.

A namespace goes with its last process, so nothing is left to clean up.
"""

import fcntl
import os
import socket
import struct
import subprocess

from .common import Failure, need

# netdevice(7); the first two are from linux/sockios.h.
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
INTERFACE_FLAGS = "16sh22x"


def prefix():
    """What to put before a command line to run it in a network namespace of its own."""
    unshare = need("unshare", "to make a network namespace (Debian: util-linux)")
    as_user = [unshare, "--user", "--map-root-user", "--net", "--"]
    choices = [as_user] if os.geteuid() else [[unshare, "--net", "--"], as_user]
    for choice in choices:
        tried = subprocess.run([*choice, "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if tried.returncode == 0:
            return choice
    raise Failure(
        f"no network namespace can be made here ({tried.stderr.strip()}): run this as root, or let users"
        " make them (sysctl user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns)"
    )


def raise_loopback():
    """Makes 127.0.0.1 work in a new namespace, where every interface is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack(INTERFACE_FLAGS, b"lo", 0)
        name, flags = struct.unpack(INTERFACE_FLAGS, fcntl.ioctl(any_socket, SIOCGIFFLAGS, asked))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack(INTERFACE_FLAGS, name, flags | IFF_UP))
