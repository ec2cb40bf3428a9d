"""Cleaning: which captions and image files pass, and the messages about the others."""

from __future__ import annotations

import io
import os
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data import data_settings, photo

from captioning.core.errors import UserError
from captioning.core.pictures import ImageFault
from captioning.data.clean import clean, clean_caption, inspect_image
from captioning.data.ptb import ptb_tokenize
from captioning.data.sources.base import Dropped, Item, Items, Reading, inside, split_name, unix_line_ends
from captioning.features.images import clip_preprocess, decode


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("  A dog  runs .\r\n", "A dog runs ."),
        ("A dog\rruns", "A dog runs"),
        ("A dog\u2028runs\u2029fast\x85now\x0bhere\x1cthere", "A dog runs fast now here there"),
        ("A\u00a0dog\u3000runs\tfast", "A dog runs fast"),
        ("\ufeffA dog\x00runs", "A dog runs"),
        ("A d\u200bo\u00adg\u200e runs\ud800", "A dog runs"),
        ("Cafe\u0301", "Café"),
        ("e\u200b\u0301", "é"),
        ('She says "go , now" .', 'She says "go , now" .'),
        ("Two 👨\u200d👩\u200d👧 at the beach", "Two 👨\u200d👩\u200d👧 at the beach"),
        ("\r\n\u2028 \ufeff", ""),
    ],
)
def test_a_caption_becomes_one_line_of_visible_text(raw, cleaned):
    assert clean_caption(raw) == cleaned


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())))
@example("a\ud800b\u0300\u0340")
def test_any_text_becomes_one_storable_line_and_stays_as_it_is(raw):
    text = clean_caption(raw)
    assert len(text.splitlines()) <= 1
    assert text == text.strip() == unicodedata.normalize("NFC", text) == clean_caption(text)
    assert text.encode().decode() == text


def test_no_character_of_a_cleaned_caption_shifts_the_captions_after_it():
    characters = [chr(code) for code in range(0x3100)]
    characters += [
        char for char in map(chr, range(0x3100, sys.maxunicode, 101)) if unicodedata.category(char) != "Cs"
    ]
    captions = [clean_caption(f"number {i} {char} runs") for i, char in enumerate(characters)]
    tokens = ptb_tokenize(captions)
    assert len(tokens) == len(captions)
    assert [line.split()[:2] for line in tokens] == [["number", str(i)] for i in range(len(captions))]


@settings(deadline=None)
@given(st.text(st.sampled_from("a\r\n\u2028")))
def test_line_ends_of_every_system_are_read_as_the_same_lines(text):
    lines = text.replace("\r\n", "\n").split("\n" if "\n" in text else "\r")
    assert unix_line_ends(text).split("\n") == [line.replace("\r", " ") for line in lines]


@settings(deadline=None)
@given(st.text(st.sampled_from("./\\ab\0é:\ud800"), max_size=12) | st.text(max_size=300))
@example("..")
@example("a/../../b")
@example("/etc/passwd")
@example("..\\b")
def test_no_name_leads_out_of_its_folder(tmp_path_factory, name):
    root = tmp_path_factory.getbasetemp() / "pictures"
    path = inside(root, name)
    assert path is None or (path != root and root in path.parents and ".." not in path.parts)


def test_names_are_found_with_backslashes_and_however_accents_are_composed(tmp_path):
    beach = photo(tmp_path / "beach" / "1.jpg", 1)
    cafe = photo(tmp_path / "cafe\u0301.jpg", 2)
    assert (
        inside(tmp_path, "beach\\1.jpg")
        == inside(tmp_path, "./beach//1.jpg")
        == inside(tmp_path, str(beach))
        == beach
    )
    assert inside(tmp_path, "caf\u00e9.jpg") == cafe
    assert inside(tmp_path, "..\\1.jpg") is None


def test_splits_have_usual_names_and_an_unknown_one_is_an_error():
    assert [split_name(name, "row") for name in ("Train", " val", "validation", "restval", "")] == [
        "train", "dev", "dev", "train", None,
    ]  # fmt: skip
    with pytest.raises(UserError, match="row 3: split is 'tset', expected train, dev or test"):
        split_name("tset", "row 3")


