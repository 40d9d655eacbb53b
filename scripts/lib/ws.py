"""A small, strict, blocking WebSocket client (RFC 6455) on the standard library.

It checks servers; it does not measure them. Everything a server must not do raises
`ProtocolError`: a masked frame, a reserved bit, an unknown opcode, a fragmented or long
control frame, a wrong accept key, text that is not UTF-8.
"""

import base64
import hashlib
import os
import socket
import struct

CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CLOSE, PING, PONG = 0x8, 0x9, 0xA

# RFC 6455 section 1.3.
_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

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

    `headers` are the response's, by lower-case name.
    """

    def __init__(self, host, port, path="/", timeout=10.0):
        self._socket = socket.create_connection((host, port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input = bytearray()
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
        """Sends one masked frame."""
        self.send_raw(encode(opcode, payload, fin))

    def send_raw(self, data):
        """Sends bytes as they are: several frames at once, or a broken one."""
        self._socket.sendall(data)

    def receive(self):
        """The next frame that is not a fragment, or the message its fragments make.

        Returns `(opcode, payload)`; control frames are returned, not answered.
        """
        opcode, payload, fin = self._frame()
        if opcode == CONTINUATION:
            raise ProtocolError("continuation frame without a message to continue")
        while not fin:
            more, part, fin = self._frame()
            if more != CONTINUATION:
                raise ProtocolError(f"opcode {more:#x} inside a fragmented message")
            payload += part
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
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key.decode()}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
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
        if "sec-websocket-extensions" in headers:
            raise ProtocolError("the server chose an extension that was not offered")

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
        if first & 0x70:
            raise ProtocolError("reserved bit set")
        if second & 0x80:
            raise ProtocolError("a server must not mask (section 5.1)")
        opcode, fin, length = first & 0x0F, bool(first & 0x80), second & 0x7F
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise ProtocolError(f"unknown opcode {opcode:#x}")
        if opcode >= CLOSE and (not fin or length > _MAX_CONTROL):
            raise ProtocolError("fragmented or long control frame")
        if length == 126:
            length = self._length("!H", 126)
        elif length == 127:
            length = self._length("!Q", 1 << 16)
        return opcode, bytes(self._take(length)), fin

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


def encode(opcode, payload, fin=True):
    """One client frame, masked with a fresh key (section 5.3)."""
    length = len(payload)
    head = bytearray([opcode | (0x80 if fin else 0)])
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


def _mask(payload, key):
    """XOR with the repeated key, as one large integer: quick enough for a megabyte."""
    length = len(payload)
    stream = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(length, "big")
