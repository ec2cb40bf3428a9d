// The head of the page, and the scores with their intervals. Scores always have three decimals; shares are
// percentages.

const SYSTEMS = REPORT.scores.systems;
const FEWER = " (one reference fewer)";

function drawTop(place) {
  const { source, images, models } = REPORT, { split, more } = REPORT.scores;
  place.append(
    el("div", {},
      el("p", { class: "eyebrow" }, `${source} · ${plural(images.length, `${split} image`)}`),
      el("h1", {}, headline()),
      el("p", { class: "lead" }, tested()),
      models.filter((name) => more.notes[name]).map((name) => el("p", { class: "warning" }, sentence(more.notes[name]))),
      el("p", { class: "note" }, "In small print: 95% intervals over images. People: each reference is scored against the image's others, so with one ",
        "reference fewer. ", el("a", { href: "#scores" }, "All scores"), " also show the captioners with one reference fewer.")),
    glance());
}

/** What was measured, in one sentence about this run only. */
function headline() {
  const { difference } = REPORT.scores.clipcap_minus_lstm.cider;
  const seeds = REPORT.models.map((name) => Object.keys(REPORT.weights[name]).length);
  const runs = Math.max(...seeds) === 1 ? "one seed each"
    : REPORT.models.map((name, i) => `${NAMES[name]} of ${plural(seeds[i], "seed")}`).join(", ");
  const size = fixed(Math.abs(difference)), same = Number(size) === 0;
  return `In this run, ${runs}, ClipCap's CIDEr is ${same ? "equal to" : `${size} ${difference > 0 ? "higher" : "lower"} than`} the LSTM's.`;
}

/** What the paired test shows, and what it does not show. */
function tested() {
  const { low, high, p } = REPORT.scores.clipcap_minus_lstm.cider;
  const sure = low > 0 || high < 0;
  return `The paired test over ${plural(REPORT.images.length, "image")} gives p\u00a0${probability(p)} `
    + `(95% interval of the difference: ${signed(low)} to ${signed(high)}): ${sure
      ? "the choice of images alone does not explain it" : "other images could reverse it"}. The test does not cover other seeds.`;
}

/** A small table with one score a row, so that it fits a phone. */
function glance() {
  const names = ["clipcap", "lstm", "humans"].filter((name) => SYSTEMS[name]);
  const facts = REPORT.scores.more.systems;
  const rows = [
    ...["cider", "bleu_4", "meteor", "rouge_l"].map((key) => [REPORT.metrics[key], (name) => scored(SYSTEMS[name][key])]),
    ...["facts_precision", "facts_recall"].filter((key) => names.some((name) => (facts[name] || {})[key])).map((key) =>
      [TITLES_OF_MORE[key], (name) => scored((facts[name] || {})[key], percent)]),
  ];
  return table("Scores at a glance", [{ title: "" }, ...names.map((name) => ({ title: el("span", { class: `key of-${name}` }, NAMES[name]) }))],
    rows.map(([title, cell]) => ({ cells: [title, ...names.map(cell)] })), { class: "numbers glance" });
}

function drawScores(place) {
  place.append(el("p", { class: "lead" },
    `A dot is the score over all ${REPORT.scores.split} images. Its line is the 95% interval over draws of as many images; `,
    "it does not cover other training runs. People: each reference is scored against the image's others, so with one ",
    "reference fewer. For comparison, the captioners are also shown with one reference fewer."));
  const chart = el("div", {});
  const draw = (metric) => chart.replaceChildren(intervalChart({ title: REPORT.metrics[metric],
    mark: SYSTEMS.humans && SYSTEMS.humans[metric].value,
    rows: order().map((name) => ({ name, label: nameOf(name), ...SYSTEMS[name][metric] })) }));
  let chosen = "cider";
  place.append(choices("Metric", METRICS.map((metric) => [metric, REPORT.metrics[metric]]), chosen, (metric) => { chosen = metric; draw(metric); }), chart);
  draw(chosen);
  addEventListener("resize", () => draw(chosen));

  const { notes, diversity, facts } = REPORT.scores.more;
  place.append(
    folded(scoreTable()),
    folded(testTable(), el("p", { class: "note" }, "p: how often random swaps of the two captions, image by image, give a difference at least as large. ",
      "Effect: mean difference per image, divided by its standard deviation. Seven metrics are seven tests: a single p of 0.04 shows nothing.")),
    folded(moreTable(), ...Object.entries(notes).filter(([key]) => !REPORT.models.includes(key)).map(([, note]) => el("p", { class: "note" }, sentence(note)))),
    ...(Object.keys(diversity).length ? [folded(diversityTable())] : []),
    folded(mistakesTable()),
    ...(Object.keys(facts).length ? [folded(factsTable())] : []));

  const charts = el("div", { class: "charts" });
  if (REPORT.frequency.length > 1) {
    charts.append(lineChart({ title: "Score against frequency of what is shown", dots: true, from: 0,
      y: "mean CIDEr of an image", x: "training images whose captions have its rarest content word (median of the bin)",
      series: REPORT.models.map((name) => ({ name, label: NAMES[name],
        points: REPORT.frequency.map((row) => [row.training_images, row[name]]) })) }));
  }
  if (REPORT.lengths.length) {
    charts.append(barChart({ title: "Caption lengths", y: "share of captions", x: "words", rows: REPORT.lengths, xKey: "words",
      names: ["clipcap", "lstm", "people"], labels: ["ClipCap", "LSTM", "People"] }));
  }
  place.append(charts);
}

/** Captioners first, each followed by its score with one reference fewer and people, then the baselines. */
function order() {
  const fixedOrder = ["clipcap", "lstm", "humans", ...REPORT.models.map((name) => name + FEWER)];
  return [...fixedOrder.filter((name) => SYSTEMS[name]), ...Object.keys(SYSTEMS).filter((name) => !fixedOrder.includes(name))];
}

