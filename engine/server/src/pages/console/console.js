// A log of this many lines still scrolls smoothly; older lines go.
const LOG_LINES = 500;
// Text beyond this length is shown shortened: laying out megabytes freezes a tab.
const SHOWN_CHARS = 2000;
// Own messages whose return is timed; more than this in flight and the oldest is forgotten.
const TIMED_MESSAGES = 64;

// What differs between the applications. `frame` is the text to send for what the user typed,
// `own` tells that a received text is the answer to that frame.
const APPS = {
  echo: {
    hint: "Every message comes back as it was sent.",
    path: () => "/echo",
    greeting: () => null,
    frame: text => text,
    own: (received, sent) => received === sent,
    show: received => [received, "received"],
  },
  topics: {
    hint: "Every message goes to the subscribers of the topic.",
    room: "Topic",
    path: room => `/topics?sub=${encodeURIComponent(room)}&pub=${encodeURIComponent(room)}`,
    greeting: () => null,
    frame: text => text,
    own: (received, sent) => received === sent,
    show: received => [received, "received"],
  },
  chat: {
    hint: "Every line goes to the members of the room.",
    room: "Room",
    path: () => "/chat",
    greeting: room => JSON.stringify({ join: room }),
    frame: (text, room) => JSON.stringify({ say: text, in: room }),
    own: (received, sent) => {
      const said = parsed(received).said;
      return said !== undefined && said === parsed(sent).say;
    },
    show: showChat,
  },
};

const at = id => document.getElementById(id);
const [state, log, text, send, room] = ["state", "log", "text", "send", "room"].map(at);

let app = APPS.echo;
let joined = room.value;
let socket = null;
let openedAt = 0;
const backoff = new Backoff();
let retry = 0;
let inFlight = [];
let best = Infinity;

function connect() {
  clearTimeout(retry);
  setState("connecting", "connecting");
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const url = `${scheme}//${location.host}${app.path(joined)}`;
  at("address").textContent = url;
  const mine = socket = new WebSocket(url);
  mine.binaryType = "arraybuffer";
  mine.onopen = () => { if (mine === socket) opened(); };
  mine.onmessage = event => { if (mine === socket) received(event.data); };
  mine.onclose = event => { if (mine === socket) closed(event); };
}

function opened() {
  openedAt = performance.now();
  setState("connected", "connected");
  const greeting = app.greeting(joined);
  if (greeting !== null) socket.send(greeting);
}

function received(data) {
  if (typeof data !== "string") {
    addLine(`binary, ${data.byteLength} bytes`, "received");
    return;
  }
  const timed = inFlight.findIndex(one => app.own(data, one.frame));
  if (timed >= 0) {
    showRoundTrip(performance.now() - inFlight[timed].at);
    inFlight.splice(timed, 1);
  }
  addLine(...app.show(data));
}

function closed(event) {
  const why = event.reason ? `, ${event.reason}` : "";
  if (openedAt > 0) addLine(`closed by the server: ${event.code}${why}`, "note");
  const wait = backoff.next(openedAt > 0 ? performance.now() - openedAt : 0);
  forgetConnection();
  setState("waiting", `disconnected, next try in ${(wait / 1000).toFixed(1)} s`);
  retry = setTimeout(connect, wait);
}

// Leaves the present connection, if any, for the chosen application and room.
function reconnectTo(chosen, name) {
  app = chosen;
  joined = name;
  backoff.reset();
  best = Infinity;
  at("rtt").value = at("rtt-best").value = "–";
  at("hint").textContent = app.hint;
  at("room-field").hidden = app.room === undefined;
  at("room-name").textContent = app.room ?? "";
  const old = socket;
  forgetConnection();
  if (old) old.close(1000);
  connect();
}

function forgetConnection() {
  socket = null;
  openedAt = 0;
  inFlight = [];
}

function submit(event) {
  event.preventDefault();
  if (socket?.readyState !== WebSocket.OPEN || text.value === "") return;
  const frame = app.frame(text.value, joined);
  addLine(text.value, "sent");
  if (inFlight.length === TIMED_MESSAGES) inFlight.shift();
  inFlight.push({ frame, at: performance.now() });
  socket.send(frame);
  text.value = "";
}

function showChat(received) {
  const message = parsed(received);
  if (typeof message.error === "string") return [message.error, "error"];
  if (typeof message.joined === "string") return [`joined ${message.joined}`, "note"];
  if (typeof message.said === "string") return [`${message.from ?? "someone"}: ${message.said}`, "received"];
  return [received, "received"];
}

// The object that a JSON text holds; an empty one when it holds none.
function parsed(json) {
  try {
    return Object(JSON.parse(json));
  } catch {
    return {};
  }
}

function showRoundTrip(ms) {
  best = Math.min(best, ms);
  at("rtt").value = `${ms.toFixed(2)} ms`;
  at("rtt-best").value = `${best.toFixed(2)} ms`;
}

function setState(name, words) {
  state.dataset.state = name;
  state.textContent = words;
  send.disabled = name !== "connected";
}

// Messages are foreign data: they become text nodes, never markup.
function addLine(words, kind) {
  const follow = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const line = document.createElement("li");
  line.className = kind;
  line.textContent = words.length > SHOWN_CHARS
    ? `${words.slice(0, SHOWN_CHARS)}… (${words.length} characters)`
    : words;
  log.append(line);
  while (log.childElementCount > LOG_LINES) log.firstElementChild.remove();
  if (follow) log.scrollTop = log.scrollHeight;
}

at("composer").addEventListener("submit", submit);
const served = document.body.dataset.apps.split(" ");
const choices = [...document.querySelectorAll("input[name=app]")];
for (const choice of choices) {
  choice.parentElement.hidden = !served.includes(choice.value);
  choice.addEventListener("change", () => reconnectTo(APPS[choice.value], joined));
}
room.addEventListener("change", () => {
  room.value = room.value.trim() || "lobby";
  reconnectTo(app, room.value);
});
// The network is back: no need to sit out the wait.
addEventListener("online", () => { if (socket === null) connect(); });

// A reload may restore the radio buttons and the room: what is shown is what is used.
const first = choices.find(choice => choice.checked && served.includes(choice.value))
  ?? choices.find(choice => served.includes(choice.value));
first.checked = true;
reconnectTo(APPS[first.value], room.value.trim() || "lobby");
