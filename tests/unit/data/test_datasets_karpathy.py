"""Karpathy's three JSON files in their forms."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import data_settings, photo, photos, write_json

from captioning.core.errors import UserError
from captioning.data.sources import karpathy
from captioning.data.sources.base import Reading


def image(number: int, split: str, **changes) -> dict:
    sentences = [
        {"raw": f"A dog, {number}.", "tokens": ["a", "dog", str(number)], "imgid": number, "sentid": number}
    ]
    return {
        "filename": f"{number}.jpg",
        "imgid": number,
        "sentids": [number],
        "split": split,
        "sentences": sentences,
    } | changes


def coco(number: int, split: str, folder: str = "val2014") -> dict:
    name = f"COCO_{folder}_{number:012d}.jpg"
    return image(number, split, filename=name, filepath=folder, cocoid=number)


def read(root, images: list[dict], name: str = "dataset_flickr8k.json", **changes) -> Reading:
    write_json(root / name, {"dataset": "flickr8k", "images": images})
    return karpathy.read(data_settings("karpathy", root, **changes), seed=0)


def summary(reading: Reading) -> list[tuple]:
    return [(item.id, item.path.name, item.split, item.captions) for item in reading.items]


@pytest.mark.parametrize("folder", ["", "images", "Flicker8k_Dataset", "flickr30k-images"])
def test_flickr_in_the_usual_image_folders(tmp_path, folder):
    photos(tmp_path / folder, [f"{i}.jpg" for i in range(3)])
    reading = read(tmp_path, [image(0, "train"), image(1, "val"), image(2, "test")])
    assert summary(reading) == [
        ("0", "0.jpg", "train", ["A dog, 0."]),
        ("1", "1.jpg", "dev", ["A dog, 1."]),
        ("2", "2.jpg", "test", ["A dog, 2."]),
    ]
    assert all(item.path.is_file() for item in reading.items)
    assert not reading.dropped


@pytest.mark.parametrize("folder", ["", "images"])
def test_coco_has_folders_and_ids_of_its_own_and_restval_joins_train(tmp_path, folder):
    records = [coco(391895, "test"), coco(7, "restval"), coco(8, "val"), coco(9, "train", "train2014")]
    for number, record in enumerate(records):
        photo(tmp_path / folder / record["filepath"] / record["filename"], number)
    reading = read(tmp_path, records, "dataset_coco.json")
    assert [(item.id, item.split) for item in reading.items] == [
        ("391895", "test"),
        ("7", "train"),
        ("8", "dev"),
        ("9", "train"),
    ]
    assert all(item.path.is_file() for item in reading.items)


def test_repeated_images_merge_and_images_that_would_share_an_id_keep_their_paths(tmp_path):
    photos(tmp_path, [f"{i}.jpg" for i in range(4)])
    again = image(1, "test")
    again["sentences"].append({"raw": "Another."})
    records = [
        image(0, "train", cocoid=5),
        image(1, "train"),
        again,
        image(2, "val", cocoid=5),
        image(3, "val", cocoid=None),
        image(9, "train", filename="../../secret.jpg"),
    ]
    reading = read(tmp_path, records)
    assert [(item.id, item.split) for item in reading.items] == [
        ("0.jpg", "train"), ("1", "test"), ("2.jpg", "dev"), ("3", "dev"),
    ]  # fmt: skip
    assert reading.items[1].captions == ["A dog, 1.", "Another."]
    assert [(entry.image, entry.reason) for entry in reading.dropped] == [
        ("1", "listed in train and test: kept in test only"),
        ("secret", "path leads out of data.root"),
    ]


def test_sentences_without_raw_text_use_their_tokens_and_others_are_listed(tmp_path):
    photos(tmp_path, ["0.jpg"])
    sentences = [{"tokens": ["a", "dog"]}, {"raw": None}, "text", {"raw": "É\u2028x"}]
    reading = read(tmp_path, [image(0, "train", sentences=sentences)])
    assert reading.items[0].captions == ["a dog", "É\u2028x"]
    assert [entry.reason for entry in reading.dropped] == ["caption is not text"] * 2


def test_an_image_without_a_split_or_captions_is_read_as_such(tmp_path):
    photos(tmp_path, ["0.jpg", "1.jpg"])
    reading = read(tmp_path, [image(0, ""), image(1, "test", sentences=[])])
    assert summary(reading) == [("0", "0.jpg", None, ["A dog, 0."]), ("1", "1.jpg", "test", [])]


def test_the_json_may_lie_elsewhere_but_must_be_one(tmp_path):
    photos(tmp_path / "pictures", ["0.jpg"])
    file = write_json(tmp_path / "mine.json", {"images": [image(0, "train")]})
    data = data_settings("karpathy", tmp_path / "pictures", annotations=str(file))
    assert len(karpathy.read(data, 0).items) == 1
    with pytest.raises(
        UserError,
        match=r"data.annotations is null, .* not have exactly one dataset_\*.json \(none\)",
    ):
        karpathy.read(data_settings("karpathy", tmp_path / "pictures"), 0)
    for name in ("dataset_coco.json", "dataset_flickr8k.json"):
        write_json(tmp_path / "pictures" / name, {})
    with pytest.raises(
        UserError, match=r"\(dataset_coco.json, dataset_flickr8k.json\): set data.annotations"
    ):
        karpathy.read(data_settings("karpathy", tmp_path / "pictures"), 0)
    with pytest.raises(
        UserError, match=r"data.annotations = no.json is not a file .*correct it in params.yaml"
    ):
        karpathy.read(data_settings("karpathy", tmp_path, annotations="no.json"), 0)


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.source = karpathy needs data\.root"):
        karpathy.read(data_settings("karpathy", None), 0)
    with pytest.raises(
        UserError, match=r"none of the first 1 images is in .*looked for 0.jpg in it and in images"
    ):
        read(tmp_path, [image(0, "train")])
    photos(tmp_path, ["0.jpg"])
    with pytest.raises(UserError, match=r"images\[1\]: no `filename`"):
        read(tmp_path, [image(0, "train"), {"split": "test"}])
    with pytest.raises(UserError, match=r"images\[0\]: split is 'tset', expected train, dev or test"):
        read(tmp_path, [image(0, "tset")])
    with pytest.raises(UserError, match="is not one of Karpathy's files"):
        read(tmp_path, [])
    file = tmp_path / "dataset_flickr8k.json"
    file.write_text(file.read_text()[:-3])
    with pytest.raises(UserError, match=r"dataset_flickr8k.json, line 1: not JSON .* is the file complete\?"):
        karpathy.read(data_settings("karpathy", tmp_path), 0)


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.lists(st.text(max_size=5), max_size=2)
)
records = st.fixed_dictionaries(
    {"filename": st.just("0.jpg") | st.just("1.jpg") | anything},
    optional={
        "filepath": st.just(".") | anything,
        "cocoid": anything,
        "split": st.sampled_from(["train", "val"]) | anything,
        "sentences": st.lists(
            st.dictionaries(st.sampled_from(["raw", "tokens"]), anything) | anything, max_size=2
        )
        | anything,
    },
)


@settings(deadline=None)
@given(st.lists(records | anything, max_size=4))
def test_whatever_the_json_holds_it_is_read_or_refused_in_words(tmp_path_factory, images):
    root = tmp_path_factory.getbasetemp() / "any-json"
    photos(root, ["0.jpg", "1.jpg"])
    try:
        reading = read(root, images)
    except UserError as error:
        assert str(root) in str(error)
    else:
        assert len({item.id for item in reading.items}) == len(reading.items)


def test_equal_names_in_two_folders_are_two_images(tmp_path):
    names = [
        ("cats", "000.jpg"),
        ("dogs", "000.jpg"),
        ("dogs", "1.jpg"),
        ("", "x.png"),
        ("", "x.gif"),
        ("", "x.gif.jpg"),
    ]
    photos(tmp_path, [f"{folder}/{name}" for folder, name in names])
    records = [image(i, "train", filename=name, filepath=folder) for i, (folder, name) in enumerate(names)]
    reading = read(tmp_path, records)
    assert [item.id for item in reading.items] == [
        "cats/000.jpg", "dogs/000.jpg", "1", "x.png", "x.gif", "x.gif.jpg",
    ]  # fmt: skip
    assert not reading.dropped
