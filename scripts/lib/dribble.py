"""A TCP proxy that sends every byte on in a segment of its own, in both directions.

What reads from a socket sees its input cut at every possible place, as long as it reads each byte
before the next comes; it is given time for that, within a limit. Linux only: MSG_EOR ends a
segment there.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time

READ_LEN = 64 * 1024

# For so long each direction of a connection lets its receiver read byte by byte: some thousands of
# bytes. Then it hurries, since who sends may have a time limit.
PACED_S = 0.3

# Closing with this drops what is not sent yet and sends RST (socket(7)).
ABORT = struct.pack("ii", 1, 0)

# Far more than it takes to end a thread that waits for events only.
END_LIMIT_S = 10


class Proxy:
    """Listens on a free port of 127.0.0.1 while the block runs, and forwards to `target`.

    `target` and `address` are (host, port). An end of stream and a reset are passed on too.
    """

    def __init__(self, target):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.address = self._listener.getsockname()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="dribble", daemon=True)

    def __enter__(self):
        self._accepting = self._loop.create_task(self._accept())
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._accepting.cancel)
        self._thread.join(END_LIMIT_S)

    def _run(self):
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._accepting)
        self._loop.close()

    async def _accept(self):
        with self._listener:
            async with asyncio.TaskGroup() as connections:
                while True:
                    near, _ = await self._loop.sock_accept(self._listener)
                    connections.create_task(self._forward(near))

    async def _forward(self, near):
        far = socket.socket()
        with near, far:
            for end in (near, far):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await self._loop.sock_connect(far, self._target)
                async with asyncio.TaskGroup() as directions:
                    directions.create_task(self._pump(near, far))
                    directions.create_task(self._pump(far, near))
            except* OSError:
                for end in (near, far):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)

    async def _pump(self, source, sink):
        paced = 0.0
        while data := await self._loop.sock_recv(source, READ_LEN):
            view = memoryview(data)
            for at in range(len(view)):
                await self._send(sink, view[at : at + 1])
                if paced < PACED_S:
                    paced += _let_others_run()
        sink.shutdown(socket.SHUT_WR)

    async def _send(self, sink, byte):
        """One byte, which the kernel then adds nothing to: without the flag, bytes that wait for the
        receiver's acknowledgement would leave together."""
        while True:
            try:
                sink.send(byte, socket.MSG_EOR)
                return
            except BlockingIOError:
                await self._until_writable(sink)

    async def _until_writable(self, sink):
        writable = asyncio.Event()
        self._loop.add_writer(sink, writable.set)
        try:
            await writable.wait()
        finally:
            self._loop.remove_writer(sink)


def _let_others_run():
    """The shortest sleep there is, which asyncio's are not; returns how long it took."""
    started = time.monotonic()
    time.sleep(0)
    return time.monotonic() - started
