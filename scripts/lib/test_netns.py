"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import socket
import subprocess
import sys
import unittest

from . import netns
from .common import ROOT, Failure

# Says whether the loopback interface works, and whether the port that is taken outside is taken here.
INSIDE = """
import socket, sys
from lib import netns
netns.raise_loopback()
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    socket.create_connection(listener.getsockname(), 10).close()
print("a network of its own")
"""


class Namespace(unittest.TestCase):
    def test_has_a_loopback_interface_and_ports_of_its_own(self):
        try:
            prefix = netns.prefix()
        except Failure as failure:
            self.skipTest(str(failure))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            inside = subprocess.run([*prefix, sys.executable, "-B", "-c", INSIDE, port], timeout=60,
                                    cwd=ROOT / "scripts", capture_output=True, text=True)
        self.assertEqual((inside.stdout, inside.stderr), ("a network of its own\n", ""))


if __name__ == "__main__":
    unittest.main()
