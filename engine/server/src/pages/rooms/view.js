// From rooms and figures to the document. What others said becomes text nodes, never markup.
const PEOPLE_SHOWN = 40;

const at = id => document.getElementById(id);

// A new element with a class and a text.
function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// The state of all connections in one line.
function showState(rooms) {
  const waiting = rooms.filter(room => room.state === "waiting");
  const connected = rooms.filter(room => room.state === "connected").length;
  if (rooms.length === 0) {
    setState("connecting", "in no room");
  } else if (waiting.length > 0) {
    const [first] = waiting;
    const which = waiting.length === rooms.length ? "" : `${waiting.length} of ${rooms.length} rooms: `;
    setState("waiting", `${which}${first.why}; next try in ${(first.waitMs / 1000).toFixed(1)} s`);
  } else if (connected < rooms.length) {
    setState("connecting", "connecting");
  } else {
    setState("connected", "connected");
  }
}

// Written only when it changes: each time is read aloud.
function setState(name, words) {
  const state = at("state");
  state.dataset.state = name;
  setText(state, words);
}

// The list of rooms. Rows stay the same elements, so that what has the focus keeps it.
function showRooms(rooms, current, choose, leave) {
  const list = at("room-list");
  const rows = new Map([...list.children].map(row => [row.dataset.room, row]));
  for (const room of rooms) {
    const row = rows.get(room.name) ?? list.appendChild(roomRow(room.name, choose, leave));
    rows.delete(room.name);
    row.dataset.state = room.state;
    row.classList.toggle("current", room === current);
    const button = row.querySelector(".room");
    button.setAttribute("aria-pressed", String(room === current));
    row.querySelector(".count").textContent = room.state === "connected" ? `${room.people.count} here` : room.state;
  }
  for (const row of rows.values()) row.remove();
}

function roomRow(name, choose, leave) {
  const row = document.createElement("li");
  row.dataset.room = name;
  const room = element("button", "room");
  room.append(element("span", "name", name), element("span", "count"));
  room.addEventListener("click", () => choose(name));
  const leaveIt = element("button", "leave", "Leave");
  leaveIt.setAttribute("aria-label", `Leave ${name}`);
  leaveIt.addEventListener("click", () => leave(name));
  row.append(room, leaveIt);
  return row;
}

function showPeople(room, self) {
  const people = room?.people.list(PEOPLE_SHOWN) ?? [];
  const items = people.map(([from, name]) => {
    const item = element("li", "", from === self.id ? `${name} (you)` : name);
    item.dataset.hue = hue(from);
    item.style.setProperty("--hue", hue(from));
    return item;
  });
  const more = (room?.people.count ?? 0) - people.length;
  if (more > 0) items.push(element("li", "", `and ${more}${room.people.count >= People.MOST ? " or more" : ""} others`));
  at("people").replaceChildren(...items);
}

// The lines of the room that is looked at; only what is new is added.
class Log {
  #room = null;
  #shown = 0;

  show(room) {
    const log = at("log");
    if (room !== this.#room) {
      log.replaceChildren();
      this.#room = room;
      this.#shown = 0;
    }
    const unseen = room ? Math.min(room.linesEver - this.#shown, room.lines.length) : 0;
    if (unseen === 0) return;
    const follow = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(...room.lines.slice(-unseen).map(logLine));
    while (log.childElementCount > Room.LINES) log.firstElementChild.remove();
    this.#shown = room.linesEver;
    if (follow) log.scrollTop = log.scrollHeight;
  }
}

function logLine(line) {
  const item = element("li", line.kind);
  item.append(element("time", "", line.at.toLocaleTimeString()));
  if (line.kind === "say") {
    const name = item.appendChild(element("b", "", line.name));
    name.style.setProperty("--hue", hue(line.from));
  }
  item.append(line.text);
  return item;
}

// A colour for a member, the same in every window: its id, hashed (FNV-1a).
function hue(from) {
  let hash = 0x811c9dc5;
  for (const char of from) hash = Math.imul(hash ^ char.codePointAt(0), 0x01000193) >>> 0;
  return hash % 360;
}

function showFigures(history) {
  const { p50, p99 } = history.recent();
  at("received").value = shownRate(history.rate("received"));
  at("sent").value = shownRate(history.rate("sent"));
  at("p50").value = shownMs(p50);
  at("p99").value = shownMs(p99);
  at("lost").value = history.lost;
  at("latency-chart").setAttribute("aria-label",
    `Latency over the last minute; now ${shownMs(p50)} ms in the median and ${shownMs(p99)} ms for 99%`);
  at("rate-chart").setAttribute("aria-label",
    `Messages per second over the last minute; now ${at("received").value} received and ${at("sent").value} sent`);
}

function shownRate(rate) {
  return rate >= 1000 ? `${(rate / 1000).toFixed(1)}k` : String(Math.round(rate));
}

function shownMs(ms) {
  if (ms === null) return "–";
  return ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2);
}

function shownBytes(bytes) {
  return bytes >= 1024 ? `${bytes / 1024} KiB` : `${bytes} bytes`;
}

// The controls of the load, and what becomes of it.
function showLoad(load, room) {
  at("load-rate-shown").value = `${load.rate} /s`;
  at("load-size-shown").value = shownBytes(load.size);
  at("load-rate").setAttribute("aria-valuetext", `${load.rate} messages per second`);
  at("load-size").setAttribute("aria-valuetext", shownBytes(load.size));
  const button = at("load-button");
  button.textContent = load.running ? "Stop" : "Start";
  button.setAttribute("aria-pressed", String(load.running));
  setText(at("load-state"), loadWords(load, room));
}

function loadWords(load, room) {
  const allowed = Math.floor(load.allowed);
  const bound = allowed < load.rate ? `${allowed}/s at this size: a window sends 1 MiB per second at most. ` : "";
  if (!load.running) return bound;
  if (!room) return "Waits for a room.";
  if (room.state !== "connected") return `Waits until ${room.name} is connected.`;
  if (load.held) return `${bound}Held back: the connection to ${room.name} takes no more.`;
  return `${bound}Goes to ${room.name}.`;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

