// As many connections as there are users. Without a rate each has one message on the way; with one, each sends at even
// intervals and waits for nothing.
import ws from 'k6/ws';

const connections = Number(__ENV.CONNECTIONS);
const seconds = Number(__ENV.SECONDS);
const rate = Number(__ENV.RATE);
const payload = new Uint8Array(Number(__ENV.BYTES)).fill(120).buffer;

export const options = {
  scenarios: {
    echo: {
      executor: 'per-vu-iterations',
      vus: connections,
      iterations: 1,
      maxDuration: `${seconds + 60}s`,
    },
  },
};

export default function () {
  ws.connect(__ENV.URL, {}, (socket) => {
    const send = () => socket.sendBinary(payload);
    if (rate > 0) {
      socket.on('open', () => socket.setInterval(send, (1000 * connections) / rate));
      socket.on('binaryMessage', () => {});
    } else {
      socket.on('open', send);
      socket.on('binaryMessage', send);
    }
    socket.setTimeout(() => socket.close(), seconds * 1000);
  });
}
