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


if __name__ == "__main__":
    unittest.main()
