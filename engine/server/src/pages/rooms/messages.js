// What the members of a room tell each other: JSON texts, one topic per room. Anybody may publish to a topic, so
// whatever comes in is foreign data: checked here, cut to size, and shown as text only.

// A room is the topic `rooms/NAME`: `?sub=rooms/lobby` is all that another program needs to listen in.
const ROOM_PREFIX = "rooms/";
// Letters and digits of any script, dashes between them: no slash, which would make another level of the topic, and no
// `*` or `#`, which stand for others.
const ROOM_NAME = /^[\p{L}\p{N}]+(?:[-_.][\p{L}\p{N}]+)*$/u;
const ROOM_NAME_CHARS = 32;

const NAME_CHARS = 24;
const TEXT_CHARS = 1000;
// Longer texts are not parsed: none of ours is as long.
const PARSED_CHARS = 40_000;
// Nobody is believed to stay silent for longer than this and still be there.
const LONGEST_LEASE_MS = 180_000;

// The address of a room. The topic stands in the query as it is: these names need no escapes but for the letters.
function roomUrl(name) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const topic = ROOM_PREFIX + encodeURIComponent(name);
  return `${scheme}//${location.host}/topics?sub=${topic}&pub=${topic}`;
}

// What is wrong with a room's name; empty when nothing is.
function roomNameFault(name) {
  if (name === "") return "A room needs a name.";
  if ([...name].length > ROOM_NAME_CHARS) return `A room's name has ${ROOM_NAME_CHARS} characters at most.`;
  return ROOM_NAME.test(name) ? "" : "A room's name is made of letters and digits, with single dashes or dots between them.";
}

// A message of the kind `load`, filled up to so many bytes.
function loadMessage(from, seq, bytes) {
  const bare = JSON.stringify({ kind: "load", from, seq, fill: "" });
  return bare.replace('""', `"${"x".repeat(Math.max(0, bytes - bare.length))}"`);
}

// What a received message says, with every field of the type that its kind has. `kind` is "other" when it is none of ours.
function readMessage(data) {
  if (typeof data !== "string") return { kind: "other", text: `binary, ${data.byteLength} bytes` };
  const said = data.length > PARSED_CHARS ? {} : parsedObject(data);
  const message = { kind: said.kind, from: cut(said.from, NAME_CHARS), seq: Number(said.seq) || 0 };
  if (message.from !== "") {
    switch (said.kind) {
      case "here":
        return { ...message, name: cut(said.name, NAME_CHARS) || "someone", lease: lease(said.lease) };
      case "say":
        return { ...message, name: cut(said.name, NAME_CHARS) || "someone", text: cut(said.text, TEXT_CHARS) };
      case "load":
      case "left":
        return message;
    }
  }
  return { kind: "other", text: cut(data, TEXT_CHARS) };
}

function lease(value) {
  return Math.min(LONGEST_LEASE_MS, Math.max(0, Number(value) || 0));
}

function cut(value, chars) {
  if (typeof value !== "string") return "";
  return value.length > chars ? `${value.slice(0, chars)}…` : value;
}

// The object that a JSON text holds; an empty one when it holds none.
function parsedObject(json) {
  try {
    return Object(JSON.parse(json));
  } catch {
    return {};
  }
}

