// The last minute in slots of equal time. Slots follow the clock, not the timer that asks for them: a
// throttled timer makes the picture late, never wrong.
class History {
  static SLOT_MS = 500;
  static SLOTS = 120;
  // Percentiles shown as figures are those of this time.
  static RECENT_SLOTS = 20;
  // Per slot; with more, each message has the same chance to be among them.
  static SAMPLES = 512;

  // Closed slots, the oldest first.
  slots = [];
  // Messages of this page that never came back although later ones did.
  lost = 0;
  #open;

  constructor(now) {
    this.#open = new Slot(History.#index(now));
  }

  received(now) {
    this.#at(now).received += 1;
  }

  sent(now) {
    this.#at(now).sent += 1;
  }

  returned(now, latencyMs) {
    this.#at(now).sample(latencyMs);
  }

  // Closes the slots whose time is over.
  advance(now) {
    const index = History.#index(now);
    // After a long sleep only the last ones matter.
    if (index - this.#open.index > History.SLOTS) {
      this.slots = [];
      this.#open = new Slot(index - History.SLOTS);
    }
    while (this.#open.index < index) {
      this.#open.close();
      this.slots.push(this.#open);
      this.#open = new Slot(this.#open.index + 1);
    }
    this.slots.splice(0, this.slots.length - History.SLOTS);
  }

  // Messages per second, over the last whole second.
  rate(key) {
    const last = this.slots.slice(-1000 / History.SLOT_MS);
    return last.length === 0 ? 0 : last.reduce((sum, slot) => sum + slot[key], 0) / last.length;
  }

  // The 50th and 99th percentile of the last ten seconds; null without a sample.
  recent() {
    const samples = this.slots.slice(-History.RECENT_SLOTS).flatMap(slot => slot.samples).sort((a, b) => a - b);
    return { p50: percentile(samples, 0.5), p99: percentile(samples, 0.99), samples: samples.length };
  }

  #at(now) {
    if (History.#index(now) > this.#open.index) this.advance(now);
    return this.#open;
  }

  static #index(now) {
    return Math.floor(now / History.SLOT_MS);
  }
}

// What happened in one slot. When it is closed, its counts have become messages per second.
class Slot {
  received = 0;
  sent = 0;
  p50 = null;
  p99 = null;
  samples = [];
  #seen = 0;

  constructor(index) {
    this.index = index;
  }

  sample(latencyMs) {
    this.#seen += 1;
    if (this.samples.length < History.SAMPLES) {
      this.samples.push(latencyMs);
      return;
    }
    const place = Math.floor(Math.random() * this.#seen);
    if (place < History.SAMPLES) this.samples[place] = latencyMs;
  }

  close() {
    this.received *= 1000 / History.SLOT_MS;
    this.sent *= 1000 / History.SLOT_MS;
    this.samples.sort((a, b) => a - b);
    this.p50 = percentile(this.samples, 0.5);
    this.p99 = percentile(this.samples, 0.99);
  }
}

// The smallest sample that at least this share of them does not exceed.
function percentile(sorted, share) {
  return sorted.length === 0 ? null : sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

