// Echo and broadcast on Bun: `bun server.ts --port 9002 --mode echo|broadcast [--deflate]`.
//
// As Bun's own documentation of `Bun.serve` shows it: `ws.send(message)` to answer,
// `ws.subscribe` and `server.publish` for fan-out, which Bun implements natively. With `--deflate`,
// `perMessageDeflate: true`, and every message is sent with its `compress` argument.

import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    hostname: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "9002" },
    mode: { type: "string", default: "echo" },
    deflate: { type: "boolean", default: false },
  },
});
if (values.mode !== "echo" && values.mode !== "broadcast") {
  console.error(`peer-bun: --mode is echo or broadcast, not "${values.mode}"`);
  process.exit(2);
}

/** Whether a connection receives what is published: those at a path with `pub=` only send. */
type Peer = { listens: boolean };

/** Everybody's topic in broadcast mode. */
const TOPIC = "all";

/** Well above the largest message measured (1 MiB); as much as the Rust peers accept. */
const MAX_MESSAGE = 64 * 1024 * 1024;

const broadcast = values.mode === "broadcast";
const compress = values.deflate;

const server = Bun.serve({
  hostname: values.hostname,
  port: Number(values.port),
  // Errors are not rendered as pages, and sources are not watched.
  development: false,
  fetch(request, server) {
    const listens = !request.url.includes("pub=");
    if (server.upgrade(request, { data: { listens } satisfies Peer })) return;
    return new Response("This is a WebSocket server.\n", { status: 426 });
  },
  websocket: {
    // Without --deflate no peer compresses; none pings, or times an idle connection out.
    perMessageDeflate: compress,
    sendPings: false,
    idleTimeout: 0,
    maxPayloadLength: MAX_MESSAGE,
    // A limit drops messages to a slow reader; 0 is no limit, as in the other peers.
    backpressureLimit: 0,
    open(ws) {
      if (broadcast && (ws.data as Peer).listens) ws.subscribe(TOPIC);
    },
    message: broadcast
      ? (_ws, message) => void server.publish(TOPIC, message, compress)
      : (ws, message) => void ws.send(message, compress),
  },
});
console.log(`peer-bun listening on ${server.hostname}:${server.port}`);
