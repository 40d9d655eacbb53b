"""A small, strict, blocking WebSocket client (RFC 6455) on the standard library.

It checks servers; it does not measure them. Everything a server must not do raises
`ProtocolError`: a masked frame, a reserved bit, an unknown opcode, a fragmented or long
control frame, a wrong accept key, text that is not UTF-8. With `deflate` it insists on
permessage-deflate without context takeover (RFC 7692), and sends compressed.
"""

import base64
import hashlib
import os
import re
import socket
import struct
import zlib

CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CLOSE, PING, PONG = 0x8, 0x9, 0xA

# RFC 6455 section 1.3.
_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# RFC 7692: what is offered, what has to be in the answer and what else may be, and what ends a message's data (7.2.1).
_OFFER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
_NEEDED = {"server_no_context_takeover"}
_ALLOWED = re.compile(r"client_no_context_takeover|server_max_window_bits=(8|9|1[0-5])")
_TAIL = b"\0\0\xff\xff"
_RSV1 = 0x40

# RFC 6455 section 5.5: payload of a control frame.
_MAX_CONTROL = 125

# A response head longer than this is not one that a WebSocket server sends.
_MAX_HEAD = 16 * 1024

# No server is asked to send more than a few MiB; a length beyond this is a broken frame.
_MAX_MESSAGE = 64 * 1024 * 1024


class ProtocolError(Exception):
    """The server broke RFC 6455."""


