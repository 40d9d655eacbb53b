// One room: its connection to the server, who is in it, and what was said. Nothing here touches the document.
class Room {
  // Members say that they are here every so often, and less often the more there are: a room of any size hears
  // about ten such messages a second.
  static BEAT_MS = 1_000;
  static BEAT_PER_MEMBER_MS = 100;
  // Browsers run the timers of a hidden tab once a minute.
  static HIDDEN_BEAT_MS = 60_000;
  static HIDDEN_LEASE_MS = 150_000;
  // A browser may take minutes to notice that nobody answers.
  static CONNECT_MS = 20_000;
  static SILENT_MS = 15_000;
  // Messages under way, and bytes that the connection has not taken: beyond these, load waits.
  static MOST_IN_FLIGHT = 256;
  static MOST_BUFFERED = 64 << 10;
  // Lines of talk kept.
  static LINES = 200;

  // "connecting", "connected" or "waiting" (for the next try).
  state = "connecting";
  // Why it is not connected, and how long it waits before the next try.
  why = "";
  waitMs = 0;
  people = new People();
  // The latest lines, and how many there have been in all.
  lines = [];
  linesEver = 0;
  received = 0;

  #self;
  #history;
  #changed;
  #backoff = new Backoff();
  #socket = null;
  #retryAt = 0;
  #since = 0;
  #heardAt = 0;
  #beatAt = 0;
  #beaten = 0;
  #inFlight = [];
  #seq = 0;
  // When it lost its connection; 0 while all is well.
  #lostAt = 0;

  // `self` is { id, name } of this tab; `changed` is called when the state changes.
  constructor(name, self, history, changed) {
    this.name = name;
    this.#self = self;
    this.#history = history;
    this.#changed = changed;
    this.connect();
  }

  connect() {
    const socket = new WebSocket(roomUrl(this.name));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { if (socket === this.#socket) this.#opened(); };
    socket.onmessage = event => { if (socket === this.#socket) this.#heard(event.data); };
    socket.onclose = event => { if (socket === this.#socket) this.#lost(closedBecause(event, this.state)); };
    this.#socket = socket;
    this.#since = performance.now();
    this.#enter("connecting");
  }

  // Ends the connection for good, and tells the others.
  leave() {
    this.#send({ kind: "left" });
    this.#abandon(1000);
  }

  say(text) {
    return this.#send({ kind: "say", name: this.#self.name, text });
  }

  // Sends a message of so many bytes if the connection takes more.
  load(bytes) {
    if (!this.takesMore()) return false;
    const seq = this.#next();
    this.#transmit(loadMessage(this.#self.id, seq, bytes));
    return true;
  }

  takesMore() {
    return this.#open && this.#inFlight.length < Room.MOST_IN_FLIGHT
      && this.#socket.bufferedAmount < Room.MOST_BUFFERED;
  }

  // Tells the others that this tab is here.
  beat() {
    if (!this.#open) return;
    const now = performance.now();
    const hidden = document.hidden;
    const each = hidden ? Room.HIDDEN_BEAT_MS : this.#interval();
    // Not all at the same time.
    this.#beatAt = now + each * (0.8 + Math.random() * 0.4);
    this.#beaten = now;
    this.#send({ kind: "here", name: this.#self.name, lease: hidden ? Room.HIDDEN_LEASE_MS : 3 * each + 5_000 });
  }

  // What is due by time; called now and then.
  tick(now) {
    this.people.forget(now);
    if (this.state === "waiting") {
      if (now >= this.#retryAt) this.connect();
    } else if (this.#unanswered(now)) {
      const seconds = (this.state === "connecting" ? Room.CONNECT_MS : Room.SILENT_MS) / 1000;
      this.#abandon(4000);
      this.#lost(`the server has not answered for ${seconds} s`);
    } else if (now >= this.#beatAt) {
      this.beat();
    }
  }

  // Tries again at once: the network or the user is back.
  hurry() {
    if (this.state === "waiting") this.connect();
  }

  #opened() {
    this.#since = this.#heardAt = performance.now();
    if (this.#lostAt > 0) this.#note(`connected again after ${((this.#since - this.#lostAt) / 1000).toFixed(1)} s`);
    this.#lostAt = 0;
    this.#enter("connected");
    this.beat();
  }

  #heard(data) {
    const now = this.#heardAt = performance.now();
    this.received += 1;
    this.#history.received(now);
    const message = readMessage(data);
    if (message.from === this.#self.id) this.#returned(message.seq, now);
    switch (message.kind) {
      case "here":
        if (this.people.heard(message.from, message.name, now + message.lease)) this.#greet(now);
        break;
      case "left":
        this.people.left(message.from);
        break;
      case "say":
      case "other":
        this.#keep(message);
    }
  }

  // Somebody new is here, and does not know this tab yet. A hidden tab has no timer to answer by.
  #greet(now) {
    if (!document.hidden) {
      this.#beatAt = Math.min(this.#beatAt, now + Math.random() * this.#interval());
    } else if (now - this.#beaten > 10_000) {
      this.beat();
    }
  }

  // A connection that has begun to close takes nothing any more, some time before it is over.
  get #open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  #interval() {
    return Math.max(Room.BEAT_MS, Room.BEAT_PER_MEMBER_MS * this.people.count);
  }

  // A topic keeps the order of each publisher: what was sent before this one and is not back yet, is lost.
  #returned(seq, now) {
    const place = this.#inFlight.findIndex(one => one.seq === seq);
    if (place < 0) return;
    this.#history.lost += place;
    this.#history.returned(now, now - this.#inFlight[place].at);
    this.#inFlight.splice(0, place + 1);
  }

  #lost(why) {
    const now = performance.now();
    this.waitMs = this.#backoff.next(this.state === "connected" ? now - this.#since : 0);
    this.#socket = null;
    this.#inFlight = [];
    this.people.clear();
    this.#retryAt = now + this.waitMs;
    // Once: not for every try that fails.
    if (this.#lostAt === 0) this.#note(why);
    this.#lostAt ||= now;
    this.#enter("waiting", why);
  }

  #abandon(code) {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(code);
  }

  #unanswered(now) {
    if (this.state === "connecting") return now - this.#since > Room.CONNECT_MS;
    const [oldest] = this.#inFlight;
    return oldest !== undefined && now - oldest.at > Room.SILENT_MS && now - this.#heardAt > Room.SILENT_MS;
  }

  #enter(state, why = "") {
    this.state = state;
    this.why = why;
    this.#changed(this);
  }

  // What the page itself has to say.
  #note(text) {
    this.#keep({ kind: "note", text });
  }

  #keep(line) {
    this.linesEver += 1;
    this.lines.push({ ...line, at: new Date() });
    if (this.lines.length > Room.LINES) this.lines.shift();
  }

  #send(message) {
    if (!this.#open) return false;
    const seq = this.#next();
    this.#transmit(JSON.stringify({ ...message, from: this.#self.id, seq }));
    return true;
  }

  #next() {
    this.#seq += 1;
    this.#inFlight.push({ seq: this.#seq, at: performance.now() });
    return this.#seq;
  }

  #transmit(text) {
    this.#socket.send(text);
    this.#history.sent(performance.now());
  }
}

// Browsers tell a page nothing about a connection that did not come to be: 1006 stands for all of it.
function closedBecause(event, state) {
  if (state === "connecting") return `no connection (${event.code}): the server is not there, or refuses`;
  if (event.code === 1006) return "the connection broke (1006)";
  const reason = event.reason ? `, ${event.reason}` : "";
  return `closed by the server (${event.code}${reason})`;
}

