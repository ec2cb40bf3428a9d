"""What a number of pictures can and cannot give: encoders that are fine-tuned, scores that mean something."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from captioning.core.paths import STATISTICS

if TYPE_CHECKING:
    from captioning.core.settings import Settings

FEWEST_TO_TUNE = 1000  # training images below which `epochs: auto` leaves an encoder as it is
TUNED_EPOCHS = {"scratch": 10, "pretrained": 5}  # what `auto` is for more
FEWEST = {"train": 300, "dev": 20, "test": 100}  # images below which to warn
DEVIATION = 0.57  # of an image's CIDEr on Flickr8k
ENGLISH = {"the", "and", "with", "are", "his", "her", "their", "at"}  # more than half of English captions have one
WITHOUT_BLANKS = {  # scripts, and the letters of a word, on average, beyond which a text is not cut into words
    re.compile("[\u3040-\u30ff\u3400-\u9fff]"): 4,  # Japanese, Chinese
    re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"): 9,  # Thai, Lao, Burmese, Khmer
}


def settle(settings: Settings, encoder: str, images: int) -> tuple[Settings, dict[str, object]]:
    """The settings with `finetune_ENCODER.epochs: auto` as a number, and what a checkpoint says of that choice.

    Args:
        encoder: vgg16 or clip.
        images: for training.

    Returns:
        The second is empty where a number was given; else `epochs`, and in `epochs_from` why.
    """
    key = f"finetune_{encoder}"
    options = getattr(settings, key)
    if options.epochs != "auto":
        return settings, {}
    enough = images >= FEWEST_TO_TUNE
    kind = "scratch" if getattr(settings, encoder).weights == "scratch" else "pretrained"
    epochs = TUNED_EPOCHS[kind] if enough else 0
    reason = f"auto, with {images} training images, {'not ' * enough}fewer than {FEWEST_TO_TUNE}"
    settled = settings.model_copy(update={key: options.model_copy(update={"epochs": epochs})})
    return settled, {"epochs": epochs, "epochs_from": reason}


def doubts(images: Mapping[str, int], tokens: Sequence[str]) -> list[str]:
    """A sentence on each thing for which captions or scores will mean little.

    Args:
        images: how many train, dev and test have.
        tokens: of all captions, separated by blanks.
    """
    found = []
    if images["train"] < FEWEST["train"]:
        found.append(
            f"{images['train']} training images teach a decoder little: expect captions that are alike, or one word "
            f"over and over; {FEWEST['train']} with pretrained networks are a beginning, thousands without"
        )
    if images["dev"] < FEWEST["dev"]:
        found.append(f"{images['dev']} dev images choose the best epoch nearly by chance; have {FEWEST['dev']} or more")
    if images["test"] < FEWEST["test"]:
        margin = 1.96 * DEVIATION / math.sqrt(max(1, images["test"]))
        found.append(
            f"{images['test']} test images: CIDEr is then uncertain by {margin:.2f} or so either way; have "
            f"{FEWEST['test']} or more to compare scores"
        )
    words = [[word for word in text.split() if any(map(str.isalnum, word))] for text in tokens]
    single, example = sum(len(of_one) == 1 for of_one in words), max(tokens, key=len)[:40]
    if _uncut([word for of_one in words for word in of_one]):
        found.append(
            f"captions have no blanks between words ({example} ...), so that the scores, METEOR's and the LSTM's words "
            "are whole clauses: cut them into words first, as MeCab, jieba or PyThaiNLP do"
        )
    elif single > len(tokens) / 2:
        found.append(f"{single} of {len(tokens)} captions are one word, which BLEU-2 to BLEU-4 give no score for")
    english = sum(not ENGLISH.isdisjoint(of_one) for of_one in words)
    if english < len(tokens) / 10:
        found.append(
            f"{english} of {len(tokens)} captions have one of the words {', '.join(sorted(ENGLISH))}: if they are not "
            "English, METEOR's stems, synonyms and paraphrases do not apply (it counts equal words alone), and CLIP's "
            "and GPT-2's official weights know little of the language"
        )
    return found


def found_doubts() -> list[str]:
    """What stage prepare doubted of the data that the captioners learned from."""
    try:
        return json.loads(STATISTICS.read_text(encoding="utf-8")).get("doubts", [])
    except (OSError, ValueError):
        return []


def _uncut(words: Sequence[str]) -> bool:
    for letter, longest in WITHOUT_BLANKS.items():
        own = [word for word in words if letter.match(word)]
        if len(own) > len(words) / 2 and sum(map(len, own)) > longest * len(own):
            return True
    return False
