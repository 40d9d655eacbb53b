"""Python `aiohttp`, with pings handled here so that they can be seen."""

import asyncio
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import WSMsgType
from checks import Closed, Suite

# Not its default: it offers nothing then.
WINDOW_BITS = 15

server_pinged = asyncio.Event()


class Connection:
    def __init__(self, ws):
        self._ws = ws
        self.subprotocol = ws.protocol
        self.compressed = ws.compress > 0

    async def send_text(self, text):
        await self._ws.send_str(text)

    async def send_binary(self, data):
        await self._ws.send_bytes(data)

    async def send_invalid_text(self, data):
        await self._ws.send_frame(data, WSMsgType.TEXT)

    async def recv(self):
        while True:
            message = await self._ws.receive()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    return message.data
                case WSMsgType.PING:
                    await self._ws.pong(message.data)
                    server_pinged.set()
                case WSMsgType.PONG:
                    pass
                case WSMsgType.CLOSE:
                    raise Closed(message.data)
                case _:
                    raise Closed(self._ws.close_code)

    async def ping(self, payload):
        await self._ws.ping(payload)
        while (message := await self._ws.receive()).type is WSMsgType.PING:
            await self._ws.pong(message.data)
        if message.type is not WSMsgType.PONG or message.data != payload:
            raise AssertionError(f"wanted a pong with the ping's payload, got {message}")

    async def close(self, code, reason):
        await self._ws.close(code=code, message=reason.encode())
        return self._ws.close_code


@asynccontextmanager
async def connect(url):
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, autoping=False, max_msg_size=0, compress=WINDOW_BITS) as ws,
    ):
        yield Connection(ws)


async def main():
    suite = Suite(connect)
    # First, when no earlier connection's deadline wakes the server's loop.
    await suite.check("server-ping", lambda: suite.server_ping(server_pinged))
    await suite.check_all()
    await suite.check("too-large", suite.too_large)
    await suite.check("server-close", suite.server_close)


asyncio.run(main())
