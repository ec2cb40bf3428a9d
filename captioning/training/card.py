"""Model cards: the `README.md` of a checkpoint describes the network, its training data and its scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from captioning.core.files import atomic_write, read_json
from captioning.core.paths import STATISTICS
from captioning.core.progress import rounded

WHAT = {
    "lstm": "An LSTM that writes a caption from an image's features",
    "clipcap": "ClipCap (Mokady et al. 2021): a mapping network turns an image's features into a prefix "
    "that GPT-2 continues",
}


def write_card(
    folder: Path,
    title: str,
    what: str,
    settings: dict[str, Any],
    scores: dict[str, float | None],
    tags: list[str],
    task: str = "image-to-text",
) -> None:
    """Writes `folder`/README.md with the front matter for the Hugging Face hub.

    Args:
        what: the network in a sentence or two.
        settings: the settings of params.yaml that made the weights.
        scores: on the dev split; empty if nothing was trained.
    """
    data = ModelCardData(language="en", license="other", library_name="pytorch", pipeline_tag=task, tags=tags)
    scores = {name: value for name, value in scores.items() if value is not None}
    rows = "".join(f"| {name} | {rounded(value)} |\n" for name, value in scores.items())
    table = f"| on dev | |\n| --- | --- |\n{rows}"
    trained = table if rows else "Not trained here: these are the starting weights.\n"
    with atomic_write(folder / "README.md") as file:
        file.write(
            f"---\n{data.to_yaml()}\n---\n\n# {title}\n\n{what}\n\n## Data\n\n{describe_data()}\n\n"
            f"## Scores\n\n{trained}\nThe project's `metrics.json` has the scores on the test split. "
            "Its `results/cards/` has a longer card for each captioner.\n\n"
            f"## Settings\n\n```json\n{json.dumps(settings, indent=2)}\n```\n\n"
            "This folder is complete: nothing else is needed to use it. Its licence depends on the licences "
            "of the data and of the starting weights.\n"
        )


def describe_captioner(kind: str, features: Mapping[str, str]) -> str:
    """Describes the network in a sentence, with the encoder of its features."""
    return f"{WHAT[kind]}. Features: {features.get('encoder', 'of an unknown network')}."


def describe_data() -> str:
    """Describes the prepared data set in a few lines."""
    if not STATISTICS.exists():
        return "Unknown."
    found = read_json(STATISTICS)
    lines = [f"Source `{found['source']}`, splits from {found['splits_from']}."]
    for split, counts in found["splits"].items():
        lines.append(f"- {split}: {counts['images']:,} images, {counts['captions']:,} captions")
    return "\n".join(lines)
