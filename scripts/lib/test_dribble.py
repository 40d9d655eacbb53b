"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import contextlib
import os
import socket
import struct
import threading
import unittest

from .dribble import Proxy
from .proxy import ABORT

LIMIT_S = 60

# More than what the kernel sends before it waits for an acknowledgement, or buffers.
LENGTH = 100_000

# Where `tcpi_data_segs_in` stands in `struct tcp_info` (linux/tcp.h): segments with data that came.
DATA_SEGMENTS_IN = 152


def data_segments_in(end):
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return struct.unpack_from("=I", info, DATA_SEGMENTS_IN)[0]


def received(end, count):
    data = bytearray()
    while len(data) < count and (part := end.recv(count - len(data))):
        data += part
    return bytes(data)


@contextlib.contextmanager
def joined(through_proxy=True):
    """Both ends of a connection, the client's first."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        address = listener.getsockname()
        if through_proxy:
            address = stack.enter_context(Proxy(address)).address
        listener.settimeout(LIMIT_S)
        client = stack.enter_context(socket.create_connection(address, LIMIT_S))
        server, _ = listener.accept()
        stack.enter_context(server).settimeout(LIMIT_S)
        yield client, server


class Dribble(unittest.TestCase):
    def send(self, source, sink):
        data = os.urandom(LENGTH)
        sending = threading.Thread(target=source.sendall, args=(data,))
        sending.start()
        self.assertEqual(received(sink, LENGTH), data)
        sending.join()
        return data_segments_in(sink)

    def test_every_byte_is_a_segment_of_its_own(self):
        with joined() as (client, server):
            # More when the kernel sends one of them again.
            self.assertGreaterEqual(self.send(client, server), LENGTH)
            self.assertGreaterEqual(self.send(server, client), LENGTH)

    def test_without_the_proxy_the_count_is_another(self):
        with joined(through_proxy=False) as (client, server):
            self.assertLess(self.send(client, server), LENGTH / 100)

    def test_passes_the_end_of_a_stream_on(self):
        with joined() as (client, server):
            client.sendall(b"request")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(received(server, 100), b"request")
            server.sendall(b"answer")
            server.close()
            self.assertEqual(received(client, 100), b"answer")

    def test_passes_a_reset_on(self):
        with joined() as (client, server):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            client.close()
            with self.assertRaises(ConnectionResetError):
                server.recv(1)

    def test_closes_what_cannot_be_forwarded(self):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            target = gone.getsockname()
        # The reset may come while the client still waits for its connection.
        with Proxy(target) as proxy, self.assertRaises(ConnectionResetError):
            with socket.create_connection(proxy.address, LIMIT_S) as client:
                client.recv(1)


if __name__ == "__main__":
    unittest.main()
