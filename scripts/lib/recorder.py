"""A proxy that reads along: what clients offered, what the server agreed to, and which messages were compressed.

It knows no more of RFC 6455 than frame headers, so that it can witness for an engine and for client libraries alike.
"""

import socket
import zlib

from . import proxy

OPCODE_BITS, FIN, RSV1, RSV2_AND_3, MASKED, LENGTH_BITS = 0x0F, 0x80, 0x40, 0x30, 0x80, 0x7F
CONTINUATION, FIRST_CONTROL = 0x0, 0x8

# What a payload length says of the bytes that follow the first two (RFC 6455 section 5.2).
LONG_LENGTHS = {126: 2, 127: 8}

MASK_LEN = 4
LONGEST_HEADER = 14

# A whole plain message of so many bytes could have been compressed if even the least of compressors, with the smallest
# window, makes a good deal less of its first bytes.
WORTH_COMPRESSING = 1024
SAMPLE_LEN = 4096
LEAST_LEVEL, LEAST_WINDOW = 1, 9
GOOD_SHARE = 0.6


class Recorder(proxy.Proxy):
    """Keeps a `Conversation` of every connection through it."""

    def __init__(self, target):
        super().__init__(target)
        self.conversations = []

    def directions(self, near, far):
        conversation = Conversation()
        self.conversations.append(conversation)
        return (
            self._carry(near, far, conversation.from_client),
            self._carry(far, near, conversation.from_server),
        )

    async def _carry(self, source, sink, record):
        while data := await self.loop.sock_recv(source, proxy.READ_LEN):
            record(data)
            await self.loop.sock_sendall(sink, data)
        sink.shutdown(socket.SHUT_WR)


class Conversation:
    """What went over one connection. `offers` and `answers` are the values of `Sec-WebSocket-Extensions`."""

    def __init__(self):
        self.is_websocket = False
        self.offers = []
        self.answers = []
        self.to_server = Frames()
        self.to_client = Frames()
        self._heads = {"request": bytearray(), "response": bytearray()}

    def from_client(self, data):
        if self.is_websocket:
            self.to_server.feed(data)
        elif head := self._head("request", data):
            self.offers = _extensions(head)

    def from_server(self, data):
        if self.is_websocket:
            self.to_client.feed(data)
        elif (head := self._head("response", data)) and head.startswith(b"HTTP/1.1 101 "):
            self.is_websocket = True
            self.answers = _extensions(head)
            # What came with the head.
            self.to_client.feed(bytes(self._heads["response"][len(head):]))

    def _head(self, which, data):
        """The head of the first request or response, when it ends in these bytes."""
        known = self._heads[which]
        if known.find(b"\r\n\r\n") >= 0:
            return None
        known += data
        end = known.find(b"\r\n\r\n")
        return bytes(known[: end + 4]) if end >= 0 else None


class Frames:
    """Counts one direction's data messages, and notes which rules it broke."""

    def __init__(self):
        self.compressed = 0
        self.plain = 0
        self.payload_bytes = 0
        # What RFC 7692 section 6 forbids.
        self.broken_rules = []
        # Lengths of whole plain messages that compress well. Only those without a mask can be judged.
        self.left_plain = []
        self._unread = bytearray()
        self._payload_left = 0
        self._sample = None
        self._sampled_len = 0

    def feed(self, data):
        """Reads on; frames may be cut anywhere."""
        self._unread += data
        at = 0
        while at < len(self._unread):
            taken = self._payload(at) if self._payload_left else self._header(at)
            if not taken:
                break
            at += taken
        del self._unread[:at]

    def _header(self, at):
        """Reads a header. Its length, or 0 while it is not whole."""
        start = self._unread[at : at + LONGEST_HEADER]
        if len(start) < 2:
            return 0
        length, masked = start[1] & LENGTH_BITS, bool(start[1] & MASKED)
        more = LONG_LENGTHS.get(length, 0)
        header_len = 2 + more + (MASK_LEN if masked else 0)
        if len(start) < header_len:
            return 0
        if more:
            length = int.from_bytes(start[2 : 2 + more], "big")
        self._note(start[0], length, masked)
        return header_len

    def _payload(self, at):
        """Reads what there is of the payload; how much that was."""
        taken = min(self._payload_left, len(self._unread) - at)
        self._payload_left -= taken
        if self._sample is not None:
            wanted = min(taken, SAMPLE_LEN - len(self._sample))
            self._sample += self._unread[at : at + wanted]
            if not self._payload_left:
                self._judge_sample()
        return taken

    def _note(self, first, length, masked):
        self._payload_left = length
        opcode, rsv1 = first & OPCODE_BITS, bool(first & RSV1)
        begins_message = opcode != CONTINUATION and opcode < FIRST_CONTROL
        if first & RSV2_AND_3:
            self.broken_rules.append("RSV2 or RSV3 is set")
        if rsv1 and not begins_message:
            self.broken_rules.append(f"RSV1 is set on opcode {opcode:#x}")
        if begins_message:
            self.compressed += rsv1
            self.plain += not rsv1
        if opcode < FIRST_CONTROL:
            self.payload_bytes += length
        whole = begins_message and first & FIN
        if whole and not rsv1 and not masked and length >= WORTH_COMPRESSING:
            self._sample, self._sampled_len = bytearray(), length

    def _judge_sample(self):
        compressor = zlib.compressobj(LEAST_LEVEL, wbits=LEAST_WINDOW)
        compressed = len(compressor.compress(self._sample) + compressor.flush())
        if compressed < GOOD_SHARE * len(self._sample):
            self.left_plain.append(self._sampled_len)
        self._sample = None


def _extensions(head):
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return [value.strip().decode() for name, _, value in pairs if name.lower() == b"sec-websocket-extensions"]
