// The rooms page in headless Chromium, as visitors see it: rooms, talk between two windows, load, the moving charts,
// a server that goes away and comes back, and pictures of it.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { check, expect, load, serverHost, serverPid } from "../clients.d/report.mjs";

const { chromium } = load("playwright-core");

const EXECUTABLE = "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
  "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
  // The browser reaches the server under test and nothing else.
  "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
];
const LIMIT_MS = 15_000;
const CONNECTED = "#state[data-state=connected]";
const WIDE = { width: 1180, height: 900 };
const PHONE = { width: 390, height: 844 };
const PICTURE_LIMIT_BYTES = 200_000;
// How much there is to be seen on the pictures' charts.
const HISTORY_S = Number(process.env.PAGE_HISTORY_S);

const browser = await chromium.launchPersistentContext(join(process.env.CLIENT_SCRATCH, "profile"), {
  executablePath: EXECUTABLE, headless: true, args: FLAGS, viewport: WIDE, colorScheme: "light",
});
browser.setDefaultTimeout(LIMIT_MS);
const complaints = [];
const ada = await visit("/");
const bob = await visit("/");

await check("joins-the-first-room", async () => {
  for (const page of [ada, bob]) {
    await page.waitForSelector(CONNECTED);
    expect(await rooms(page), "lobby", "the rooms");
    expect(new URL(page.url()).hash, "#lobby", "the address");
  }
});

await check("shows-who-is-there", async () => {
  await rename(ada, "Ada");
  await rename(bob, "Bob <b>");
  await seen(ada, "#people", "Bob <b>");
  await seen(bob, "#people", "Ada");
  await seen(ada, "#room-list", "2 here");
  expect(await ada.locator("#people b").count(), 0, "elements made from a name");
});

await check("carries-what-is-said", async () => {
  await say(ada, "hello <img src=x onerror=alert(1)>");
  for (const page of [ada, bob]) await seen(page, "#log", "Adahello <img src=x onerror=alert(1)>");
  expect(await bob.locator("#log img").count(), 0, "elements made from a message");
});

await check("refuses-bad-room-names", async () => {
  for (const [name, fault] of [["", "needs a name"], ["a/b", "letters and digits"], ["#", "letters and digits"],
    ["*", "letters and digits"], ["x".repeat(33), "32 characters"]]) {
    await joinRoom(ada, name);
    await seen(ada, "#join-fault", fault);
  }
  expect(await rooms(ada), "lobby", "the rooms");
});

await check("joins-creates-and-leaves-rooms", async () => {
  for (const room of ["tea", "grün"]) {
    await joinRoom(ada, room);
    await seen(ada, "#room-list", `${room}1 here`);
  }
  expect(await rooms(ada), "lobby tea grün", "the rooms");
  await joinRoom(bob, "tea");
  await say(bob, "to tea only");
  await ada.click("#room-list [data-room=tea] .room");
  await seen(ada, "#log", "to tea only");
  await ada.click("#room-list [data-room=lobby] .room");
  expect((await ada.textContent("#log")).includes("to tea only"), false, "whether it is in the other room, too");
  await ada.click("#room-list [data-room=grün] .leave");
  await bob.click("#room-list [data-room=tea] .leave");
  await seen(ada, "#room-list", "tea1 here");
  expect(await rooms(ada), "lobby tea", "the rooms");
});

await check("is-in-so-many-rooms-at-most", async () => {
  for (const room of ["a", "b", "c", "d"]) await joinRoom(bob, room);
  await seen(bob, "#room-list", "d");
  expect(await rooms(bob), "lobby a b c d", "the rooms");
  await joinRoom(bob, "e");
  await joinRoom(bob, "f");
  await seen(bob, "#join-fault", "leave one first");
  expect(await rooms(bob), "lobby a b c d e", "the rooms");
  for (const room of ["e", "d", "c", "b", "a"]) await bob.click(`#room-list [data-room=${room}] .leave`);
});

