// All images that were scored: searched, sorted, filtered; drawn a few at a time; one of them at a time in the viewer.
// What is shown stands in the address (#gallery?words=dog&order=low), so that a view can be kept and sent.

const AT_ONCE = 24;
const DEFAULTS = { words: "", metric: "cider", of: "clipcap", order: "high", from: "", to: "", only: "" };
const ONLY = {
  "": ["all images", () => true],
  clipcap: ["ClipCap ahead", (image, metric) => scoreOf(image, "difference", metric) > 0],
  lstm: ["LSTM ahead", (image, metric) => scoreOf(image, "difference", metric) < 0],
  same: ["the same caption", (image) => image.said.clipcap.caption === image.said.lstm.caption],
  wrong: ["a wrong fact by ClipCap", (image) => (image.said.clipcap.wrong || []).length > 0],
  wrong_lstm: ["a wrong fact by the LSTM", (image) => (image.said.lstm.wrong || []).length > 0],
};
const VIEWS = [["Best ClipCap", {}], ["Worst ClipCap", { order: "low" }], ["Best LSTM", { of: "lstm" }],
  ["Worst LSTM", { of: "lstm", order: "low" }], ["ClipCap ahead most", { of: "difference" }],
  ["LSTM ahead most", { of: "difference", order: "low" }], ["Least sure", { of: "sure", order: "low" }]];

function scoreOf(image, of, metric) {
  if (of === "difference") return Number((image.said.clipcap.scores[metric] - image.said.lstm.scores[metric]).toFixed(6));
  if (of === "sure") return sureness(image.said.clipcap);
  return image.said[of].scores[metric];
}

/** Geometric mean of a caption's token probabilities. */
function sureness({ log_probs: logs }) {
  return logs && logs.length ? Math.exp(logs.reduce((sum, value) => sum + value, 0) / logs.length) : 0;
}

const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu) || [];

class Gallery {
  constructor(place, dialog) {
    this.state = { ...DEFAULTS };
    this.images = REPORT.images.map((image, position) => ({ ...image, position,
      words: new Set(wordsOf([image.id, ...image.references, ...REPORT.models.map((name) => image.said[name].caption)].join(" "))) }));
    this.viewer = new Viewer(dialog, this);
    this.count = el("p", { class: "count", role: "status", "aria-live": "polite" });
    const shapes = this.images.filter(({ src }) => src).map(({ width, height }) => width / height).sort((a, b) => a - b);
    const usual = shapes[Math.floor(shapes.length / 2)] || 1;
    this.grid = el("div", { class: "grid", style: { "--shape": Math.min(1.5, Math.max(1, usual)).toFixed(2) } });
    this.more = el("button", { type: "button", class: "more", onclick: () => this.drawMore() }, "Show more");
    place.append(el("p", { class: "lead" }, "Every image that was scored, with both captions. A word is shaded the more, the less sure its captioner was of it; ",
      "open an image for probabilities, references and what the networks looked at."),
    this.views(), this.controls(), this.count, this.grid, this.more);
    const near = new IntersectionObserver((seen) => {
      if (!seen.some((entry) => entry.isIntersecting)) return;
      this.drawMore();
      near.unobserve(this.more); // observed anew, it tells again when it is still near
      near.observe(this.more);
    }, { rootMargin: "900px" });
    near.observe(this.more);
  }

  views() {
    this.viewButtons = VIEWS.map(([title, view]) => el("button", { type: "button",
      onclick: () => this.set({ ...DEFAULTS, ...view, words: this.state.words }) }, title));
    return el("div", { class: "choices", role: "group", "aria-label": "Views" }, this.viewButtons);
  }

  controls() {
    const field = (label, input) => el("label", {}, el("span", {}, label), input);
    const select = (name, options) => (this.inputs[name] = el("select", { name },
      options.map(([value, title]) => el("option", { value }, title))));
    const number = (name) => (this.inputs[name] = el("input", { type: "number", step: "any", name, inputmode: "decimal" }));
    const facts = this.images.some((image) => image.said.clipcap.wrong);
    this.inputs = { words: el("input", { type: "search", name: "words", placeholder: "dog, or run* for runs, running",
      autocomplete: "off", spellcheck: "false" }) };
    const form = el("form", { class: "controls", role: "search", "aria-label": "Search and sort the gallery" },
      field("With the words", this.inputs.words),
      field("Sort by", select("metric", METRICS.map((metric) => [metric, REPORT.metrics[metric]]))),
      field("of", select("of", [["clipcap", "ClipCap"], ["lstm", "LSTM"], ["difference", "ClipCap − LSTM"], ["sure", "ClipCap's sureness"]])),
      field("Order", select("order", [["high", "highest first"], ["low", "lowest first"], ["data", "as in the data"]])),
      field("Only", select("only", Object.entries(ONLY).filter(([key]) => facts || !key.startsWith("wrong")).map(([key, [title]]) => [key, title]))),
      field("from", number("from")), field("to", number("to")),
      el("button", { type: "reset", class: "quiet" }, "Reset"));
    form.addEventListener("input", () => this.set(Object.fromEntries(Object.entries(this.inputs).map(([key, input]) => [key, input.value]))));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", (event) => { event.preventDefault(); this.set({ ...DEFAULTS }); });
    return form;
  }

