"""Scores of 1,000 images with five references each: ours beside pycocoevalcap's sequence.

Both get captions as text. Ours is what stage evaluate does: the references' tokens are there (stage prepare),
and so is the part of METEOR's paraphrase table that they can use (stage filter_paraphrases). These are made
once for all evaluations, outside of the time that counts, in about .5 and 5 s; the published sequence
tokenizes the references and reads the whole table each time. The candidates are captions with every fourth
word left out.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import material, published
from benchmarks.table import Line, factor, ms
from benchmarks.turns import Run, in_turn
from captioning.core import java
from captioning.data.ptb import ptb_tokenize
from captioning.metrics.coco import score
from captioning.metrics.meteor import Meteor
from captioning.metrics.paraphrases import write_table


def scoring(rounds: int, tiny: bool) -> list[Line]:
    sizes = {"images": 10 if tiny else 1000}
    found = in_turn({"published": publishes, "ours": ours}, sizes, rounds)
    a, b = (found[name].results[0]["scores"] for name in ("published", "ours"))
    different = [name for name in a if a[name] != b[name]]
    line = Line(
        path=f"Scoring {sizes['images']} images: BLEU, METEOR, ROUGE-L, CIDEr",
        published=ms(found["published"].median),
        ours=ms(found["ours"].median),
        factor=factor(found["published"], found["ours"]),
        goal="2 times",
        check=f"{', '.join(different)} differ !" if different else f"all {len(a)} to the last digit",
        figures=found,
    )
    return [line]


def publishes(sizes: dict[str, Any]) -> Run:
    references, candidates = _captions(sizes["images"])

    def run(turn: int) -> dict[str, Any]:
        with java.on_path():
            return {"scores": published.score(references, candidates)}

    return run


def ours(sizes: dict[str, Any]) -> Run:
    references, candidates = _captions(sizes["images"])
    tokens = iter(ptb_tokenize([text for texts in references.values() for text in texts]))
    prepared = {i: [next(tokens) for _ in texts] for i, texts in references.items()}

    folder = tempfile.TemporaryDirectory()
    write_table((text for texts in prepared.values() for text in texts), Path(folder.name) / "paraphrases.gz")

    def run(turn: int) -> dict[str, Any]:
        # METEOR starts while the candidates are tokenized.
        with Meteor(Path(folder.name) / "paraphrases.gz") as meteor:
            said = dict(zip(candidates, ptb_tokenize(list(candidates.values())), strict=True))
            return {"scores": score(prepared, said, meteor).corpus}

    return run


def _captions(count: int) -> tuple[dict[str, list[str]], dict[str, str]]:
    references = {
        str(i): [" ".join(text.split()) for text in texts] for i, texts in enumerate(material.captions(count))
    }
    shortened = {
        i: [w for n, w in enumerate(texts[0].split()) if n % 4 != 3] for i, texts in references.items()
    }
    return references, {i: " ".join(words) for i, words in shortened.items()}
