// Charts as inline SVG, in the page's own colours, each with a text for those who cannot see it.

function ticks(low, high, wanted = 4) {
  const raw = (high - low || 1) / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return found;
}

const tickText = (value) => String(Number(value.toPrecision(4)));

/** Lines over numbers. series: [{name, label, points: [[x, y], ...]}]; names colour them, `show` writes y. */
function lineChart({ title, x, y, series, from, dots, show = tickText }) {
  const width = 460, height = 250, left = 46, right = 14, top = 14, bottom = 40;
  const every = series.flatMap(({ points }) => points);
  const xs = every.map(([value]) => value), ys = every.map(([, value]) => value);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const flat = Math.max(...ys) - Math.min(...ys) < 1e-6 ? Math.abs(ys[0]) * 0.1 || 0.1 : 0;
  const y0 = from === undefined ? Math.min(...ys) - flat : from;
  const y1 = Math.max(...ys, y0) + flat;
  const atX = (value) => left + ((value - x0) / (x1 - x0 || 1)) * (width - left - right);
  const atY = (value) => height - bottom - ((value - y0) / (y1 - y0)) * (height - top - bottom);
  const lines = ticks(y0, y1).map((value) => svg("g", {},
    svg("line", { class: "grid", x1: left, x2: width - right, y1: atY(value), y2: atY(value) }),
    svg("text", { class: "tick", x: left - 7, y: atY(value) + 4, "text-anchor": "end" }, show(value))));
  const below = ticks(x0, x1, 6).map((value) =>
    svg("text", { class: "tick", x: atX(value), y: height - bottom + 17, "text-anchor": "middle" }, tickText(value)));
  const drawn = series.map(({ name, label, points, dashed }) => svg("g", { class: `series of-${name}` },
    svg("polyline", { points: points.map(([a, b]) => `${atX(a).toFixed(1)},${atY(b).toFixed(1)}`).join(" "),
      class: dashed ? "dashed" : null }),
    (dots || points.length < 3 ? points : [points[points.length - 1]]).map(([a, b]) =>
      svg("circle", { cx: atX(a), cy: atY(b), r: 3.2 }, svg("title", {}, `${label}: ${show(b)} at ${tickText(a)}`)))));
  const text = series.map(({ label, points }) =>
    `${label} from ${show(points[0][1])} to ${show(points[points.length - 1][1])}`).join("; ");
  return figure(title, svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: ${text}` },
    lines, below, svg("text", { class: "axis", x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, x),
    drawn), y, legend(series));
}

/** Bars beside each other over numbers. rows: [{[xKey]: n, name: share, ...}] */
function barChart({ title, x, y, rows, xKey, names, labels }) {
  const width = 460, height = 250, left = 46, right = 8, top = 14, bottom = 40;
  const most = Math.max(...rows.flatMap((row) => names.map((name) => row[name])), 1e-9);
  const slot = (width - left - right) / rows.length, bar = (slot * 0.84) / names.length;
  const atY = (value) => height - bottom - (value / most) * (height - top - bottom);
  const every = Math.ceil(rows.length / 12);
  const shape = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `${title}: ${names.map((name, i) => `${labels[i]} most often ${rows.reduce((best, row) =>
      (row[name] > best[name] ? row : best), rows[0])[xKey]}`).join("; ")}` },
  ticks(0, most).map((value) => svg("g", {},
    svg("line", { class: "grid", x1: left, x2: width - right, y1: atY(value), y2: atY(value) }),
    svg("text", { class: "tick", x: left - 7, y: atY(value) + 4, "text-anchor": "end" }, percent(value)))),
  rows.map((row, i) => svg("g", {}, names.map((name, k) => svg("rect", { class: `bar-of of-${name}`,
    x: left + i * slot + slot * 0.08 + k * bar, width: Math.max(0.5, bar - 0.6), y: atY(row[name]),
    height: height - bottom - atY(row[name]) }, svg("title", {}, `${labels[k]}, ${row[xKey]}: ${(100 * row[name]).toFixed(1)}%`))),
  i % every === 0 ? svg("text", { class: "tick", x: left + (i + 0.5) * slot, y: height - bottom + 17,
    "text-anchor": "middle" }, String(row[xKey])) : null)),
  svg("text", { class: "axis", x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, x));
  return figure(title, shape, y, legend(names.map((name, i) => ({ name, label: labels[i] }))));
}

/** A dot with its interval a system, on one scale. rows: [{name, label, value, low, high}] */
function intervalChart({ title, rows, mark }) {
  const wide = Math.max(320, Math.min(980, document.documentElement.clientWidth - 72));
  const narrow = wide < 600, step = narrow ? 50 : 30, left = narrow ? 8 : 250, right = 64, top = 6, bottom = 28;
  const height = top + bottom + rows.length * step;
  const most = Math.max(...rows.map((row) => row.high), 1e-9) * 1.02;
  const at = (value) => left + (value / most) * (wide - left - right);
  return svg("svg", { viewBox: `0 0 ${wide} ${height}`, class: "intervals", role: "img",
    "aria-label": `${title}: ${rows.map((row) => `${row.label} ${fixed(row.value)}, 95% ${between(row.low, row.high)}`).join("; ")}` },
  ticks(0, most, narrow ? 3 : 6).map((value) => svg("g", {},
    svg("line", { class: "grid", x1: at(value), x2: at(value), y1: top, y2: height - bottom }),
    svg("text", { class: "tick", x: at(value), y: height - 9, "text-anchor": "middle" }, tickText(value)))),
  mark ? svg("line", { class: "mark", x1: at(mark), x2: at(mark), y1: top, y2: height - bottom }) : null,
  rows.map((row, i) => {
    const y = top + (i + 0.5) * step + (narrow ? 9 : 0);
    return svg("g", { class: `series of-${row.name.split(" ")[0]}` },
      narrow ? svg("text", { class: "label", x: left, y: y - 13 }, row.label)
        : svg("text", { class: "label", x: left - 14, y: y + 4.5, "text-anchor": "end" }, row.label),
      svg("line", { class: "interval", x1: at(row.low), x2: at(row.high), y1: y, y2: y }),
      svg("circle", { cx: at(row.value), cy: y, r: 5 },
        svg("title", {}, `${row.label}: ${fixed(row.value)}, 95% ${between(row.low, row.high)}`)),
      svg("text", { class: "value", x: wide - 4, y: y + 4.5, "text-anchor": "end" }, fixed(row.value)));
  }));
}

function legend(series) {
  return el("div", { class: "legend" }, series.map(({ name, label, dashed }) =>
    el("span", { class: `key of-${name}${dashed ? " dashed" : ""}` }, label)));
}

function figure(title, drawing, note, key) {
  return el("figure", { class: "chart" }, el("figcaption", {}, el("strong", {}, title), note ? el("span", {}, note) : null),
    drawing, key);
}
