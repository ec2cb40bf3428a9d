"""Whether there are enough pictures to fine-tune an encoder and for scores to mean something."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from captioning.core.errors import counted
from captioning.core.paths import STATISTICS

if TYPE_CHECKING:
    from captioning.core.settings import Settings

FEWEST_TO_TUNE = 1000  # `epochs: auto` fine-tunes only with at least this many training images
TUNED_EPOCHS = {"scratch": 10, "pretrained": 5}  # the epochs of `auto` with enough images
FEWEST = {"train": 300, "dev": 20, "test": 100}  # warn if there are fewer images
DEVIATION = 0.57  # standard deviation of an image's CIDEr on Flickr8k
ENGLISH = {"the", "and", "with", "are", "his", "her", "their", "at"}  # in over half of English captions
WITHOUT_BLANKS = {  # scripts, and the mean letters per word above which a text is not split into words
    re.compile("[\u3040-\u30ff\u3400-\u9fff]"): 4,  # Japanese, Chinese
    re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"): 9,  # Thai, Lao, Burmese, Khmer
}


def settle(settings: Settings, encoder: str, images: int) -> tuple[Settings, dict[str, object]]:
    """The settings with a number for `finetune_ENCODER.epochs: auto`, and a note for the checkpoint.

    Args:
        encoder: vgg16 or clip.
        images: number of training images.

    Returns:
        The note is empty if the settings give a number. Otherwise it has `epochs`, and the reason in
        `epochs_from`.
    """
    key = f"finetune_{encoder}"
    options = getattr(settings, key)
    if options.epochs != "auto":
        return settings, {}
    enough = images >= FEWEST_TO_TUNE
    kind = "scratch" if getattr(settings, encoder).weights == "scratch" else "pretrained"
    epochs = TUNED_EPOCHS[kind] if enough else 0
    fewer = "not fewer" if enough else "fewer"
    reason = f"auto, with {counted(images, 'training image')}, {fewer} than {FEWEST_TO_TUNE}"
    settled = settings.model_copy(update={key: options.model_copy(update={"epochs": epochs})})
    return settled, {"epochs": epochs, "epochs_from": reason}


def doubts(images: Mapping[str, int], tokens: Iterable[str]) -> list[str]:
    """One sentence for each reason why captions or scores will mean little.

    Args:
        images: number of images in train, dev and test.
        tokens: the tokens of all captions, separated by blanks; read once.
    """
    found = []
    if images["train"] < FEWEST["train"]:
        found.append(
            f"{counted(images['train'], 'training image')}: too few for good captions; expect captions that "
            f"are alike or that repeat one word. Use {FEWEST['train']} or more with pretrained networks, "
            "thousands without"
        )
    if images["dev"] < FEWEST["dev"]:
        found.append(
            f"{counted(images['dev'], 'dev image')}: the best epoch is chosen almost at random; use "
            f"{FEWEST['dev']} or more"
        )
    if images["test"] < FEWEST["test"]:
        margin = 1.96 * DEVIATION / math.sqrt(max(1, images["test"]))
        found.append(
            f"{counted(images['test'], 'test image')}: CIDEr is uncertain by about {margin:.2f} either way; "
            f"use {FEWEST['test']} or more to compare scores"
        )
    captions = single = english = 0
    example, uses = "", Counter()
    for text in tokens:
        words = [word for word in text.split() if word.isalnum() or any(map(str.isalnum, word))]
        captions += 1
        single += len(words) == 1
        english += not ENGLISH.isdisjoint(words)
        example = max(example, text, key=len)
        uses.update(words)
    if _uncut(uses):
        found.append(
            f"captions have no blanks between words ({example[:40]} ...), so the scores and the LSTM take "
            "whole clauses as words: cut them into words first, for example with MeCab, jieba or PyThaiNLP"
        )
    elif single > captions / 2:
        found.append(
            f"{single} of {captions} captions are one word only: BLEU-2 to BLEU-4 give them no score"
        )
    if english < captions / 10:
        found.append(
            f"only {english} of {captions} captions have one of the words {', '.join(sorted(ENGLISH))}: "
            "if they are not English, METEOR's stems, synonyms and paraphrases do not apply (it counts equal "
            "words only), and CLIP's and GPT-2's official weights know little of the language"
        )
    return found


def found_doubts(statistics: Path = STATISTICS) -> list[str]:
    """The doubts that stage prepare recorded about the captioners' training data."""
    try:
        return json.loads(statistics.read_text(encoding="utf-8")).get("doubts", [])
    except (OSError, ValueError):
        return []


def _uncut(uses: Counter[str]) -> bool:
    for letter, longest in WITHOUT_BLANKS.items():
        own = [(len(word), count) for word, count in uses.items() if letter.match(word)]
        words = sum(count for _, count in own)
        if words > uses.total() / 2 and sum(length * count for length, count in own) > longest * words:
            return True
    return False