  /** Shows what `state` asks for, and says so in the address. */
  set(state, remember = true) {
    this.state = { ...DEFAULTS, ...state };
    for (const [key, input] of Object.entries(this.inputs)) {
      if (input.value !== this.state[key] && document.activeElement !== input) input.value = this.state[key];
      if (input.tagName === "SELECT" && input.selectedIndex < 0) this.state[key] = input.value = DEFAULTS[key];
    }
    VIEWS.forEach(([, view], i) => this.viewButtons[i].setAttribute("aria-pressed", String(Object.keys(DEFAULTS).every((key) =>
      key === "words" || this.state[key] === { ...DEFAULTS, ...view }[key]))));
    if (remember) {
      const changed = Object.entries(this.state).filter(([key, value]) => value !== DEFAULTS[key]);
      try {
        history.replaceState(null, "", `#gallery${changed.length ? "?" : ""}${new URLSearchParams(changed)}`);
      } catch { /* some browsers do not let a file's page change its address */ }
    }
    this.shown = this.found();
    this.drawn = 0;
    this.grid.replaceChildren();
    this.count.textContent = this.shown.length === this.images.length ? plural(this.shown.length, "image")
      : `${count(this.shown.length)} of ${plural(this.images.length, "image")}`;
    if (!this.shown.length) this.grid.append(el("p", { class: "note" }, "No image is like that. Reset shows all of them."));
    this.drawMore();
  }

  found() {
    const { words, metric, of, order, from, to, only } = this.state;
    const wanted = words.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const has = (image, word) => (word.endsWith("*") ? [...image.words].some((one) => one.startsWith(word.slice(0, -1))) : image.words.has(word));
    const low = from === "" ? -Infinity : Number(from), high = to === "" ? Infinity : Number(to);
    const kept = this.images.filter((image) => {
      const score = scoreOf(image, of, metric);
      return score >= low && score <= high && wanted.every((word) => has(image, word)) && ONLY[only][1](image, metric);
    });
    const sign = order === "low" ? 1 : -1;
    if (order !== "data") kept.sort((a, b) => sign * (scoreOf(a, of, metric) - scoreOf(b, of, metric)) || a.position - b.position);
    return kept;
  }

  drawMore() {
    const next = this.shown.slice(this.drawn, this.drawn + AT_ONCE);
    this.grid.append(...next.map((image, i) => this.card(image, this.drawn + i)));
    this.drawn += next.length;
    this.more.hidden = this.drawn >= this.shown.length;
  }

  card(image, place) {
    return el("article", { class: "card", "data-id": image.id },
      el("button", { type: "button", class: "picture", "aria-label": `Open image ${image.id}`, onclick: () => this.viewer.open(place) },
        picture(image, "")),
      el("div", { class: "captions" }, REPORT.models.map((name) => {
        const { scores, wrong } = image.said[name];
        return el("div", { class: `caption of-${name}` },
          el("p", { class: "who" }, el("span", { class: "key" }, NAMES[name]),
            el("span", { class: "score", title: `${REPORT.metrics[this.state.metric]} of this caption` }, fixed(scores[this.state.metric], 2))),
          el("p", { class: "text" }, shaded(image.said[name])),
          wrong && wrong.length ? el("p", { class: "wrong" }, `not so: ${wrong.join(", ")}`) : null);
      })),
      el("details", {}, el("summary", {}, plural(image.references.length, "reference")),
        el("ul", {}, image.references.map((text) => el("li", {}, text)))));
  }

  /** #gallery?words=dog&order=low; other addresses leave the gallery as it is. */
  readAddress() {
    const [section, query] = location.hash.slice(1).split("?");
    const asked = section === "gallery" && query ? Object.fromEntries(new URLSearchParams(query)) : {};
    const known = Object.fromEntries(Object.entries(asked).filter(([key]) => key in DEFAULTS));
    if (section === "gallery" || !this.shown) this.set(known, false);
  }

  scrollToAddress() {
    if (location.hash.startsWith("#gallery?")) document.getElementById("gallery").scrollIntoView();
  }
}

function picture(image, text) {
  if (!image.src) return el("span", { class: "absent" }, "no picture");
  return el("img", { src: image.src, width: image.width, height: image.height, alt: text, decoding: "async" });
}

/** A caption's tokens, each shaded by how unsure it was; plain text where probabilities are not known. */
function shaded({ caption, tokens, log_probs: logs }) {
  if (!tokens || !tokens.length) return caption || "(nothing)";
  return tokens.flatMap((token, i) => {
    const sure = Math.exp(logs[i]);
    const word = el("span", { class: "token", title: `${token.trim()}: ${percent(sure)}`, style: { "--doubt": (1 - sure).toFixed(2) } }, token.trim());
    return [token.startsWith(" ") ? " " : null, word];
  });
}
