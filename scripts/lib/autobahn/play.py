"""One fuzzing server and the client that plays it: a program, to be run in a network namespace.

    python3 -m lib.autobahn.play [--loopback] [--bytes] PORT LIMIT_S CLIENT SERVER...

SERVER... is the command line of a fuzzing server that listens on PORT. With `--bytes` the client
goes through the proxy that sends every byte in a segment of its own.
"""

import argparse
import contextlib
import socket
import sys
import time

from .. import bounded, common, netns
from ..dribble import Proxy

# The suite loads a large program before it listens; this is for a busy machine.
START_LIMIT_S = 60

POLL_S = 0.1

AGENT = "corecast"


def main():
    common.unwind_on_sigterm()
    arguments = parse_arguments()
    if arguments.loopback:
        netns.raise_loopback()
    suite = ("127.0.0.1", arguments.port)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(bounded.running(arguments.server, sys.stderr))
        wait_until_it_listens(server, suite)
        through = stack.enter_context(Proxy(suite)).address if arguments.bytes else suite
        command = [arguments.client, "%s:%d" % suite, AGENT, "%s:%d" % through]
        bounded.run(command, arguments.limit_s, sys.stderr)
    return 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loopback", action="store_true", help="bring the loopback interface up first")
    parser.add_argument("--bytes", action="store_true", help="put the proxy between the two")
    parser.add_argument("port", type=int)
    parser.add_argument("limit_s", type=float)
    parser.add_argument("client")
    parser.add_argument("server", nargs=argparse.REMAINDER)
    return parser.parse_args()


def wait_until_it_listens(process, address):
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise common.Failure(f"the fuzzing server ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(address, POLL_S):
            return
        time.sleep(POLL_S)
    raise common.Failure(f"the fuzzing server did not listen within {START_LIMIT_S} s")


if __name__ == "__main__":
    common.main(main)
