// Echo and broadcast on node's `ws`, with compression:
// `node server.mjs --modules DIR --port 9002 --mode echo|broadcast`, where DIR holds its `node_modules`.
//
// As the README of `ws` shows it: `ws.send(data, { binary })` to answer, `wss.clients` for fan-out. Its native helper
// `bufferutil` is installed, as the README advises for speed.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    modules: { type: "string", default: "." },
    hostname: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "9002" },
    mode: { type: "string", default: "echo" },
  },
});
if (values.mode !== "echo" && values.mode !== "broadcast") {
  console.error(`peer-ws: --mode is echo or broadcast, not "${values.mode}"`);
  process.exit(2);
}

const { WebSocketServer, WebSocket } = createRequire(`${values.modules}/`)("ws");

/** Well above the largest message measured (1 MiB); as much as the Rust peers accept. */
const MAX_MESSAGE = 64 * 1024 * 1024;

const server = new WebSocketServer({
  host: values.hostname,
  port: Number(values.port),
  backlog: 4096,
  maxPayload: MAX_MESSAGE,
  // Every message is compressed, and neither side keeps context: what the other contestants do.
  perMessageDeflate: { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
});
const broadcast = values.mode === "broadcast";

/** Those who receive what is published: all but those at a path with `pub=`. */
const subscribers = new Set();

server.on("connection", (peer, request) => {
  if (broadcast && !request.url.includes("pub=")) {
    subscribers.add(peer);
    peer.on("close", () => subscribers.delete(peer));
  }
  // A broken connection closes, too; the harness reports it.
  peer.on("error", () => {});
  peer.on("message", (data, binary) => {
    if (!broadcast) return peer.send(data, { binary });
    for (const subscriber of subscribers) {
      if (subscriber.readyState === WebSocket.OPEN) subscriber.send(data, { binary });
    }
  });
});
server.on("listening", () => console.log(`peer-ws listening on ${values.hostname}:${values.port}`));
