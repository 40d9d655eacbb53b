// Headless Chromium: the server's console as a user sees it, then WebSockets made by a script in it.

import { join } from "node:path";

import { check, compresses, everyPlane, expect, load, numbered, serverHost, serverPid, similar } from "./report.mjs";

const { chromium } = load("playwright-core");

const EXECUTABLE = "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
  "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
  // The browser reaches the server under test and nothing else.
  "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
];
const PAGE_LIMIT_MS = 10_000;
const CONNECTED = "#state[data-state=connected]";

const browser = await chromium.launchPersistentContext(join(process.env.CLIENT_SCRATCH, "profile"), {
  executablePath: EXECUTABLE,
  headless: true,
  args: FLAGS,
});
browser.setDefaultTimeout(PAGE_LIMIT_MS);
const page = await browser.newPage();
await page.addInitScript(installTools);
const complaints = [];
page.on("console", message => { if (["error", "warning"].includes(message.type())) complaints.push(message.text()); });
page.on("pageerror", error => complaints.push(error.message));

await check("page-connects", async () => {
  await page.goto(`http://${serverHost}/console`);
  await page.waitForSelector(CONNECTED);
  expect(await page.textContent("#state"), "connected", "the state shown");
});

await check("page-echo", async () => {
  await say("typed by a user");
  await page.waitForFunction(() => / ms$/.test(document.getElementById("rtt").value));
});

await check("page-shows-markup-as-text", async () => {
  await say("<img src=x onerror=alert(1)><b>bold</b>");
  expect(await page.locator("#log *:not(li)").count(), 0, "elements made from a message");
});

for (const app of ["topics", "chat"]) {
  await check(`page-${app}`, async () => {
    await page.check(`#app-${app}`);
    await page.waitForSelector(CONNECTED);
    await say(`to ${app}`);
  });
}

await check("page-reconnects", async () => {
  const other = await browser.newPage();
  let connections = 0;
  // The first connection is closed from outside, as by a server that restarts.
  await other.routeWebSocket("**/echo", route => {
    connections += 1;
    if (connections === 1) setTimeout(() => route.close({ code: 1012, reason: "restarting" }), 100);
    else route.connectToServer();
  });
  await other.goto(`http://${serverHost}/console`);
  await other.waitForFunction(() => /1012, restarting/.test(document.getElementById("log").textContent));
  await other.waitForSelector(CONNECTED);
  expect(connections, 2, "connections");
  await other.close();
});

await check("text", () => inPage(async ({ opened, next, same }) => {
  const ws = await opened("/echo");
  same(ws.protocol, "", "the subprotocol");
  for (const text of ["", "Grüße, κόσμε, 世界, 🦀", "x".repeat(65_536), "é".repeat(1 << 18)]) {
    ws.send(text);
    same(await next(ws), text, "the echo");
  }
}));

await check("extensions", () => inPage(async ({ opened, same }, compresses) => {
  const ws = await opened("/echo");
  same(/^permessage-deflate/.test(ws.extensions), compresses, `permessage-deflate is in the extensions (${ws.extensions})`);
}, compresses));

await check("compressible", () => inPage(async ({ opened, next, same }, messages) => {
  const ws = await opened("/echo");
  const echo = async data => {
    ws.send(data);
    const back = await next(ws);
    if (typeof data === "string") return same(back, data, "the echo");
    const bytes = new Uint8Array(back);
    same(bytes.length, data.length, "the echo's length");
    same(bytes.findIndex((byte, at) => byte !== data[at]), -1, "the first byte that differs");
  };
  const records = new Uint8Array(1 << 20).map((_, at) => at % 16 < 4 ? (at >> 4) >> 8 * (at % 4) : at % 16);
  const random = new Uint8Array(1 << 20);
  for (let at = 0; at < random.length; at += 65_536) crypto.getRandomValues(random.subarray(at, at + 65_536));
  for (const data of [...messages, records, "", random, new Uint8Array(1), ...messages]) await echo(data);
  // All are sent before any is received.
  for (const data of messages) ws.send(data);
  for (const data of messages) same(await next(ws), data, "the next echo");
}, [everyPlane().repeat(2), numbered("word", 1 << 20), numbered("é", 4 << 20), ...Array.from({ length: 300 }, (_, at) => similar(at))]));

