"""Checks that a server really echoes and really broadcasts, before it is measured."""

import socket
import threading

from . import ws

# Both sides of every length encoding of RFC 6455 section 5.2, nothing, and large.
SIZES = (0, 1, 125, 126, 65535, 65536, 1 << 20)

# Messages in flight at once when order is checked.
PIPELINED = 100

# Seconds that any single read or write may take.
TIMEOUT = 10.0

# How long a client that must not receive anything is listened to, in seconds.
SILENCE = 0.05


class Mismatch(Exception):
    """The server answered, but not with what it had to."""


def echo(host, port, path="/", deflate=False):
    """Two clients; each gets exactly its own messages back. With `deflate`, compressed both ways."""
    with _connect(host, port, path, deflate) as first, _connect(host, port, path, deflate) as second:
        for opcode, payload in _messages():
            first.send(opcode, payload)
            _expect(first, opcode, payload)
        if not second.silent(SILENCE):
            raise Mismatch("an echo went to a client that had sent nothing")
        _pipelined(second)
        _fragmented(second)
        _ping(second)
        _compressed(first, second)
        _close(first)
        _close(second)


def broadcast(host, port, path="/", deflate=False):
    """Two clients; both get what either sends, its sender included. With `deflate`, compressed both ways."""
    with _connect(host, port, path, deflate) as first, _connect(host, port, path, deflate) as second:
        _joined(first, second)
        for sender in (first, second):
            for opcode, payload in _messages():
                sender.send(opcode, payload)
                _expect(first, opcode, payload)
                _expect(second, opcode, payload)
        _ping(second)
        _compressed(first, second)
        _close(first)
        second.send(ws.TEXT, b"alone")
        _expect(second, ws.TEXT, b"alone")
        _close(second)


def raw(host, port):
    """Bytes come back as they are: for the floors, which speak no WebSocket."""
    with socket.create_connection((host, port), timeout=TIMEOUT) as connection:
        for size in filter(None, SIZES):
            sent = bytes(i * 7 & 0xFF for i in range(size))
            # The server echoes while it reads: a large write must not wait for its end.
            sender = threading.Thread(target=connection.sendall, args=(sent,))
            sender.start()
            received = bytearray()
            while len(received) < size and (data := connection.recv(size - len(received))):
                received += data
            sender.join()
            if received != sent:
                raise Mismatch(f"sent {size} bytes, received {len(received)}, or others")


def _connect(host, port, path, deflate):
    return ws.WebSocket(host, port, path, deflate=deflate)


def _compressed(*clients):
    """Where compression was agreed on, everything came compressed: nobody set a threshold."""
    for client in clients:
        if client.deflate and client.uncompressed:
            total = client.compressed + client.uncompressed
            raise Mismatch(f"{client.uncompressed} of {total} messages came uncompressed")


def _messages():
    for size in SIZES:
        yield ws.TEXT, _text(size)
        yield ws.BINARY, bytes(i * 7 & 0xFF for i in range(size))


def _text(size):
    """UTF-8 of exactly `size` bytes, with sequences of every length."""
    sample = "aß€😀".encode()
    whole = size // len(sample)
    return sample * whole + b"." * (size - whole * len(sample))


def _joined(first, second):
    """Waits until both are members: a server may answer the handshake a moment earlier."""
    first.send(ws.TEXT, b"first")
    _expect(first, ws.TEXT, b"first")
    second.send(ws.TEXT, b"second")
    while (message := second.receive()) != (ws.TEXT, b"second"):
        if message != (ws.TEXT, b"first"):
            raise Mismatch(f"unexpected message {_shown(*message)}")
    _expect(first, ws.TEXT, b"second")


def _pipelined(client):
    messages = [(ws.BINARY, f"message {i}".encode()) for i in range(PIPELINED)]
    client.send_raw(b"".join(ws.encode(*message) for message in messages))
    for message in messages:
        _expect(client, *message)


def _fragmented(client):
    client.send(ws.TEXT, "halb ß".encode()[:-1], fin=False)  # Cut inside a character.
    client.send(ws.CONTINUATION, b"", fin=False)
    client.send(ws.CONTINUATION, "halb ß".encode()[-1:])
    _expect(client, ws.TEXT, "halb ß".encode())


def _ping(client):
    client.send(ws.PING, b"are you there")
    _expect(client, ws.PONG, b"are you there")


def _close(client):
    code = client.close(1000)
    if code not in (1000, None):
        raise Mismatch(f"close code 1000 was answered with {code}")


def _expect(client, opcode, payload):
    received = client.receive()
    if received != (opcode, payload):
        raise Mismatch(f"sent {_shown(opcode, payload)}, received {_shown(*received)}")


def _shown(opcode, payload):
    start = payload[:16]
    return f"opcode {opcode:#x}, {len(payload)} bytes, {start!r}"
