"""The checks that every Python client runs, written once against a small adapter."""

import asyncio
import json
import os
import signal
import sys
from typing import Protocol

# How the server compresses: "off" if it does not.
DEFLATE = os.environ.get("CLIENT_DEFLATE", "off")

CHECK_LIMIT_S = 20
PIPELINED_MESSAGES = 10_000
SIMILAR_MESSAGES = 300
MEDIUM = 1 << 20
LARGE = 4 << 20
# More than the server's limit for a message.
OVER_THE_LIMIT = 9 << 20
# More than the server's interval between pings.
SERVER_PING_LIMIT_S = 8


class Connection(Protocol):
    """What a client library must do for the checks. `recv` raises `Closed` at the end."""

    subprotocol: str | None
    compressed: bool
    """Whether the library says that permessage-deflate was agreed to."""

    async def send_text(self, text: str): ...
    async def send_binary(self, data: bytes): ...
    async def send_invalid_text(self, data: bytes): ...
    async def recv(self) -> str | bytes: ...
    async def ping(self, payload: bytes): ...
    async def close(self, code: int, reason: str) -> int:
        """Closes first, and returns the code that the server answered with."""


class Closed(Exception):
    """The server closed, with this code."""

    def __init__(self, code):
        super().__init__(f"closed by the server with {code}")
        self.code = code


class Suite:
    """Runs checks against the server of the command line; `connect` is the library's own."""

    def __init__(self, connect):
        self._connect = connect
        self._host = sys.argv[1]
        self._server_pid = int(sys.argv[2])

    def connect(self, path, **options):
        """An async context manager that yields a `Connection`; the options are the library's."""
        return self._connect(f"ws://{self._host}{path}", **options)

    async def check(self, name, body):
        try:
            await asyncio.wait_for(body(), CHECK_LIMIT_S)
        except TimeoutError:
            print(f"FAIL {name} no end within {CHECK_LIMIT_S} s", flush=True)
        except Exception as error:
            why = " ".join(str(error).split())
            print(f"FAIL {name} {type(error).__name__}: {why}", flush=True)
        else:
            print(f"ok {name}", flush=True)

    async def check_all(self):
        for name, body in [
            ("handshake", self.handshake),
            ("text", self.text),
            ("binary", self.binary),
            ("large", self.large),
            ("compressible", self.compressible),
            ("pipelined", self.pipelined),
            ("ping", self.ping),
            ("close", self.close),
            ("invalid-text", self.invalid_text),
        ]:
            await self.check(name, body)

    async def handshake(self):
        async with self.connect("/echo") as ws:
            expect(ws.subprotocol, None, "the subprotocol")
            expect(ws.compressed, DEFLATE != "off", "whether permessage-deflate was agreed to")

    async def text(self):
        async with self.connect("/echo") as ws:
            for text in ["", "a", "Grüße, κόσμε, 世界, 🦀", "x" * 125, "x" * 126, "x" * 65_535, "x" * 65_536]:
                await ws.send_text(text)
                expect(await ws.recv(), text, f"the echo of {len(text)} characters")

    async def binary(self):
        async with self.connect("/echo") as ws:
            for data in [b"", bytes(range(256)), bytes(65_535), os.urandom(65_536), os.urandom(100_003)]:
                await ws.send_binary(data)
                expect(await ws.recv(), data, f"the echo of {len(data)} bytes")

    async def large(self):
        async with self.connect("/echo") as ws:
            for data in [os.urandom(LARGE), os.urandom(LARGE - 1)]:
                await ws.send_binary(data)
                expect(await ws.recv(), data, "the echo of 4 MiB")
            text = numbered("é", LARGE)
            await ws.send_text(text)
            expect(await ws.recv(), text, "the echo of 4 MiB of text")

    async def compressible(self):
        """Messages that compress well, alone or after one another, among some that do not."""
        async with self.connect("/echo") as ws:
            for message in [
                *compressible_messages(), "", b"", os.urandom(MEDIUM), b"\x00", "a", *compressible_messages(),
            ]:
                await (ws.send_text(message) if isinstance(message, str) else ws.send_binary(message))
                expect(await ws.recv(), message, f"the echo of {len(message)}")
            for number in range(SIMILAR_MESSAGES):
                text = similar(number)
                await ws.send_text(text)
                expect(await ws.recv(), text, "the echo of one of many similar messages")

    async def pipelined(self):
        """All are sent without waiting for any answer; all come back, in order."""
        async with self.connect("/echo") as ws:
            async def send_all():
                for number in range(PIPELINED_MESSAGES):
                    await ws.send_text(f"message {number}")

            sending = asyncio.create_task(send_all())
            for number in range(PIPELINED_MESSAGES):
                expect(await ws.recv(), f"message {number}", "the next echo")
            await sending

    async def ping(self):
        async with self.connect("/echo") as ws:
            for payload in [b"", b"are you there", bytes(125)]:
                await ws.ping(payload)

    async def close(self):
        for code, reason in [(1000, ""), (1001, "going"), (3001, "grüße"), (4999, "x" * 123)]:
            async with self.connect("/echo") as ws:
                await ws.send_text("last")
                expect(await ws.recv(), "last", "the echo")
                expect(await ws.close(code, reason), code, f"the answer to close {code}")

    async def invalid_text(self):
        async with self.connect("/echo") as ws:
            await ws.send_invalid_text(b"caf\xc3(")
            expect(await closed(ws), 1007, "the close code")

    async def too_large(self):
        """The server refuses at the header, with the rest of the message still to come."""
        async with self.connect("/echo") as ws:
            sending = asyncio.create_task(ws.send_binary(bytes(OVER_THE_LIMIT)))
            try:
                expect(await closed(ws), 1009, "the close code")
            finally:
                await asyncio.gather(sending, return_exceptions=True)

    async def topics(self):
        """Two subscribers of one topic, one of another, one publisher."""
        async with (
            self.connect("/topics?sub=a&sub=b") as both,
            self.connect("/topics?sub=a") as one,
            self.connect("/topics?sub=c") as other,
            self.connect("/topics?pub=a") as publisher,
            self.connect("/topics?pub=c") as bystander,
        ):
            # Short ones are left as they are by a server that compresses.
            news = [text for number in range(100) for text in (f"news {number}", similar(number))]
            for text in news:
                await publisher.send_text(text)
            await publisher.send_binary(b"\x00\xff")
            for subscriber in (both, one):
                for text in news:
                    expect(await subscriber.recv(), text, "what a subscriber receives")
                expect(await subscriber.recv(), b"\x00\xff", "what a subscriber receives")
            # Had any of it gone to another topic's subscriber, it would come first.
            await bystander.send_text("quiet")
            expect(await other.recv(), "quiet", "what the other topic's subscriber receives")

    async def chat(self):
        async with self.connect("/chat") as ann, self.connect("/chat") as ben:
            for ws in (ann, ben):
                expect(await ask(ws, {"join": "tea"}), {"joined": "tea"}, "the answer to join")
            await ann.send_text(json.dumps({"say": "héllo \"tea\" 🫖", "in": "tea"}))
            for ws in (ann, ben):
                heard = json.loads(await ws.recv())
                expect(heard["said"], "héllo \"tea\" 🫖", "what a member receives")
                expect(heard["in"], "tea", "the room")
            last = await ask(ben, {"last": "tea"})
            expect((last["said"], last["from"]), (heard["said"], heard["from"]), "the answer to last")
            expect(await ask(ben, {"leave": "tea"}), {"left": "tea"}, "the answer to leave")
            for wrong in ({"say": "hello?", "in": "tea"}, {"say": 7}, {"dance": "tea"}, "not JSON"):
                answer = await ask(ben, wrong)
                expect(set(answer), {"error", "at"}, f"the fields of the answer to {wrong}")

    async def server_ping(self, pinged: asyncio.Event):
        """`pinged` is set by the adapter when a ping of the server's arrives."""
        pinged.clear()
        async with self.connect("/echo") as ws:
            receiving = asyncio.create_task(ws.recv())
            waiting = asyncio.create_task(pinged.wait())
            done, _ = await asyncio.wait({receiving, waiting}, timeout=SERVER_PING_LIMIT_S,
                                         return_when=asyncio.FIRST_COMPLETED)
            if waiting not in done:
                receiving.cancel()
                waiting.cancel()
                raise AssertionError(f"no ping within {SERVER_PING_LIMIT_S} s")
            # The answer was accepted: the connection still works.
            await ws.send_text("after the ping")
            expect(await receiving, "after the ping", "the echo")

    async def server_close(self):
        """Every application's connections see 1001 when the server is told to end."""
        async with (
            self.connect("/echo") as echo,
            self.connect("/topics?sub=a") as topics,
            self.connect("/chat") as chat,
        ):
            await echo.send_text("ready")
            expect(await echo.recv(), "ready", "the echo")
            os.kill(self._server_pid, signal.SIGTERM)
            codes = await asyncio.gather(*(closed(ws) for ws in (echo, topics, chat)))
            expect(codes, [1001] * 3, "the close codes")


