// What runs have left, file by file, and each report in headless Chromium: opened from its file, with the network off.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { check, expect, load } from "../clients.d/report.mjs";
import { checkLog, checkMarkdown, checkSeries, checkSummary, readJson } from "./files.mjs";

const { chromium } = load("playwright-core");

const EXECUTABLE = "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
  "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
  "--host-resolver-rules=MAP * ~NOTFOUND",
];
const LIMIT_MS = 15_000;
const WIDE = { width: 1180, height: 900 };
const PHONE = { width: 390, height: 844 };
const PICTURE = { width: 1020, height: 900 };
const PICTURE_LIMIT_BYTES = 200_000;
const DARK = "rgb(19, 21, 24)";

// Charts that a report has at least, with a server that is watched.
const CHARTS = {
  echo: ["Messages per second", "Latency over time", "Server processor time", "Server memory", "Server descriptors and context switches",
    "Client", "Connections", "Latency by percentile"],
  broadcast: ["Messages per second", "Latency over time", "Server processor time", "Server memory", "Latency by percentile"],
  connect: ["Connections opened per second", "Server processor time", "Server memory", "Connections"],
  idle: ["Server memory", "Connections"],
};

const SCALES = {
  "µs": 1, ms: 1e3, s: 1e6, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, "/s": 1, "%": 0.01,
};

const browser = await chromium.launchPersistentContext(join(process.env.CLIENT_SCRATCH, "profile"), {
  executablePath: EXECUTABLE, headless: true, args: FLAGS, viewport: WIDE, colorScheme: "light",
});
browser.setDefaultTimeout(LIMIT_MS);
await browser.setOffline(true);

let logs = 0;
for (const [name, { folder, valid }] of Object.entries(JSON.parse(process.env.REPORT_RUNS))) {
  await check(`${name}-summary`, async () => checkSummary(folder));
  await check(`${name}-log`, async () => { logs += checkLog(folder); });
  await check(`${name}-series`, async () => checkSeries(folder));
  await check(`${name}-markdown`, async () => checkMarkdown(folder, valid));
  await checkReport(name, folder, valid);
}
// Else the reader would have had nothing to read.
await check("latencies-were-read", async () => expect(logs >= 4, true, `whether there were distributions (${logs})`));
await browser.close();
process.exit(0);

async function checkReport(name, folder, valid) {
  const complaints = [];
  const requests = [];
  const page = await browser.newPage();
  page.on("console", message => { if (["error", "warning"].includes(message.type())) complaints.push(message.text()); });
  page.on("pageerror", error => complaints.push(error.message));
  page.on("request", request => requests.push(request.url()));
  page.on("dialog", dialog => { complaints.push(dialog.message()); dialog.dismiss(); });
  const address = pathToFileURL(join(folder, "report.html")).href;
  await page.goto(address);
  const summary = readJson(folder, "summary.json");
  await check(`${name}-charts-are-drawn`, () => chartsAreDrawn(page, summary));
  await check(`${name}-figures-are-those-of-the-summary`, () => figuresAgree(page, summary));
  await check(`${name}-verdict`, () => verdictIsShown(page, summary, valid));
  if (name === "echo") {
    await check("report-tells-values-under-the-cursor", () => cursor(page));
    await check("report-zooms-all-of-the-course", () => zoom(page));
    await check("report-hides-a-line", () => legend(page));
    await check("report-prints", () => print(page));
    await check("report-pictures", () => pictures(page));
  }
  await check(`${name}-report-asks-for-nothing`, async () => {
    expect(requests.join(" "), address, "what was requested");
    expect(complaints.join("; "), "", "what the console shows");
    expect(await page.locator("img").count(), 0, "elements made from a text");
  });
  await page.close();
}

async function chartsAreDrawn(page, summary) {
  const charts = await page.locator("figure.chart").all();
  const titles = await page.locator("figure.chart h3").allTextContents();
  const wanted = summary.server ? CHARTS[summary.command] : ["Messages per second"];
  expect(wanted.filter(title => !titles.includes(title)).join(", "), "", `charts that are missing among ${titles.join(", ")}`);
  for (const [at, chart] of charts.entries()) {
    const { coloured, colours } = await pixels(chart);
    expect(coloured > 20 && colours > 8, true, `whether "${titles[at]}" has lines (${coloured} pixels, ${colours} colours)`);
    const lines = await chart.locator(".u-series").count();
    const { series } = JSON.parse(await chart.locator("script").textContent());
    expect(lines, series.length, `the entries of the legend of "${titles[at]}"`);
  }
}

// How many pixels of a chart have a colour, which its grid and words have not; and how many colours there are.
function pixels(chart) {
  return chart.locator("canvas").evaluate(canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set();
    let coloured = 0;
    for (let at = 0; at < data.length; at += 4) {
      const [red, green, blue, alpha] = data.subarray(at, at + 4);
      colours.add((red << 16) + (green << 8) + blue);
      if (alpha > 120 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) coloured += 1;
    }
    return { coloured, colours: colours.size };
  });
}

