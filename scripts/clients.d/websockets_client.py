"""Python `websockets`, its asyncio client with its default settings except the size limit."""

import asyncio
import os
from contextlib import asynccontextmanager

import websockets
from checks import Closed, Suite, compressible_messages, expect, similar
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

# Does not get smaller.
RANDOM = os.urandom(1 << 20)

# What a client may offer beside the library's default, which asks for nothing.
OFFERS = [
    {"server_max_window_bits": 9, "client_max_window_bits": 9},
    {"server_max_window_bits": 12, "client_max_window_bits": True},
    {"server_no_context_takeover": True},
    {"client_no_context_takeover": True, "client_max_window_bits": None},
    {"server_no_context_takeover": True, "client_no_context_takeover": True, "server_max_window_bits": 10},
]


class Connection:
    def __init__(self, ws):
        self._ws = ws
        self.subprotocol = ws.subprotocol
        self.compressed = any(it.name == "permessage-deflate" for it in ws.protocol.extensions)

    async def send_text(self, text):
        await self._ws.send(text)

    async def send_binary(self, data):
        await self._ws.send(data)

    async def send_invalid_text(self, data):
        await self._ws.send(data, text=True)

    async def send_fragments(self, fragments):
        """An iterable, or an asynchronous one, of one message's fragments."""
        await self._ws.send(fragments)

    async def recv(self):
        try:
            return await self._ws.recv()
        except websockets.ConnectionClosed as end:
            raise Closed(end.rcvd and end.rcvd.code) from end

    async def ping(self, payload):
        await (await self._ws.ping(payload))

    async def close(self, code, reason):
        await self._ws.close(code, reason)
        return self._ws.close_code


@asynccontextmanager
async def connect(url, **options):
    async with websockets.connect(url, max_size=None, **options) as ws:
        yield Connection(ws)


async def fragmented(suite):
    async with suite.connect("/echo") as ws:
        await ws.send_fragments(["Grü", "", "ße, ", "世界"])
        expect(await ws.recv(), "Grüße, 世界", "the echo of a text in fragments")

        pieces = [bytes([number % 256]) * number for number in range(1000)]
        await ws.send_fragments(pieces)
        expect(await ws.recv(), b"".join(pieces), "the echo of 1,000 binary fragments")

        async def with_pings():
            for piece in (b"one ", b"two ", b"three"):
                yield piece
                await ws.ping(b"between fragments")

        await ws.send_fragments(with_pings())
        expect(await ws.recv(), b"one two three", "the echo of fragments with pings between")


async def fragmented_text_that_compresses(suite):
    async with suite.connect("/echo") as ws:
        pieces = [similar(number) for number in range(100)]
        await ws.send_fragments(pieces)
        expect(await ws.recv(), "".join(pieces), "the echo of a long text in fragments")


async def offers(suite):
    for offer in OFFERS:
        async with suite.connect("/echo", extensions=[ClientPerMessageDeflateFactory(**offer)]) as ws:
            for message in [*compressible_messages(), RANDOM, RANDOM, *map(similar, range(20))]:
                await (ws.send_text(message) if isinstance(message, str) else ws.send_binary(message))
                expect(await ws.recv(), message, f"the echo of {len(message)} after the offer {offer}")


async def main():
    suite = Suite(connect)
    await suite.check_all()
    await suite.check("fragmented", lambda: fragmented(suite))
    await suite.check("fragmented-compressible", lambda: fragmented_text_that_compresses(suite))
    await suite.check("offers", lambda: offers(suite))
    await suite.check("topics", suite.topics)
    await suite.check("chat", suite.chat)
    await suite.check("server-close", suite.server_close)


asyncio.run(main())
