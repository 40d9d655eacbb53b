"use strict";

// Values as the text of a report has them.
const format = (() => {
  // So many digits as tell neighbours apart, and no more.
  const number = (value, digits = 3) => {
    const size = Math.abs(value);
    if (size === 0) return "0";
    return String(size >= 10 ** digits ? Math.round(value) : Number(value.toPrecision(digits)));
  };
  const scaled = (value, steps) => {
    const step = steps.find(([size]) => Math.abs(value) >= size) ?? steps.at(-1);
    return `${number(value / step[0])}${step[1]}`;
  };
  const thousands = [[1e9, " G"], [1e6, " M"], [1e3, " k"], [1, ""]];
  const times = [[1e6, " s"], [1e3, " ms"], [1, " µs"]];
  const sizes = [[2 ** 30, " GiB"], [2 ** 20, " MiB"], [2 ** 10, " KiB"], [1, " B"]];
  const percentile = value => {
    if (value <= 1) return "0 %";
    const nines = Math.max(0, Math.ceil(Math.log10(value) - 1e-9) - 1);
    return `${Number((100 - 100 / value).toFixed(Math.max(0, nines - 1) + (value === 10 ** (nines + 1) ? 0 : 1)))} %`;
  };
  return {
    count: value => scaled(value, thousands),
    "per-second": value => `${scaled(value, thousands)}/s`,
    seconds: value => `${number(value)} s`,
    micros: value => scaled(value, times),
    bytes: value => scaled(value, sizes),
    share: value => `${number(value * 100)} %`,
    percentile,
  };
})();
