"""Made-up results of `captioning.evaluation.report.data.collect`: small, predictable, and with hostile texts
on request."""

from __future__ import annotations

import base64
import io
import math

from PIL import Image

from captioning.evaluation.report.data import detailed
from captioning.evaluation.tables import MORE
from captioning.metrics.coco import TITLES

HOSTILE = (
    "</script><script>document.body.dataset.hacked = 1</script>",
    '"><img src=x onerror="document.body.dataset.hacked = 1">',
    "<!--<script>{{STYLE}} ${1} \\u003c \u2028 \u2029 &lt;b&gt; ]]> javascript:alert(1)",
)
SUBJECTS, PLACES = ("dog", "cat", "woman", "horse", "bird"), ("beach", "street", "park", "field")
FOLDED = 14  # cells per side of an attention map


def image_entry(number: int) -> dict:
    """Image n: its scores are n / 100 for ClipCap, and 0.05 more or less for the LSTM; every third image has
    two human captions."""
    subject, place = SUBJECTS[number % 5], PLACES[number // 5 % 4]
    clipcap, lstm = (
        f"a {subject} on the {place}",
        f"the {subject}" if number % 2 else f"a {subject} on the {place}",
    )
    score = number / 100
    return {
        "id": f"im{number:04}",
        "file": f"im{number:04}.jpg",
        "references": [f"A {subject} is at the {place}.", f"one {subject} runs"],
        **picture(number),
        "said": {
            "clipcap": answer(clipcap, score) | {"prefix_words": ["dog", "on", "the"]},
            "lstm": answer(lstm, score + (0.05 if number % 2 else -0.05))
            | {"attention": attention(len(lstm.split())), "wrong": ["red dog"] if number % 7 == 0 else []},
        },
    }


def answer(caption: str, score: float) -> dict:
    tokens = [word if n == 0 else f" {word}" for n, word in enumerate(caption.split())]
    log_probs = [round(math.log(1 / (n + 1.2)), 3) for n in range(len(tokens) + 1)]
    return {
        "caption": caption,
        "scores": dict.fromkeys(TITLES, round(score, 3)),
        **detailed(tokens, log_probs, ended=True),
    }


def attention(words: int) -> dict:
    cells = FOLDED * FOLDED
    maps = bytes(
        255 if cell == (37 * word) % cells else cell % 90 for word in range(words) for cell in range(cells)
    )
    return {"rows": FOLDED, "columns": FOLDED, "maps": base64.b64encode(maps).decode()}


def picture(number: int) -> dict:
    buffer = io.BytesIO()
    Image.new(
        "RGB", (224, 168), (40 + number * 37 % 200, 60 + number * 61 % 180, 90 + number * 17 % 150)
    ).save(buffer, "JPEG")
    content = base64.b64encode(buffer.getvalue()).decode()
    return {"src": f"data:image/jpeg;base64,{content}", "width": 224, "height": 168}


def system(value: float) -> dict:
    return {
        metric: {"value": value, "low": round(value * 0.93, 4), "high": round(value * 1.08, 4)}
        for metric in TITLES
    }


def report(count: int = 60, hostile: bool = False) -> dict:
    images = [image_entry(number) for number in range(count)]
    if hostile:
        for image, text in zip(images, HOSTILE, strict=False):
            image |= {"id": text, "file": text, "references": [text, text]}
            for said in image["said"].values():
                said |= {"caption": text, "wrong": [text], **detailed([text], [-1.0], ended=False)}
            image["said"]["clipcap"]["prefix_words"] = [text]
    word = HOSTILE[0] if hostile else "scenes"
    fewer = " (one reference fewer)"
    systems = {"humans": system(0.9), "lstm": system(0.62), "clipcap": system(0.81),
               "nearest_vgg16": system(0.4), "nearest_clip": system(0.45),
               "most_common": system(0.12), "random": system(0.1),
               "lstm" + fewer: system(0.6), "clipcap" + fewer: system(0.79)}  # fmt: skip
    difference = {"difference": 0.19, "low": 0.12, "high": 0.25, "p": 0.001, "effect": 0.4, "wins": 0.66}
    varied = {"distinct_1": 0.1, "distinct_2": 0.3, "vocabulary": 120, "distinct_captions": 0.8,
              "copied": 0.5, "exact": 0.01, "mean_words": 8.5,
              "facts_precision": system(0.9)["cider"], "facts_recall": system(0.7)["cider"]}  # fmt: skip
    fact = {"precision": system(0.9)["cider"], "recall": system(0.7)["cider"]}
    more = {
        "systems": {name: varied for name in ("clipcap", "lstm", "humans", "random")},
        "diversity": {
            "clipcap": {
                "captions": 5.0,
                "distinct": 0.9,
                "div_1": 0.4,
                "div_2": 0.6,
                "mbleu_4": 0.3,
                "copied": 0.1,
                "mean_cider": system(0.5)["cider"],
                "best_cider": system(0.95)["cider"],
            },
            "humans": {
                "captions": 5.0,
                "distinct": 1.0,
                "div_1": 0.5,
                "div_2": 0.8,
                "mbleu_4": 0.2,
                "copied": 0.0,
            },
        },
        "mistakes": {
            name: {
                "colour": {"said": 40.2}
                | {key: system(0.3)["cider"] for key in ("precision", "contradicted")},
                "gender": {"said": 0},
            }
            for name in ("clipcap", "lstm", "humans", "random")
        },
        "facts": {
            name: {"all": fact, "kind": fact, "time": {"precision": fact["precision"]}}
            for name in ("clipcap", "lstm", "humans")
        },
        "notes": {"spice": f"no SPICE: its Java parts are absent {word}"},
    }
    losses = {"train_loss": [4.0, 3.0, 2.5, 2.2], "dev_loss": [3.6, 2.9, 2.6, 2.55]}
    return {
        "source": word,
        "models": ("clipcap", "lstm"),
        "metrics": TITLES,
        "more_metrics": MORE,
        "scores": {"split": "test", "images": count, "resamples": 1000, "systems": systems, "more": more,
                   "clipcap_minus_lstm": dict.fromkeys(TITLES, difference)},
        "images": images,
        "curves": {"train_clipcap": losses, "train_lstm": losses,
                   "finetune_clip": {"train_loss": [4.0, 3.0], "mean_recall": [0.1, 0.4]}},
        "retrieval": [{"recall": f"image to text R@1, {when}", "share": 0.1} for when in ("before", "after")],
        "lengths": [
            {"words": n, "clipcap": 0.1, "lstm": 0.05 * n % 0.3, "people": 0.08} for n in range(3, 20)
        ],
        "frequency": [
            {"training_images": n * n * 10.0, "images": 12, "clipcap": 0.3 * n, "lstm": 0.25 * n}
            for n in range(1, 6)
        ],
        "statistics": {
            "source": "scenes", "splits_from": "position", "vocabulary": 411,
            "splits": {split: {"images": 10, "captions": 50} for split in ("train", "dev", "test")},
            "caption_words": {"min": 3, "median": 10, "mean": 10.3, "max": 31},
            "most_frequent_words": {"dog": 40, "beach": 30, word: 3},
            "dropped": [{"image": word, "caption": word, "reason": "no image"}],
        },
        "stages": [{"name": "prepare", "description": word, "command": "python -m stages.prepare",
                    "seconds": 31.2, "ended": "2026-01-01 00:00:00 UTC", "inputs": [],
                    "outputs": [{"path": "data", "hash": "d41d8cd98f00b204e9800998.dir",
                                 "bytes": 20_000_000}]}],
        "weights": {"clipcap": {"checkpoints/clipcap": "ab" * 32},
                    "lstm": {"checkpoints/lstm": "cd" * 32, f"seeds/{word}": "ef" * 32}},
        "settings": f"seed: 0  # {word}\n" + "model:\n  prefix_len: 10\n" * 12,
        "versions": {"Python": "3.11", "torch": "2.12.0", "system": "Linux"},
        "commit": "3ab73ce0",
    }  # fmt: skip