await check("binary", () => inPage(async ({ opened, next, same }) => {
  const ws = await opened("/echo");
  for (const length of [0, 1, 125, 126, 65_535, 65_536, 4 << 20]) {
    const data = new Uint8Array(length).map((_, at) => at * 31 + (at >> 8));
    ws.send(data.buffer);
    const echo = new Uint8Array(await next(ws));
    same(echo.length, length, "the echo's length");
    same(echo.findIndex((byte, at) => byte !== data[at]), -1, "the first byte that differs");
  }
}));

await check("blob", () => inPage(async ({ opened, next, same }) => {
  const ws = await opened("/echo");
  ws.send(new Blob(["one ", "two"]));
  same(new TextDecoder().decode(await next(ws)), "one two", "the echo of a blob");
}));

await check("pipelined", () => inPage(async ({ opened, next, same }) => {
  const ws = await opened("/echo");
  for (let number = 0; number < 10_000; number++) ws.send(`message ${number}`);
  for (let number = 0; number < 10_000; number++) same(await next(ws), `message ${number}`, "the next echo");
}));

await check("close", () => inPage(async ({ opened, closed, same }) => {
  for (const [code, reason] of [[1000, ""], [3001, "grüße"], [4999, "x".repeat(123)]]) {
    const ws = await opened("/echo");
    ws.close(code, reason);
    const event = await closed(ws);
    same(event.code, code, "the close code");
    same(event.wasClean, true, "the closing was clean");
  }
}));

await check("no-console-errors", async () => expect(complaints.join("; "), "", "what the console shows"));

await check("server-close", async () => {
  await page.check("#app-echo");
  await page.waitForSelector(CONNECTED);
  await say("ready");
  const scripted = inPage(async ({ opened, closed, same }) => {
    const ws = await opened("/echo");
    globalThis.readyForTheEnd = true;
    const event = await closed(ws);
    same(event.code, 1001, "the close code");
    same(event.wasClean, true, "the closing was clean");
  });
  await page.waitForFunction(() => globalThis.readyForTheEnd);
  process.kill(serverPid, "SIGTERM");
  await scripted;
  await page.waitForFunction(() => /closed by the server: 1001/.test(document.getElementById("log").textContent));
  await page.waitForSelector("#state:not([data-state=connected])");
});

await browser.close();
process.exit(0);

// Types a message on the page and waits until the page shows it as received.
async function say(text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
  await page.locator("#log li.received", { hasText: text }).first().waitFor();
}

// Runs `body` in the page with the tools, and with `value`; what it throws fails the check.
async function inPage(body, value) {
  try {
    await page.evaluate(`(${body})(globalThis.tools, ${JSON.stringify(value)})`);
  } finally {
    await page.evaluate(() => globalThis.tools.closeAll());
  }
}

// Gives the page's global scope `tools`: what the scripted checks need around `WebSocket`.
function installTools() {
  const sockets = [];
  globalThis.tools = {
    // A WebSocket that is open, with what it receives queued.
    opened: path => new Promise((resolve, reject) => {
      const ws = new WebSocket(`ws://${location.host}${path}`);
      sockets.push(ws);
      ws.binaryType = "arraybuffer";
      ws.queue = [];
      ws.onopen = () => resolve(ws);
      ws.onerror = () => reject(new Error(`no connection to ${path}`));
      ws.onmessage = event => {
        if (ws.wake) ws.wake(event.data);
        else ws.queue.push(event.data);
        ws.wake = null;
      };
    }),
    next: ws => ws.queue.length > 0
      ? Promise.resolve(ws.queue.shift())
      : new Promise(resolve => { ws.wake = resolve; }),
    closed: ws => new Promise(resolve => { ws.onclose = resolve; }),
    closeAll: () => { while (sockets.length > 0) sockets.pop().close(); },
    same: (actual, wanted, what) => {
      if (Object.is(actual, wanted)) return;
      throw new Error(`${what}: wanted ${String(wanted).slice(0, 60)}, got ${String(actual).slice(0, 60)}`);
    },
  };
}
