// Draws the charts of a report, each from the JSON beside it.
(() => {
  const HEIGHT = 240;
  const AXIS_WIDTH = 62;
  const AXIS_HEIGHT = 28;
  // Above the lines, for the names of the bands.
  const BAND_HEIGHT = 18;
  // Room for half of a label at the right end, such as 99.999 %.
  const LAST_LABEL = 30;
  const FONT = "12px system-ui, sans-serif";
  const BINARY_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);

  // By host element; made anew when the colours change.
  const plots = new Map();

  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const seriesColour = number => colour(`--series-${number % 8}`);

  function drawAll() {
    for (const figure of document.querySelectorAll("figure.chart")) {
      const host = figure.querySelector(".plot");
      plots.get(host)?.destroy();
      plots.set(host, draw(host, JSON.parse(figure.querySelector("script").textContent)));
    }
  }

  function draw(host, spec) {
    // Points of lines that are not at the same x are put in order; a null stays a gap.
    const data = uPlot.join(spec.series.map(series => [series.x, series.y.map(value => shown(spec, series, value))]));
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    const plot = new uPlot({
      width: host.clientWidth,
      height: HEIGHT,
      padding: [spec.bands.length > 0 ? BAND_HEIGHT : 10, spec.x.unit === "percentile" ? LAST_LABEL : null, 0, null],
      legend: { live: false, markers: { dash: (_, number) => spec.series[number - 1].dashed ? "dashed" : "solid" } },
      cursor: {
        drag: { x: true, y: false },
        points: { size: 7 },
        sync: spec.group === null ? undefined : { key: spec.group },
        dataIdx: (self, index, at) => nearest(self.data[index], at),
      },
      scales: scales(spec),
      axes: [xAxis(spec), ...spec.y.map((axis, side) => yAxis(spec, axis, side))],
      series: [{}, ...spec.series.map(series => line(spec, series))],
      hooks: { drawClear: [self => shade(self, spec)], setCursor: [self => showTip(self, spec, tip)] },
    }, data, host);
    plot.over.append(tip);
    return plot;
  }

  // A logarithm has no place for zero.
  function shown(spec, series, value) {
    return spec.y[series.axis].log && value !== null && value <= 0 ? null : value;
  }

  function scales(spec) {
    const all = { x: { time: false, ...(spec.x.log ? { distr: 3, log: 10, range: logRange } : { range: (_, min, max) => wide(min, max) }) } };
    spec.y.forEach((axis, side) => {
      all[`y${side}`] = axis.log ? { distr: 3, log: 10, range: logRange } : { range: (_, min, max) => [0, max > 0 ? max * 1.08 : 1] };
    });
    return all;
  }

  function logRange(_, min, max) {
    return min > 0 ? uPlot.rangeLog(min, max, 10, false) : [1, 10];
  }

  function wide(min, max) {
    return min === max ? [min - 1, max + 1] : [min, max];
  }

  function xAxis(spec) {
    return axisLook(spec.x, {
      scale: "x", side: 2, size: AXIS_HEIGHT, space: 60,
      ...(spec.x.unit === "percentile" ? { splits: percentiles, filter: (_, splits) => splits } : {}),
    });
  }

  function percentiles(self, axis, min, max) {
    const splits = [1, 2];
    for (let split = 10; split <= max; split *= 10) splits.push(split);
    return splits.filter(split => split >= min);
  }

  function yAxis(spec, axis, side) {
    const show = spec.series.some(series => series.axis === side);
    return axisLook(axis, { show, scale: `y${side}`, side: side === 0 ? 3 : 1, size: AXIS_WIDTH, grid: side === 0 });
  }

  function axisLook(axis, { grid = true, ...rest }) {
    return {
      ...rest,
      label: axis.label || undefined,
      labelSize: 20, labelGap: 0, labelFont: FONT, font: FONT, gap: 4,
      stroke: colour("--faint"),
      grid: { show: grid, stroke: colour("--grid"), width: 1 },
      ticks: { show: false },
      values: (_, splits) => splits.map(value => value === null ? null : format[axis.unit](value)),
      ...(axis.unit === "bytes" && !axis.log ? { incrs: BINARY_STEPS } : {}),
    };
  }

  function line(spec, series) {
    const right = series.axis > 0 ? " (right)" : "";
    return {
      label: `${series.name}${right}`,
      scale: `y${series.axis}`,
      stroke: seriesColour(series.colour),
      width: 1.75,
      dash: series.dashed ? [6, 5] : undefined,
      points: {
        size: 5,
        fill: seriesColour(series.colour),
        show: series.x.length <= 16 && !series.dashed ? true : undefined,
        filter: (self, number, all) => all ? null : lonely(self.data[number]),
      },
    };
  }

  // Points between two gaps, which no line reaches.
  function lonely(values) {
    const there = values.flatMap((value, at) => value === undefined ? [] : [at]);
    const gap = at => at === undefined || values[at] === null;
    const alone = there.filter((at, place) => !gap(at) && gap(there[place - 1]) && gap(there[place + 1]));
    return alone.length > 0 ? alone : null;
  }

  // The point of a line that is nearest to the cursor, where it has none right there.
  function nearest(values, at) {
    for (let away = 0; away < values.length; away++) {
      for (const index of [at - away, at + away]) {
        if (values[index] !== undefined) return values[index] === null && away > 0 ? at : index;
      }
    }
    return at;
  }

  // Bands lie under the lines, their names above them.
  function shade(self, spec) {
    const { ctx, bbox } = self;
    const ratio = devicePixelRatio;
    const top = bbox.top - BAND_HEIGHT * ratio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, top, bbox.width, bbox.height + BAND_HEIGHT * ratio);
    ctx.clip();
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    for (const band of spec.bands) {
      const ends = [band.from, band.to].map(value => self.valToPos(value, "x", true));
      const [left, right] = [Math.max(ends[0], bbox.left), Math.min(ends[1], bbox.left + bbox.width)];
      ctx.fillStyle = colour("--band");
      if (band.shaded) ctx.fillRect(left, top, right - left, bbox.height + BAND_HEIGHT * ratio);
      ctx.fillStyle = colour("--faint");
      if (ctx.measureText(band.label).width + 8 * ratio < right - left) ctx.fillText(band.label, left + 4 * ratio, top + BAND_HEIGHT / 2 * ratio);
    }
    ctx.restore();
  }

  function showTip(self, spec, tip) {
    const { left, top, idx } = self.cursor;
    tip.hidden = idx === null || idx === undefined || left < 0;
    if (tip.hidden) return;
    const rows = [tipRow(format[spec.x.unit](self.data[0][idx]), "")];
    spec.series.forEach((series, number) => {
      const value = self.data[number + 1][self.cursor.idxs[number + 1] ?? idx];
      if (value === null || value === undefined || !self.series[number + 1].show) return;
      rows.push(tipRow(format[spec.y[series.axis].unit](value), series.name, seriesColour(series.colour)));
    });
    tip.hidden = rows.length === 1;
    tip.replaceChildren(...rows);
    const right = left > self.over.clientWidth / 2;
    tip.style.left = right ? "auto" : `${left + 12}px`;
    tip.style.right = right ? `${self.over.clientWidth - left + 12}px` : "auto";
    tip.style.top = `${Math.max(0, Math.min(top, self.over.clientHeight - tip.offsetHeight))}px`;
  }

  // Texts only: names may come from a server.
  function tipRow(value, name, dot) {
    const row = document.createElement("div");
    if (dot !== undefined) {
      const mark = document.createElement("i");
      mark.style.background = dot;
      row.append(mark);
    }
    const shownValue = document.createElement("b");
    shownValue.textContent = value;
    row.append(shownValue, ` ${name}`);
    return row;
  }

  function fit() {
    for (const [host, plot] of plots) {
      if (host.clientWidth > 0 && host.clientWidth !== plot.width) plot.setSize({ width: host.clientWidth, height: HEIGHT });
    }
  }

  drawAll();
  addEventListener("resize", fit);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // Paper is white, and narrower.
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.paper = "";
    drawAll();
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.paper;
    drawAll();
  });
})();
