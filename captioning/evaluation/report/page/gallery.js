// All scored images, with search, sorting and filters. Draws a few at a time. The viewer shows one image.
// The address holds the view (#gallery?words=dog&order=low, #image=ID), so that users can save and share it.

const FIRST = 12, MORE = 48; // numbers of cards
const DEFAULTS = { words: "", where: "all", order: "data", metric: "cider", of: "clipcap", from: "", to: "", only: "" };
const WHERE = { all: "captions and references", captions: "captions", references: "references" };
const ONLY = {
  "": ["all images", () => true],
  clipcap: ["ClipCap ahead", (image, metric) => scoreOf(image, "difference", metric) > 0],
  lstm: ["LSTM ahead", (image, metric) => scoreOf(image, "difference", metric) < 0],
  same: ["the same caption", (image) => image.said.clipcap.caption === image.said.lstm.caption],
  wrong: ["a wrong fact by ClipCap", (image) => (image.said.clipcap.wrong || []).length > 0],
  wrong_lstm: ["a wrong fact by the LSTM", (image) => (image.said.lstm.wrong || []).length > 0],
};
const VIEWS = [["As in the data", {}], ["Best ClipCap", { order: "high" }], ["Worst ClipCap", { order: "low" }],
  ["Best LSTM", { of: "lstm", order: "high" }], ["Worst LSTM", { of: "lstm", order: "low" }],
  ["ClipCap ahead most", { of: "difference", order: "high" }], ["LSTM ahead most", { of: "difference", order: "low" }],
  ["ClipCap least sure", { of: "sure", order: "low" }]];

function scoreOf(image, of, metric) {
  if (of === "difference") return Number((image.said.clipcap.scores[metric] - image.said.lstm.scores[metric]).toFixed(6));
  if (of === "sure") return image.said.clipcap.mean || 0;
  return image.said[of].scores[metric];
}

class Gallery {
  constructor(place, dialog) {
    this.state = { ...DEFAULTS };
    this.patterns = [];
    this.images = REPORT.images.map((image, position) => ({ ...image, position }));
    this.viewer = new Viewer(dialog, this);
    this.count = el("p", { class: "count", role: "status", "aria-live": "polite" });
    const shapes = this.images.filter(({ src }) => src).map(({ width, height }) => width / height).sort((a, b) => a - b);
    const usual = shapes[Math.floor(shapes.length / 2)] || 1;
    this.grid = el("div", { class: "grid", style: { "--shape": Math.min(1.5, Math.max(1, usual)).toFixed(2) } });
    this.more = el("button", { type: "button", class: "more", onclick: () => this.drawMore() });
    const looked = this.images.some((image) => image.said.lstm.attention);
    place.append(el("p", { class: "lead" }, `Every ${REPORT.scores.split} image with both captions. A strong shade marks a word that `,
      "its captioner found improbable. Click an image for its probabilities, references and scores",
      looked ? ", and for what the LSTM attended to." : "."),
    this.views(), this.controls(), this.count, this.grid, this.more);
  }

  views() {
    this.viewButtons = VIEWS.map(([title, view]) => el("button", { type: "button",
      onclick: () => this.set({ ...DEFAULTS, ...view, words: this.state.words, where: this.state.where }) }, title));
    return el("div", { class: "choices", role: "group", "aria-label": "Views" }, this.viewButtons);
  }

