"""What judges the faults can itself fail. Run as the other tests beside it."""

import hashlib
import base64
import os
import re
import socket
import subprocess
import sys
import threading
import time
import unittest

from . import ws
from .common import Failure
from .faults import report
from .faults.account import MIB, Account, processor_seconds, wait_until_asleep, waiting_input
from .faults.crowd import expect, server_frame
from .faults.witness import Witness


class Echo:
    """A server for one connection, which does to message number `at` what `mishap` says."""

    def __init__(self, at=None, mishap=None):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._at, self._mishap = at, mishap
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        self._thread.join(10)

    def _serve(self):
        connection, _ = self._listener.accept()
        with connection:
            head = connection.recv(4096)
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", head).group(1)
            digest = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               b"Sec-WebSocket-Accept: " + digest + b"\r\n\r\n")
            number = 0
            while len(frame := connection.recv(6 + 32, socket.MSG_WAITALL)) == 6 + 32:
                payload = bytes(byte ^ frame[2 + i % 4] for i, byte in enumerate(frame[6:]))
                if number == self._at:
                    payload = self._mishap(connection, payload)
                if payload is None:
                    return
                connection.sendall(server_frame(payload))
                number += 1


def verdict(worst_s=None, **mishap):
    with Echo(**mishap) as server:
        witness = Witness("127.0.0.1", server.port)
        try:
            time.sleep(0.4)
            return witness.verdict(worst_s)
        finally:
            witness.end()


class WitnessTest(unittest.TestCase):
    def test_an_unharmed_witness_tells_its_times(self):
        seen = verdict(worst_s=10)
        self.assertGreaterEqual(seen["messages"], 10)
        self.assertTrue(0 < seen["p50_ms"] <= seen["p99_ms"] <= seen["max_ms"])

    def test_a_late_reply_is_harm(self):
        def late(_, payload):
            time.sleep(0.25)
            return payload
        with self.assertRaisesRegex(Failure, "waited 0.2"):
            verdict(worst_s=0.2, at=20, mishap=late)

    def test_a_wrong_reply_is_harm(self):
        with self.assertRaisesRegex(Failure, "harmed"):
            verdict(at=12, mishap=lambda _, payload: payload[::-1])

    def test_an_end_is_harm(self):
        with self.assertRaisesRegex(Failure, "harmed"):
            verdict(at=12, mishap=lambda *_: None)


class AccountTest(unittest.TestCase):
    def test_a_descriptor_that_stays_is_noticed(self):
        account = Account(os.getpid())
        with socket.socket():
            with self.assertRaisesRegex(Failure, "descriptors"):
                account.settle(limit_s=0.1, spare=64 * MIB)
        account.settle(limit_s=5, spare=64 * MIB)

    def test_memory_that_stays_is_noticed(self):
        account = Account(os.getpid())
        kept = bytearray(os.urandom(1 * MIB) * 48)
        with self.assertRaisesRegex(Failure, "MiB"):
            account.settle(limit_s=0.1, spare=16 * MIB)
        del kept

    def test_a_process_at_rest_is_told_from_one_at_work(self):
        for work, rests in [("input()", True), ("while True: pass", False)]:
            program = subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE)
            try:
                if rests:
                    wait_until_asleep(program.pid)
                    self.assertIsNone(program.poll())
                else:
                    with self.assertRaisesRegex(Failure, "come to rest"):
                        wait_until_asleep(program.pid, limit_s=1)
            finally:
                program.kill()
                program.communicate()

    def test_processor_time_passes(self):
        before = processor_seconds(os.getpid())
        deadline = time.monotonic() + 20
        while processor_seconds(os.getpid()) == before:
            self.assertLess(time.monotonic(), deadline)

    def test_unread_input_is_seen(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)) as client:
                accepted, _ = listener.accept()
                with accepted:
                    client.sendall(bytes(1000))
                    deadline = time.monotonic() + 5
                    while waiting_input(port) != 1000:
                        self.assertLess(time.monotonic(), deadline)


class CrowdTest(unittest.TestCase):
    def test_frames_are_what_a_server_sends(self):
        for size in (0, 125, 126, 65535, 65536):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                writer = threading.Thread(target=theirs.sendall, args=(server_frame(bytes(size)),))
                writer.start()
                expect(ours, bytes(size))
                writer.join()

    def test_another_reply_is_refused(self):
        for sent in (server_frame(b"other"), server_frame(b"want")[:3], ws.encode(ws.BINARY, b"want")):
            ours, theirs = socket.socketpair()
            with ours, self.assertRaises(Failure):
                theirs.sendall(sent)
                theirs.close()
                expect(ours, b"want")


class ReportTest(unittest.TestCase):
    def test_figures_in_words(self):
        self.assertEqual(report.in_words({"a": 12345, "b": {"p50_ms": 1.5, "messages": 3}, "c": [1, 2]}),
                         "a: 12,345, b: p50 1.5 ms messages 3, c: 1 2")


if __name__ == "__main__":
    unittest.main()