await check("shows-load-as-rates-and-latency", async () => {
  await setSlider(ada, "#load-rate", "200 /s");
  await ada.click("#load-button");
  await figure(ada, "sent", rate => rate > 100);
  await figure(ada, "received", rate => rate > 100);
  // Bob only listens; his rate is Ada's.
  await figure(bob, "received", rate => rate > 100);
  await figure(ada, "p50", ms => ms > 0 && ms < 1000);
  await figure(ada, "p99", ms => ms > 0 && ms < 5000);
  expect(await ada.textContent("#lost"), "0", "what is shown as lost");
});

await check("moves-the-charts", async () => {
  for (const id of ["latency-chart", "rate-chart"]) {
    const before = await pixels(ada, id);
    expect(before.coloured > 100, true, `whether #${id} shows lines (${before.coloured} pixels)`);
    await ada.waitForFunction(([id, before]) => document.getElementById(id).toDataURL() !== before, [id, before.url]);
  }
});

await check("bounds-the-load", async () => {
  await setSlider(ada, "#load-rate", "1000 /s");
  await setSlider(ada, "#load-size", "16 KiB");
  await seen(ada, "#load-state", "64/s at this size");
  await figure(ada, "sent", rate => rate > 20 && rate < 100);
  await setSlider(ada, "#load-rate", "100 /s");
  await setSlider(ada, "#load-size", "256 bytes");
});

