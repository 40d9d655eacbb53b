// What the node programs share: their arguments, and one printed line for each check.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const CHECK_LIMIT_MS = 20_000;

const [host, pid] = process.argv.slice(2);

// HOST:PORT, and the process that the last check ends.
export const serverHost = host;
export const serverPid = Number(pid);

// Whether the server compresses.
export const compresses = (process.env.CLIENT_DEFLATE ?? "off") !== "off";

// Packages are installed in a cache, not beside these files.
export const load = createRequire(`${process.env.CLIENT_MODULES}/`);

// Runs one check; it fails when `body` throws, rejects or takes too long.
export async function check(name, body) {
  try {
    await within(CHECK_LIMIT_MS, body());
    console.log(`ok ${name}`);
  } catch (error) {
    // The first line: what follows it in a browser's errors is a stack.
    console.log(`FAIL ${name} ${String(error?.message ?? error).trim().split("\n")[0]}`);
  }
}

export async function within(limitMs, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${limitMs / 1000} s`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function expect(actual, wanted, what) {
  const equal = Buffer.isBuffer(wanted)
    ? Buffer.isBuffer(actual) && wanted.equals(actual)
    : Object.is(actual, wanted);
  assert(equal, `${what}: wanted ${shorten(wanted)}, got ${shorten(actual)}`);
}

// Text of nearly so many bytes; unlike one character again and again, it does not compress by the hundredfold.
export function numbered(word, length) {
  const words = [];
  const count = length / (Buffer.byteLength(word) + 8);
  for (let number = 0; number < count; number++) words.push(word + number);
  return words.join(" ");
}

// What an application sends again and again.
export const similar = number =>
  JSON.stringify({ type: "position", vehicle: `tram-${number % 40}`, number, stops: Array(9).fill(["Grüße", "世界"]) });

// A character of every plane of Unicode, and many of some.
export function everyPlane() {
  let text = "";
  for (let point = 0; point < 0x110000; point += 331) {
    if (point < 0xd800 || point > 0xdfff) text += String.fromCodePoint(point);
  }
  return text;
}

function shorten(value) {
  const shown = Buffer.isBuffer(value) ? `0x${value.subarray(0, 32).toString("hex")}` : JSON.stringify(value) ?? "nothing";
  return shown.length <= 60 ? shown : `${shown.slice(0, 50)}... (length ${value.length})`;
}
