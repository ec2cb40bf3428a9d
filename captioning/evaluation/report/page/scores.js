// The head of the page, and the scores: who is ahead, by how much, how sure that is.

const SYSTEMS = REPORT.scores.systems;
const FEWER = " (one reference fewer)";

function drawTop(place) {
  const { source, images } = REPORT, { split } = REPORT.scores, { notes } = REPORT.scores.more, humans = SYSTEMS.humans;
  const tile = (name) => {
    const cider = SYSTEMS[name].cider, fair = SYSTEMS[name + FEWER];
    return el("div", { class: `tile of-${name}` },
      el("span", { class: "tile-name" }, NAMES[name]),
      el("span", { class: "tile-value" }, fixed(cider.value, 2), el("small", {}, " CIDEr")),
      el("span", { class: "tile-note" }, `95% ${between(cider.low, cider.high, 2)}`),
      humans && fair ? el("span", { class: "tile-note" },
        `${percent(fair.cider.value / humans.cider.value)} of people's, with as many references`) : null);
  };
  place.append(
    el("p", { class: "eyebrow" }, `${source} · ${plural(images.length, `${split} image`)}`),
    el("h1", {}, verdict()),
    ...REPORT.models.filter((name) => notes[name]).map((name) => el("p", { class: "warning" }, notes[name])),
    el("div", { class: "tiles" }, REPORT.models.map(tile), differenceTile()));
}

/** One sentence that does not claim more than the test allows. */
function verdict() {
  const { difference, low, high } = REPORT.scores.clipcap_minus_lstm.cider;
  if (low <= 0 && high >= 0) return "On these images, ClipCap and the LSTM cannot be told apart.";
  const [ahead, behind] = difference > 0 ? ["ClipCap", "the LSTM"] : ["The LSTM", "ClipCap"];
  return `${ahead} captions these images better than ${behind}.`;
}

function differenceTile() {
  const { difference, low, high, p, wins } = REPORT.scores.clipcap_minus_lstm.cider;
  return el("div", { class: "tile" },
    el("span", { class: "tile-name" }, "ClipCap − LSTM"),
    el("span", { class: "tile-value" }, signed(difference, 2), el("small", {}, " CIDEr")),
    el("span", { class: "tile-note" }, `95% ${signed(low, 2)} to ${signed(high, 2)}, p ${p < 0.001 ? "< 0.001" : `= ${fixed(p)}`}`),
    el("span", { class: "tile-note" }, `ahead on ${percent(wins)} of the images`));
}

function drawScores(place) {
  place.append(el("p", { class: "lead" },
    `Dots are scores of all ${REPORT.scores.split} images, lines their 95% intervals: what another draw of as many would give. `,
    "They say nothing about another training run. People are each reference against the image's others, and so have one ",
    "reference fewer; the captioners are shown with one fewer, too, to be put beside them."));
  const chart = el("div", {});
  const draw = (metric) => chart.replaceChildren(intervalChart({ title: REPORT.metrics[metric],
    mark: SYSTEMS.humans && SYSTEMS.humans[metric].value,
    rows: order().map((name) => ({ name, label: nameOf(name), ...SYSTEMS[name][metric] })) }));
  let chosen = "cider";
  place.append(choices("Metric", METRICS.map((metric) => [metric, REPORT.metrics[metric]]), chosen, (metric) => { chosen = metric; draw(metric); }), chart);
  draw(chosen);
  addEventListener("resize", () => draw(chosen));

  place.append(scoreTable(), el("h3", {}, "ClipCap against the LSTM, image by image"), testTable(),
    el("p", { class: "note" }, "p: how often swapping the two captions at random, image by image, makes as large a difference. ",
      "Effect: mean difference of an image over its standard deviation. Seven metrics are seven tests: one p of 0.04 ",
      "alone is no finding."),
    el("h3", {}, "Variety, facts and other scores"), moreTable(),
    ...Object.entries(REPORT.scores.more.notes).filter(([key]) => !REPORT.models.includes(key)).map(([, note]) => el("p", { class: "note" }, note)));
  if (Object.keys(REPORT.scores.more.diversity).length) place.append(diversityTable());
  place.append(mistakesTable());
  if (Object.keys(REPORT.scores.more.facts).length) place.append(factsTable());

  const charts = el("div", { class: "charts" });
  if (REPORT.frequency.length > 1) {
    charts.append(lineChart({ title: "Score against frequency of what is shown", dots: true, from: 0,
      y: "mean CIDEr of an image", x: "training images that show its rarest agreed content (median of the bin)",
      series: REPORT.models.map((name) => ({ name, label: NAMES[name],
        points: REPORT.frequency.map((row) => [row.training_images, row[name]]) })) }));
  }
  if (REPORT.lengths.length) {
    charts.append(barChart({ title: "Caption lengths", y: "share of captions", x: "words", rows: REPORT.lengths, xKey: "words",
      names: ["clipcap", "lstm", "people"], labels: ["ClipCap", "LSTM", "People"] }));
  }
  place.append(charts);
}

/** Captioners first, each followed by itself with one reference fewer and people, then simpler ways. */
function order() {
  const fixedOrder = ["clipcap", "lstm", "humans", ...REPORT.models.map((name) => name + FEWER)];
  return [...fixedOrder.filter((name) => SYSTEMS[name]), ...Object.keys(SYSTEMS).filter((name) => !fixedOrder.includes(name))];
}

function scoreTable() {
  return table("All scores with 95% intervals", [{ title: "" }, ...METRICS.map((key) => ({ title: REPORT.metrics[key] }))],
    order().map((name) => ({ class: `of-${name.split(" ")[0]}`, cells: [nameOf(name), ...METRICS.map((metric) => {
      const { value, low, high } = SYSTEMS[name][metric];
      return [fixed(value), el("small", {}, between(low, high))];
    })] })), { class: "numbers" });
}

