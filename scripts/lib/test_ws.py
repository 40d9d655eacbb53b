"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import base64
import hashlib
import re
import socket
import threading
import unittest

from . import ws


class Fake:
    """A server that answers one opening handshake, sends `reply`, and echoes no frame."""

    def __init__(self, reply=b"", head=b"", accept=None):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=(reply, head, accept))
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.join(10)
        self._listener.close()

    def _serve(self, reply, head, accept):
        connection, _ = self._listener.accept()
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(4096)
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", request).group(1)
            digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                + (accept or base64.b64encode(digest))
                + b"\r\n" + head + b"\r\n" + reply
            )


def received(reply):
    with Fake(reply) as server, ws.WebSocket("127.0.0.1", server.port, timeout=5) as client:
        return client.receive()


class Client(unittest.TestCase):
    def test_joins_fragments(self):
        frames = b"\x01\x01\xc3" + b"\x80\x01\x9f"
        self.assertEqual(received(frames), (ws.TEXT, "ß".encode()))

    def test_reads_every_length(self):
        for head, size in ((b"\x82\x7d", 125), (b"\x82\x7e\x00\x7e", 126),
                           (b"\x82\x7f" + (65536).to_bytes(8, "big"), 65536)):
            self.assertEqual(received(head + bytes(size)), (ws.BINARY, bytes(size)))

    def test_refuses_what_a_server_must_not_send(self):
        for name, reply in {
            "masked": b"\x82\x81\0\0\0\0a",
            "reserved bit": b"\xc2\x00",
            "unknown opcode": b"\x83\x00",
            "fragmented ping": b"\x09\x00",
            "long ping": b"\x89\x7e\x00\x7e" + bytes(126),
            "length not minimal": b"\x82\x7e\x00\x01a",
            "stray continuation": b"\x80\x00",
            "not UTF-8": b"\x81\x01\xff",
            "end of stream": b"\x82\x05ab",
        }.items():
            with self.subTest(name), self.assertRaises(ws.ProtocolError):
                received(reply)

    def test_refuses_a_wrong_accept_key_and_unasked_extensions(self):
        for options in ({"accept": b"AAAA"}, {"head": b"Sec-WebSocket-Extensions: x\r\n"}):
            with self.subTest(options), Fake(**options) as server:
                with self.assertRaises(ws.ProtocolError):
                    ws.WebSocket("127.0.0.1", server.port, timeout=5)

    def test_masks(self):
        frame = ws.encode(ws.BINARY, b"some bytes")
        self.assertEqual(frame[:2], b"\x82\x8a")
        key, masked = frame[2:6], frame[6:]
        self.assertEqual(bytes(b ^ key[i % 4] for i, b in enumerate(masked)), b"some bytes")


def answered(parameters, reply=b""):
    """What a client that insists on compression receives, when it is answered so; its counts as well."""
    head = b"Sec-WebSocket-Extensions: permessage-deflate" + parameters + b"\r\n"
    with Fake(reply, head) as server:
        with ws.WebSocket("127.0.0.1", server.port, timeout=5, deflate=True) as client:
            message = client.receive() if reply else None
            return message, client.compressed, client.uncompressed


AGREED = b"; server_no_context_takeover"

# RFC 7692 section 7.2.3.1: "Hello".
HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"


class Deflate(unittest.TestCase):
    def test_inflates_whole_messages_and_fragmented_ones(self):
        whole = b"\xc1\x07" + HELLO
        fragments = b"\x41\x03" + HELLO[:3] + b"\x80\x04" + HELLO[3:]
        for reply in (whole, fragments):
            self.assertEqual(answered(AGREED, reply), ((ws.TEXT, b"Hello"), 1, 0))

    def test_counts_what_comes_as_it_is_unless_it_is_empty(self):
        self.assertEqual(answered(AGREED, b"\x81\x05Hello"), ((ws.TEXT, b"Hello"), 0, 1))
        self.assertEqual(answered(AGREED, b"\x81\x00"), ((ws.TEXT, b""), 0, 0))

    def test_takes_the_answers_that_are_allowed(self):
        for more in (b"", b"; client_no_context_takeover", b"; server_max_window_bits=9"):
            answered(AGREED + more)

    def test_refuses_the_others(self):
        for parameters in (b"", b"; client_no_context_takeover", AGREED + AGREED, AGREED + b"; x",
                           AGREED + b"; client_max_window_bits=10", AGREED + b"; server_max_window_bits=16",
                           AGREED + b", permessage-deflate" + AGREED):
            with self.subTest(parameters), self.assertRaises(ws.ProtocolError):
                answered(parameters)

    def test_refuses_a_server_that_does_not_agree(self):
        with Fake() as server, self.assertRaises(ws.ProtocolError):
            ws.WebSocket("127.0.0.1", server.port, timeout=5, deflate=True)

    def test_refuses_garbage_and_misplaced_bits(self):
        for name, reply in {
            "garbage": b"\xc2\x04\xff\xff\xff\xff",
            "a control frame": b"\xc9\x00",
            "a continuation": b"\x41\x03" + HELLO[:3] + b"\xc0\x04" + HELLO[3:],
            "another bit": b"\xa1\x07" + HELLO,
        }.items():
            with self.subTest(name), self.assertRaises(ws.ProtocolError):
                answered(AGREED, reply)

    def test_compresses_what_it_sends(self):
        frame = ws.encode(ws.TEXT, b"again and " * 100, deflate=True)
        self.assertEqual(frame[0], 0xC1)
        self.assertLess(len(frame), 50)
        payload = bytes(byte ^ frame[2 + at % 4] for at, byte in enumerate(frame[6:]))
        self.assertEqual(ws.inflate(payload), b"again and " * 100)


if __name__ == "__main__":
    unittest.main()
