// One image: its captions word by word, the LSTM's attention, the prefix in words, references, all scores.

class Viewer {
  constructor(dialog, gallery) {
    Object.assign(this, { dialog, gallery, place: 0 });
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) { event.preventDefault(); this.move(step); }
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => {
      if (location.hash.startsWith("#image=")) gallery.remember();
      const place = gallery.shown.indexOf(this.image);
      if (place < 0) return; // a new address has filtered the image out
      while (place >= gallery.drawn) gallery.drawMore();
      gallery.grid.querySelectorAll(".picture")[place].focus();
    });
  }

  open(place) {
    this.place = place;
    this.image = this.gallery.shown[place];
    this.draw();
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }

  move(step) {
    const place = this.place + step;
    if (place < 0 || place >= this.gallery.shown.length) return;
    this.open(place);
    address(this.link());
  }

  /** The address that opens this image. */
  link() {
    return `#image=${encodeURIComponent(this.image.id)}`;
  }

  draw() {
    const image = this.image, last = this.gallery.shown.length - 1;
    const active = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.step : null;
    const step = (by, label, sign) => el("button", { type: "button", class: "quiet", "data-step": by, "aria-label": label,
      disabled: by < 0 ? this.place === 0 : this.place === last, onclick: () => this.move(by) }, sign);
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.looked = el("p", { class: "note looked", role: "status", "aria-live": "polite" });
    this.dialog.replaceChildren(
      el("header", {}, el("h3", {}, el("a", { href: this.link(), title: "A link to this image" }, image.id)), el("span", { class: "note" }, `${count(this.place + 1)} of ${count(last + 1)}`),
        step(-1, "Image before", "←"), step(1, "Next image", "→"),
        el("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => this.dialog.close() }, "✕")),
      el("div", { class: "viewer" },
        el("div", { class: "large" }, el("div", { class: "look", style: { "--ratio": image.src ? image.width / image.height : 1 } },
          picture(image), this.canvas), this.looked),
        el("div", {}, REPORT.models.map((name) => this.answer(image, name)),
          table("Scores of these captions", [{ title: "" }, ...REPORT.models.map((name) => ({ title: NAMES[name] }))],
            METRICS.map((metric) => ({ cells: [REPORT.metrics[metric], ...REPORT.models.map((name) => fixed(image.said[name].scores[metric]))] })),
            { class: "numbers" }),
          el("h4", {}, plural(image.references.length, "reference")),
          el("ul", { class: "references" }, image.references.map((text) => el("li", {}, marked(text, this.gallery.inReference(text))))),
          el("p", { class: "note" }, "File: ", el("code", {}, image.file)))));
    const again = active && this.dialog.querySelector(`[data-step="${active}"]:not([disabled])`);
    if (this.dialog.open && !this.dialog.contains(document.activeElement)) (again || this.dialog.querySelector("header a")).focus();
  }

  answer(image, name) {
    const said = image.said[name], { words, attention, prefix_words: prefix, end } = said;
    const notes = [];
    if (words) notes.push(end === null ? "Cut off at the longest length allowed." : `Probability of ending here: ${percent(end)}.`);
    if (attention) notes.push("Point at a word, or tab to it, to see what the network attended to.");
    return el("section", { class: `answer of-${name}` },
      el("h4", {}, el("span", { class: "key" }, NAMES[name]), words ? el("span", { class: "note" }, `mean token probability ${percent(said.mean)}`) : null),
      el("p", { class: "tokens" }, words && words.length ? this.chips(words, attention) : said.caption || "(nothing)"),
      el("p", { class: "note" }, notes.join(" ")),
      mistaken(said.wrong),
      prefix ? el("details", { class: "prefix" }, el("summary", {}, "The words nearest to the prefix tokens"),
        el("p", {}, prefix.map((word) => el("code", {}, word.replace(/^\ufffd*$/u, "·"))))) : null);
  }

  /** One chip for each word. With attention maps, it is a button that shows where the word's tokens looked. */
  chips(words, attention) {
    const found = this.gallery.inCaption(words.map(([text]) => text).join(""));
    let from = 0, token = 0;
    return words.map(([text, sure, tokens]) => {
      const word = text.trimStart(), first = token, at = from + text.length - word.length;
      from += text.length;
      token += tokens;
      const look = () => this.overlay(attention, first, tokens, word), away = () => this.clear();
      const watch = attention ? { type: "button", onmouseenter: look, onfocus: look, onclick: look, onmouseleave: away, onblur: away } : {};
      return el(attention ? "button" : "span", { class: "token", style: { "--doubt": (1 - sure).toFixed(2) }, ...watch },
        el("span", {}, word ? marked(word, found, at) : "·"), el("small", {}, percent(sure)));
    });
  }

  /** Light where a word's tokens looked most, dark where least; says how large the difference is. */
  overlay({ rows, columns, maps }, first, tokens, word) {
    const size = rows * columns, context = this.canvas.getContext("2d");
    const bytes = [...atob(maps).slice(first * size, (first + tokens) * size)].map((char) => char.charCodeAt(0));
    const looked = Array.from({ length: size }, (_, cell) => bytes.filter((_, i) => i % size === cell).reduce((sum, value) => sum + value, 0));
    const least = Math.min(...looked), most = Math.max(...looked);
    const times = (most * size) / Math.max(1, looked.reduce((sum, value) => sum + value, 0));
    this.canvas.width = columns;
    this.canvas.height = rows;
    const pixels = context.createImageData(columns, rows);
    for (let cell = 0; cell < size; cell++) {
      pixels.data[4 * cell + 3] = most > least ? (205 * (most - looked[cell])) / (most - least) : 0;
    }
    context.putImageData(pixels, 0, 0);
    this.canvas.classList.add("on");
    this.looked.textContent = times < 1.25 ? `“${word}”: it attended to all parts equally`
      : `“${word}”: the lightest part had ${times.toFixed(1)} times an even share`;
  }

  clear() {
    this.canvas.classList.remove("on");
    this.looked.textContent = "";
  }
}