  controls() {
    const field = (label, input) => el("label", {}, el("span", {}, label), input);
    const select = (name, options) => (this.inputs[name] = el("select", { name },
      options.map(([value, title]) => el("option", { value }, title))));
    const number = (name) => (this.inputs[name] = el("input", { type: "number", step: "any", name, inputmode: "decimal" }));
    const facts = this.images.some((image) => image.said.clipcap.wrong);
    this.inputs = { words: el("input", { type: "search", name: "words", placeholder: "dog, run*, \"two dogs\"",
      autocomplete: "off", spellcheck: "false" }) };
    const form = el("form", { class: "controls", role: "search", "aria-label": "Search and sort the gallery" },
      field("Search for words or a “quoted phrase”", this.inputs.words),
      field("in", select("where", Object.entries(WHERE))),
      this.finer = el("details", { class: "finer" }, el("summary", {}, "Sort and filter"), el("div", { class: "controls" },
        field("Order", select("order", [["data", "as in the data"], ["high", "highest first"], ["low", "lowest first"]])),
        field("by", select("metric", METRICS.map((metric) => [metric, REPORT.metrics[metric]]))),
        field("of", select("of", [["clipcap", "ClipCap"], ["lstm", "LSTM"], ["difference", "ClipCap − LSTM"], ["sure", "ClipCap's mean probability"]])),
        field("from", number("from")), field("to", number("to")),
        field("Only", select("only", Object.entries(ONLY).filter(([key]) => facts || !key.startsWith("wrong")).map(([key, [title]]) => [key, title]))),
        el("button", { type: "reset", class: "quiet" }, "Reset"))));
    form.addEventListener("input", () => this.set(Object.fromEntries(Object.entries(this.inputs).map(([key, input]) => [key, input.value]))));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", (event) => { event.preventDefault(); this.set({ ...DEFAULTS }); });
    return form;
  }

  /** Shows the images that `state` selects, and updates the address. */
  set(state, remember = true) {
    this.state = { ...DEFAULTS, ...state };
    for (const [key, input] of Object.entries(this.inputs)) {
      if (input.value !== this.state[key]) input.value = this.state[key];
      if (input.tagName === "SELECT" && input.selectedIndex < 0) this.state[key] = input.value = DEFAULTS[key];
    }
    VIEWS.forEach(([, view], i) => this.viewButtons[i].setAttribute("aria-pressed", String(Object.keys(DEFAULTS).every((key) =>
      ["words", "where"].includes(key) || this.state[key] === { ...DEFAULTS, ...view }[key]))));
    if (remember) this.remember();
    this.patterns = patternsOf(this.state.words);
    this.shown = this.found();
    this.drawn = 0;
    this.grid.replaceChildren();
    this.count.textContent = this.shown.length === this.images.length ? plural(this.shown.length, "image")
      : `${count(this.shown.length)} of ${plural(this.images.length, "image")}`;
    if (!this.shown.length) this.grid.append(el("p", { class: "note" }, "No image matches. “Reset”, under “Sort and filter”, shows all images."));
    this.drawMore();
  }

  remember() {
    const changed = Object.entries(this.state).filter(([key, value]) => value !== DEFAULTS[key]);
    address(`#gallery${changed.length ? "?" : ""}${new URLSearchParams(changed)}`);
  }

  found() {
    const { where, metric, of, order, from, to, only } = this.state;
    const low = from === "" ? -Infinity : Number(from), high = to === "" ? Infinity : Number(to);
    const texts = (image) => [...(where === "all" ? [image.id] : []), ...(where === "captions" ? [] : image.references),
      ...(where === "references" ? [] : REPORT.models.map((name) => image.said[name].caption))];
    const kept = this.images.filter((image) => {
      const score = scoreOf(image, of, metric);
      return score >= low && score <= high && ONLY[only][1](image, metric)
        && this.patterns.every((pattern) => texts(image).some((text) => text.search(pattern) >= 0));
    });
    const sign = order === "low" ? 1 : -1;
    if (order !== "data") kept.sort((a, b) => sign * (scoreOf(a, of, metric) - scoreOf(b, of, metric)) || a.position - b.position);
    return kept;
  }

  /** Where a caption or a reference matches the search. */
  inCaption(text) { return this.state.where === "references" ? [] : matches(text, this.patterns); }
  inReference(text) { return this.state.where === "captions" ? [] : matches(text, this.patterns); }

