"""Flickr8k in both layouts, with the usual irregularities of its files."""

from __future__ import annotations

import random

import pytest
from small_data import REAL_FLICKR8K, data_settings, official, photos, write

from captioning.core.errors import UserError
from captioning.data.sources import flickr8k
from captioning.data.sources.base import Reading

NAMES = [f"{1000 + i}_{i:02x}.jpg" for i in range(10)]
CAPTIONS = {name: [f"A dog runs {i} .", f'He says " go , {i} "'] for i, name in enumerate(NAMES)}
# No split has the last one.
SPLITS = {"train": NAMES[5:0:-1], "dev": [NAMES[0], NAMES[6]], "test": NAMES[7:9]}
GHOST = "2258277193_586949ec62.jpg.1"


def read(root, **changes) -> Reading:
    return flickr8k.read(data_settings("flickr8k", root, **changes), seed=0)


def in_split(reading: Reading, split: str | None) -> list[str]:
    return [item.path.name for item in reading.items if item.split == split]


def dropped(reading: Reading) -> list[tuple[str, str]]:
    return [(entry.image, entry.reason) for entry in reading.dropped]


def kaggle(root, rows: list[str], end: str = "\n", mark: str = "", names=NAMES):
    write(root / "captions.txt", ["image,caption", *rows], end, mark)
    photos(root / "Images", names)
    return root


def rows_of(captions: dict[str, list[str]]) -> list[str]:
    """Rows as Kaggle writes them: a caption with commas or quotes is quoted, its quotes doubled."""
    quoted = '"{}"'.format
    return [
        f"{name},{quoted(text.replace(chr(34), chr(34) * 2)) if ',' in text else text}"
        for name, texts in captions.items()
        for text in texts
    ]


def test_official_layout(tmp_path):
    official(tmp_path, CAPTIONS | {GHOST: ["people waiting"]}, SPLITS)
    reading = read(tmp_path, annotations="mine.csv")
    assert reading.notes[1].startswith("data.annotations = mine.csv is not used")
    assert {split: in_split(reading, split) for split in SPLITS} == SPLITS
    assert in_split(reading, None) == NAMES[9:]
    assert {item.path.name: item.captions for item in reading.items} == CAPTIONS
    assert reading.items[0].id == "1005_05"
    assert [(entry.image, entry.reason, entry.fault) for entry in reading.dropped] == [
        (GHOST, "captions without an image, as published", False)
    ]


def test_windows_line_ends_and_byte_order_marks_change_nothing(tmp_path):
    official(tmp_path / "unix", CAPTIONS, SPLITS)
    official(tmp_path / "windows", CAPTIONS, SPLITS, end="\r\n")
    for file in (tmp_path / "windows" / "Flickr8k_text").iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    unix, windows = read(tmp_path / "unix"), read(tmp_path / "windows")
    assert [(i.id, i.split, i.captions) for i in unix.items] == [
        (i.id, i.split, i.captions) for i in windows.items
    ]
    assert not windows.dropped


def test_line_separators_inside_a_caption_do_not_end_it(tmp_path):
    odd = {NAMES[0]: ["A dog\u2028runs\x85here .", "A dog\rruns ."], NAMES[1]: ["Ein Hund läuft über 草地 ."]}
    official(tmp_path, CAPTIONS | odd, SPLITS)
    found = {item.path.name: item.captions for item in read(tmp_path).items}
    assert found[NAMES[0]] == ["A dog\u2028runs\x85here .", "A dog runs ."]
    assert found[NAMES[1]] == odd[NAMES[1]]
    assert found[NAMES[2]] == CAPTIONS[NAMES[2]]


def test_lines_that_are_no_captions_and_repeated_ones_are_listed(tmp_path):
    official(tmp_path, CAPTIONS, SPLITS)
    file = tmp_path / "Flickr8k_text" / "Flickr8k.token.txt"
    extra = [f"{NAMES[0]}#0\tA dog runs again .", "", "no tab here", "\tno name", f"{NAMES[1]}#9\t"]
    file.write_text(file.read_text() + "\n".join(extra))
    reading = read(tmp_path)
    assert dropped(reading) == [
        ("1000_00", "caption number given twice"),
        ("line 23", "line is not `name#number<tab>caption`"),
        ("line 24", "line is not `name#number<tab>caption`"),
    ]
    assert {item.path.name: item.captions for item in reading.items} == CAPTIONS | {
        NAMES[1]: [*CAPTIONS[NAMES[1]], ""]
    }


def test_an_image_in_two_split_files_is_kept_out_of_the_laxer_one(tmp_path):
    splits = {
        "train": [*SPLITS["train"], NAMES[7], NAMES[6]],
        "dev": [*SPLITS["dev"], NAMES[8]],
        "test": SPLITS["test"],
    }
    official(tmp_path, CAPTIONS, splits)
    reading = read(tmp_path)
    assert {split: in_split(reading, split) for split in SPLITS} == {
        "train": SPLITS["train"],
        "dev": [NAMES[6], NAMES[0]],
        "test": [NAMES[7], NAMES[8]],
    }
    assert dropped(reading) == [
        ("1007_07", "listed in train and test: kept in test only"),
        ("1006_06", "listed in train and dev: kept in dev only"),
        ("1008_08", "listed in dev and test: kept in test only"),
    ]
    assert not any(entry.fault for entry in reading.dropped)


def test_an_image_of_a_split_file_without_captions_is_listed(tmp_path):
    official(tmp_path, {name: CAPTIONS[name] for name in NAMES[1:]}, SPLITS)
    assert dropped(read(tmp_path)) == [("1000_00", "in a split file but without captions")]


