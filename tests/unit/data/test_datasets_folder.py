"""A folder of pictures with a CSV or JSON Lines, as spreadsheets and scripts write them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import data_settings, photo, photos, write

from captioning.core.errors import UserError
from captioning.data.sources import folder
from captioning.data.sources.base import UNCAPTIONED, Reading
from captioning.data.sources.tables import read_csv


def read(
    root, lines: list[str], name: str = "captions.csv", end: str = "\n", mark: str = "", **changes
) -> Reading:
    write(root / name, lines, end, mark)
    return folder.read(data_settings("folder", root, **changes), seed=0)


def summary(reading: Reading) -> list[tuple]:
    return [(item.id, item.split, item.captions) for item in reading.items]


def dropped(reading: Reading) -> list[tuple]:
    return [(entry.image, entry.reason) for entry in reading.dropped]


EXPECTED = [
    ("beach/1", "train", ['A dog , "wet" .', "It runs ."]),
    ("2", "dev", ["Ein Café ."]),
    ("3", "test", ["A cat ."]),
]
CSV = [
    "image,caption,split",
    'beach/1.jpg,"A dog , ""wet"" .",train',
    "2.jpg,Ein Café .,val",
    "3.jpg,A cat .,test",
    "beach/1.jpg,It runs .,train",
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_of_any_system(tmp_path, end, mark):
    reading = read(tmp_path, CSV, end=end, mark=mark)
    assert summary(reading) == EXPECTED
    assert not reading.dropped


def test_csv_with_semicolons_tabs_other_column_orders_and_names(tmp_path):
    semicolons = ["image;caption;split", '2.jpg;"A dog ; wet";dev', "3.jpg;A cat , dry .;test"]
    assert summary(read(tmp_path, semicolons)) == [
        ("2", "dev", ["A dog ; wet"]),
        ("3", "test", ["A cat , dry ."]),
    ]
    tabs = ["Split\tid\tCaption\tIMAGE ", "dev\t7\tA dog , wet .\t2.jpg"]
    assert summary(read(tmp_path, tabs)) == [("2", "dev", ["A dog , wet ."])]
    other = ["file_name,text", "2.jpg,A dog , wet ."]
    assert read(tmp_path, other).items[0].captions == ["A dog , wet ."]


def test_utf_16_from_a_spreadsheet(tmp_path):
    (tmp_path / "captions.csv").write_bytes("\r\n".join(CSV).encode("utf-16"))
    assert summary(folder.read(data_settings("folder", tmp_path), 0)) == EXPECTED


@pytest.mark.parametrize("as_list", [False, True])
def test_json_lines_and_json(tmp_path, as_list):
    records = [
        {"image": "beach/1.jpg", "caption": ['A dog , "wet" .', "It runs ."], "split": "train"},
        {"image": "2.jpg", "caption": "Ein Café .", "split": "validation"},
        {"file_name": "3.jpg", "text": "A cat .", "split": "test", "width": 3},
    ]
    if as_list:
        reading = read(tmp_path, [json.dumps(records)], "captions.json", mark="\ufeff")
    else:
        reading = read(
            tmp_path, [json.dumps(record) for record in records], "captions.jsonl", end="\r\n", mark="\ufeff"
        )
    assert summary(reading) == EXPECTED
    assert not reading.dropped


def test_json_lines_with_line_separators_and_broken_records(tmp_path):
    lines = [
        '{"image": "1.jpg", "caption": "A\u2028dog\\r\\nruns"}',
        '{"image": "2.jpg", "caption": null}',
        '{"image": 3, "caption": "A dog ."}',
        '["4.jpg", "A dog ."]',
        '{"image": "5.jpg", "caption": "A dog .", "split": 7}',
        '{"image": "6.jpg", "caption": "cut off',
    ]
    reading = read(tmp_path, lines, "captions.jsonl")
    assert [(item.id, item.captions) for item in reading.items] == [("1", ["A\u2028dog\r\nruns"])]
    assert sorted(dropped(reading)) == sorted([
        ("2.jpg", "caption is not text"),
        ("line 3", "record without an image's name"),
        ("line 4", "record without an image's name"),
        ("line 5", "record without an image's name"),
        ("line 6", "line is not JSON"),
    ])  # fmt: skip


def test_paths_out_of_the_folder_nameless_rows_and_odd_rows_are_dropped(tmp_path):
    rows = [
        "../x.jpg,A dog .",
        "/etc/x.jpg,A dog .",
        "a/../../x.jpg,A dog .",
        "..\\x.jpg,A dog .",
        ",A dog .",
        "1.jpg,A dog .",
    ]
    reading = read(tmp_path, ["image,caption", *rows])
    out = "path leads out of data.root"
    assert dropped(reading) == [(row.split(",")[0], out) for row in rows[:4]] + [
        ("", "row without an image's name")
    ]
    assert [item.id for item in reading.items] == ["1"]

    three = ["image,caption,split", "1.jpg,A dog , wet .,test", "2.jpg", "3.jpg,A dog .,test"]
    reading = read(tmp_path, three)
    assert dropped(reading) == [
        (f"line {i}", "row does not have 3 columns (quote captions with commas)") for i in (2, 3)
    ]


def test_one_picture_under_several_spellings_is_one_item_and_namesakes_are_two(tmp_path):
    photos(tmp_path, ["beach/1.jpg"])
    spelled = [
        "image,caption", "beach/1.jpg,a", "./beach/1.jpg,b", "beach\\1.jpg,c", f"{tmp_path}/beach/1.jpg,d",
    ]  # fmt: skip
    assert [(item.id, item.captions) for item in read(tmp_path, spelled).items] == [
        ("beach/1", ["a", "b", "c", "d"])
    ]
    namesakes = ["image,caption", "a/1.jpg,x", "b/1.jpg,x", "2.jpg,x", "2.png,x", "3.v1.jpg,x"]
    ids = ["a/1", "b/1", "2.jpg", "2.png", "3.v1"]
    assert [item.id for item in read(tmp_path, namesakes).items] == ids
    assert [item.id for item in read(tmp_path, namesakes[:1] + namesakes[:0:-1]).items] == ids[::-1]
    tricky = ["image,caption", "2.jpg,x", "2.png,x", "2.png.jpg,x"]
    assert [item.id for item in read(tmp_path, tricky).items] == ["2.jpg", "2.png", "2.png.jpg"]


def test_a_picture_in_two_splits_keeps_the_strictest_and_one_without_a_split_is_in_none(tmp_path):
    rows = ["1.jpg,a,train", "1.jpg,b,test", "2.jpg,a,dev", "2.jpg,b,", "3.jpg,a,"]
    reading = read(tmp_path, ["image,caption,split", *rows])
    assert summary(reading) == [("1", "test", ["a", "b"]), ("2", "dev", ["a", "b"]), ("3", None, ["a"])]
    assert dropped(reading) == [("1", "listed in train and test: kept in test only")]
    with pytest.raises(
        UserError, match=r"captions.csv, image 1.jpg: split is 'tset', expected train, dev or test"
    ):
        read(tmp_path, ["image,caption,split", "1.jpg,a,tset"])


def test_without_splits_they_are_drawn_and_a_new_picture_moves_no_other(tmp_path):
    rows = [f"{i}.jpg,A dog ." for i in range(400)]
    first = {item.id: item.split for item in read(tmp_path, ["image,caption", *rows]).items}
    counts = [list(first.values()).count(split) for split in ("train", "dev", "test")]
    assert sum(counts) == 400
    assert all(20 < count < 60 for count in counts[1:])
    more = read(tmp_path, ["image,caption,split", *(f"{row}," for row in rows[::-1]), "new.jpg,A cat .,"])
    assert {item.id: item.split for item in more.items if item.id != "new"} == first


@settings(deadline=None)
@given(st.integers(3, 40), st.integers(0, 99), st.floats(0.01, 0.4), st.floats(0.01, 0.4))
def test_every_split_gets_an_image_where_there_are_three(count, seed, dev_share, test_share):
    ids = list(map(str, range(count)))
    assert set(folder.draw_splits(ids, seed, dev_share, test_share)) == {0, 1, 2}
    assert set(folder.draw_splits(ids, seed, 0.0, 0.0)) == {0}


def test_a_header_is_needed_and_a_near_miss_is_named(tmp_path):
    with pytest.raises(
        UserError, match=r"the first line must name image and caption; it names '1.jpg', 'A dog .'"
    ):
        read(tmp_path, ["1.jpg,A dog ."])
    with pytest.raises(UserError, match=r"it names 'image', 'captoin' \(rename 'captoin'\?\)"):
        read(tmp_path, ["image,captoin", "1.jpg,A dog ."])
    with pytest.raises(UserError, match=r"it names nothing \(the file is empty\)"):
        read(tmp_path, [])
    with pytest.raises(UserError, match="a column is named twice in image, caption, caption"):
        read(tmp_path, ["image,caption,caption", "1.jpg,a,b"])
    with pytest.raises(UserError, match="has no captions"):
        read(tmp_path, ["image,caption"])


def test_an_unclosed_quote_is_an_error_whatever_the_column_order(tmp_path):
    with pytest.raises(UserError, match="is opened and not closed"):
        read(tmp_path, ["caption,image", '"A dog,1.jpg', "A cat,2.jpg", "A bird,3.jpg"])


def test_what_to_set_is_said(tmp_path):
    with pytest.raises(UserError, match=r"needs data.root .* and data.annotations"):
        folder.read(data_settings("folder", None), 0)
    with pytest.raises(UserError, match=r"no captions in data.root = .*captions.csv.*; set data.annotations"):
        folder.read(data_settings("folder", tmp_path), 0)
    with pytest.raises(
        UserError, match=r"data.annotations = no.csv is not a file \(looked at /.*no.csv and /.*no.csv\)"
    ):
        folder.read(data_settings("folder", tmp_path, annotations="no.csv"), 0)
    file = write(tmp_path / "captions.csv", CSV)
    with pytest.raises(UserError, match=r"data.root = nowhere is not a folder .*correct it in params.yaml"):
        folder.read(data_settings("folder", "nowhere", annotations=str(file)), 0)
    for root, named in ((None, file), (tmp_path, "captions.csv"), (tmp_path, file)):
        assert summary(folder.read(data_settings("folder", root, annotations=str(named)), 0)) == EXPECTED


def test_pictures_without_a_caption_are_mentioned(tmp_path):
    photos(tmp_path, ["1.jpg", "2.jpg", "3.jpg"])
    photos(tmp_path / "beach", ["4.jpg", "5.jpg"])
    reading = read(tmp_path, ["image,caption", "1.jpg,A dog .", "beach/4.jpg,A cat ."])
    assert dropped(reading) == [(name, UNCAPTIONED) for name in ("2.jpg", "3.jpg", "beach/5.jpg")]
    assert not any(entry.fault for entry in reading.dropped)
    assert reading.notes == [
        f"2 pictures named in {tmp_path}/captions.csv, looked for in {tmp_path}/; "
        "splits by a hash of the ids, seed 0"
    ]


def test_a_name_with_another_ending_than_its_file_gets_a_hint(tmp_path):
    for name in ("IMG 1.JPG", "2.png", "3.jpg"):
        photo(tmp_path / name, 1)
    reading = read(tmp_path, ["image,caption,split", "IMG 1.jpg,a,test", "2,b,test", "3.jpg,c,", "4.jpg,d,"])
    hint = "no such file, but there is one that ends in"
    assert dropped(reading) == [("IMG 1.jpg", f"{hint} .JPG"), ("2", f"{hint} .png")]
    assert [item.id for item in reading.items] == ["3", "4"]


cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\0"), max_size=30)


@settings(deadline=None)
@given(st.lists(st.tuples(st.just("x.jpg"), cells), min_size=1, max_size=5))
def test_any_caption_that_a_csv_writer_quotes_comes_back(tmp_path_factory, rows):
    lines = ["image,caption"] + ['{},"{}"'.format(name, text.replace('"', '""')) for name, text in rows]
    found, dropped = read_csv(write(tmp_path_factory.getbasetemp() / "any.csv", lines), ("image", "caption"))
    assert [(row["image"], row["caption"]) for row in found] == rows
    assert not dropped


rows = st.text(st.sampled_from('image,caption;\t."\r\n\u2028jpgé/\0{}[]:7'), max_size=80)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["image", "caption", "split", "text"]), inner)
    ),
)


@settings(deadline=None)
@given(
    rows | rows.map("image,caption\n".__add__) | st.lists(json_values.map(json.dumps)).map("\n".join),
    st.binary(max_size=3),
)
def test_whatever_a_file_holds_it_is_read_or_refused_in_words(tmp_path_factory, text, tail):
    root = tmp_path_factory.getbasetemp() / "any"
    root.mkdir(exist_ok=True)
    for name in ("any.csv", "any.jsonl"):
        (root / name).write_bytes(text.encode() + tail)
        try:
            reading = folder.read(data_settings("folder", root, annotations=str(root / name)), seed=0)
        except UserError as error:
            assert "any" in str(error)
        else:
            assert len({item.id for item in reading.items}) == len(reading.items)


def test_names_with_blanks_at_their_ends_are_found_as_they_are(tmp_path):
    photos(tmp_path, [" lead.jpg", "plain.jpg"])
    reading = read(tmp_path, ["image,caption", " lead.jpg,a dog", " plain.jpg ,a cat"])
    assert [item.path.name for item in reading.items] == [" lead.jpg", "plain.jpg"]
