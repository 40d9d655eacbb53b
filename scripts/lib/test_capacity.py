"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import os
import socket
import unittest

from . import capacity


class CapacityTest(unittest.TestCase):
    def test_processes_and_sources(self):
        self.assertEqual(capacity.processes(100_000, 20_000), 6)
        self.assertEqual(capacity.processes(19_900, 20_000), 1)
        self.assertEqual(capacity.processes(1_000_000, 1_048_576), 1)
        self.assertEqual(capacity.sources(100_000, 1), 7)
        self.assertEqual(capacity.sources(100_000, 6), 2)

    def test_the_kernel_counts_sockets(self):
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(50)]
        kernel = capacity.Kernel.now()
        self.assertGreaterEqual(kernel.sockets, 50)
        self.assertGreater(kernel.slab, 0)
        for listener in listeners:
            listener.close()

    def test_memory_and_settings(self):
        self.assertGreater(capacity.resident([os.getpid()]), capacity.MIB)
        self.assertEqual(capacity.resident([1 << 30]), 0)
        self.assertEqual(capacity.children(1 << 30), [])
        self.assertIsNotNone(capacity.setting("net.ipv4.ip_local_port_range"))
        self.assertIsNone(capacity.setting("net.no_such_setting"))


if __name__ == "__main__":
    unittest.main()
