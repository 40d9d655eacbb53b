// A moving chart of the last minute on a canvas, in the colours of the page.
class Chart {
  static AXIS_PX = 46;
  static FOOT_PX = 20;
  static HEAD_PX = 8;
  // Slots without a value that a line still bridges: a quiet room has a sample a second.
  static BRIDGED_SLOTS = 6;

  #canvas;
  #context;
  #lines;
  #scale;
  #colours = {};

  // `lines` are [{ key, colour, filled }]: a key of the slots, and the name of a colour of the style. `scale` is one
  // of the functions below.
  constructor(canvas, scale, lines) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#lines = lines;
    this.#scale = scale;
    this.restyle();
  }

  // Takes the colours of the style anew: light has become dark.
  restyle() {
    const style = getComputedStyle(this.#canvas);
    for (const name of ["--line", "--faint", ...this.#lines.map(line => line.colour)]) {
      this.#colours[name] = style.getPropertyValue(name);
    }
  }

  // `slots` are closed ones, the latest last.
  draw(now, slots) {
    const { width, height } = this.#fit();
    if (width === 0) return;
    const highest = Math.max(0, ...slots.flatMap(slot => this.#lines.map(line => slot[line.key] ?? 0)));
    const { ticks, height: share } = this.#scale(highest);
    const area = {
      left: Chart.AXIS_PX, right: width - 4, top: Chart.HEAD_PX, bottom: height - Chart.FOOT_PX,
      newest: now / History.SLOT_MS - 1,
    };
    const x = index => area.right - (area.newest - index) * (area.right - area.left) / History.SLOTS;
    const y = value => area.bottom - share(value) * (area.bottom - area.top);
    const context = this.#context;
    context.clearRect(0, 0, width, height);
    this.#grid(area, ticks, y);
    context.save();
    context.beginPath();
    context.rect(area.left, 0, area.right - area.left, height);
    context.clip();
    for (const line of this.#lines) this.#trace(line, slots, x, y, area.bottom);
    context.restore();
  }

  // Makes the canvas as large as it is shown, in the pixels of the screen.
  #fit() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const ratio = devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.#canvas.width !== wide || this.#canvas.height !== high) {
      this.#canvas.width = wide;
      this.#canvas.height = high;
    }
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return { width, height };
  }

  #grid(area, ticks, y) {
    const context = this.#context;
    context.font = "12px system-ui, sans-serif";
    context.strokeStyle = this.#colours["--line"];
    context.fillStyle = this.#colours["--faint"];
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const value of ticks) {
      const height = Math.round(y(value)) + 0.5;
      context.beginPath();
      context.moveTo(area.left, height);
      context.lineTo(area.right, height);
      context.stroke();
      context.fillText(axisLabel(value), area.left - 8, height);
    }
    context.textBaseline = "alphabetic";
    for (const [share, text, align] of [[0, "60 s ago", "left"], [0.5, "30 s", "center"], [1, "now", "right"]]) {
      context.textAlign = align;
      context.fillText(text, area.left + share * (area.right - area.left), area.bottom + 15);
    }
  }

  #trace(line, slots, x, y, bottom) {
    const context = this.#context;
    context.strokeStyle = context.fillStyle = this.#colours[line.colour];
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    for (const run of runs(slots, line.key)) {
      context.beginPath();
      for (const slot of run) context.lineTo(x(slot.index), y(slot[line.key]));
      // A value alone is a dot.
      if (run.length === 1) context.arc(x(run[0].index), y(run[0][line.key]), 1, 0, 7);
      context.stroke();
      if (!line.filled) continue;
      context.lineTo(x(run.at(-1).index), bottom);
      context.lineTo(x(run[0].index), bottom);
      context.globalAlpha = 0.14;
      context.fill();
      context.globalAlpha = 1;
    }
  }
}

// The slots that have a value, in runs without a long gap.
function runs(slots, key) {
  const all = [];
  let last = -Infinity;
  for (const slot of slots) {
    if (slot[key] === null) continue;
    if (slot.index - last > Chart.BRIDGED_SLOTS) all.push([]);
    all.at(-1).push(slot);
    last = slot.index;
  }
  return all;
}

// A scale says, for the highest value there is, which values get a line of the grid, and at which share of the height a
// value stands.
function linear(highest) {
  const top = niceCeiling(Math.max(10, highest));
  return { ticks: [0, top / 2, top], height: value => value / top };
}

// For latencies: one that takes a hundred times as long must not flatten the others.
function logarithmic(highest) {
  const first = -1;
  const last = Math.max(1, Math.ceil(Math.log10(Math.max(highest, 1e-9)) - 1e-9));
  const ticks = [];
  for (let power = first; power <= last; power++) ticks.push(10 ** power);
  return { ticks, height: value => Math.max(0, (Math.log10(Math.max(value, 1e-9)) - first) / (last - first)) };
}

// The next of 1, 2, 5, 10, 20, 50 and so on, for an axis that people can read.
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map(step => step * power).find(step => step >= value * 0.999) ?? 10 * power;
}

function axisLabel(value) {
  return value >= 10_000 ? `${value / 1000}k` : String(Number(value.toPrecision(3)));
}

