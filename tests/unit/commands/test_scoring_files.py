"""Files of captions to score: both forms of references; errors name the file, the entry and the expected
form."""

import json

import pytest

from captioning.core.errors import UserError
from captioning.data.caption_files import read_candidates, read_references

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