  drawMore() {
    const next = this.shown.slice(this.drawn, this.drawn + (this.drawn ? MORE : FIRST));
    this.grid.append(...next.map((image) => this.card(image)));
    this.drawn += next.length;
    const left = this.shown.length - this.drawn;
    this.more.hidden = left === 0;
    this.more.textContent = `Show ${Math.min(MORE, left)} more of ${count(left)}`;
  }

  card(image) {
    const references = image.references.map((text) => [text, this.inReference(text)]);
    const address = `#image=${encodeURIComponent(image.id)}`;
    return el("article", { class: "card", "data-id": image.id },
      el("a", { class: "picture", href: address, onclick: (event) => {
        if (!(event.ctrlKey || event.metaKey || event.shiftKey)) this.viewer.open(this.shown.indexOf(image));
      } }, picture(image)),
      el("div", { class: "captions" }, REPORT.models.map((name) => {
        const { scores, wrong } = image.said[name];
        return el("div", { class: `caption of-${name}` },
          el("p", { class: "who" }, el("span", { class: "key" }, NAMES[name]),
            el("span", { class: "score" }, `${REPORT.metrics[this.state.metric]} ${fixed(scores[this.state.metric])}`)),
          el("p", { class: "text" }, shaded(image.said[name], (text) => this.inCaption(text))),
          mistaken(wrong));
      })),
      el("details", { open: references.some(([, found]) => found.length) },
        el("summary", {}, plural(image.references.length, "reference"), el("span", { class: "id" }, image.id)),
        el("ul", {}, references.map(([text, found]) => el("li", {}, marked(text, found))))));
  }

  /** Reads #gallery?words=dog&order=low or #image=ID; other addresses do not change the gallery. */
  readAddress() {
    const [section, query] = location.hash.slice(1).split("?");
    if (section.startsWith("image=")) {
      if (!this.shown) this.set({}, false);
      this.openImage(location.hash.slice("#image=".length));
      return;
    }
    this.viewer.dialog.close();
    const asked = section === "gallery" && query ? Object.fromEntries(new URLSearchParams(query)) : {};
    const known = Object.fromEntries(Object.entries(asked).filter(([key]) => key in DEFAULTS));
    if (section === "gallery" || !this.shown) this.set(known, false);
  }

  openImage(written) {
    let id = written;
    try {
      id = decodeURIComponent(written);
    } catch { /* not a valid % escape: keep the text unchanged */ }
    const place = () => this.shown.findIndex((image) => image.id === id);
    if (place() < 0) this.set({}, false);
    if (place() >= 0) return this.viewer.dialog.open && this.viewer.place === place() ? undefined : this.viewer.open(place());
    this.count.textContent = `This report has no image ${id}; it shows ${plural(this.images.length, "image")}.`;
    this.count.scrollIntoView({ block: "center" });
  }

  scrollToAddress() {
    if (location.hash.startsWith("#gallery?")) document.getElementById("gallery").scrollIntoView();
  }
}

function picture(image) {
  if (!image.src) return el("span", { class: "absent" }, `no picture of ${image.id}`);
  return el("img", { src: image.src, width: image.width, height: image.height, alt: `${image.id}: ${image.references[0] || "no reference"}`,
    decoding: "async" });
}

/** A caption's words, shaded by improbability, with search matches marked. Plain without probabilities. */
function shaded({ caption, words }, find) {
  if (!words || !words.length) return caption ? marked(caption, find(caption)) : "(nothing)";
  const found = find(words.map(([text]) => text).join(""));
  let from = 0;
  return words.flatMap(([text, sure]) => {
    const word = text.trimStart(), blank = text.length - word.length;
    const parts = marked(word, found, from + blank);
    from += text.length;
    return [blank ? " " : null, el("span", { class: "token", title: `${word}: ${percent(sure)}`, style: { "--doubt": (1 - sure).toFixed(2) } }, parts)];
  });
}

/** The labels that the drawing contradicts. */
function mistaken(wrong) {
  return wrong && wrong.length ? el("p", { class: "wrong" }, `Not in the picture: ${wrong.join(", ")}`) : null;
}
