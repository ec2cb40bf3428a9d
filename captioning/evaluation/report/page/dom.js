// Building blocks. Text always enters the page as text: no script parses HTML.

const REPORT = JSON.parse(document.getElementById("report-data").textContent);
const NAMES = { clipcap: "ClipCap", lstm: "LSTM", humans: "People", most_common: "Most common caption",
  random: "Random captions", nearest_clip: "Nearest image, by CLIP", nearest_vgg16: "Nearest image, by VGG16" };

/** el("p", {class: "note", onclick: f, "aria-label": "x"}, "text", otherElement, ...) */
function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, setting] of Object.entries(value)) element.style.setProperty(key, setting);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * A table whose first column holds row headers.
 * `columns`: [{title, hint?}], `rows`: [{cells: text or elements, ...}]
 */
function table(caption, columns, rows, attributes) {
  const head = columns.map(({ title, hint }) => el("th", { scope: "col", title: hint }, title));
  const body = rows.map(({ cells, ...rest }) => el("tr", rest, cells.map((cell, i) =>
    i === 0 ? el("th", { scope: "row" }, cell) : el("td", {}, cell))));
  const scroll = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", attributes, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
  WIDE.observe(scroll);
  return el("div", { class: "framed" }, scroll, el("p", { class: "sideways" }, "This table is wider than the page: scroll it sideways."));
}

const WIDE = new ResizeObserver((seen) => {
  for (const { target } of seen) target.parentElement.classList.toggle("wide", target.scrollWidth > target.clientWidth + 1);
});

/** The same table, folded under its caption, with notes below. */
function folded(framed, ...notes) {
  const caption = framed.querySelector("caption");
  return el("details", { class: "folded" }, el("summary", {}, caption.textContent), framed, notes);
}

function nameOf(system) {
  const fewer = " (one reference fewer)";
  if (system.endsWith(fewer)) return `${NAMES[system.slice(0, -fewer.length)] || system}, one reference fewer`;
  return NAMES[system] || system;
}

const METRICS = Object.keys(REPORT.metrics).reverse(); // CIDEr, the main score, comes first

const fixed = (value, digits = 3) => (value === undefined || value === null ? "–" : value.toFixed(digits));
const signed = (value, digits = 3) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
const percent = (value) => `${Math.round(100 * value)}%`;
const between = (low, high, show = fixed) => `${show(low)} – ${show(high)}`;
/** A score in its unit, with its 95% interval if it has one. */
function scored(value, show = fixed) {
  if (value === undefined || value === null) return "–";
  return typeof value === "object" ? [show(value.value), el("small", {}, between(value.low, value.high, show))] : show(value);
}

/** The relation and the number of a test's p: "= 0.034". The console words it the same way (evaluation/tables.py). */
const probability = (p) => (p < 0.0005 ? "<\u00a00.001" : `=\u00a0${fixed(p)}`);
const count = (value) => value.toLocaleString("en");
const plural = (value, word) => `${count(value)} ${word}${value === 1 ? "" : "s"}`;

function megabytes(bytes) {
  if (!bytes) return "–";
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

function duration(seconds) {
  if (seconds === undefined) return "–";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** A stage's note as a sentence; text in backquotes becomes code. */
function sentence(note) {
  const whole = note.charAt(0).toUpperCase() + note.slice(1) + (/[.!?]$/u.test(note) ? "" : ".");
  return whole.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
}

/** Sets the page's address without a new history entry. */
function address(hash) {
  try {
    history.replaceState(null, "", hash);
  } catch { /* some browsers do not let a file's page change its address */ }
}

/** A row of buttons, one of them pressed. Tab and Enter work; there are no arrow keys. */
function choices(label, options, chosen, choose) {
  const buttons = options.map(([value, title]) => el("button", { type: "button", "aria-pressed": String(value === chosen),
    onclick: () => {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
      choose(value);
    }, "data-value": value }, title));
  return el("div", { class: "choices", role: "group", "aria-label": label }, buttons);
}
