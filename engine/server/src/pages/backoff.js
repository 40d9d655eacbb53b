// How long to wait before connecting again: full jitter under a ceiling that doubles, so that the
// browsers of a restarted server do not come back in step.
class Backoff {
  static FIRST_MS = 500;
  static CEILING_MS = 15_000;
  // A connection that lived this long was a good one: the next wait starts small again.
  static STABLE_MS = 5_000;

  #failures = 0;

  // The wait after a connection that was open for so many milliseconds; 0 when it never was.
  next(openMs) {
    this.#failures = openMs > Backoff.STABLE_MS ? 0 : this.#failures + 1;
    return Math.random() * Math.min(Backoff.CEILING_MS, Backoff.FIRST_MS * 2 ** Math.min(this.#failures, 10));
  }

  reset() {
    this.#failures = 0;
  }
}

