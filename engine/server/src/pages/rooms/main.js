// The page: which rooms this window is in, and the clocks that keep all of it moving.

// Each room is a connection.
const MOST_ROOMS = 6;
const FIRST_ROOM = "lobby";
const TICK_MS = 500;

const self = { id: randomId(), name: randomName() };
const history = new History(performance.now());
const log = new Log();
const load = new Load(() => current);
const charts = [
  new Chart(at("latency-chart"), logarithmic, [
    { key: "p99", colour: "--second" },
    { key: "p50", colour: "--accent", filled: true },
  ]),
  new Chart(at("rate-chart"), linear, [
    { key: "received", colour: "--accent", filled: true },
    { key: "sent", colour: "--second" },
  ]),
];
const stillPictures = matchMedia("(prefers-reduced-motion: reduce)");

let rooms = [];
// The room that is looked at, that the composer and the load send to.
let current = null;

function join(name) {
  let room = rooms.find(one => one.name === name);
  if (!room) {
    room = new Room(name, self, history, showConnections);
    rooms.push(room);
    rememberRooms();
  }
  choose(name);
}

function leave(name) {
  const room = rooms.find(one => one.name === name);
  rooms = rooms.filter(one => one !== room);
  room.leave();
  rememberRooms();
  if (current === room) choose(rooms.at(-1)?.name);
  else showConnections();
}

function choose(name) {
  current = rooms.find(room => room.name === name) ?? null;
  at("talk-title").textContent = current ? current.name : "No room";
  at("address").textContent = current ? roomUrl(current.name) : "–";
  log.show(current);
  showConnections();
}

function showConnections() {
  showState(rooms);
  showRooms(rooms, current, choose, leave);
  showPeople(current, self);
  showLoad(load, current);
  at("send").disabled = current?.state !== "connected";
}

// What is wrong with joining this room; empty when nothing is.
function joinFault(name) {
  const fault = roomNameFault(name);
  if (fault || rooms.length < MOST_ROOMS || rooms.some(room => room.name === name)) return fault;
  return `A window can be in ${MOST_ROOMS} rooms: leave one first.`;
}

// The rooms stand in the address: a reload finds them again, and a link brings others here.
function rememberRooms() {
  const hash = rooms.map(room => encodeURIComponent(room.name)).join(",");
  window.history.replaceState(null, "", `${location.pathname}#${hash}`);
}

function rememberedRooms() {
  const names = location.hash.slice(1).split(",").map(part => decoded(part)).filter(name => roomNameFault(name) === "");
  const different = [...new Set(names)].slice(0, MOST_ROOMS);
  return different.length > 0 ? different : [FIRST_ROOM];
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}

function tick() {
  const now = performance.now();
  for (const room of rooms) room.tick(now);
  history.advance(now);
  showFigures(history);
  showConnections();
  if (stillPictures.matches) draw();
}

// Only a window that is seen has frames.
function frame() {
  log.show(current);
  if (!stillPictures.matches) draw();
  requestAnimationFrame(frame);
}

function draw() {
  const now = performance.now();
  for (const chart of charts) chart.draw(now, history.slots);
}

function enter() {
  for (const name of rememberedRooms()) join(name);
  choose(rooms[0].name);
}

// The window goes away, perhaps to come back as it was: the others see it leave.
function exit() {
  load.stop();
  for (const room of rooms) room.leave();
  rooms = [];
  current = null;
}

// 64 random bits; `crypto.randomUUID` is for secure contexts only.
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map(byte => byte.toString(16).padStart(2, "0")).join("");
}

function randomName() {
  const pick = words => words[Math.floor(Math.random() * words.length)];
  const colours = ["amber", "azure", "coral", "ivory", "jade", "olive", "plum", "ruby", "sable", "teal"];
  const birds = ["crane", "finch", "heron", "ibis", "kite", "lark", "owl", "robin", "swift", "wren"];
  return `${pick(colours)} ${pick(birds)}`;
}

at("join").addEventListener("submit", event => {
  event.preventDefault();
  const input = at("room-name");
  const name = input.value.trim();
  const fault = joinFault(name);
  at("join-fault").textContent = fault;
  input.setAttribute("aria-invalid", String(fault !== ""));
  if (fault) return;
  input.value = "";
  join(name);
});

at("composer").addEventListener("submit", event => {
  event.preventDefault();
  const text = at("text");
  if (text.value.trim() !== "" && current?.say(text.value)) text.value = "";
});

at("my-name").value = self.name;
at("my-name").addEventListener("change", event => {
  self.name = event.target.value.trim() || self.name;
  event.target.value = self.name;
  for (const room of rooms) room.beat();
});

// The sliders go through lists of steps.
for (const [id, steps, key] of [["load-rate", Load.RATES, "rate"], ["load-size", Load.SIZES, "size"]]) {
  const slider = at(id);
  slider.max = steps.length - 1;
  slider.value = steps.indexOf(load[key]);
  slider.addEventListener("input", () => {
    load[key] = steps[slider.value];
    showLoad(load, current);
  });
}

at("load-button").addEventListener("click", () => {
  if (load.running) load.stop();
  else load.start();
  showLoad(load, current);
});

document.addEventListener("visibilitychange", () => {
  for (const room of rooms) {
    if (!document.hidden) room.hurry();
    room.beat();
  }
  tick();
});
addEventListener("online", () => rooms.forEach(room => room.hurry()));
// Somebody has typed or followed an address of this page with other rooms.
addEventListener("hashchange", () => {
  exit();
  enter();
});
addEventListener("pagehide", exit);
addEventListener("pageshow", event => { if (event.persisted) enter(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(chart => chart.restyle()));

enter();
setInterval(tick, TICK_MS);
frame();