await check("counts-what-other-programs-publish", async () => {
  await bob.evaluate(() => new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${location.host}/topics?pub=rooms/lobby`);
    socket.onerror = reject;
    socket.onopen = () => {
      socket.send("plain text");
      socket.send(new Uint8Array(3));
      for (const wrong of ['{"kind":"say"}', '{"kind":"here","from":7}', "[1]", "null", '{"kind":"say","from":{},"text":[]}']) {
        socket.send(wrong);
      }
      resolve();
    };
  }));
  for (const text of ["plain text", "binary, 3 bytes", "null"]) await seen(bob, "#log", text);
});

await check("rests-while-it-is-hidden", async () => {
  await hide(ada, true);
  await figure(ada, "sent", rate => rate < 10);
  await seen(bob, "#people", "Ada");
  await hide(ada, false);
  await figure(ada, "sent", rate => rate > 50);
});

await check("talks-for-the-pictures", async () => {
  for (const page of [ada, bob]) await joinRoom(page, "workshop");
  await rename(bob, "Bob");
  await seen(ada, "#people", "Bob");
  await say(ada, "Everything I send comes back to me, so I can time it.");
  await seen(bob, "#log", "time it.");
  await say(bob, "And I get it at the same moment.");
  await seen(ada, "#log", "same moment.");
  await setSlider(bob, "#load-rate", "50 /s");
  await bob.click("#load-button");
});

for (const rate of HISTORY_S > 0 ? [50, 200, 500, 100] : []) {
  await setSlider(ada, "#load-rate", `${rate} /s`);
  await sleep(HISTORY_S * 1000 / 4);
}

await check("takes-its-pictures", async () => {
  await ada.evaluate(() => {
    document.activeElement.blur();
    scrollTo(0, 0);
  });
  await ada.mouse.move(0, 0);
  await picture("light", { fullPage: true });
  await ada.emulateMedia({ colorScheme: "dark" });
  await ada.waitForFunction(() => getComputedStyle(document.body).backgroundColor === "rgb(19, 21, 24)");
  await picture("dark");
  await ada.setViewportSize(PHONE);
  const overflow = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
  expect(await ada.evaluate(overflow), 0, "pixels that stick out at the width of a phone");
  await picture("phone", { fullPage: true });
  await ada.setViewportSize(WIDE);
  await ada.emulateMedia({ colorScheme: "light" });
});

await check("holds-load-back", async () => {
  process.kill(serverPid, "SIGSTOP");
  await seen(ada, "#load-state", "Held back");
});

await sleep(10_000);

await check("notices-a-server-that-stands-still", async () => {
  await seen(ada, "#log", "the server has not answered for 15 s");
  process.kill(serverPid, "SIGCONT");
  await seen(ada, "#log", "connected again after");
  // Bob may not have noticed yet.
  for (const page of [ada, bob]) await page.waitForSelector(CONNECTED);
});

await check("says-that-the-server-went", async () => {
  process.kill(serverPid, "SIGTERM");
  for (const page of [ada, bob]) {
    await page.waitForSelector("#state[data-state=waiting]");
    await seen(page, "#log", "closed by the server (1001");
  }
  // Later tries say why they failed.
  await ada.waitForFunction(() => /no connection \(1006\).*next try in/.test(document.getElementById("state").textContent));
  expect(await ada.isDisabled("#send"), true, "whether sending is disabled");
});

// By now there is a server again.
await check("comes-back-by-itself", async () => {
  for (const page of [ada, bob]) {
    await page.waitForSelector(CONNECTED);
    await page.waitForFunction(() => /1001.*connected again after/s.test(document.getElementById("log").textContent));
  }
  await say(bob, "still here");
  await seen(ada, "#log", "still here");
  expect(await rooms(ada), "lobby tea workshop", "the rooms");
  await figure(ada, "received", rate => rate > 50);
});

await check("leaves-when-it-is-closed", async () => {
  await seen(ada, "#people", "Bob");
  await bob.close({ runBeforeUnload: true });
  await seen(ada, "#room-list", "workshop1 here");
  await ada.waitForFunction(() => !document.getElementById("people").textContent.includes("Bob"));
});

await check("finds-its-rooms-again", async () => {
  await ada.reload();
  await ada.waitForSelector(CONNECTED);
  expect(await rooms(ada), "lobby tea workshop", "the rooms after a reload");
});

// Connections that are refused while there is no server are told by the browser, too.
await check("no-other-complaints", async () => {
  const unexpected = complaints.filter(text => !/WebSocket connection to .* failed/.test(text));
  expect(unexpected.join("; "), "", "what the console shows");
});

await browser.close();
process.exit(0);

async function visit(path) {
  const page = await browser.newPage();
  page.on("console", message => { if (["error", "warning"].includes(message.type())) complaints.push(message.text()); });
  page.on("pageerror", error => complaints.push(error.message));
  await page.goto(`http://${serverHost}${path}`);
  return page;
}

function rooms(page) {
  return page.locator("#room-list .name").allTextContents().then(names => names.join(" "));
}

async function joinRoom(page, name) {
  await page.fill("#room-name", name);
  await page.click("#join-button");
}

async function rename(page, name) {
  await page.fill("#my-name", name);
  await page.press("#my-name", "Enter");
}

async function say(page, text) {
  await page.waitForSelector("#send:not([disabled])");
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

// Waits until an element shows a text.
function seen(page, selector, text) {
  return page.locator(selector, { hasText: text }).waitFor();
}

// Makes a page believe that it is hidden, or seen again.
async function hide(page, hidden) {
  await page.evaluate(hidden => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
}

// Waits until a figure is as wanted.
async function figure(page, id, wanted) {
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const shown = await page.textContent(`#${id}`);
    if (wanted(Number.parseFloat(shown))) return;
    if (Date.now() > deadline) throw new Error(`#${id} shows ${shown}`);
    await sleep(100);
  }
}

function sleep(ms) {
  return new Promise(resolve => setTimeout(resolve, ms));
}

// Moves a slider with the keys until it shows a value.
async function setSlider(page, selector, wanted) {
  await page.focus(selector);
  await page.keyboard.press("Home");
  for (let step = 0; step < 20; step++) {
    if (await page.textContent(`${selector}-shown`) === wanted) return;
    await page.keyboard.press("ArrowRight");
  }
  throw new Error(`${selector} cannot be set to ${wanted}`);
}

// What a chart shows, and how many of its pixels have a colour, which its grid and words have not.
function pixels(page, id) {
  return page.evaluate(id => {
    const canvas = document.getElementById(id);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let coloured = 0;
    for (let at = 0; at < data.length; at += 4) {
      const [red, green, blue, alpha] = data.subarray(at, at + 4);
      if (alpha > 200 && Math.max(red, green, blue) - Math.min(red, green, blue) > 80) coloured += 1;
    }
    return { coloured, url: canvas.toDataURL() };
  }, id);
}

async function picture(name, options = {}) {
  const file = await ada.screenshot(options);
  expect(file.length < PICTURE_LIMIT_BYTES, true, `whether the picture is small (${file.length} bytes)`);
  writeFileSync(join(process.env.PAGE_PICTURES, `${name}.png`), file);
}