def numbered(word, length):
    """Text of nearly so many bytes; unlike one character again and again, it does not compress by the hundredfold."""
    return " ".join(f"{word}{number}" for number in range(length // (len(word.encode()) + 8)))


def similar(number):
    """What an application sends again and again."""
    return json.dumps({"type": "position", "vehicle": f"tram-{number % 40}", "number": number, "stops": ["Grüße", "世界"] * 9})


def compressible_messages():
    """Text of every plane of Unicode, and text and binary data of a mebibyte."""
    scalars = (chr(point) for point in range(0, 0x11_0000, 331) if not 0xD800 <= point <= 0xDFFF)
    planes = "".join(scalars)
    records = b"".join(number.to_bytes(4, "big") + b"\x00\x07celsius\x00\x00\x00" for number in range(MEDIUM // 16))
    return [planes + planes, numbered("word", MEDIUM), records]


async def ask(ws, command) -> dict:
    """Sends a chat command, or a text as it is, and returns the answer."""
    await ws.send_text(command if isinstance(command, str) else json.dumps(command))
    return json.loads(await ws.recv())


async def closed(ws) -> int:
    """The code that the server closes with."""
    try:
        message = await ws.recv()
    except Closed as end:
        return end.code
    raise AssertionError(f"wanted a close, got the message {shorten(message)}")


def expect(actual, wanted, what):
    if actual != wanted:
        raise AssertionError(f"{what}: wanted {shorten(wanted)}, got {shorten(actual)}")


def shorten(value) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:50]}... (length {len(value)})"
