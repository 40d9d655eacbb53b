// Who is in a room. Each member says that it is here, and for how long to believe it: who is gone without a
// word is forgotten when that is over.
class People {
  // More are counted as "and more": a list of thousands helps nobody.
  static MOST = 500;

  #members = new Map();

  // Returns whether this one was not there before.
  heard(from, name, until) {
    const known = this.#members.get(from);
    if (!known && this.#members.size >= People.MOST) return false;
    this.#members.set(from, { name, until });
    return !known;
  }

  left(from) {
    this.#members.delete(from);
  }

  forget(now) {
    for (const [from, member] of this.#members) {
      if (member.until < now) this.#members.delete(from);
    }
  }

  clear() {
    this.#members.clear();
  }

  get count() {
    return this.#members.size;
  }

  // The first so many, as [from, name].
  list(most) {
    return [...this.#members].slice(0, most).map(([from, { name }]) => [from, name]);
  }
}