def test_kaggle_layout_has_the_same_captions_and_takes_official_splits_from_beside_it(tmp_path):
    kaggle(tmp_path, rows_of(CAPTIONS), end="\r\n", mark="\ufeff")
    for folder in (tmp_path, tmp_path / "Flickr8k_text"):
        for split, names in SPLITS.items():
            write(folder / f"Flickr_8k.{split}Images.txt", names)
        reading = read(tmp_path)
        assert {item.path.name: item.captions for item in reading.items} == CAPTIONS
        assert {split: in_split(reading, split) for split in SPLITS} == SPLITS
        for split in SPLITS:
            (folder / f"Flickr_8k.{split}Images.txt").unlink()
    assert not reading.dropped


def test_kaggle_captions_with_bare_commas_and_line_breaks_stay_whole(tmp_path):
    rows = [
        f"{NAMES[0]},A dog , a cat , and a bird .",
        f'{NAMES[1]},"Two\r\nlines"',
        f"{NAMES[2]},a\rb\u2028c",
        f"{NAMES[3]},",
        "no comma",
    ]
    reading = read(kaggle(tmp_path, rows))
    assert [item.captions for item in reading.items] == [
        ["A dog , a cat , and a bird ."],
        ["Two\nlines"],
        ["a b\u2028c"],
        [""],
    ]
    assert dropped(reading) == [("line 7", "row does not have 2 columns (quote captions with commas)")]


def test_an_unclosed_quote_is_an_error_and_not_one_caption_of_many_rows(tmp_path):
    rows = [f'{NAMES[0]},"A dog runs .', *rows_of(CAPTIONS)]
    with pytest.raises(
        UserError, match=r"captions.txt: a quote .* is opened and not closed, near 'A dog runs"
    ):
        read(kaggle(tmp_path, rows))


def test_without_split_files_splits_are_drawn_by_the_seed_whatever_the_order(tmp_path):
    names = [f"{i}.jpg" for i in range(80)]
    rows = [f"{name},A dog ." for name in names]
    first = read(kaggle(tmp_path / "a", rows, names=names))
    assert [len(in_split(first, split)) for split in ("train", "dev", "test", None)] == [60, 10, 10, 0]
    random.Random(0).shuffle(rows)
    again = read(kaggle(tmp_path / "b", rows, names=names))
    assert {item.id: item.split for item in first.items} == {item.id: item.split for item in again.items}
    other = flickr8k.read(data_settings("flickr8k", tmp_path / "a"), seed=1)
    assert {item.id: item.split for item in first.items} != {item.id: item.split for item in other.items}
    assert "scores do not compare" in first.notes[1]


def test_a_name_that_leads_out_of_the_image_folder_is_dropped(tmp_path):
    photos(tmp_path, ["secret.jpg"])
    reading = read(kaggle(tmp_path / "flickr", [*rows_of(CAPTIONS), "../../secret.jpg,A secret ."]))
    assert dropped(reading) == [("../../secret.jpg", "path leads out of the image folder")]
    assert len(reading.items) == 10


def test_what_is_missing_is_named_with_the_places_looked_at_and_the_setting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError,
        match=r"null and downloads/flickr8k is not a folder \(looked at .*set data.root",
    ):
        read(None)
    with pytest.raises(UserError, match=r"data.root = nowhere is not a folder \(looked at /.*nowhere\)"):
        read("nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no images of Flickr8k in .*Flicker8k_Dataset.*Images"):
        read("empty")
    photos(tmp_path / "empty" / "Images", NAMES)
    with pytest.raises(UserError, match=r"no captions of Flickr8k in .*Flickr8k.token.txt and captions.txt"):
        read("empty")


def test_a_missing_split_file_among_three_is_an_error(tmp_path):
    official(tmp_path, CAPTIONS, SPLITS)
    (tmp_path / "Flickr8k_text" / "Flickr_8k.devImages.txt").unlink()
    with pytest.raises(
        UserError, match=r"has some split files of Flickr8k but not Flickr_8k\.devImages\.txt"
    ):
        read(tmp_path)


def test_a_captions_file_in_another_encoding_is_an_error_that_names_the_line(tmp_path):
    kaggle(tmp_path, rows_of(CAPTIONS))
    file = tmp_path / "captions.txt"
    file.write_bytes(file.read_bytes().replace(b"dog runs 1 .", "dog läuft 1 .".encode("cp1252")))
    with pytest.raises(UserError, match=r"captions.txt, line 4: not UTF-8 text; save the file as UTF-8"):
        read(tmp_path)


@pytest.mark.skipif(not REAL_FLICKR8K.is_dir(), reason=f"Flickr8k itself is not at {REAL_FLICKR8K}")
def test_the_real_thing_has_the_published_counts_in_both_layouts(tmp_path):
    reading = read(REAL_FLICKR8K)
    assert [len(in_split(reading, split)) for split in ("train", "dev", "test", None)] == [
        6000, 1000, 1000, 91,
    ]  # fmt: skip
    assert dropped(reading) == [(GHOST, "captions without an image, as published")]
    assert {len(item.captions) for item in reading.items} == {5}

    (tmp_path / "Images").symlink_to(REAL_FLICKR8K / "Flicker8k_Dataset")
    (tmp_path / "captions.txt").symlink_to(REAL_FLICKR8K / "captions.txt")
    other = read(tmp_path)
    assert [len(in_split(other, split)) for split in ("train", "dev", "test", None)] == [6000, 1000, 1000, 91]
    assert {item.id: sorted(item.captions) for item in other.items} == {
        item.id: sorted(item.captions) for item in reading.items
    }
