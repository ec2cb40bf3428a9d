"""The scoring program reads both forms of references; errors name the file, the entry and the expected
form."""

import csv
import json
import subprocess
from pathlib import Path

import pytest
from example_captions import CANDIDATES, REFERENCES
from forked import python_m

from captioning.core.errors import UserError
from captioning.data.caption_files import read_candidates, read_references
from captioning.metrics.coco import doubts, score
from captioning.metrics.meteor import Meteor

COCO = {
    "images": [{"id": 7}, {"id": 2}, {"id": 5}],
    "annotations": [
        {"id": 1, "image_id": 2, "caption": "a cat"},
        {"id": 2, "image_id": 7, "caption": "a dog"},
        {"id": 3, "image_id": 2, "caption": "the cat"},
    ],
}


def write(path, value) -> str:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(path)


def program(*arguments: str) -> subprocess.CompletedProcess:
    return python_m(Path.cwd(), "commands.score", *arguments)


def test_both_shapes_of_references(tmp_path):
    assert read_references(write(tmp_path / "coco.json", COCO)) == {"7": ["a dog"], "2": ["a cat", "the cat"]}
    assert list(read_references(tmp_path / "coco.json")) == ["7", "2"], (
        "in the order of `images`, as pycocotools"
    )
    assert read_references(write(tmp_path / "plain.json", {"x": ["a", ""]})) == {"x": ["a", ""]}


def test_ids_are_texts_and_a_byte_order_mark_is_no_fault(tmp_path):
    (tmp_path / "bom.json").write_text('[{"image_id": 7, "caption": "a dog"}]', encoding="utf-8-sig")
    assert read_candidates(tmp_path / "bom.json") == {"7": "a dog"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON: line 1, column 2"),
        ("[" * 100_000, "nested too deeply"),
        ([], "expected {id: [captions]} or a COCO captions file with `annotations`, not a list"),
        ({}, "no image has a caption"),
        ({"1": "a dog"}, "entry '1': expected a list of one or more captions, got \"a dog\""),
        ({"1": []}, "entry '1': expected a list of one or more captions, got []"),
        ({"1": ["a dog", None]}, "entry '1': expected a list of one or more captions"),
        ('{"1": ["a"], "1": ["b"]}', "'1' occurs twice in one object"),
        (
            {"annotations": [{"image_id": 1}]},
            "annotations, entry 0 (image 1): expected a text as `caption`, got none",
        ),
        (
            {"annotations": [{"caption": "a"}]},
            "annotations, entry 0: expected a number or a text as `image_id`",
        ),
        (
            {"images": [{}], "annotations": []},
            "images, entry 0: expected a number or a text as `id`, got none",
        ),
        ({**COCO, "images": [{"id": 7}]}, "annotations, entry 0: image '2' is not among the file's `images`"),
    ],
)
def test_malformed_references(tmp_path, content, message):
    path = write(tmp_path / "references.json", content)
    with pytest.raises(UserError) as error:
        read_references(path)
    assert str(error.value).startswith(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"1": "a dog"}, 'expected a list of {"image_id": id, "caption": text}, not an object'),
        ([], "the list is empty"),
        (["a dog"], 'entry 0: expected {"image_id": id, "caption": text}, got "a dog"'),
        ([{"image_id": 1, "caption": ["a"]}], 'entry 0 (image 1): expected a text as `caption`, got ["a"]'),
        (
            [{"image_id": True, "caption": "a"}],
            "entry 0: expected a number or a text as `image_id`, got true",
        ),
        (
            [{"image_id": 1, "caption": "a"}, {"image_id": "1", "caption": "b"}],
            "entry 1 is a second caption for image",
        ),
    ],
)
def test_malformed_candidates(tmp_path, content, message):
    path = write(tmp_path / "candidates.json", content)
    with pytest.raises(UserError) as error:
        read_candidates(path)
    assert str(error.value).startswith(path)
    assert message in str(error.value)


def test_bytes_that_are_not_text_and_a_file_that_is_not_there(tmp_path):
    (tmp_path / "latin.json").write_bytes('{"1": ["café"]}'.encode("latin-1"))
    with pytest.raises(UserError, match=r"latin.json is not UTF-8 text \(byte 11\)"):
        read_references(tmp_path / "latin.json")
    with pytest.raises(UserError, match=r"absent.json cannot be read: No such file"):
        read_references(tmp_path / "absent.json")


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


@pytest.fixture(scope="module")
def meteor():
    with Meteor() as running:
        yield running


@pytest.mark.parametrize(
    ("candidates", "references", "why"),
    [
        (
            {"1": "a dog runs"},
            {"1": ["a dog runs"]},
            "CIDEr of a single image is always 0",
        ),
        ({"1": "一只狗", "2": "一只猫"}, {"1": ["狗在跑"], "2": ["猫在跑"]}, "no caption shares a word"),
        ({"1": "a dog", "2": "a cat"}, {"1": ["a bird"], "2": ["a man"]}, "CIDEr is 0, since every word"),
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