def encoded(kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.effect_mandelbrot((128, 128), (-2, -1.5, 1, 1.5), 100).save(buffer, kind, **options)
    return buffer.getvalue()


JPEG, PNG, GIF = encoded("JPEG"), encoded("PNG"), encoded("GIF")
# Its metadata holds another, whole JPEG, as cameras write it: an end marker long before the end.
WITH_THUMBNAIL = encoded("JPEG", exif=b"Exif\0\0" + encoded("JPEG", quality=20))


CUT = "image damaged or cut short"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (JPEG, None),
        (JPEG + b"\0\0\0", None),
        (JPEG + b"a camera's note", None),
        (JPEG[:-2], CUT),  # Pillow would refuse it in extraction as well
        (JPEG[:-400], CUT),
        (WITH_THUMBNAIL, None),
        (WITH_THUMBNAIL[:-400], CUT),
        (PNG, None),
        (PNG[:-400], CUT),
        (PNG[:100] + b"?" + PNG[101:], CUT),
        (GIF, None),
        (GIF[:-400], CUT),
        (b"", "image file empty"),
        (b"<html>404</html>", "not of a known format"),
        (None, "image file missing"),
    ],
)
def test_image_files_that_are_whole_pass(tmp_path, content, fault):
    path = tmp_path / "x.jpg"
    if content is not None:
        path.write_bytes(content)
    sha256, found = inspect_image(path)
    assert found == fault
    assert (len(sha256) == 64) == (fault is None)


def test_a_folder_or_an_endless_name_is_no_image_file(tmp_path):
    assert inspect_image(tmp_path) == ("", "not a regular file")
    assert inspect_image(tmp_path / ("x" * 300)) == ("", "image file unreadable")
    assert inspect_image(photo(tmp_path / "a.jpg", 1) / "b.jpg") == ("", "image file missing")


