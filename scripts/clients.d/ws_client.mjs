// node `ws` with its default settings.

import { randomBytes } from "node:crypto";
import { once } from "node:events";

import {
  check, compresses, everyPlane, expect, load, numbered, serverHost, serverPid, similar, within,
} from "./report.mjs";

const WebSocket = load("ws");

const PIPELINED_MESSAGES = 10_000;
const SIMILAR_MESSAGES = 300;
const MEDIUM = 1 << 20;
const LARGE = 4 << 20;
// More than the server's limit for a message.
const OVER_THE_LIMIT = 9 << 20;
// More than the server's interval between pings.
const SERVER_PING_LIMIT_MS = 8_000;

// What a client may offer beside the default, which asks for nothing.
const OFFERS = [
  { serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
  { serverMaxWindowBits: 12 },
  { serverNoContextTakeover: true },
  { clientNoContextTakeover: true, clientMaxWindowBits: 10 },
  { serverNoContextTakeover: true, clientNoContextTakeover: true, serverMaxWindowBits: 10, threshold: 0 },
];

// A connection whose messages are awaited one after the other.
class Client {
  #socket;
  #messages = [];
  #waiting = null;

  static async connect(path, options = {}) {
    const client = new Client(new WebSocket(`ws://${serverHost}${path}`, options));
    await once(client.#socket, "open");
    return client;
  }

  constructor(socket) {
    this.#socket = socket;
    this.closed = new Promise(resolve => {
      socket.on("close", (code, reason) => {
        resolve({ code, reason: reason.toString() });
        this.#waiting?.reject(new Error(`closed with ${code} while a message was awaited`));
      });
    });
    socket.on("message", (data, binary) => {
      const message = binary ? data : data.toString();
      if (this.#waiting) {
        this.#waiting.resolve(message);
        this.#waiting = null;
      } else {
        this.#messages.push(message);
      }
    });
  }

  get socket() {
    return this.#socket;
  }

  receive() {
    if (this.#messages.length > 0) return Promise.resolve(this.#messages.shift());
    return new Promise((resolve, reject) => { this.#waiting = { resolve, reject }; });
  }

  send(data, options = {}) {
    this.#socket.send(data, options);
  }

  async echo(data) {
    this.send(data);
    expect(await this.receive(), data, `the echo of ${data.length}`);
  }

  // Sends a chat command, or a text as it is, and returns the answer.
  async ask(command) {
    this.send(typeof command === "string" ? command : JSON.stringify(command));
    return JSON.parse(await this.receive());
  }
}

// Connects to each path, and drops the connections when the body has ended.
async function using(paths, body, options) {
  const clients = [];
  try {
    for (const path of paths) clients.push(await Client.connect(path, options));
    await body(...clients);
  } finally {
    for (const client of clients) client.socket.terminate();
  }
}

const onEcho = (body, options) => () => using(["/echo"], body, options);

// Messages that compress well, among some that do not.
async function echoCompressible(ws) {
  const records = Buffer.alloc(MEDIUM, "1234\0\0\0\x07celsius\0");
  for (let at = 0; at < MEDIUM; at += 16) records.writeUInt32BE(at / 16, at);
  const messages = [everyPlane().repeat(2), numbered("word", MEDIUM), "", records, randomBytes(MEDIUM), Buffer.alloc(1), "a"];
  for (const data of messages) await ws.echo(data);
}

// First, when no earlier connection's deadline wakes the server's loop.
await check("server-ping", onEcho(async ws => {
  await within(SERVER_PING_LIMIT_MS, once(ws.socket, "ping"));
  await ws.echo("after the ping");
}));

await check("handshake", onEcho(async ws => {
  expect(ws.socket.protocol, "", "the subprotocol");
  expect(ws.socket.extensions, compresses ? "permessage-deflate" : "", "the extensions");
}));

await check("text", onEcho(async ws => {
  for (const text of ["", "a", "Grüße, κόσμε, 世界, 🦀"]) await ws.echo(text);
  for (const length of [125, 126, 65_535, 65_536]) await ws.echo("x".repeat(length));
}));

await check("binary", onEcho(async ws => {
  for (const length of [0, 1, 125, 126, 65_535, 65_536, 100_003]) await ws.echo(randomBytes(length));
}));

await check("large", onEcho(async ws => {
  await ws.echo(randomBytes(LARGE));
  await ws.echo(numbered("é", LARGE));
}));

await check("compressible", onEcho(async ws => {
  await echoCompressible(ws);
  for (let number = 0; number < SIMILAR_MESSAGES; number++) await ws.echo(similar(number));
  await echoCompressible(ws);
}));

await check("offers", async () => {
  for (const offer of OFFERS) {
    await using(["/echo"], async ws => {
      await echoCompressible(ws);
      for (let number = 0; number < 20; number++) await ws.echo(similar(number));
    }, { perMessageDeflate: offer });
  }
});

await check("offers-nothing", onEcho(async ws => {
  expect(ws.socket.extensions, "", "the extensions");
  await echoCompressible(ws);
}, { perMessageDeflate: false }));

await check("fragmented", onEcho(async ws => {
  // Cut in the middle of a character.
  const text = Buffer.from("Grüße, 世界");
  for (const [cut, fin] of [[0, false], [3, false], [9, true]]) {
    const end = { 0: 3, 3: 9, 9: text.length }[cut];
    ws.send(text.subarray(cut, end), { fin, binary: false });
  }
  expect(await ws.receive(), "Grüße, 世界", "the echo of a text in fragments");

  const data = randomBytes(100_000);
  for (let at = 0; at < data.length; at += 1000) {
    ws.send(data.subarray(at, at + 1000), { fin: at + 1000 === data.length, binary: true });
    if (at === 50_000) ws.socket.ping("between fragments");
  }
  expect(await ws.receive(), data, "the echo of 100 binary fragments");

  // The first is long enough for the library to compress the message whatever was agreed to.
  const words = numbered("wörter", 200_000);
  for (let at = 0; at < words.length; at += 5000) {
    ws.send(words.slice(at, at + 5000), { fin: at + 5000 >= words.length, binary: false });
    if (at === 50_000) ws.socket.ping("between fragments");
  }
  expect(await ws.receive(), words, "the echo of a text in fragments that compress");
}));

await check("pipelined", onEcho(async ws => {
  for (let number = 0; number < PIPELINED_MESSAGES; number++) ws.send(`message ${number}`);
  for (let number = 0; number < PIPELINED_MESSAGES; number++) {
    expect(await ws.receive(), `message ${number}`, "the next echo");
  }
}));

await check("ping", onEcho(async ws => {
  for (const payload of [Buffer.alloc(0), Buffer.from("are you there"), randomBytes(125)]) {
    ws.socket.ping(payload);
    const [answer] = await once(ws.socket, "pong");
    expect(answer, payload, "the pong's payload");
  }
}));

await check("close", async () => {
  for (const [code, reason] of [[1000, ""], [1001, "going"], [3001, "grüße"], [4999, "x".repeat(123)]]) {
    await using(["/echo"], async ws => {
      await ws.echo("last");
      ws.socket.close(code, reason);
      expect((await ws.closed).code, code, `the answer to close ${code}`);
    });
  }
});

await check("invalid-text", onEcho(async ws => {
  ws.send(Buffer.from([0x63, 0xc3, 0x28]), { binary: false });
  expect((await ws.closed).code, 1007, "the close code");
}));

// The server refuses at the header, with the rest of the message still to come.
await check("too-large", onEcho(async ws => {
  ws.socket.on("error", () => {});
  ws.send(Buffer.alloc(OVER_THE_LIMIT));
  expect((await ws.closed).code, 1009, "the close code");
}));

await check("topics", () => using(["/topics?sub=a&sub=b", "/topics?sub=a", "/topics?sub=c", "/topics?pub=a", "/topics?pub=c"],
  async (both, one, other, publisher, bystander) => {
    for (let number = 0; number < 100; number++) publisher.send(`news ${number}`);
    for (const subscriber of [both, one]) {
      for (let number = 0; number < 100; number++) {
        expect(await subscriber.receive(), `news ${number}`, "what a subscriber receives");
      }
    }
    // Had any of it gone to another topic's subscriber, it would come first.
    bystander.send("quiet");
    expect(await other.receive(), "quiet", "what the other topic's subscriber receives");
  }));

// Subscribers that have agreed to different things get the same messages, while others join.
await check("topics-offers", () => using(["/topics?pub=mixed"], async publisher => {
  const news = number => number % 20 === 0 ? numbered(`news-${number}-`, 100_000) : similar(number).repeat(1 + number % 9);
  const subscribers = [];
  let sent = 0;
  try {
    for (const offer of [true, false, ...OFFERS, true]) {
      subscribers.push(await Client.connect("/topics?sub=mixed", { perMessageDeflate: offer }));
      const first = sent;
      while (sent < first + 40) publisher.send(news(sent++));
      for (const subscriber of subscribers) {
        for (let number = first; number < sent; number++) {
          expect(await subscriber.receive(), news(number), `message ${number} for who agreed to "${subscriber.socket.extensions}"`);
        }
      }
    }
  } finally {
    for (const subscriber of subscribers) subscriber.socket.terminate();
  }
}));

await check("chat", () => using(["/chat", "/chat"], async (ann, ben) => {
  for (const ws of [ann, ben]) expect((await ws.ask({ join: "tea" })).joined, "tea", "the answer to join");
  ann.send(JSON.stringify({ say: 'héllo "tea" 🫖', in: "tea" }));
  for (const ws of [ann, ben]) {
    const heard = JSON.parse(await ws.receive());
    expect(heard.said, 'héllo "tea" 🫖', "what a member receives");
    expect(heard.in, "tea", "the room");
  }
  expect((await ben.ask({ last: "tea" })).said, 'héllo "tea" 🫖', "the answer to last");
  expect((await ben.ask({ leave: "tea" })).left, "tea", "the answer to leave");
  for (const wrong of [{ say: "hello?", in: "tea" }, { say: 7 }, '{"say":']) {
    expect(Object.keys(await ben.ask(wrong)).sort().join(), "at,error", "the fields of the answer to a mistake");
  }
}));

await check("server-close", () => using(["/echo", "/topics?sub=a", "/chat"], async (...clients) => {
  await clients[0].echo("ready");
  process.kill(serverPid, "SIGTERM");
  for (const ws of clients) expect((await ws.closed).code, 1001, "the close code");
}));

process.exit(0);
