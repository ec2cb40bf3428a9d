"""Stage evaluate, run as DVC runs it, on a small data set with predictable scores."""

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from forked import python_m

from captioning.core.errors import UserError
from captioning.evaluation.bootstrap import corpus_scores, image_statistics
from captioning.evaluation.saved import load
from captioning.features.store import write_store
from captioning.metrics import spice
from captioning.metrics.coco import METRICS

ROOT = Path(__file__).parents[2]
SUBJECTS = ("dog", "cat", "child", "horse", "bird")
PLACES = ("beach", "street", "park", "field")
COUNT = 40  # images: 20 to train, 20 to test; both have one of each subject at each place


def captions_of(subject: str, place: str) -> list[str]:
    return [
        f"A {subject} is at the {place}.",
        f"a {subject} in the {place}",
        f"The {place} with a {subject}",
        f"one {subject} runs through the {place}",
        f"A happy {subject}, at the {place}",
    ]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder as the earlier stages leave it. ClipCap names subject and place, the LSTM only the subject."""
    folder = tmp_path_factory.mktemp("project")
    images, rows, features, said = [], [], [], {"lstm": [], "clipcap": []}
    for n in range(COUNT):
        subject, place = n % 5, n // 5 % 4
        image, split = f"im{n:02}", "train" if n < COUNT // 2 else "test"
        images.append([image, f"x/{image}.jpg", split, f"{n:064x}"])
        for text in captions_of(SUBJECTS[subject], PLACES[place]):
            rows.append([image, text, text.lower().replace(".", "").replace(",", "")])
        features.append(np.concatenate([np.eye(5)[subject], np.eye(4)[place]]) + 0.01 * n / COUNT)
        if split == "test":
            said["lstm"].append({"image_id": image, "caption": f"a {SUBJECTS[subject]} in the {PLACES[0]}"})
            said["clipcap"].append(
                {"image_id": image, "caption": f"a {SUBJECTS[subject]} in the {PLACES[place]}"}
            )
    write_csv(folder / "data/images.csv", ["id", "path", "split", "sha256"], images)
    write_csv(folder / "data/captions.csv", ["image_id", "caption", "tokens"], rows)
    ids, hashes, table = (
        [row[0] for row in images],
        [row[3] for row in images],
        np.array(features, np.float16),
    )
    for name in ("vgg16", "clip"):
        (folder / "features").mkdir(exist_ok=True)
        path = folder / "features" / f"{name}.h5"
        write_store(path, ids, hashes, {"encoder": name}, (9,), lambda block: table[block.start : block.stop])
    for name, entries in said.items():
        (folder / "captions").mkdir(exist_ok=True)
        (folder / f"captions/{name}.json").write_text(json.dumps(entries))
    several = [
        {"image_id": one["image_id"], "captions": [one["caption"], "A bird."]} for one in said["clipcap"]
    ]
    (folder / "captions/clipcap_diverse.json").write_text(json.dumps(several))
    (folder / "captions/lstm_diverse.json").write_text("[]")
    shutil.copy(ROOT / "params.yaml", folder)
    done = run(folder, "filter_paraphrases")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("features/paraphrases.gz: the ")
    return folder


def write_csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def run(folder: Path, stage: str) -> subprocess.CompletedProcess:
    return python_m(folder, f"stages.{stage}")


@pytest.fixture(scope="module")
def evaluated(project):
    done = run(project, "evaluate")
    assert done.returncode == 0, done.stderr
    return project, done.stdout


def test_metrics_hold_what_one_decides_by(evaluated):
    folder, _ = evaluated
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["lstm"]) == list(metrics["clipcap"]) == list(METRICS)
    assert metrics["clipcap"]["bleu_4"] == pytest.approx(1), "ClipCap's captions are among the references"
    assert metrics["clipcap"]["rouge_l"] == pytest.approx(1)
    for name in METRICS:
        assert metrics["clipcap"][name] > metrics["lstm"][name]
    assert list(metrics) == ["lstm", "clipcap", "cider_margin", "humans"]
    assert metrics["cider_margin"]["lstm"] > metrics["cider_margin"]["clipcap"] == pytest.approx(0), (
        "ClipCap is equally right on every image"
    )
    systems = json.loads((folder / "results/scores.json").read_text())["systems"]
    cider = {name: of["cider"]["value"] for name, of in systems.items()}
    assert cider["nearest_vgg16"] == cider["nearest_clip"], "equal features"
    assert cider["nearest_clip"] > cider["humans"] > cider["random"]
    assert metrics["humans"]["cider"] == cider["humans"]
    assert metrics["lstm"]["cider"] != round(metrics["lstm"]["cider"], 6), "full precision"


def test_results_hold_the_rest(evaluated):
    folder, _ = evaluated
    scores = json.loads((folder / "results/scores.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (scores["images"], scores["resamples"]) == (20, 1000)
    for name, system in scores["systems"].items():
        for metric in METRICS:
            one = system[metric]
            assert one["low"] - 1e-3 <= one["value"] <= one["high"] + 1e-3, (name, metric, one)
            if metric in metrics.get(name, {}):
                assert one["value"] == metrics[name][metric]
    difference = scores["clipcap_minus_lstm"]["cider"]
    assert difference["p"] < 0.01 and 0 < difference["low"] < difference["difference"] < difference["high"]
    varied = scores["more"]["systems"]["clipcap"]
    assert varied == {
        "distinct_1": 0.12,  # 12 of 100 words
        "distinct_2": 0.1875,  # 5 + 5 + 1 + 4 of 80 pairs
        "vocabulary": 12.0,
        "distinct_captions": 1.0,
        "copied": 1.0,
        "mean_words": 5.0,
        "exact": 1.0,
    }
    assert scores["more"]["systems"]["lstm"]["distinct_captions"] == 0.25
    assert scores["more"]["facts"] == {}, "this is no data set of scenes"
    several = scores["more"]["diversity"]
    assert list(several) == ["clipcap", "humans"], "the LSTM wrote one caption an image"
    assert several["clipcap"]["distinct"] == 1 and several["clipcap"]["captions"] == 2
    assert several["clipcap"]["copied"] == 0.5 and several["humans"]["captions"] == 5
    assert several["clipcap"]["best_cider"]["value"] == pytest.approx(metrics["clipcap"]["cider"]), (
        "a bird is never the better one"
    )
    assert several["clipcap"]["mean_cider"]["value"] < metrics["clipcap"]["cider"]
    assert scores["more"]["mistakes"]["clipcap"] == {
        name: {"said": 0} for name in ("colour", "number", "gender")
    }


def test_what_cannot_be_scored_is_told(evaluated):
    folder, printed = evaluated
    notes = json.loads((folder / "results/scores.json").read_text())["more"]["notes"]
    assert notes["clipcap"].startswith("100% of the captions by clipcap are a reference of their own image")
    assert "lstm" not in notes and "humans" not in notes
    assert "no CLIPScore: the features are not those of the CLIP in checkpoints/clip" in notes["clipscore"]
    assert notes["clipscore"] in " ".join(printed.split()), "wrapped, but whole"
    if spice.fault():
        assert "downloads 385 MB" in notes["spice"]


def test_two_evaluations_are_compared_from_their_files(evaluated):
    folder, _ = evaluated
    scores, references, _ = load((folder / "results/per_image.npz").read_bytes(), "workspace")
    assert list(scores) == ["lstm", "clipcap"] and len(references) == 16
    metrics = json.loads((folder / "metrics.json").read_text())
    sums = image_statistics(scores["lstm"]).sum(axis=0)
    for name, value in corpus_scores(sums).items():
        assert value == pytest.approx(metrics["lstm"][name], abs=1e-4), name
    with pytest.raises(UserError, match="cannot be read"):
        load(b"PK no zip", "workspace")


def test_every_image_has_its_row(evaluated):
    folder, _ = evaluated
    with open(folder / "results/lstm.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image_id"] for row in rows] == [f"im{n}" for n in range(20, 40)]
    assert rows[0]["caption"] == "a dog in the beach"
    assert float(rows[0]["bleu_4"]) == pytest.approx(1)
    assert float(rows[5]["bleu_4"]) < 1, "image 25 is not at the beach"


def test_plots_are_drawn(evaluated):
    folder, _ = evaluated
    assert (folder / "results/scores.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_puts_models_beside_people(evaluated):
    _, printed = evaluated
    table = [
        line
        for line in printed.splitlines()
        if line[:6] in ("humans", "lstm  ", "clipca", "neares", "random")
    ]
    assert len(table) >= 5
    assert max(map(len, printed.splitlines())) <= 120
    assert "clipcap - lstm: CIDEr" in printed
    assert "of the humans' CIDEr" in printed


def test_a_second_run_writes_the_same_bytes(evaluated):
    folder, _ = evaluated
    paths = [folder / "metrics.json", *sorted(p for p in (folder / "results").rglob("*") if p.is_file())]
    before = [path.read_bytes() for path in paths]
    assert run(folder, "evaluate").returncode == 0
    assert [path.read_bytes() for path in paths] == before


def test_captions_of_other_images_are_told_at_once(project, tmp_path):
    shutil.copytree(project, tmp_path / "other")
    path = tmp_path / "other/captions/lstm.json"
    path.write_text(json.dumps(json.loads(path.read_text())[1:]))
    done = run(tmp_path / "other", "evaluate")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: captions/lstm.json does not fit the test split: 1 of its 20 images have no"
    )
    path.unlink()
    assert run(tmp_path / "other", "evaluate").stderr.startswith("error: captions/lstm.json cannot be read")


@pytest.mark.parametrize("why", ["CIDEr of a single image", "no caption shares a word"])
def test_scores_that_mean_nothing_are_told(project, tmp_path, why):
    """Warns about a test split of one image, and about captions and references without blanks (such as
    Chinese) that share no word."""
    folder = tmp_path / "other"
    shutil.copytree(project, folder)
    said = {name: json.loads((folder / f"captions/{name}.json").read_text()) for name in ("lstm", "clipcap")}
    if why.startswith("CIDEr"):
        images, rows = (
            [*csv.reader((folder / f"data/{name}.csv").read_text().splitlines())]
            for name in ("images", "captions")
        )
        kept = {row[0] for row in images if row[2] == "train"} | {said["lstm"][0]["image_id"]}
        write_csv(folder / "data/images.csv", images[0], [row for row in images if row[0] in kept])
        write_csv(folder / "data/captions.csv", rows[0], [row for row in rows if row[0] in kept])
        said = {name: entries[:1] for name, entries in said.items()}
    else:
        images, rows = (
            [*csv.reader((folder / f"data/{name}.csv").read_text().splitlines())]
            for name in ("images", "captions")
        )
        rows = [[row[0], f"一只狗{n}", f"一只狗{n}"] for n, row in enumerate(rows[1:])]
        write_csv(folder / "data/captions.csv", ["image_id", "caption", "tokens"], rows)
        said = {name: [one | {"caption": "一只猫"} for one in entries] for name, entries in said.items()}
    for name, entries in said.items():
        (folder / f"captions/{name}.json").write_text(json.dumps(entries))
    (folder / "captions/clipcap_diverse.json").write_text("[]")
    done = run(folder, "evaluate")  # the table of all references has what these few need
    assert done.returncode == 0, done.stderr
    assert "of the humans' CIDEr" not in done.stdout and "nan" not in done.stdout.lower()
    notes = json.loads((folder / "results/scores.json").read_text())["more"]["notes"]
    assert all(notes[f"scores_{name}"].startswith(f"{name}: {why}") for name in ("lstm", "clipcap", "humans"))
