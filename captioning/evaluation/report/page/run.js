// How the run went: curves, data, stages, settings, versions.

const CURVE_TITLES = { train_clipcap: "ClipCap", train_lstm: "LSTM", finetune_clip: "CLIP, contrastive",
  finetune_vgg16: "VGG16, content words" };
const SERIES_TITLES = { train_loss: "train loss", dev_loss: "dev loss", mean_recall: "mean recall on dev", dev_map: "mean average precision on dev",
  dev_cider: "CIDEr of greedy captions on dev" };

function drawTraining(place) {
  const charts = el("div", { class: "charts" });
  for (const [stage, curves] of Object.entries(REPORT.curves)) {
    const label = (key) => SERIES_TITLES[key] || key.replaceAll("_", " ");
    const points = (values) => values.map((value, epoch) => [epoch + 1, value]);
    const losses = Object.keys(curves).filter((key) => key.endsWith("loss"));
    const name = stage.includes("lstm") || stage.includes("vgg16") ? "lstm" : "clipcap";
    const draw = (keys, title, from, show) => charts.append(lineChart({ title, x: "epoch", y: "", from, show,
      series: keys.map((key) => ({ name, label: label(key), dashed: key === "train_loss", points: points(curves[key]) })) }));
    if (losses.length) draw(losses, `${CURVE_TITLES[stage]}: loss`);
    const main = ["mean_recall", "dev_map", "dev_cider"].filter((key) => key in curves);
    if (main.length) draw(main, `${CURVE_TITLES[stage]}: ${label(main[0])}`, 0, main[0] === "mean_recall" ? percent : undefined);
  }
  place.append(charts.childElementCount ? charts : el("p", { class: "note" }, "Nothing was trained in this run."));
  if (REPORT.retrieval.length) {
    const measures = new Map();
    for (const { recall, share } of REPORT.retrieval) {
      const [measure, when] = recall.split(", ");
      measures.set(measure, { ...measures.get(measure), [when]: share });
    }
    place.append(folded(table("CLIP's retrieval on the dev images, before and after fine-tuning",
      [{ title: "" }, { title: "Before" }, { title: "After" }],
      [...measures].map(([measure, { before, after }]) => ({ cells: [measure, percent(before), percent(after)] })),
      { class: "numbers" })));
  }
}

function drawData(place) {
  const found = REPORT.statistics, words = found.caption_words;
  place.append(el("p", { class: "lead" }, `Splits: ${found.splits_from}. Captions have ${words.min} to ${words.max} words, `,
    `${words.mean} on average; those for training use ${count(found.vocabulary)} different words.`));
  place.append(folded(table("Images and captions", [{ title: "" }, { title: "Images" }, { title: "Captions" }],
    Object.entries(found.splits).map(([split, { images, captions }]) => ({ cells: [split, count(images), count(captions)] })),
    { class: "numbers" })));
  const frequent = Object.entries(found.most_frequent_words || {});
  place.append(el("h3", {}, "Most frequent words"), el("ul", { class: "words" }, frequent.map(([word, times]) =>
    el("li", {}, el("a", { href: `#gallery?words=${encodeURIComponent(word)}`, title: `${count(times)} times; show such images` }, word),
      el("small", {}, count(times))))));
  const dropped = found.dropped || [];
  place.append(el("h3", {}, dropped.length ? `Dropped: ${plural(dropped.length, "item")}` : "Nothing was dropped"));
  if (dropped.length) {
    place.append(folded(table("Dropped images and captions", [{ title: "Image" }, { title: "Reason" }, { title: "Caption" }],
      dropped.map(({ image, reason, caption }) => ({ cells: [image, reason, caption || ""] })))));
  }
}

function drawRun(place) {
  const { stages, weights, settings, versions, commit } = REPORT;
  const total = stages.reduce((sum, { seconds }) => sum + (seconds || 0), 0);
  place.append(el("p", { class: "lead" }, commit ? ["Code at commit ", el("code", {}, commit), ". "] : "",
    `The stages' last runs on this machine took ${duration(total)} in all. Hashes are DVC's (MD5) from dvc.lock.`));
  place.append(folded(table("Stages, their times and what they made", [{ title: "Stage" }, { title: "Time" }, { title: "Ended" },
    { title: "Outputs" }],
  stages.map(({ name, description, command, seconds, ended, outputs, inputs }) => ({ cells: [
    [el("code", {}, name), el("small", {}, description)],
    duration(seconds), ended || "–",
    outputs.length ? [el("ul", { class: "hashes" }, outputs.map(hashed)),
      el("details", {}, el("summary", {}, `made by ${command || name} from ${plural(inputs.length, "file")}`),
        el("ul", { class: "hashes" }, inputs.map(hashed)))] : "not in dvc.lock yet"] })), { class: "stages" })));
  place.append(folded(table("Decoders that wrote the captions (probabilities of several are averaged)",
    [{ title: "" }, { title: "Weights" }, { title: "SHA-256" }],
    Object.entries(weights).flatMap(([name, folders]) => Object.entries(folders).map(([folder, sha]) => (
      { cells: [NAMES[name], el("code", {}, folder), el("code", { class: "hash", title: sha }, sha.slice(0, 12))] }))))));
  place.append(el("details", { class: "folded" }, el("summary", {}, "Settings: params.yaml"), el("pre", { tabindex: 0 }, settings)));
  place.append(el("details", { class: "folded" }, el("summary", {}, "Versions"), el("dl", { class: "versions" },
    Object.entries(versions).map(([name, version]) => el("div", {}, el("dt", {}, name), el("dd", {}, version))))));
}

function hashed({ path, hash, bytes }) {
  return el("li", {}, el("code", {}, path), " ", el("code", { class: "hash", title: hash }, hash.slice(0, 12)), ` ${megabytes(bytes)}`);
}
