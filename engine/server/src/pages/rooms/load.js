// Messages at a steady rate, bounded so that nobody hurts himself: in rate, in bytes per second, in what is under way
// (see Room), and never while the tab is hidden.
class Load {
  static RATES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
  static SIZES = [64, 256, 1024, 4096, 16384];
  static MOST_BYTES_PER_S = 1 << 20;
  static TICK_MS = 20;
  // What a late timer owes beyond this much time is not made up for: it would come as a burst.
  static MOST_OWED_MS = 100;

  running = false;
  rate = 50;
  size = 64;
  // Whether the connection took less than was asked for, recently.
  held = false;

  #target;
  #timer = 0;
  #last = 0;
  #owed = 0;

  // `target` gives the room to send to.
  constructor(target) {
    this.#target = target;
  }

  // The rate that the bound on bytes allows.
  get allowed() {
    return Math.min(this.rate, Load.MOST_BYTES_PER_S / this.size);
  }

  start() {
    this.stop();
    this.running = true;
    this.#last = performance.now();
    this.#owed = 0;
    this.#timer = setInterval(() => this.#tick(), Load.TICK_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.running = this.held = false;
  }

  #tick() {
    const now = performance.now();
    const elapsed = Math.min(now - this.#last, Load.MOST_OWED_MS);
    this.#last = now;
    const room = this.#target();
    if (document.hidden || !room) return;
    this.#owed += this.allowed * elapsed / 1000;
    this.held = false;
    while (this.#owed >= 1) {
      if (!room.load(this.size)) {
        this.held = room.state === "connected";
        this.#owed = 0;
        return;
      }
      this.#owed -= 1;
    }
  }
}

