"""Tar shards in img2dataset's layout, with their usual faults."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from small_data import data_settings, photo

from captioning.core.errors import UserError
from captioning.data.clean import clean
from captioning.data.needed import located
from captioning.data.sources import webdataset
from captioning.data.sources.base import UNCAPTIONED
from stages import prepare

TRUE_PICTURES = 40


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def picture(number: int) -> bytes:
    return photo(Path("made.jpg"), number).read_bytes()


def sample(number: int, **other: bytes) -> list[tuple[str, bytes]]:
    """One sample as img2dataset writes it: picture, caption, and a record of its origin."""
    key, caption = f"{number:09d}", f"a dog runs after ball {number}"
    record = {
        "caption": caption, "url": "http://x/1.jpg", "key": key, "status": "success", "error_message": None,
    }  # fmt: skip
    members = {"jpg": picture(number), "txt": caption.encode(), "json": json.dumps(record).encode()} | other
    return [(f"{key}.{ending}", content) for ending, content in members.items() if content is not None]


def read(root: str | Path = "shards"):
    return webdataset.read(data_settings("webdataset", root), seed=0)


def test_shards_become_pictures_with_captions_and_splits():
    for number in range(2):
        shard(
            Path(f"shards/{number:05d}.tar"),
            [m for i in range(TRUE_PICTURES // 2) for m in sample(number * 100 + i)],
        )
    reading = read()
    assert reading.dropped == [] and len(reading.items) == TRUE_PICTURES
    first = reading.items[0]
    assert (first.id, first.captions) == ("000000000", ["a dog runs after ball 0"])
    assert first.path == Path("data/shards/00000/000000000.jpg") and first.path.read_bytes() == picture(0)
    assert {item.split for item in reading.items} == {"train", "dev", "test"}
    cleaned = clean(reading, data_settings("webdataset", "shards"), 1)
    assert len(cleaned.images) == TRUE_PICTURES and not cleaned.dropped
    assert located(data_settings("webdataset", "shards")) == {"data.root": Path("shards")}


def test_folders_named_by_splits_decide_them():
    for split, number in (("train", 1), ("val", 2), ("test", 3)):
        shard(Path(f"shards/{split}/00000.tar"), sample(number))
    assert {item.id: item.split for item in read().items} == {
        "000000003": "test",
        "000000001": "train",
        "000000002": "dev",
    }
    shard(Path("shards/test/00000.tar"), sample(1))
    assert {item.id for item in read().items} == {
        "test/00000/000000001",
        "train/00000/000000001",
        "val/00000/000000002",
    }


def test_each_wart_costs_its_sample_alone_and_is_counted():
    members = [
        *(member for i in range(20, 60) for member in sample(i)),
        *sample(1, jpg=None),
        *sample(2, txt=None),  # the caption is in its JSON
        *sample(3, txt=None, json=b'{"url": "x"}'),
        *sample(4, txt=b"  "),
        *sample(5, json=b"{"),
        *sample(6, txt=None, json=b'["a"]'),
        *sample(7),
        *sample(7, jpg=picture(8)),
        *sample(9, jpg=b"no picture"),
        ("../../out.jpg", picture(10)),
        ("sub/000000011.png", picture(11)),
        ("sub/000000011.txt", b"a boat"),
        ("000000012.txt", "\ufeffa caf\u00e9".encode()),
        ("000000012.webp", picture(12)),
        *sample(13, txt=b"['a dog', 'a ball']", json=b'{"caption": ["a dog", null, "a ball"]}'),
        *sample(14, txt=b"", json=b'{"caption": null}'),
        ("000000015.TIFF", picture(15)),
        ("000000015.txt", b"a kite"),
    ]
    shard(Path("shards/00000.tar"), members)
    reading = read()
    captions = {item.id: item.captions for item in reading.items}
    assert captions["000000002"] == ["a dog runs after ball 2"] and captions["sub/000000011"] == ["a boat"]
    assert captions.keys().isdisjoint(("000000003", "000000006"))
    assert captions["000000004"] == ["a dog runs after ball 4"]
    assert captions["000000013"] == ["a dog", "a ball"] and captions["000000014"] == [""]
    assert captions["000000012"] == ["a caf\u00e9"] and captions["000000015"] == ["a kite"]
    assert Path("data/shards/00000/000000007.jpg").read_bytes() == picture(7)
    assert {(one.image.removeprefix("00000/"), one.reason.partition(":")[0]) for one in reading.dropped} == {
        ("000000001", "no picture in the shard"),
        ("000000003", UNCAPTIONED),
        ("000000006", UNCAPTIONED),
        ("000000005", "JSON of a sample cannot be read"),
        ("000000007", "key occurs twice in a shard"),
        ("../../out", "path leads out of its shard"),
        ("../../out", "no picture in the shard"),
    }
    assert not list(Path("..").glob("out.*")) and not list(Path().glob("out.*"))
    dropped = clean(reading, data_settings("webdataset", "shards", max_dropped=0.9), 1).dropped
    reasons = {(one.image, one.reason) for one in dropped}
    assert {("000000014", "no usable captions"), ("000000014", "empty caption")} <= reasons
    assert not any(one.fault for one in dropped if one.reason == UNCAPTIONED)
    assert any(image == "000000009" for image, _ in reasons)


def test_a_shard_that_is_cut_anywhere_gives_what_is_whole():
    whole = shard(Path("shards/00000.tar"), [m for i in range(6) for m in sample(i)]).read_bytes()
    used = len(whole.rstrip(b"\0"))
    for end in (*range(600, used, 777), used - 1024, used // 512 * 512):
        Path("shards/00000.tar").write_bytes(whole[:end])
        reading = read()
        assert [one.reason for one in reading.dropped if "cut short" in one.reason], end
        for item in reading.items:
            assert item.path.read_bytes() == picture(int(item.id[-9:]))
    Path("shards/00000.tar").write_bytes(b"")
    assert [one.image for one in read().dropped] == ["00000.tar"]


def test_what_img2dataset_could_not_get_is_said():
    """Its shards hold what was downloaded, in the order of downloading; one without any is all zeros."""
    shard(Path("shards/00000.tar"), [*sample(2), *sample(0), *sample(1)])
    for number in (1, 2):
        shard(Path(f"shards/{number:05d}.tar"), [])
    for number, stats in enumerate(('{"count": 4, "successes": 3}', '{"count": 2, "successes": 0}', "{")):
        Path(f"shards/{number:05d}_stats.json").write_text(stats)
        Path(f"shards/{number:05d}.parquet").write_bytes(b"PAR1")
    reading = read()
    assert [item.id for item in reading.items] == ["000000000", "000000001", "000000002"]
    assert reading.dropped == [] and reading.notes[1:] == ["img2dataset could not get 3 of 6 pictures"]
    Path("shards/00001.tar").unlink()
    with pytest.raises(UserError, match=r"shards/00001_stats\.json is there, but its shard is missing"):
        read()


def test_a_kill_while_pictures_are_unpacked_or_removed_leaves_no_folder_that_is_refused(monkeypatch):
    class Kill(BaseException):
        pass

    def killed(*_, **__) -> None:
        raise Kill

    shard(Path("shards/00000.tar"), [m for i in range(3) for m in sample(i)])
    for module, function in ((shutil, "rmtree"), (Path, "mkdir"), (webdataset, "_read_shard")):
        with monkeypatch.context() as patched, pytest.raises(Kill):
            patched.setattr(module, function, killed)
            read()
        prepare.refuse_foreign_files()
        read()
    for removed in sorted(Path("data/shards").rglob("*"), reverse=True):
        removed.rmdir() if removed.is_dir() else removed.unlink()
        prepare.refuse_foreign_files()
    prepare.remove_shards()
    assert not list(Path("data").iterdir())
    Path("data/shards").mkdir()
    with pytest.raises(UserError, match="data/shards is not its output"):
        prepare.refuse_foreign_files()


def test_what_to_set_is_said():
    for root, said in (
        (None, "needs data.root"),
        ("nowhere", "is not a folder .*correct it in params.yaml"),
        (".", "no shards in data.root"),
    ):
        with pytest.raises(UserError, match=said):
            read(root) if root else webdataset.locate(None)