function scoreTable() {
  return table("All scores with 95% intervals", [{ title: "" }, ...METRICS.map((key) => ({ title: REPORT.metrics[key] }))],
    order().map((name) => ({ class: `of-${name.split(" ")[0]}`, cells: [nameOf(name), ...METRICS.map((metric) => scored(SYSTEMS[name][metric]))] })),
    { class: "numbers" });
}

function testTable() {
  const found = REPORT.scores.clipcap_minus_lstm;
  return table("ClipCap against the LSTM, image by image", [{ title: "" }, { title: "ClipCap − LSTM" }, { title: "95% interval" },
    { title: "p" }, { title: "Effect" }, { title: "ClipCap ahead" }],
  METRICS.map((metric) => {
    const { difference, low, high, p, effect, wins } = found[metric];
    return { cells: [REPORT.metrics[metric], signed(difference), `${signed(low)} to ${signed(high)}`, probability(p),
      signed(effect), `${percent(wins)} of images`] };
  }), { class: "numbers" });
}

const TITLES_OF_MORE = { clipscore: "CLIPScore", refclipscore: "RefCLIPScore", spice: "SPICE", facts_precision: "Facts, precision",
  facts_recall: "Facts, recall", distinct_1: "Distinct-1", distinct_2: "Distinct-2", vocabulary: "Vocabulary",
  distinct_captions: "Different captions", copied: "Copied", exact: "Exact", mean_words: "Words" };
const HINTS = {
  clipscore: "2.5 × cosine of image and caption, by CLIP", refclipscore: "harmonic mean of it and of the nearest reference",
  facts_precision: "share of the facts said that are true", facts_recall: "share of the main facts that are said",
  distinct_1: "different words / all words", distinct_2: "different pairs of words / all pairs",
  vocabulary: "different words used", distinct_captions: "share of different captions",
  copied: "share that is a training caption, word for word",
  exact: "share that is a reference of its own image, word for word", mean_words: "mean number of words",
};
const UNITS = { vocabulary: (value) => count(Math.round(value)), mean_words: (value) => fixed(value, 1),
  ...Object.fromEntries(["facts_precision", "facts_recall", "distinct_captions", "copied", "exact"].map((key) => [key, percent])) };

function moreTable() {
  const systems = REPORT.scores.more.systems;
  const keys = Object.keys(REPORT.more_metrics).filter((key) => Object.values(systems).some((one) => key in one));
  return table("Variety, facts and other scores", [{ title: "" }, ...keys.map((key) => ({ title: TITLES_OF_MORE[key], hint: HINTS[key] }))],
    order().filter((name) => systems[name]).map((name) => ({ class: `of-${name}`,
      cells: [nameOf(name), ...keys.map((key) => scored(systems[name][key], UNITS[key]))] })), { class: "numbers" });
}

function diversityTable() {
  const found = REPORT.scores.more.diversity, names = order().filter((name) => found[name]);
  const columns = {
    captions: ["Captions", "of each image", (value) => fixed(value, 1)],
    distinct: ["Different", "different captions of a set / its captions", percent], div_1: ["Div-1", "different words of a set / its words"],
    div_2: ["Div-2", "different pairs of words of a set / its words"], mbleu_4: ["mBLEU-4", "BLEU-4 of each caption against its set's others: lower is more diverse"],
    copied: ["Copied", "share that is a training caption, word for word", percent], mean_cider: ["CIDEr, mean", "of a set's captions"],
    best_cider: ["CIDEr, best", "of the best caption of each set, chosen by the references"],
  };
  return table("Several captions per image", [{ title: "" }, ...Object.values(columns).map(([title, hint]) => ({ title, hint }))],
    names.map((name) => ({ class: `of-${name}`, cells: [nameOf(name),
      ...Object.entries(columns).map(([key, [, , show]]) => scored(found[name][key], show))] })), { class: "numbers" });
}

const judged = (found) => order().filter((name) => found[name] && ["clipcap", "lstm", "humans"].includes(name));

function mistakesTable() {
  const found = REPORT.scores.more.mistakes, names = judged(found);
  const columns = { precision: ["Supported", "share of what is said that a reference says too"],
    contradicted: ["Contradicted", "share of what is said that no reference says, while two references agree on another word"],
    recall: ["Recall", "share of what two references agree on that the caption says"] };
  return table("Colours, numbers and gender against what people say", [{ title: "" }, { title: "Times said" },
    ...Object.values(columns).map(([title, hint]) => ({ title, hint }))],
  Object.keys(found[names[0]]).flatMap((kind) => names.map((name) => ({ class: `of-${name}`,
    cells: [`${nameOf(name)}, ${kind}`, count(Math.round(found[name][kind].said)),
      ...Object.keys(columns).map((key) => scored(found[name][kind][key], percent))] }))), { class: "numbers" });
}

function factsTable() {
  const facts = REPORT.scores.more.facts, names = judged(facts);
  const titles = { all: "All facts", kind: "Who or what", count: "How many", colour: "Colour", action: "Action", place: "Place",
    time: "Time" };
  const columns = names.flatMap((name) => [{ title: `${NAMES[name]}, precision` }, { title: `${NAMES[name]}, recall` }]);
  const cells = (one = {}) => [scored(one.precision, percent), scored(one.recall, percent)];
  return table("Facts got right: precision and recall against what was drawn", [{ title: "" }, ...columns],
    Object.keys(facts[names[0]]).map((key) => ({ cells: [titles[key] || key, ...names.flatMap((name) => cells(facts[name][key]))] })),
    { class: "numbers" });
}