class WebSocket:
    """An open connection. `timeout` (seconds) bounds every single read and write.

    `headers` are the response's, by lower-case name; `compressed` and `uncompressed` count the messages that
    have come, but for empty ones that came as they are: there is nothing to compress.
    """

    def __init__(self, host, port, path="/", timeout=10.0, deflate=False):
        self._socket = socket.create_connection((host, port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input = bytearray()
        self.deflate = deflate
        self.compressed = self.uncompressed = 0
        try:
            self._handshake(f"{host}:{port}", path)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, opcode, payload, fin=True):
        """Sends one masked frame; a whole message is compressed where that was agreed on."""
        deflate = self.deflate and fin and opcode in (TEXT, BINARY)
        self.send_raw(encode(opcode, payload, fin, deflate))

    def send_raw(self, data):
        """Sends bytes as they are: several frames at once, or a broken one."""
        self._socket.sendall(data)

    def receive(self):
        """The next frame that is not a fragment, or the message its fragments make.

        Returns `(opcode, payload)`; control frames are returned, not answered.
        """
        opcode, payload, fin, compressed = self._frame()
        if opcode == CONTINUATION:
            raise ProtocolError("continuation frame without a message to continue")
        while not fin:
            more, part, fin, _ = self._frame()
            if more != CONTINUATION:
                raise ProtocolError(f"opcode {more:#x} inside a fragmented message")
            payload += part
        if compressed:
            payload = inflate(payload)
        if opcode in (TEXT, BINARY):
            self.compressed += compressed
            self.uncompressed += bool(payload) and not compressed
        if opcode == TEXT:
            try:
                payload.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ProtocolError(f"text is not UTF-8: {error}") from error
        return opcode, payload

    def silent(self, seconds):
        """Whether the server sends nothing for `seconds`."""
        if self._input:
            return False
        timeout = self._socket.gettimeout()
        self._socket.settimeout(seconds)
        try:
            self._input += self._socket.recv(1)
            return False
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(timeout)

    def close(self, code=1000):
        """The close handshake, begun here. Returns the code that the server answers with."""
        self.send(CLOSE, struct.pack("!H", code))
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                break
        # Section 7.1.1: the server closes the connection first.
        if self._input or self._socket.recv(1):
            raise ProtocolError("data after the close frame")
        return struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else None

    def _handshake(self, authority, path):
        key = base64.b64encode(os.urandom(16))
        offer = f"Sec-WebSocket-Extensions: {_OFFER}\r\n" if self.deflate else ""
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key.decode()}\r\n"
            f"Sec-WebSocket-Version: 13\r\n{offer}\r\n".encode()
        )
        status, headers = self._response_head()
        self.headers = headers
        if status != 101:
            raise ProtocolError(f"the opening handshake was answered with status {status}")
        accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_GUID).digest()).decode()
        expected = {"upgrade": "websocket", "connection": "upgrade"}
        for name, value in expected.items():
            if headers.get(name, "").lower() != value:
                raise ProtocolError(f"header {name} is {headers.get(name)!r}, not {value!r}")
        if headers.get("sec-websocket-accept") != accept:
            raise ProtocolError("Sec-WebSocket-Accept does not match the key")
        self._judge_extensions(headers.get("sec-websocket-extensions"))

    def _judge_extensions(self, answer):
        if not self.deflate:
            if answer is not None:
                raise ProtocolError("the server chose an extension that was not offered")
            return
        name, *parameters = [part.strip() for part in (answer or "").split(";")]
        rest = [one for one in parameters if one not in _NEEDED]
        good = name == "permessage-deflate" and _NEEDED <= set(parameters)
        if not good or len(set(parameters)) < len(parameters) or not all(map(_ALLOWED.fullmatch, rest)):
            raise ProtocolError(f"the offer {_OFFER!r} was answered with {answer!r}")

    def _response_head(self):
        while (end := self._input.find(b"\r\n\r\n")) < 0:
            if len(self._input) > _MAX_HEAD:
                raise ProtocolError("the response head does not end")
            self._fill()
        lines = bytes(self._input[:end]).decode("latin-1").split("\r\n")
        del self._input[: end + 4]
        version, _, rest = lines[0].partition(" ")
        if version != "HTTP/1.1" or not rest[:3].isdigit():
            raise ProtocolError(f"not an HTTP/1.1 response: {lines[0]!r}")
        pairs = (line.partition(":") for line in lines[1:])
        return int(rest[:3]), {name.lower(): value.strip() for name, _, value in pairs}

    def _frame(self):
        first, second = self._take(2)
        opcode, fin, compressed = first & 0x0F, bool(first & 0x80), bool(first & _RSV1)
        if first & 0x30 or compressed and not (self.deflate and opcode in (TEXT, BINARY)):
            raise ProtocolError("reserved bit set")
        if second & 0x80:
            raise ProtocolError("a server must not mask (section 5.1)")
        length = second & 0x7F
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise ProtocolError(f"unknown opcode {opcode:#x}")
        if opcode >= CLOSE and (not fin or length > _MAX_CONTROL):
            raise ProtocolError("fragmented or long control frame")
        if length == 126:
            length = self._length("!H", 126)
        elif length == 127:
            length = self._length("!Q", 1 << 16)
        return opcode, bytes(self._take(length)), fin, compressed

    def _length(self, layout, shortest):
        (length,) = struct.unpack(layout, self._take(struct.calcsize(layout)))
        if not shortest <= length <= _MAX_MESSAGE:
            raise ProtocolError(f"length {length} in a {layout[1:]} field (section 5.2)")
        return length

    def _take(self, count):
        while len(self._input) < count:
            self._fill()
        taken = self._input[:count]
        del self._input[:count]
        return taken

    def _fill(self):
        data = self._socket.recv(256 * 1024)
        if not data:
            raise ProtocolError("the server closed the connection")
        self._input += data


def encode(opcode, payload, fin=True, deflate=False):
    """One client frame, masked with a fresh key (section 5.3); `deflate` makes a compressed message of it."""
    if deflate:
        compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        payload = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        payload = payload.removesuffix(_TAIL)
    length = len(payload)
    head = bytearray([opcode | (0x80 if fin else 0) | (_RSV1 if deflate else 0)])
    if length < 126:
        head.append(0x80 | length)
    elif length < 1 << 16:
        head.append(0x80 | 126)
        head += struct.pack("!H", length)
    else:
        head.append(0x80 | 127)
        head += struct.pack("!Q", length)
    key = os.urandom(4)
    return bytes(head + key) + _mask(payload, key)


def inflate(payload):
    """The message of a compressed payload (RFC 7692 section 7.2.2)."""
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        message = inflater.decompress(payload + _TAIL, _MAX_MESSAGE)
    except zlib.error as error:
        raise ProtocolError(f"a compressed message does not inflate: {error}") from error
    if inflater.unconsumed_tail:
        raise ProtocolError("a compressed message does not end")
    return message


def _mask(payload, key):
    """XOR with the repeated key, as one large integer: quick enough for a megabyte."""
    length = len(payload)
    stream = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(length, "big")