function testTable() {
  const found = REPORT.scores.clipcap_minus_lstm;
  return table("Paired differences, ClipCap − LSTM", [{ title: "" }, { title: "difference" }, { title: "95%" }, { title: "p" },
    { title: "effect" }, { title: "ClipCap ahead" }],
  METRICS.map((metric) => {
    const { difference, low, high, p, effect, wins } = found[metric];
    return { cells: [REPORT.metrics[metric], signed(difference), `${signed(low)} to ${signed(high)}`, p < 0.001 ? "< 0.001" : fixed(p),
      signed(effect, 2), percent(wins)] };
  }), { class: "numbers" });
}

const HINTS = {
  clipscore: "2.5 × cosine of image and caption, by CLIP", refclipscore: "harmonic mean of it and of the nearest reference",
  facts_precision: "share of the facts said that are true", facts_recall: "share of the main facts that are said",
  distinct_1: "different words / all words", distinct_2: "different pairs of words / all pairs",
  vocabulary: "different words used", distinct_captions: "share of different captions",
  copied: "share that is a training caption, word for word",
  exact: "share that is a reference of its own image, word for word", mean_words: "mean number of words",
};

function moreTable() {
  const systems = REPORT.scores.more.systems;
  const keys = Object.keys(REPORT.more_metrics).filter((key) => Object.values(systems).some((one) => key in one));
  const titles = { facts_precision: "Facts, precision", facts_recall: "Facts, recall", distinct_1: "Distinct-1",
    distinct_2: "Distinct-2", vocabulary: "Vocabulary", distinct_captions: "Different captions", copied: "Copied",
    exact: "Exact", mean_words: "Words", clipscore: "CLIPScore", refclipscore: "RefCLIPScore", spice: "SPICE" };
  const show = (key, value) => {
    if (value === undefined) return "–";
    if (typeof value === "object") return [fixed(value.value), el("small", {}, between(value.low, value.high))];
    return key === "vocabulary" ? count(Math.round(value)) : ["copied", "exact", "distinct_captions"].includes(key) ? percent(value)
      : fixed(value, key === "mean_words" ? 1 : 3);
  };
  return table("Variety, facts and other scores", [{ title: "" }, ...keys.map((key) => ({ title: titles[key], hint: HINTS[key] }))],
    order().filter((name) => systems[name]).map((name) => ({ class: `of-${name}`,
      cells: [nameOf(name), ...keys.map((key) => show(key, systems[name][key]))] })), { class: "numbers" });
}

/** A number, with its interval where it has one. */
const withInterval = (one) => (one !== undefined && typeof one === "object"
  ? [fixed(one.value), el("small", {}, between(one.low, one.high))] : fixed(one));

function diversityTable() {
  const found = REPORT.scores.more.diversity, names = order().filter((name) => found[name]);
  const columns = {
    distinct: ["Different", "different captions of a set / its captions"], div_1: ["Div-1", "different words of a set / its words"],
    div_2: ["Div-2", "different pairs of words of a set / its words"], mbleu_4: ["mBLEU-4", "BLEU-4 of each caption against its set's others: lower is more diverse"],
    copied: ["Copied", "share that is a training caption, word for word"], mean_cider: ["CIDEr, mean", "of a set's captions"],
    best_cider: ["CIDEr, best", "of the best caption of each set, picked by who knows the references"],
  };
  return table("Several captions an image", [{ title: "" }, { title: "captions" }, ...Object.values(columns).map(([title, hint]) => ({ title, hint }))],
    names.map((name) => ({ class: `of-${name}`, cells: [nameOf(name), fixed(found[name].captions, 1),
      ...Object.keys(columns).map((key) => withInterval(found[name][key]))] })), { class: "numbers" });
}

function mistakesTable() {
  const found = REPORT.scores.more.mistakes, names = order().filter((name) => found[name] && ["clipcap", "lstm", "humans"].includes(name));
  const columns = { precision: ["Supported", "share of what is said that a reference says too"],
    contradicted: ["Contradicted", "share of what is said that no reference says where two agree on another"],
    recall: ["Recall", "share of what two references agree on that is said"] };
  return table("Colours, numbers and gender against what people say", [{ title: "" }, { title: "said" },
    ...Object.values(columns).map(([title, hint]) => ({ title, hint }))],
  Object.keys(found[names[0]]).flatMap((kind) => names.map((name) => ({ class: `of-${name}`,
    cells: [`${nameOf(name)}, ${kind}`, count(Math.round(found[name][kind].said)),
      ...Object.keys(columns).map((key) => withInterval(found[name][kind][key]))] }))), { class: "numbers" });
}

function factsTable() {
  const facts = REPORT.scores.more.facts, names = order().filter((name) => facts[name] && ["clipcap", "lstm", "humans"].includes(name));
  const categories = Object.keys(facts[names[0]]);
  const titles = { all: "All facts", kind: "Who or what", count: "How many", colour: "Colour", action: "Action", place: "Place",
    time: "Time" };
  const columns = names.flatMap((name) => [{ title: `${NAMES[name]}, precision` }, { title: "recall" }]);
  const cell = (one) => (one ? [fixed(one.value, 2), el("small", {}, between(one.low, one.high, 2))] : "–");
  return table("Facts got right: precision and recall against what was drawn", [{ title: "" }, ...columns],
    categories.map((key) => ({ cells: [titles[key] || key, ...names.flatMap((name) =>
      [cell(facts[name][key] && facts[name][key].precision), cell(facts[name][key] && facts[name][key].recall)])] })),
    { class: "numbers" });
}
