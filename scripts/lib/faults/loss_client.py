"""The clients of `loss`, run on the far side of the link: HOST PORT CONNECTIONS MESSAGES."""

import json
import sys
import threading
import time

from .. import ws

# With a request or its answer lost several times over, the handshake deadline may pass.
ATTEMPTS = 10

PATIENCE_S = 100.0

# Larger than one packet now and then, so that a loss falls inside a frame.
SIZES = (32, 512, 9000)


def main():
    host, port, connections, messages = sys.argv[1], *map(int, sys.argv[2:])
    talks = [_Talk(host, port, number, messages) for number in range(connections)]
    start = time.monotonic()
    for talk in talks:
        talk.start()
    for talk in talks:
        talk.join()
    wrong = [talk.wrong for talk in talks if talk.wrong]
    if wrong:
        print(f"{len(wrong)} of {connections} connections failed, the first: {wrong[0]}", file=sys.stderr)
        return 1
    times = sorted(seconds for talk in talks for seconds in talk.times)
    print(json.dumps({
        "messages": len(times),
        "seconds": round(time.monotonic() - start, 1),
        "handshakes tried again": sum(talk.retries for talk in talks),
        "p50_ms": round(times[len(times) // 2] * 1e3, 1),
        "p99_ms": round(times[len(times) * 99 // 100] * 1e3, 1),
        "max_ms": round(times[-1] * 1e3, 1),
    }))
    return 0


class _Talk(threading.Thread):
    """One connection, one message at a time."""

    def __init__(self, host, port, number, messages):
        super().__init__(daemon=True)
        self._address, self._number, self._messages = (host, port), number, messages
        self.times, self.retries, self.wrong = [], 0, None

    def run(self):
        try:
            with self._connected() as socket:
                for sequence in range(self._messages):
                    self._echo(socket, sequence)
                if (code := socket.close(1000)) != 1000:
                    self.wrong = f"the closing handshake ended with {code}"
        except (OSError, ws.ProtocolError) as error:
            self.wrong = f"{type(error).__name__}: {error}"

    def _connected(self):
        while True:
            try:
                return ws.WebSocket(*self._address, "/echo", timeout=PATIENCE_S)
            except (OSError, ws.ProtocolError):
                self.retries += 1
                if self.retries >= ATTEMPTS:
                    raise

    def _echo(self, socket, sequence):
        mark = f"{self._number}/{sequence} ".encode()
        payload = mark * (SIZES[sequence % len(SIZES)] // len(mark) + 1)
        start = time.monotonic()
        socket.send(ws.BINARY, payload)
        opcode, reply = socket.receive()
        while opcode == ws.PING:
            socket.send(ws.PONG, reply)
            opcode, reply = socket.receive()
        self.times.append(time.monotonic() - start)
        if (opcode, reply) != (ws.BINARY, payload):
            raise ws.ProtocolError(f"message {sequence} came back as opcode {opcode:#x}, {len(reply)} bytes")


if __name__ == "__main__":
    sys.exit(main())
