"""A TCP proxy, for what has to see or to change the bytes between a client and a server."""

import asyncio
import contextlib
import socket
import struct
import threading

READ_LEN = 64 * 1024

# Closing with this drops what is not sent yet and sends RST (socket(7)).
ABORT = struct.pack("ii", 1, 0)

# Far more than it takes to end a thread that waits for events only.
END_LIMIT_S = 10


class Proxy:
    """Listens on a free port of 127.0.0.1 while the block runs, and forwards to `target`.

    `target` and `address` are (host, port). An end of stream and a reset are passed on too. What is to be done with
    the bytes of a connection a subclass says in `directions`.
    """

    def __init__(self, target):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.address = self._listener.getsockname()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self):
        self._accepting = self.loop.create_task(self._accept())
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self._accepting.cancel)
        self._thread.join(END_LIMIT_S)

    def directions(self, near, far):
        """Coroutines that carry a new connection's bytes, from the client and from the server, to the end of stream."""
        raise NotImplementedError

    def _run(self):
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self._accepting)
        self.loop.close()

    async def _accept(self):
        with self._listener:
            async with asyncio.TaskGroup() as connections:
                while True:
                    near, _ = await self.loop.sock_accept(self._listener)
                    connections.create_task(self._forward(near))

    async def _forward(self, near):
        far = socket.socket()
        with near, far:
            for end in (near, far):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await self.loop.sock_connect(far, self._target)
                async with asyncio.TaskGroup() as directions:
                    for direction in self.directions(near, far):
                        directions.create_task(direction)
            except* OSError:
                for end in (near, far):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
