"""Stage evaluate: scores both captioners, with intervals, beside people and simple baselines.

Reads   data/, captions/NAME.json and captions/NAME_diverse.json of lstm and clipcap, features/*.h5 for the
        nearest training images, features/paraphrases.gz for METEOR, and checkpoints/clip/ for CLIPScore and
        for the effect of fine-tuning on retrieval.
Writes  metrics.json (both models' seven scores, the 95% margin of their CIDEr, people's CIDEr), and in
        results/: scores.json (everything, with intervals and the paired test), lstm.csv and clipcap.csv
        (every image's caption and scores), per_image.npz (what `python -m commands.compare` resamples), and
        for `dvc plots show` scores.png and plots/.
Expect  18 s for the 1,000 test images of Flickr8k on 2 cores. pycocoevalcap's counting of n-grams takes most
        of it. SPICE, where its parts are installed, takes minutes. CIDEr on `scenes` is above the
        literature's, because its captions share a small vocabulary.
"""

from __future__ import annotations

import time

from captioning.core import paths
from captioning.core import settings as schema
from captioning.core.files import all_at_once, read_json, write_json
from captioning.data.caption_files import read_candidates
from captioning.data.dataset import load_data
from captioning.data.enough import settle
from captioning.evaluation import systems, tables
from captioning.evaluation.extras import more_scores
from captioning.evaluation.saved import save
from captioning.evaluation.systems import FEWER
from captioning.features.store import FeatureStore
from captioning.metrics.clipscore import is_official
from captioning.metrics.coco import METRICS, doubts, write_per_image
from captioning.metrics.meteor import Meteor
from stages import stage

MODELS = tuple(paths.ENCODER_OF)


@stage
def main() -> None:
    start, settings = time.monotonic(), schema.load()
    split, count, seed = settings.evaluate.split, settings.evaluate.bootstrap, settings.seed
    data = load_data()
    images = data.split(split)
    captions, sets = {}, {}
    for name in MODELS:
        path = str(paths.captions(name))
        captions[name] = read_candidates(path)
        systems.check_images(path, captions[name], images, split)
        if several := read_json(paths.captions(name, "diverse")):
            sets[name] = {entry["image_id"]: entry["captions"] for entry in several}
    features = {name: FeatureStore.open(paths.features(name)).load for name in paths.ENCODER_OF.values()}

    with Meteor(paths.PARAPHRASES) as meteor:  # loads while Python tokenizes and finds the nearest images
        work = systems.jobs(data, split, captions, features, seed)
        count_of_sets = sum(map(len, work.values()))
        print(f"scoring {count_of_sets} sets of captions of {len(images)} {split} images", flush=True)
        scores = systems.run(work, meteor)
    summaries = {name: systems.summary(folds, count, seed) for name, folds in scores.items()}
    differences = systems.difference(scores["clipcap"][0], scores["lstm"][0], count, seed)

    tuning = settle(settings, "clip", len(data.split("train")))[0].finetune_clip
    official = is_official(settings.clip.weights, tuning.epochs) and not settings.clip.features
    plain = {name: folds for name, folds in work.items() if FEWER not in name}
    more = more_scores(
        data=data, split=split, work=plain, captions=captions, sets=sets, official_clip=official,
        count=count, seed=seed,
    )  # fmt: skip
    for name in [name for name in (*MODELS, "humans") if name in scores]:
        more["notes"] |= {f"scores_{name}": f"{name}: {doubt}" for doubt in doubts(scores[name][0])}

    own = {name: scores[name][0] for name in MODELS}
    with all_at_once(str(paths.RESULTS), str(paths.METRICS)) as folder:  # a full disk keeps the old files
        write_json(folder / paths.METRICS, headline(summaries))
        report = {"split": split, "images": len(images), "resamples": count, "systems": summaries}
        report |= {"clipcap_minus_lstm": differences, "more": more}
        write_json(folder / paths.SCORES, report)
        save(folder / paths.PER_IMAGE, own, data.tokens(split))
        for name in MODELS:
            write_per_image(folder / paths.scores_of_images(name), own[name], captions[name])
        tables.write_plot(folder / paths.RESULTS / "scores.png", summaries, split)
        said = {name: work[name][0][1] for name in MODELS}
        tables.write_more_plots(folder / paths.PLOTS, data, split, said, own)

    print(tables.table(summaries))
    for line in tables.more_table(more):
        print(line)
    print(tables.verdict("clipcap", "lstm", differences))
    people = summaries["humans"]["cider"]["value"] if "humans" in summaries else 0.0
    for name in MODELS:
        if people > 0:
            share = summaries[name + FEWER]["cider"]["value"] / people
            print(f"{name} reaches {share:.0%} of the humans' CIDEr, both with one reference fewer")
    print(f"wrote metrics.json and results/ in {time.monotonic() - start:.0f} s")


def headline(summaries: dict[str, dict]) -> dict[str, dict[str, float]]:
    """The contents of metrics.json: the models' seven scores, the margins of their CIDEr, people's CIDEr."""
    found = {name: {metric: summaries[name][metric]["value"] for metric in METRICS} for name in MODELS}
    found["cider_margin"] = {name: systems.margin(summaries[name]["cider"]) for name in MODELS}
    if "humans" in summaries:
        found["humans"] = {"cider": summaries["humans"]["cider"]["value"]}
    return found


if __name__ == "__main__":
    main()
