"""Python `websockets`, its asyncio client with its default settings except the size limit."""

import asyncio
from contextlib import asynccontextmanager

import websockets
from checks import Closed, Suite, expect


class Connection:
    def __init__(self, ws):
        self._ws = ws
        self.subprotocol = ws.subprotocol

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
async def connect(url):
    async with websockets.connect(url, max_size=None) as ws:
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


async def main():
    suite = Suite(connect)
    await suite.check_all()
    await suite.check("fragmented", lambda: fragmented(suite))
    await suite.check("topics", suite.topics)
    await suite.check("chat", suite.chat)
    await suite.check("server-close", suite.server_close)


asyncio.run(main())
