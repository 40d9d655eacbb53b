// The files of a run, as programs of other people read them.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect } from "../clients.d/report.mjs";

const load = createRequire(`${process.env.REPORT_MODULES}/`);
const Ajv = load("ajv/dist/2020").default;
const hdr = load("hdr-histogram-js");

// The harness keeps three digits, and so does the reader.
const DIGITS = 3;
const TOLERANCE = 0.002;
// What the harness cannot tell apart, in microseconds.
const RESOLUTION_US = 0.064;
const LONGEST_NS = 600e9;

const PERCENTILES = { p50: 50, p90: 90, p99: 99, p99_9: 99.9, max: 100 };

export const readJson = (folder, name) => JSON.parse(readFileSync(join(folder, name), "utf8"));

const validate = new Ajv({ allErrors: true }).compile(closed(JSON.parse(readFileSync(process.env.REPORT_SCHEMA, "utf8"))));

// The schema is open, for what later versions add. Here a field that it does not know is a fault.
function closed(schema) {
  if (Array.isArray(schema)) return schema.map(closed);
  if (schema === null || typeof schema !== "object") return schema;
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return schema.properties && schema.type === "object" ? { ...copy, additionalProperties: false } : copy;
}

export function checkSummary(folder) {
  const good = validate(readJson(folder, "summary.json"));
  expect(good, true, `whether summary.json is valid: ${JSON.stringify(validate.errors?.slice(0, 3))}`);
}

// The sum of the log's intervals is the distribution of the summary.
export function checkLog(folder) {
  const latency = readJson(folder, "summary.json").latency_us ?? {};
  const reader = new hdr.HistogramLogReader(readFileSync(join(folder, "latency.hlog"), "utf8"), 32, false);
  const sums = new Map();
  for (let one = reader.nextIntervalHistogram(); one; one = reader.nextIntervalHistogram()) {
    if (!sums.has(one.tag)) sums.set(one.tag, empty());
    sums.get(one.tag).add(one);
  }
  // An interval in which nothing was measured has an empty histogram.
  for (const [tag, sum] of sums) if (sum.totalCount === 0) sums.delete(tag);
  expect([...sums.keys()].sort().join(" "), Object.keys(latency).sort().join(" "), "the tags");
  for (const [tag, sum] of sums) {
    expect(sum.totalCount, latency[tag].count, `how many latencies are ${tag}`);
    for (const [name, percentile] of Object.entries(PERCENTILES)) {
      near(sum.getValueAtPercentile(percentile) / 1e3, latency[tag][name], `${tag} ${name}`);
    }
    near(sum.mean / 1e3, latency[tag].mean, `${tag} mean`);
  }
  return sums.size;
}

function empty() {
  return hdr.build({
    lowestDiscernibleValue: 1, highestTrackableValue: LONGEST_NS, numberOfSignificantValueDigits: DIGITS, bitBucketSize: 64,
    useWebAssembly: false,
  });
}

function near(read, told, what) {
  expect(Math.abs(read - told) <= told * TOLERANCE + RESOLUTION_US, true, `whether ${what} is ${told} µs (read: ${read})`);
}

// Every line has a cell for every name, and the course fits the sums.
export function checkSeries(folder) {
  const summary = readJson(folder, "summary.json");
  const [names, ...lines] = readFileSync(join(folder, "timeseries.csv"), "utf8").trim().split("\n").map(line => line.split(","));
  expect(new Set(names).size, names.length, "how many names differ");
  const rows = lines.map(cells => {
    expect(cells.length, names.length, "how many cells a line has");
    return Object.fromEntries(names.map((name, at) => [name, name === "phase" ? cells[at] : cells[at] === "" ? null : Number(cells[at])]));
  });
  const measured = rows.filter(row => row.phase === "measuring");
  let last = 0;
  for (const row of rows) {
    expect(Object.values(row).some(Number.isNaN), false, "whether a cell is no number");
    expect(row.at_s >= last, true, `whether ${row.at_s} s comes after ${last} s`);
    last = row.at_s;
  }
  if (summary.latency_us?.corrected) {
    expect(measured.length > 0, true, "whether there are rows of the measurement");
    const most = Math.max(...measured.map(row => row.latency_max_us ?? 0));
    expect(most <= summary.latency_us.corrected.max * (1 + TOLERANCE), true, `whether ${most} µs is in the distribution`);
    expect(most > 0, true, "whether a row has latencies");
  }
  if (summary.server) expect(rows.every(row => row.server_resident_bytes > 0), true, "whether every row tells the server's memory");
}

// A table of two columns, as many lines as were printed.
export function checkMarkdown(folder, valid) {
  const text = readFileSync(join(folder, "summary.md"), "utf8");
  const rows = text.split("\n").filter(line => line.startsWith("|")).map(line => line.split(/(?<!\\)\|/).length);
  expect(rows.length > 6 && rows.every(cells => cells === 4), true, `whether it is a table of two columns (${rows.join(" ")})`);
  expect(text.includes("INVALID RUN"), !valid, "whether it says that the run is invalid");
  expect(/<(img|script)/.test(text), false, "whether a text became an element");
}
