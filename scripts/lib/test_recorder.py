"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import os
import socket
import struct
import unittest

from . import ws
from .recorder import Conversation, Frames, Recorder

LIMIT_S = 60

TEXT = b'{"name": "value"}, ' * 100

REQUEST = b"GET /echo HTTP/1.1\r\nHost: here\r\nSec-WebSocket-Extensions: permessage-deflate; a, b\r\n\r\n"
RESPONSE = b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-extensions:permessage-deflate\r\n\r\n"


def frame(opcode, payload, rsv=0, fin=True):
    """A server's frame."""
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if len(payload) < 126:
        return first + bytes([len(payload)]) + payload
    if len(payload) < 1 << 16:
        return first + struct.pack("!BH", 126, len(payload)) + payload
    return first + struct.pack("!BQ", 127, len(payload)) + payload


def read(data, piece=None):
    frames = Frames()
    for at in range(0, len(data), piece or len(data)):
        frames.feed(data[at : at + (piece or len(data))])
    return frames


class Reading(unittest.TestCase):
    STREAM = b"".join([
        frame(ws.TEXT, b""), frame(ws.TEXT, b"short", rsv=4), frame(ws.PING, b"?"), frame(ws.BINARY, TEXT),
        frame(ws.BINARY, os.urandom(70_000)), frame(ws.TEXT, bytes(200), rsv=4, fin=False),
        frame(ws.CONTINUATION, b"", fin=False), frame(ws.PONG, b""), frame(ws.CONTINUATION, b"end"),
        ws.encode(ws.TEXT, TEXT), frame(ws.CLOSE, b""),
    ])

    def test_counts_messages_however_they_are_cut(self):
        for piece in (None, 1, 2, 3, 5, 13, 14, 15, 16_384):
            with self.subTest(piece):
                frames = read(self.STREAM, piece)
                self.assertEqual((frames.compressed, frames.plain), (2, 4))
                self.assertEqual(frames.payload_bytes, 5 + 2 * len(TEXT) + 70_000 + 203)
                self.assertEqual(frames.broken_rules, [])
                # Not the random bytes, and not what is masked.
                self.assertEqual(frames.left_plain, [len(TEXT)])

    def test_finds_reserved_bits_where_they_must_not_be(self):
        for data, wrong in [
            (frame(ws.PING, b"", rsv=4), "RSV1 is set on opcode 0x9"),
            (frame(ws.CONTINUATION, b"", rsv=4), "RSV1 is set on opcode 0x0"),
            (frame(ws.TEXT, b"", rsv=2), "RSV2 or RSV3 is set"),
            (frame(ws.TEXT, b"", rsv=5), "RSV2 or RSV3 is set"),
        ]:
            self.assertEqual(read(data).broken_rules, [wrong])


class Conversations(unittest.TestCase):
    def test_know_the_extensions_and_both_directions(self):
        for piece in (1, 1000):
            conversation = Conversation()
            answer = RESPONSE + frame(ws.TEXT, b"x", rsv=4)
            for at in range(0, len(REQUEST), piece):
                conversation.from_client(REQUEST[at : at + piece])
            for at in range(0, len(answer), piece):
                conversation.from_server(answer[at : at + piece])
            conversation.from_client(ws.encode(ws.TEXT, b"x"))
            self.assertTrue(conversation.is_websocket)
            self.assertEqual(conversation.offers, ["permessage-deflate; a, b"])
            self.assertEqual(conversation.answers, ["permessage-deflate"])
            self.assertEqual((conversation.to_client.compressed, conversation.to_client.plain), (1, 0))
            self.assertEqual((conversation.to_server.compressed, conversation.to_server.plain), (0, 1))

    def test_of_plain_http_are_none(self):
        conversation = Conversation()
        conversation.from_client(b"GET / HTTP/1.1\r\n\r\n")
        conversation.from_server(b"HTTP/1.1 200 OK\r\n\r\n" + frame(ws.TEXT, b"x", rsv=4))
        self.assertFalse(conversation.is_websocket)
        self.assertEqual(conversation.to_client.compressed, 0)


class Recording(unittest.TestCase):
    def test_passes_everything_on(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(LIMIT_S)
            with Recorder(listener.getsockname()) as recorder:
                with socket.create_connection(recorder.address, LIMIT_S) as client:
                    server, _ = listener.accept()
                    with server:
                        server.settimeout(LIMIT_S)
                        self.exchange(client, server)
            self.assertEqual(recorder.conversations[0].to_client.compressed, 1)

    def exchange(self, client, server):
        answer = RESPONSE + frame(ws.TEXT, os.urandom(100_000), rsv=4)
        for source, sink, data in ((client, server, REQUEST), (server, client, answer)):
            source.sendall(data)
            received = bytearray()
            while len(received) < len(data) and (part := sink.recv(len(data))):
                received += part
            self.assertEqual(received, data)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(server.recv(1), b"")


if __name__ == "__main__":
    unittest.main()
