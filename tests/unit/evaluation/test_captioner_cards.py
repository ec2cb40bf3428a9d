"""A captioner's card: front matter that the hub reads, and every figure from earlier stages."""

import csv
import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from captioning.core import settings
from captioning.evaluation.report.cards import Captioner, base_models, curves, examples, read_captioner, table
from captioning.metrics.coco import TITLES

ROOT = Path(__file__).parents[3]
SETTINGS = settings.load(ROOT / "params.yaml")
COUNT = 25


def system(value: float) -> dict:
    return {metric: {"value": value, "low": value - 0.1, "high": value + 0.1} for metric in TITLES}


def score(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder as the earlier stages leave it: image n has a CIDEr of n / 10."""
    said = [f"a man in a red shirt {n}" for n in range(COUNT)]
    for path, head, rows in (
        (
            "data/images.csv",
            ["id", "path", "split", "sha256"],
            [[f"im{n}", "x", "test", "0"] for n in range(COUNT)],
        ),
        (
            "data/captions.csv",
            ["image_id", "caption", "tokens"],
            [
                [f"im{n}", text, ""]
                for n in range(COUNT)
                for text in ("A woman | in red.", "a woman", f"x {n}")
            ],
        ),
        (
            "results/lstm.csv",
            ["image_id", "caption", *TITLES],
            [[f"im{n}", said[n], *[0] * 6, n / 10] for n in range(COUNT)],
        ),
        ("live/train_lstm/plots/metrics/dev_loss.tsv", ["step", "dev_loss"], [[1, 3.5], [2, 3.25]]),
        ("live/train_lstm/plots/metrics/dev_cider.tsv", ["step", "dev_cider"], [[2, 0.4321]]),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        with open(tmp_path / path, "w", newline="") as file:
            csv.writer(file, delimiter="\t" if path.endswith("tsv") else ",").writerows([head, *rows])
    wrong = {
        kind: {"said": 7, "precision": score(0.75), "recall": score(0.5)}
        for kind in ("colour", "number", "gender")
    }
    scores = {
        "split": "test",
        "images": COUNT,
        "systems": {"lstm": system(0.5), "humans": system(0.9)},
        "more": {
            "systems": {
                "lstm": {"distinct_captions": 0.04, "vocabulary": 31, "copied": 0.125},
                "humans": {"distinct_captions": 1.0, "vocabulary": 900, "copied": 0.01},
            },
            "notes": {"lstm": "lstm says the same about nearly all images"},
            "mistakes": {"lstm": wrong},
            "facts": {},
            "diversity": {"lstm": {"div_1": 0.3125, "best_cider": score(0.77)}, "humans": {"div_1": 0.625}},
        },
    }
    for path, value in {
        "results/scores.json": scores,
        "captions/lstm_weights.json": {"checkpoints/lstm": "ab" * 32, "checkpoints/lstm-1": "cd" * 32},
        "checkpoints/lstm/config.json": {
            "kind": "lstm",
            "sizes": {"merge": True},
            "features": {},
            "training": {"seed": 3},
        },
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(value))
    return tmp_path


def test_the_card_holds_scores_curves_examples_and_mistakes(project):
    text = read_captioner("lstm", SETTINGS, project).card()
    card = ModelCard(text)
    [result] = [one for one in card.data.eval_results if one.metric_type == "cider"]
    assert (result.metric_value, result.dataset_split, result.metric_name) == (0.5, "test", "CIDEr")
    assert card.data.base_model is None, "scratch"
    for part in (
        "| lstm | 0.500 (0.400 to 0.600) |", "| people | 0.900", "| div-1 | 0.3125 | 0.625 |",
        "| best CIDEr of each set | 0.770 (0.720 to 0.820) |  |",
        "| gender, lstm | 7 | 0.750 (0.700 to 0.800) |", "| epoch | dev_cider | dev_loss |",
        "| 1 |  | 3.5 |", "| 2 | 0.4321 | 3.25 |", '"seed": 3', '"beam_size"',
        (
            "0.04, of 31 different words. 12.5% are a training caption, word for word (people: 1.0%). "
            "Suspect: lstm says"
        ),
        "Several decoders wrote the captions; their probabilities are averaged", "cd" * 32,
    ):  # fmt: skip
        assert part in text, part
    best, worst = text.split("best captions by CIDEr")[1].split("## Its 10 worst")
    assert [f"| im{n} |" in best for n in range(COUNT)] == [n >= 15 for n in range(COUNT)]
    assert [f"| im{n} |" in worst.split("##")[0] for n in range(COUNT)] == [n < 10 for n in range(COUNT)]


def test_consensus_is_told(project):
    asked = SETTINGS.model_copy(update={"generate": SETTINGS.generate.model_copy(update={"consensus": 8.0})})
    sentence = "that is most like the captions of similar training images"
    assert sentence in read_captioner("lstm", asked, project).card()
    assert sentence not in read_captioner("lstm", SETTINGS, project).card()


def test_what_people_contradict_stands_beside_the_caption():
    lines = examples([("a|b", "A man in red", ["A woman | in red.", "a woman", "she"], 0.5)]).splitlines()
    assert lines[2] == "| a\\|b | A man in red | A woman \\| in red. | 0.50 | male |"
    assert table(["x"], [[1]]) == "| x |\n| --- |\n| 1 |"


def test_pretrained_networks_are_named_as_on_the_hub():
    clip, vgg16 = SETTINGS.clip, SETTINGS.vgg16
    pretrained = SETTINGS.model_copy(
        update={
            "clip": clip.model_copy(update={"weights": "ViT-B/32"}),
            "vgg16": vgg16.model_copy(update={"weights": "imagenet"}),
            "model": SETTINGS.model.model_copy(update={"gpt2": "gpt2"}),
        }
    )
    assert base_models(pretrained, "clipcap") == ["openai/clip-vit-base-patch32", "openai-community/gpt2"]
    assert base_models(pretrained, "lstm") == ["timm/vgg16.tv_in1k"]
    imported = pretrained.model_copy(update={"vgg16": vgg16.model_copy(update={"features": "x.npz"})})
    assert base_models(imported, "lstm") == base_models(SETTINGS, "clipcap") == []


def test_a_captioner_without_curves_was_not_trained_here(tmp_path):
    assert curves(tmp_path / "none") == {}
    nothing = Captioner("lstm", SETTINGS, {}, {}, {}, {"systems": {}}, [])
    assert nothing._training() == "Not trained here: these are the starting weights."
