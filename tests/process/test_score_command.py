"""`python -m commands.score`: what it prints, writes and warns about."""

import csv
import json
import subprocess
from pathlib import Path

import pytest
from example_captions import CANDIDATES, REFERENCES
from forked import python_m

from captioning.metrics.coco import doubts, score


def write(path, value) -> str:
    path.write_text(json.dumps(value), encoding="utf-8")
    return str(path)


def program(*arguments: str) -> subprocess.CompletedProcess:
    return python_m(Path.cwd(), "commands.score", *arguments)


def test_the_program_scores_the_images_that_have_candidates_and_says_so(tmp_path):
    references = write(tmp_path / "references.json", REFERENCES)
    few = [{"image_id": i, "caption": CANDIDATES[i]} for i in ("3", "1")]
    candidates = write(tmp_path / "candidates.json", few)
    done = program(references, candidates)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["images"] == 2
    assert printed["bleu_1"] > 0.9
    assert "warning: 4 image(s)" in done.stderr
    strict = program(references, candidates, "--all")
    assert strict.returncode == 1
    assert strict.stderr.startswith("error: 4 image(s)")
    assert strict.stdout == ""


def test_the_program_ends_in_one_line_for_a_users_error(tmp_path):
    references = write(tmp_path / "references.json", REFERENCES)
    candidates = write(tmp_path / "candidates.json", [{"image_id": "77", "caption": "a dog"}])
    done = program(references, candidates)
    assert done.returncode == 1
    expected = f"error: {candidates}: 1 of 1 image ids are not in {references}, such as '77'\n"
    assert done.stderr == expected


@pytest.mark.parametrize(
    ("candidates", "references", "why"),
    [
        (
            {"1": "a dog runs"},
            {"1": ["a dog runs"]},
            "CIDEr of a single image is always 0",
        ),
        ({"1": "一只狗", "2": "一只猫"}, {"1": ["狗在跑"], "2": ["猫在跑"]}, "no caption shares a word"),
        ({"1": "a dog", "2": "a cat"}, {"1": ["a bird"], "2": ["a man"]}, "CIDEr is 0"),
        ({"1": "a dog", "2": "a cat"}, {"1": ["a dog"], "2": ["a man"]}, None),
    ],
)
def test_why_a_score_means_nothing(meteor, candidates, references, why):
    scores = score(references, candidates, meteor)
    assert (scores.corpus["cider"] == 0) == bool(why)
    assert [told[: len(why or "")] for told in doubts(scores)][:1] == ([why] if why else [])


def test_the_program_says_why_a_score_means_nothing(tmp_path):
    candidates = write(tmp_path / "candidates.json", [{"image_id": 1, "caption": "a dog runs"}])
    done = program(write(tmp_path / "references.json", {"1": ["a dog runs"]}), candidates)
    assert done.returncode == 0 and done.stderr.startswith("warning: CIDEr of a single image is always 0")
    assert json.loads(done.stdout)["cider"] == 0


def test_odd_characters_shift_no_row_and_half_a_surrogate_pair_is_written_as_json_writes_it(tmp_path):
    references = {"1": ["a dog"], "2": ["a cat"], "3": ["a dog \ud83d"]}
    captions = {"1": "a\rdog", "2": 'a "cat",\r\nhere', "3": "a dog \ud83d"}
    entries = [{"image_id": i, "caption": caption} for i, caption in captions.items()]
    given = write(tmp_path / "references.json", references), write(tmp_path / "candidates.json", entries)
    done = program(*given, "--per-image", str(tmp_path / "images.csv"))
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "images.csv", newline="", encoding="utf-8") as file:
        written = [row["caption"] for row in csv.DictReader(file)]
    assert written == [captions["1"], captions["2"], "a dog \\ud83d"]