def test_prepare_passes_exactly_what_the_next_stage_can_use(tmp_path):
    """Files of other programs, endless files, too large ones, and a JPEG damaged between its ends."""
    (tmp_path / "eps.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    (tmp_path / "avif.jpg").write_bytes(b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B" + b"\0" * 400)
    Image.new("L", (12_000, 10_000)).save(tmp_path / "large.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "sparse.jpg").touch()
    os.truncate(tmp_path / "sparse.jpg", 2**40)
    found = {path.name: inspect_image(path)[1] for path in sorted(tmp_path.iterdir())}
    assert found == {
        "avif.jpg": "not of a known format",
        "eps.jpg": "not of a known format",
        "large.png": "image of more than 100 million pixels",
        "pipe.jpg": "not a regular file",
        "sparse.jpg": "image file too large",
        "zero.jpg": "not a regular file",
    }
    scan = JPEG.index(b"\xff\xda")
    damaged = [
        JPEG[:at] + marker + JPEG[at + 2 :]
        for at in range(0, scan + 12, 3)
        for marker in (b"\xff\xc4", b"\0\0")
    ]
    refused = 0
    for content in damaged:
        (tmp_path / "damaged.jpg").write_bytes(content)
        fault = inspect_image(tmp_path / "damaged.jpg")[1]
        try:
            decode(content, clip_preprocess(32))
        except ImageFault:
            refused += 1
            assert fault
        else:
            assert not fault
    assert 10 < refused < len(damaged)


@pytest.fixture
def items(tmp_path) -> list[Item]:
    """40 photographs with two captions each: 20 for training, 10 for dev, 10 for test."""
    splits = ["train"] * 20 + ["dev"] * 10 + ["test"] * 10
    return [
        Item(str(i), photo(tmp_path / f"{i}.jpg", i), split, ["A dog runs .", f"Dog number {i}"])
        for i, split in enumerate(splits)
    ]


def cleaned(items: list[Item], dropped=(), **changes):
    return clean(Reading(Items(items), "the test", list(dropped)), data_settings("folder", "x", **changes), 2)


def captions(result) -> list[tuple[str, str, str]]:
    return [(image.id, *said) for image in result.images for said in image.captions]


def entries(result) -> list[tuple[str, str]]:
    return [(entry.image, entry.reason) for entry in result.dropped]


def test_sound_data_passes_whole_in_the_order_of_the_splits(items):
    result = cleaned(items[::-1])
    order = [*range(19, -1, -1), *range(29, 19, -1), *range(39, 29, -1)]
    assert [image.id for image in result.images] == [str(i) for i in order]
    assert captions(result)[:2] == [
        ("19", "A dog runs .", "a dog runs"),
        ("19", "Dog number 19", "dog number 19"),
    ]
    assert len(captions(result)) == 80
    assert not result.dropped


def test_captions_that_say_nothing_or_too_much_are_dropped_and_their_image_stays(items):
    items[0].captions += ["", " \r\n", ". !", "word " * 1000, "x" * 5000]
    items[1].captions += ["word " * 50]
    result = cleaned(items, max_dropped=0.1)
    long, empty, wordless = "caption longer than data.max_words", "empty caption", "caption without words"
    assert entries(result) == [("0", empty), ("0", empty), ("0", wordless), ("0", long), ("0", long)]
    assert [text for image, text, _ in captions(result) if image == "0"] == items[0].captions[:2]
    assert [text for image, text, _ in captions(result) if image == "1"] == [
        *items[1].captions[:2],
        ("word " * 50).strip(),
    ]


def test_a_repeated_caption_is_dropped_but_not_from_a_published_set(items):
    items[0].captions += ["A dog  runs .", "A dog runs .", "a dog runs"]
    result = cleaned(items, max_dropped=0.0)
    assert entries(result) == [("0", "caption repeats another of its picture")] * 2
    said = [text for image, text, _ in captions(result) if image == "0"]
    assert said == ["A dog runs .", "Dog number 0", "a dog runs"]
    published = clean(Reading(Items(items), "the test"), data_settings("flickr8k", "x"), 2)
    assert not published.dropped
    assert len([1 for image, *_ in captions(published) if image == "0"]) == 5


def test_an_image_without_a_usable_caption_is_dropped(items):
    items[3].captions = ["", "."]
    items[4].captions = []
    result = cleaned(items, max_dropped=0.1)
    assert ("3", "no usable captions") in entries(result)
    assert ("4", "no usable captions") in entries(result)
    assert not {"3", "4"} & {image.id for image in result.images}


def test_bad_image_files_are_dropped_with_their_captions(items):
    items[0].path.unlink()
    items[25].path.write_bytes(items[25].path.read_bytes()[:-100])
    result = cleaned(items)
    assert entries(result) == [("0", "image file missing"), ("25", CUT)]
    assert not {"0", "25"} & {image for image, _, _ in captions(result)}


def test_too_much_dropped_is_an_error_that_names_counts_reasons_and_the_setting(items):
    for item in items[:3]:
        item.path.unlink()
    message = r"3 of 40 images \(7.5%\).*data.max_dropped = 0.05.*image file missing \(3: 0, 1, 2\)"
    with pytest.raises(UserError, match=message):
        cleaned(items)
    assert len(cleaned(items, max_dropped=0.075).images) == 37
    items[5].captions += [""] * 10
    with pytest.raises(UserError, match=r"10 of 90 captions \(11.1%\).*empty caption \(10: 5\)"):
        cleaned(items, max_dropped=0.1)


def test_what_is_in_no_split_or_known_is_listed_and_not_held_against_the_data(items):
    for item in items[:10]:
        item.split = None
    known = [Dropped(f"k{i}", "captions without an image, as published", fault=False) for i in range(10)]
    result = cleaned(items, known, max_dropped=0.0)
    assert len(result.images) == 30
    assert [reason for _, reason in entries(result)] == [known[0].reason] * 10 + ["in no split"] * 10


def test_an_empty_split_is_an_error_that_counts_the_others(items):
    with pytest.raises(
        UserError, match=r"no image is left for dev \(train 20, dev 0, test 10; splits by the test\)"
    ):
        cleaned(items[:20] + items[30:])
    with pytest.raises(UserError, match="no image is left for train and dev and test"):
        cleaned([])


def test_a_file_that_is_tested_on_is_not_trained_on_under_another_name(items):
    items[7].path.write_bytes(items[33].path.read_bytes())
    items[21].path.write_bytes(items[34].path.read_bytes())
    items[8].path.write_bytes(items[9].path.read_bytes())  # a copy in training is harmless
    result = cleaned(items)
    assert entries(result) == [
        ("7", "same content as a picture in test"),
        ("21", "same content as a picture in test"),
    ]
    assert {"8", "9", "33", "34"} <= {image.id for image in result.images}


def test_the_first_of_two_images_with_one_id_is_kept(items, tmp_path):
    other = Item("5", photo(tmp_path / "5.jpeg", 99), "test", ["Another image ."])
    result = cleaned([*items, other])
    assert entries(result) == [("5 (5.jpeg)", "id of another image: the first is kept")]
    assert "Another image ." not in [text for _, text, _ in captions(result)]
