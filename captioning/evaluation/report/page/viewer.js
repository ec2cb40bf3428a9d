// One image: its captions token by token, where the attending LSTM looked, the prefix in words, references, all scores.

class Viewer {
  constructor(dialog, gallery) {
    Object.assign(this, { dialog, gallery, place: 0 });
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) { event.preventDefault(); this.move(step); }
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => {
      const cards = gallery.grid.querySelectorAll(".picture");
      if (cards[this.place]) cards[this.place].focus();
    });
  }

  open(place) {
    this.place = place;
    this.draw();
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }

  move(step) {
    const place = this.place + step;
    if (place < 0 || place >= this.gallery.shown.length) return;
    while (place >= this.gallery.drawn) this.gallery.drawMore();
    this.open(place);
  }

  draw() {
    const image = this.gallery.shown[this.place], last = this.gallery.shown.length - 1;
    const active = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.step : null;
    const step = (by, label, sign) => el("button", { type: "button", class: "quiet", "data-step": by, "aria-label": label,
      disabled: by < 0 ? this.place === 0 : this.place === last, onclick: () => this.move(by) }, sign);
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.looked = el("p", { class: "note looked", role: "status", "aria-live": "polite" });
    this.dialog.replaceChildren(
      el("header", {}, el("h3", {}, image.id), el("span", { class: "note" }, `${count(this.place + 1)} of ${count(last + 1)}`),
        step(-1, "Image before", "←"), step(1, "Next image", "→"),
        el("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => this.dialog.close() }, "✕")),
      el("div", { class: "viewer" },
        el("div", { class: "large" }, el("div", { class: "look", style: { "--ratio": image.src ? image.width / image.height : 1 } },
          picture(image, image.references[0] || ""), this.canvas), this.looked),
        el("div", {}, REPORT.models.map((name) => this.answer(image, name)),
          table("Scores of these captions", [{ title: "" }, ...REPORT.models.map((name) => ({ title: NAMES[name] }))],
            METRICS.map((metric) => ({ cells: [REPORT.metrics[metric], ...REPORT.models.map((name) => fixed(image.said[name].scores[metric]))] })),
            { class: "numbers" }),
          el("h4", {}, plural(image.references.length, "reference")),
          el("ul", { class: "references" }, image.references.map((text) => el("li", {}, text))),
          el("p", { class: "note" }, "File: ", el("code", {}, image.file)))));
    const again = active && this.dialog.querySelector(`[data-step="${active}"]:not([disabled])`);
    if (again) again.focus();
  }

  answer(image, name) {
    const said = image.said[name], { tokens, log_probs: logs, attention, prefix_words: prefix, wrong, ended } = said;
    const look = (i) => attention && this.overlay(attention, i, tokens[i]);
    const words = tokens && tokens.length ? tokens.map((token, i) => el("button", { type: "button", class: "token",
      style: { "--doubt": (1 - Math.exp(logs[i])).toFixed(2) }, onmouseenter: () => look(i), onfocus: () => look(i), onclick: () => look(i),
      onmouseleave: () => this.clear(), onblur: () => this.clear() },
    token.trim() || "·", el("small", {}, percent(Math.exp(logs[i]))))) : [said.caption || "(nothing)"];
    const notes = [];
    if (tokens && ended) notes.push(`Then it ended (${percent(Math.exp(logs[logs.length - 1]))}).`);
    if (tokens && !ended) notes.push("Cut at the longest length allowed.");
    if (attention) notes.push("Point at a word, or tab to it, to see where the network looked.");
    return el("section", { class: `answer of-${name}` },
      el("h4", {}, el("span", { class: "key" }, NAMES[name]), tokens ? el("span", { class: "note" }, `mean token ${percent(sureness(said))}`) : null),
      el("p", { class: "tokens" }, words), el("p", { class: "note" }, notes.join(" ")),
      wrong && wrong.length ? el("p", { class: "wrong" }, `not so: ${wrong.join(", ")}`) : null,
      prefix ? el("p", { class: "note prefix" }, "The prefix, each token as its nearest word: ", prefix.map((word) => el("code", {}, word || "·"))) : null);
  }

  /** Light where the step that chose token i looked most, dark where least; a word says how much that differs. */
  overlay({ rows, columns, maps }, i, token) {
    const size = rows * columns, context = this.canvas.getContext("2d");
    const looked = [...atob(maps).slice(i * size, (i + 1) * size)].map((char) => char.charCodeAt(0));
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
    this.looked.textContent = `“${token.trim()}”: lightest is ${times.toFixed(1)} × an even share`
      + (times < 1.25 ? ", so it looked everywhere alike" : "");
  }

  clear() {
    this.canvas.classList.remove("on");
    this.looked.textContent = "";
  }
}