// A shown figure is the one in the file, to the last digit shown.
async function figuresAgree(page, summary) {
  const shown = await page.locator(".figure .value").evaluateAll(list => list.map(it => [it.dataset.source, it.textContent]));
  expect(shown.length >= 2, true, `whether there are figures (${shown.length})`);
  const first = { idle: "memory.anonymous_per_connection" }[summary.command] ?? "server.cpu_us_per_message";
  if (summary.server) expect(shown[0][0], first, "the first figure");
  for (const [source, text] of shown) {
    const value = source.split(".").reduce((part, key) => part[key], summary);
    const [, number, unit] = /^(-?[\d.]+) ?(\S+)$/.exec(text);
    const last = 10 ** -(number.split(".")[1]?.length ?? 0);
    const off = Math.abs(Number(number) - value / SCALES[unit]);
    expect(off <= last * 0.501, true, `whether ${text} is ${source}, ${value}`);
  }
}

async function verdictIsShown(page, summary, valid) {
  const banner = page.locator(".banner");
  const text = await banner.textContent();
  expect(text.includes("INVALID RUN"), !valid, "whether the report says that the run is invalid");
  for (const reason of summary.reasons) expect(text.includes(reason.text), true, `whether it says: ${reason.text}`);
  const { y } = await banner.boundingBox();
  expect(y < 200, true, `whether that stands at the top (${y} px)`);
  expect(await page.title(), `${summary.command} ${summary.target}`, "the title");
}

// The point of a chart at a share of its width.
async function over(page, title, share) {
  const plot = page.locator("figure.chart", { has: page.locator("h3", { hasText: title }) }).locator(".u-over");
  await plot.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await plot.boundingBox();
  return [x + width * share, y + height / 2];
}

async function cursor(page) {
  await page.mouse.move(...await over(page, "Latency over time", 0.6));
  const tips = page.locator(".tip:not([hidden])");
  await tips.first().waitFor();
  expect(await tips.count() >= 7, true, "whether all charts of the course have a cursor");
  const text = await page.locator("figure.chart", { hasText: "Latency over time" }).locator(".tip").textContent();
  for (const line of ["p50", "p99.9", "max"]) expect(text.includes(line), true, `whether "${text}" has ${line}`);
  await page.mouse.move(0, 0);
}

async function zoom(page) {
  const before = await images(page);
  await page.mouse.move(...await over(page, "Messages per second", 0.4));
  await page.mouse.down();
  await page.mouse.move(...await over(page, "Messages per second", 0.7), { steps: 5 });
  await page.mouse.up();
  const zoomed = await images(page);
  const course = before.length - 1;
  expect(before.filter((image, at) => image !== zoomed[at]).length, course, "charts that show something else");
  await page.mouse.dblclick(...await over(page, "Messages per second", 0.5));
  const back = await images(page);
  expect(before.filter((image, at) => image !== back[at]).length, 0, "charts that do not show everything again");
  await page.mouse.move(0, 0);
}

async function images(page) {
  // The charts draw when the browser is about to.
  await page.evaluate(() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  return page.locator(".plot canvas").evaluateAll(list => list.map(canvas => canvas.toDataURL()));
}

async function legend(page) {
  const [before] = await images(page);
  const entry = page.locator("figure.chart .u-series", { hasText: "answered" }).first();
  await entry.locator("th").click();
  const [hidden] = await images(page);
  expect(before !== hidden, true, "whether the line is gone");
  await entry.locator("th").click();
  await page.mouse.move(0, 0);
}

async function print(page) {
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForFunction(dark => getComputedStyle(document.body).backgroundColor === dark, DARK);
  const [before] = await images(page);
  const paper = await page.pdf({ format: "A4" });
  expect(paper.length > 20_000, true, `whether something is on the paper (${paper.length} bytes)`);
  const [after] = await images(page);
  expect(before === after, true, "whether the page is as before");
  await page.emulateMedia({ colorScheme: "light" });
}

async function pictures(page) {
  await page.setViewportSize(PICTURE);
  const light = await images(page);
  await page.evaluate(() => scrollTo(0, 0));
  await picture(page, "light");
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForFunction(dark => getComputedStyle(document.body).backgroundColor === dark, DARK);
  const dark = await images(page);
  expect(light.some((image, at) => image === dark[at]), false, "whether a chart kept its colours");
  await picture(page, "dark");
  await page.setViewportSize(PHONE);
  await images(page);
  const overflow = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
  expect(await page.evaluate(overflow), 0, "pixels that stick out at the width of a phone");
  await picture(page, "phone");
  await page.setViewportSize(WIDE);
  await page.emulateMedia({ colorScheme: "light" });
}

// The top of the page: down to the end of the fourth chart, or of the second when that would be too much for a picture.
async function picture(page, name) {
  await images(page);
  let file;
  for (const last of name === "phone" ? [1] : [3, 1]) {
    const { y, height } = await page.locator("figure.chart").nth(last).boundingBox();
    const { width } = page.viewportSize();
    file = await page.screenshot({ fullPage: true, clip: { x: 0, y: 0, width, height: Math.ceil(y + height + 16) } });
    if (file.length < PICTURE_LIMIT_BYTES) break;
  }
  expect(file.length < PICTURE_LIMIT_BYTES, true, `whether the picture is small (${file.length} bytes)`);
  writeFileSync(join(process.env.REPORT_PICTURES, `${name}.png`), file);
}
