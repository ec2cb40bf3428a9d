"""METEOR gives the same scores with the references' part of its paraphrase table as with the whole table."""

import gzip
import json
import random
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import material
from captioning.core import java
from captioning.core.errors import UserError
from captioning.data.ptb import ptb_tokenize
from captioning.data.sources import flickr8k
from captioning.metrics.meteor import WHOLE_TABLE, Meteor
from captioning.metrics.paraphrases import write_table

ROOT = Path(__file__).parents[2]
# Places in the statistics of an image: four stages have their matches there, paraphrases last. Each stage
# counts content words of candidate and reference, then function words of both.
FUNCTION_WORDS, PARAPHRASES = slice(7, 20, 4), slice(16, 20)
ODD = [
    "Don't stop-and-go, U.S. mail!", "naïve café 日本", "it's 3,000.5 ||| or 1990's", "--", "", "zzyzx wug",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole():
    with Meteor() as running:
        yield running


def entries_of_the_table(count: int) -> list[tuple[str, str]]:
    """Phrases and their paraphrases from all parts of the table."""
    found = []
    with gzip.open(java.package_folder() / "meteor" / WHOLE_TABLE) as file:
        while block := file.read(1 << 20):
            lines = block[: 200 * count].decode(errors="ignore").split("\n")[1:-1]
            first = next(n for n, line in enumerate(lines) if re.fullmatch(r"0\.\d{6,}", line))
            found += list(zip(lines[first + 1 :: 3], lines[first + 2 :: 3], strict=False))[:count]
    return found


def made_up() -> tuple[list[list[str]], list[str]]:
    """References and candidates from phrases of the table, paraphrased or not, with odd words and single
    words added."""
    draw = random.Random(0)
    entries = entries_of_the_table(8)
    loose = [word for phrase, _ in entries for word in phrase.split()] + ODD
    references, candidates = [], []
    for _ in range(600):
        pairs = draw.sample(entries, 3)
        sides = [draw.choice([pair, pair[::-1]]) for pair in pairs]
        fill = lambda: " ".join(draw.choices(loose, k=draw.randint(0, 4)))  # noqa: E731
        references.append(
            [" ".join(f"{fill()} {a}" for a, _ in sides), " ".join(f"{a} {fill()}" for a, _ in sides[1:])]
        )
        candidates.append(" ".join(f"{draw.choice(side)} {fill()}" for side in sides).title())
    return references, candidates


def captions_of_scenes() -> tuple[list[list[str]], list[str]]:
    """People's captions of drawings, each against the others, and against those of the next drawing."""
    texts = material.scenes_captions(100)
    shifted = [texts[(n + 1) % len(texts)][0] for n in range(len(texts))]
    return [of[1:] for of in texts] * 2, [of[0] for of in texts] + shifted


def equal_statistics(
    whole: Meteor, table: Path, references: list[list[str]], candidates: list[str]
) -> np.ndarray:
    with Meteor(table) as meteor:
        corpus, images, statistics = meteor.score(references, candidates)
    expected = whole.score(references, candidates)
    np.testing.assert_array_equal(statistics, expected[2])
    np.testing.assert_array_equal(images, expected[1])
    assert corpus == expected[0]
    return statistics


def test_phrases_of_the_table_score_as_with_the_whole_table(whole, tmp_path):
    references, candidates = made_up()
    written = write_table((text for texts in references for text in texts), tmp_path / "table.gz")
    statistics = equal_statistics(whole, tmp_path / "table.gz", references, candidates)
    assert (statistics[:, FUNCTION_WORDS].sum(axis=1) > 0).mean() > 0.8
    assert (statistics[:, PARAPHRASES].sum(axis=1) > 0).mean() > 0.6, (
        "they are there to be matched by paraphrases"
    )
    assert 10_000 < written < 2_000_000, "of 5.3 million"


def test_people_s_captions_score_as_with_the_whole_table(whole, tmp_path):
    references, candidates = captions_of_scenes()
    written = write_table((text for texts in references for text in texts), tmp_path / "table.gz")
    statistics = equal_statistics(whole, tmp_path / "table.gz", references, candidates)
    assert statistics[:, FUNCTION_WORDS].any() and statistics[:, PARAPHRASES].any() and 0 < written < 300_000
    data = (tmp_path / "table.gz").read_bytes()
    assert data[4:8] == bytes(4), "the time of writing is in the file, which DVC would take for a change"
    lines = gzip.decompress(data).decode().splitlines()
    assert len(lines) == 3 * written


def test_flickr8k_s_captions_score_as_with_the_whole_table(whole, tmp_path):
    root = material.locate(material.FLICKR8K)
    if root is None:
        pytest.skip("needs Flickr8k's captions (../shared/flickr8k)")
    reading = flickr8k.read(SimpleNamespace(root=str(root), annotations=None), seed=0)
    test = {item.id: item.captions for item in reading.items if item.split == "test"}
    tokens = iter(ptb_tokenize([text for texts in test.values() for text in texts]))
    references = {i: [next(tokens) for _ in texts] for i, texts in test.items()}
    write_table((text for texts in references.values() for text in texts), tmp_path / "table.gz")
    asked, said = list(references)[::3], []
    for name in ("lstm", "clipcap"):
        entries = json.loads((ROOT / f"benchmarks/flickr8k/{name}.json").read_text())
        captions = {entry["image_id"]: entry["caption"] for entry in entries}
        said += ptb_tokenize([captions[i] for i in asked])
    statistics = equal_statistics(whole, tmp_path / "table.gz", [references[i] for i in asked] * 2, said)
    assert len(statistics) == 668
    assert statistics[:, FUNCTION_WORDS].any() and statistics[:, PARAPHRASES].any()


def test_a_table_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match=r"table\.gz is missing: run `dvc repro filter_paraphrases` first"):
        Meteor(tmp_path / "table.gz")
