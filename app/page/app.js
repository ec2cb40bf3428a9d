// Sends pictures one after the other and shows their captions. Sends them again when a setting changes.
// Text enters the page as text, never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(100 * share)}%`;
let names = {}; // names of the captioners
let cards = [];
let seed = 0; // seed of drawn captions
let working = false;

/** el("p", {className: "note", onclick: f}, "text", otherElement, ...) */
function el(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.flat());
  return element;
}

async function asked(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("the captioner does not answer; is `python -m app --web` still running?");
  }
  const answer = await response.json().catch(() => ({ error: `the captioner failed (${response.status}); its terminal shows the error` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/** A picture on the page. `rows` are its captions; `stale` is true until they match the settings. */
class Card {
  constructor(picture) {
    Object.assign(this, { picture, rows: [], stale: true });
    this.image = el("img", { src: URL.createObjectURL(picture), alt: picture.name, decoding: "async", loading: "lazy" });
    this.image.onerror = () => this.image.replaceWith(el("span", { className: "absent" }, "no preview"));
    this.captions = el("div", { className: "captions" }, el("p", { className: "note" }, "waiting …"));
    this.away = el("button", { type: "button", onclick: () => this.remove() }, "Remove");
    this.away.setAttribute("aria-label", `Remove ${picture.name}`);
    this.figure = el("figure", {}, el("div", { className: "picture" }, this.image), el("div", {}, this.captions,
      el("figcaption", {}, el("span", {}, picture.name), this.away)));
    this.figure.setAttribute("aria-busy", "true");
  }

  async ask() {
    this.stale = false;
    this.figure.setAttribute("aria-busy", "true");
    try {
      const { captions } = await asked(`captions?${settings()}`, {
        method: "POST", body: this.picture, headers: { "Content-Type": "application/octet-stream" },
      });
      this.rows = captions;
      this.captions.replaceChildren(...Object.keys(names).filter((kind) => captions.some((row) => row.model === kind)).map((kind) =>
        this.column(kind, captions.filter((row) => row.model === kind))));
      this.image.alt = `${this.picture.name}: ${captions[0].caption}`;
    } catch (error) {
      this.rows = [];
      this.captions.replaceChildren(el("p", { className: "fault" }, error.message));
    }
    this.figure.setAttribute("aria-busy", String(this.stale));
  }

  column(kind, rows) {
    return el("section", { className: `of-${kind}` }, el("h2", { className: "key" }, names[kind]),
      el("ol", {}, rows.map((row) => el("li", {}, el("span", { className: "text" }, shaded(row)), " ",
        el("small", { title: "mean probability of its tokens" }, percent(row.mean)), copier(row.caption)))));
  }

  remove() {
    const next = this.figure.nextElementSibling || this.figure.previousElementSibling;
    drop([this]);
    (next ? next.querySelector("figcaption button") : byId("pictures")).focus();
  }
}

/** A caption's words, each shaded by its improbability. */
function shaded({ caption, words }) {
  if (!words.length) return caption || "(nothing)";
  return words.flatMap(([text, sure]) => {
    const word = el("span", { className: "token", title: `${text.trim()}: ${percent(sure)}` }, text.trimStart());
    word.style.setProperty("--doubt", (1 - sure).toFixed(2));
    return text.startsWith(" ") ? [" ", word] : [word];
  });
}

function copier(text) {
  const button = el("button", { type: "button", className: "copy" }, "Copy");
  button.setAttribute("aria-label", `Copy “${text}”`);
  button.onclick = async () => {
    button.textContent = await navigator.clipboard.writeText(text).then(() => "Copied", () => "Not allowed");
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  return button;
}

/** The query of a request. */
function settings() {
  const query = new URLSearchParams({ captions: byId("count").value });
  if (byId("method").value) query.set("method", byId("method").value);
  if (byId("captioner").value) query.set("captioner", byId("captioner").value);
  if (byId("method").value === "nucleus") {
    query.set("temperature", byId("temperature").value);
    query.set("seed", String(seed));
  }
  return query;
}

function add(pictures) {
  if (!pictures.length) return;
  const added = pictures.map((picture) => new Card(picture));
  cards.push(...added);
  byId("results").append(...added.map(({ figure }) => figure));
  added[0].figure.scrollIntoView({ block: "nearest" });
  work();
}

function drop(unwanted) {
  for (const { figure, image } of unwanted) {
    figure.remove();
    URL.revokeObjectURL(image.src);
  }
  cards = cards.filter((card) => !unwanted.includes(card));
  tell();
}

/** Requests all captions again. */
function redo() {
  if (!byId("ask").reportValidity()) return;
  for (const card of cards) {
    card.stale = true;
    card.figure.setAttribute("aria-busy", "true");
  }
  work();
}

/** Captions the stale pictures in order. */
async function work() {
  tell();
  if (working) return;
  working = true;
  for (let card; (card = byId("ask").checkValidity() && cards.find(({ stale }) => stale)); tell()) await card.ask();
  working = false;
}

function tell() {
  const done = cards.filter(({ figure }) => figure.getAttribute("aria-busy") === "false").length;
  byId("tools").hidden = !cards.length;
  const all = `${cards.length} picture${cards.length === 1 ? "" : "s"}`;
  byId("status").textContent = done === cards.length ? all : `${done} of ${all} captioned`;
}

/** The captions of all pictures, in the format of `python -m app --out`. */
function table() {
  return cards.flatMap(({ picture, rows }) => rows.map(({ words, ...row }) => ({ file: picture.name, ...row })));
}

function csv(rows) {
  const cell = (value) => (/[",\r\n]/u.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const heads = ["file", "model", "caption", "score", "mean", "lowest"];
  return [heads, ...rows.map((row) => heads.map((head) => cell(row[head])))].map((cells) => `${cells.join(",")}\n`).join("");
}

function download(name, type, text) {
  const link = el("a", { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** The dropped pictures: files, and all pictures in dropped folders. */
async function within(entry, top = true) {
  if (entry.isFile) {
    const file = await new Promise((found, failed) => entry.file(found, failed));
    return top || file.type.startsWith("image/") ? [file] : [];
  }
  const reader = entry.createReader(), inside = [];
  for (let some; (some = await new Promise((found, failed) => reader.readEntries(found, failed))).length;) inside.push(...some);
  return (await Promise.all(inside.map((one) => within(one, false)))).flat();
}

function watch() {
  const [field, zone] = [byId("pictures"), byId("drop")];
  field.addEventListener("change", () => {
    add([...field.files]);
    field.value = ""; // so that the same picture can be chosen again
  });
  for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(event, (dragged) => {
      dragged.preventDefault();
      zone.classList.toggle("over", over);
    });
  }
  document.addEventListener("drop", async ({ dataTransfer }) => {
    const entries = [...dataTransfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
    add(entries.length ? (await Promise.all(entries.map((entry) => within(entry)))).flat() : [...dataTransfer.files]);
  });
  document.addEventListener("paste", ({ clipboardData }) => add([...clipboardData.files]));

  const showDrawn = () => {
    for (const part of document.querySelectorAll(".drawn")) part.hidden = byId("method").value !== "nucleus";
    document.querySelector("output").value = byId("temperature").value;
  };
  byId("ask").addEventListener("input", showDrawn);
  byId("ask").addEventListener("change", (event) => event.target !== field && redo());
  byId("ask").addEventListener("submit", (event) => event.preventDefault());
  byId("again").addEventListener("click", () => { seed += 1; redo(); });
  byId("clear").addEventListener("click", () => { drop(cards); field.focus(); });
  byId("csv").addEventListener("click", () => download("captions.csv", "text/csv", csv(table())));
  byId("json").addEventListener("click", () => download("captions.json", "application/json", JSON.stringify(table(), null, 1)));
  showDrawn();
}

/** Buttons, each of which adds a test picture. */
async function offer(samples) {
  byId("samples").hidden = !samples.length;
  const fetched = await Promise.all(samples.map(async (name, i) => {
    const response = await fetch(`samples/${i}`);
    return response.ok ? new File([await response.blob()], name) : null;
  }));
  byId("samples").append(...fetched.filter(Boolean).map((file) => {
    const image = el("img", { src: URL.createObjectURL(file), alt: `Test picture ${file.name}` });
    return el("button", { type: "button", onclick: () => add([file]) }, image);
  }));
}

asked("about").then(async ({ captioners, learned, doubts, samples, temperature }) => {
  names = captioners;
  for (const [kind, title] of Object.entries(captioners)) byId("captioner").add(new Option(title, kind));
  byId("by").hidden = Object.keys(captioners).length < 2;
  byId("learned").hidden = !learned;
  byId("learned").textContent = `The captioners learned from ${learned}.`;
  byId("doubts").hidden = !doubts.length;
  byId("doubts").append(...doubts.map((doubt) => el("li", {}, `Warning: ${doubt}.`)));
  byId("temperature").value = temperature;
  watch();
  await offer(samples);
  document.documentElement.dataset.ready = "yes";
}).catch((error) => byId("ask").replaceChildren(el("p", { className: "fault" }, error.message)));
