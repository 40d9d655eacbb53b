"""A TCP proxy that sends every byte on in a segment of its own, in both directions.

What reads from a socket sees its input cut at every possible place, as long as it reads each byte
before the next comes; it is given time for that, within a limit. Linux only: MSG_EOR ends a
segment there.
"""

import asyncio
import socket
import time

from . import proxy

# For so long each direction of a connection lets its receiver read byte by byte: some thousands of
# bytes. Then it hurries, since who sends may have a time limit.
PACED_S = 0.3


class Proxy(proxy.Proxy):
    """See `proxy.Proxy`."""

    def directions(self, near, far):
        return self._pump(near, far), self._pump(far, near)

    async def _pump(self, source, sink):
        paced = 0.0
        while data := await self.loop.sock_recv(source, proxy.READ_LEN):
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
        self.loop.add_writer(sink, writable.set)
        try:
            await writable.wait()
        finally:
            self.loop.remove_writer(sink)


def _let_others_run():
    """The shortest sleep there is, which asyncio's are not; returns how long it took."""
    started = time.monotonic()
    time.sleep(0)
    return time.monotonic() - started
