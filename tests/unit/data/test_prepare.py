"""Stage prepare from settings to tables, run as DVC runs it and in this process."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML
from small_data import REAL_FLICKR8K, ROOT, official, photo, photos, write

from captioning.core import texts
from captioning.core.errors import UserError
from captioning.core.yaml_files import read_yaml
from captioning.data import clean
from captioning.data.dataset import load_data
from stages import prepare

ODD = [
    "NA", "null", "1.0", 'He says " go , now " .', "Ein Café am Straßenrand", "an #1 'dog' \\ n", "-A dog-",
    "=1+1",
]  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Makes an empty project folder the current one; returns a function that writes its params.yaml."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")

    def configure(workers: int = 2, **changes) -> None:
        values = read_yaml(ROOT / "params.yaml")
        values["machine"] |= {"workers": workers}
        values["data"] |= {"root": None, "annotations": None} | changes
        YAML().dump(values, Path("params.yaml"))

    return configure


def pictures(root: Path, count: int = 20) -> Path:
    """Pictures 000.jpg, 001.jpg, ... and a captions.csv with two captions each: the last four are dev and
    test, the others train."""
    names = [f"{i:03d}.jpg" for i in range(count)]
    photos(root, names)
    splits = ["train"] * (count - 4) + ["dev", "dev", "test", "test"]
    rows = [f"{name},A dog runs .,{split}" for name, split in zip(names, splits, strict=True)]
    odd = ['{},"{}",{}'.format(names[i], text.replace('"', '""'), splits[i]) for i, text in enumerate(ODD)]
    write(root / "captions.csv", ["image,caption,split", *rows, *odd])
    return root


def outputs() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path("data").rglob("*")) if path.is_file()}


def run() -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.prepare"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_what_is_written_comes_back_as_it_was(project, tmp_path):
    project(source="folder", root=str(pictures(tmp_path / "pictures")))
    prepare.main()
    data = load_data()
    assert data.split("train") == [f"{i:03d}" for i in range(16)]
    assert (data.split("dev"), data.split("test")) == (["016", "017"], ["018", "019"])
    assert list(data.references("train").values())[: len(ODD)] == [["A dog runs .", text] for text in ODD]
    assert data.tokens("train")["003"] == ["a dog runs", "he says go now"]
    assert data.references("test") == {"018": ["A dog runs ."], "019": ["A dog runs ."]}
    assert all(
        Path(path).is_file() and len(sha) == 64
        for path, sha in zip(data.images["path"], data.images["sha256"], strict=True)
    )


def test_bytes_depend_neither_on_the_run_nor_on_the_number_of_workers(project, tmp_path):
    pictures(tmp_path / "pictures")
    written = []
    for workers in (1, 1, 4):
        project(source="folder", root=str(tmp_path / "pictures"), workers=workers)
        prepare.main()
        written.append(outputs())
    assert written[0] == written[1] == written[2]
    assert list(written[0]) == ["data/captions.csv", "data/images.csv", "data/statistics.json"]


def test_paths_are_relative_to_the_project_where_they_can_be(project, tmp_path):
    for root, shown in (("mine", "mine/000.jpg"), ("../theirs", str(tmp_path / "theirs" / "000.jpg"))):
        pictures(Path(root))
        project(source="folder", root=root)
        prepare.main()
        assert load_data().images["path"][0] == shown


def test_statistics_count_and_list_what_was_left_out(project, tmp_path):
    root = pictures(tmp_path / "pictures", 100)
    (root / "000.jpg").unlink()
    with open(root / "captions.csv", "a") as file:
        file.write(
            f"001.jpg,{'word ' * 1000},train\n002.jpg,\u2028,train\n003.jpg,A dog runs .,test\n../x.jpg,A "
            "dog .,\n"
        )
    project(source="folder", root=str(root))
    prepare.main()
    statistics = json.loads(Path("data/statistics.json").read_text())
    assert statistics["dropped"] == [
        {"image": "../x.jpg", "caption": "A dog .", "reason": "path leads out of data.root"},
        {"image": "003", "reason": "listed in train and test: kept in test only"},
        {"image": "000", "reason": "image file missing"},
        {"image": "001", "caption": ("word " * 40), "reason": "caption longer than data.max_words"},
        {"image": "002", "caption": "", "reason": "empty caption"},
        {"image": "003", "caption": "A dog runs .", "reason": "caption repeats another of its picture"},
    ]
    assert sum(statistics["dropped_counts"].values()) == 6
    assert statistics["splits"]["train"] == {
        "images": 94,
        "captions": 94 + 6,
        "images_by_captions": {"1": 88, "2": 6},
    }
    assert statistics["splits"]["test"] == {
        "images": 3,
        "captions": 4,
        "images_by_captions": {"1": 2, "2": 1},
    }
    assert statistics["caption_words"]["max"] == 6
    assert statistics["vocabulary"] == 16
    assert statistics["splits_from"] == "captions.csv"


def test_a_user_s_mistake_is_one_line_and_leaves_the_earlier_data(project, tmp_path):
    project(source="folder", root=str(pictures(tmp_path / "pictures")))
    done = run()
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "train: 16 images, 24 captions" in done.stdout
    before = outputs()
    project(source="flickr8k", root="nowhere")
    done = run()
    assert done.returncode == 1
    assert done.stderr.startswith("error: Flickr8k is missing: data.root = nowhere is not a folder")
    assert done.stderr.count("\n") == 1
    assert outputs() == before


def test_scenes_come_with_drawings_and_facts_and_make_way_for_another_source(project, tmp_path):
    project(source="scenes", scenes={"images": 20, "size": 32})
    prepare.main()
    data = load_data()
    assert [len(data.split(split)) for split in ("train", "dev", "test")] == [16, 2, 2]
    assert json.loads(Path("data/facts.json").read_text()).keys() == set(data.images["id"])
    assert {len(texts) for texts in data.references("train").values()} == {5}
    for path in data.images["path"]:
        assert path.startswith("data/images/")
        with Image.open(path) as image:
            assert image.size == (32, 32)
    project(source="scenes", scenes={"images": 10, "size": 32})
    prepare.main()
    assert len(list(Path("data/images").iterdir())) == 10
    project(source="folder", root=str(pictures(tmp_path / "pictures")))
    prepare.main()
    assert list(outputs()) == ["data/captions.csv", "data/images.csv", "data/statistics.json"]


@pytest.mark.parametrize("place", ["data/mine", "data/images", "data/shards"])
@pytest.mark.parametrize("source", ["folder", "scenes"])
def test_pictures_that_somebody_keeps_in_data_are_never_touched(project, place, source):
    pictures(Path(place))
    project(source=source, root=place if source == "folder" else None)
    before = outputs()
    with pytest.raises(SystemExit, match=f"error: .* {place} is not its output: move it out of data/"):
        prepare.main()
    assert outputs() == before


def test_tables_that_are_missing_or_do_not_fit_are_errors(project, tmp_path):
    with pytest.raises(UserError, match=r"data/images.csv is missing: run `dvc repro prepare` first"):
        load_data()
    project(source="folder", root=str(pictures(tmp_path / "pictures")))
    prepare.main()
    images = Path("data/images.csv").read_text()
    Path("data/images.csv").write_text(images.replace("003,", "004,", 1))
    with pytest.raises(UserError, match="do not fit together"):
        load_data()
    Path("data/images.csv").write_text(images + images.splitlines()[1] + "\n")
    with pytest.raises(UserError, match="do not fit together"):
        load_data()
    for fault in (b"a,b\n", b"\xff,b,c,d\n", b'"a,b,c,d\n'):
        Path("data/images.csv").write_bytes(images.encode() + fault)
        with pytest.raises(UserError, match=r"data/images.csv cannot be read as a table .*: run `dvc repro"):
            load_data()
    Path("data/images.csv").write_text(images.replace("sha256", "md5", 1))
    with pytest.raises(
        UserError, match=r"has columns id, path, split, md5, expected id, path, split, sha256"
    ):
        load_data()
    Path("data/images.csv").write_text(images)
    said = Path("data/captions.csv").read_text()
    Path("data/captions.csv").write_text(said + f"000,{'long ' * 40_000},{'long ' * 40_000}\n")
    assert max(map(len, load_data().captions["tokens"])) == 200_000  # csv's own limit is 131,072
    Path("data/captions.csv").write_text(said)
    with pytest.raises(ValueError, match="split 'val': expected one of train, dev, test"):
        Path("data/images.csv").write_text(images)
        load_data().split("val")


@pytest.mark.parametrize("spill", [None, 10])
def test_captions_may_come_in_any_order_and_an_image_may_have_none(tmp_path, monkeypatch, spill):
    """In memory, and in files."""
    if spill:
        monkeypatch.setattr(texts, "SPILL", spill)
    monkeypatch.setenv("CAPTIONING_WORK", str(tmp_path / "work"))
    splits = {"a": "train", "b": "dev", "c": "train", "d": "train"}
    write(
        tmp_path / "images.csv", ["id,path,split,sha256", *(f"{i},{i}.jpg,{s},0" for i, s in splits.items())]
    )
    said = [("c", "C one"), ("a", "A one"), ("a", "A two"), ("c", "C é two"), ("d", "D")]
    write(tmp_path / "captions.csv", ["image_id,caption,tokens", *(f"{i},{t},{t.lower()}" for i, t in said)])
    data = load_data(tmp_path)
    assert data.references("train") == {"a": ["A one", "A two"], "c": ["C one", "C é two"], "d": ["D"]}
    assert data.tokens("dev") == {"b": []} and data.tokens("test") == {}
    of_image = data.by_image("tokens", "train")
    assert len(of_image) == 3 and of_image[1] == ["c one", "c é two"] and of_image[1:] == list(of_image)[1:]
    assert list(data.column("path", "train")) == ["a.jpg", "c.jpg", "d.jpg"]


def test_flickr8k_in_both_layouts_gives_the_same_tables(project, tmp_path):
    captions = {f"{i:02d}.jpg": ['A dog , " wet " .', f"Dog {i} runs\u2028fast ."] for i in range(20)}
    names = list(captions)
    splits = {"train": names[:12], "dev": names[12:15], "test": names[15:18]}
    official(tmp_path / "official", captions, splits)
    rows = ['{},"{}"'.format(n, text.replace('"', '""')) for n, texts in captions.items() for text in texts]
    kaggle = tmp_path / "kaggle"
    write(kaggle / "captions.txt", ["image,caption", *rows], end="\r\n", mark="\ufeff")
    photos(kaggle / "Images", names)
    for split, listed in splits.items():
        write(kaggle / f"Flickr_8k.{split}Images.txt", listed, end="\r\n")
    tables = []
    for root in ("official", "kaggle"):
        project(source="flickr8k", root=str(tmp_path / root))
        prepare.main()
        data = load_data()
        images = [list(data.images[name]) for name in ("id", "split", "sha256")]
        tables.append((images, outputs()["data/captions.csv"], outputs()["data/statistics.json"]))
    assert tables[0] == tables[1]
    assert json.loads(tables[0][2])["dropped_counts"] == {"in no split": 2}


@pytest.mark.skipif(not REAL_FLICKR8K.is_dir(), reason=f"Flickr8k itself is not at {REAL_FLICKR8K}")
def test_flickr8k_itself_is_ready_within_a_minute(project):
    project(source="flickr8k", root=str(REAL_FLICKR8K))
    start = time.monotonic()
    prepare.main()
    assert time.monotonic() - start < 60
    statistics = json.loads(Path("data/statistics.json").read_text())
    assert statistics["dropped_counts"] == {"captions without an image, as published": 1, "in no split": 91}
    assert [counts["captions"] for counts in statistics["splits"].values()] == [30000, 5000, 5000]
    assert statistics["caption_words"]["max"] == 36


def shards(root: Path, count: int, captions: int) -> Path:
    """Tar shards of 250 samples each, with different pictures."""
    content = photo(root / "made.jpg", 0).read_bytes()
    for start in range(0, count, 250):
        with tarfile.open(root / f"{start:06d}.tar", "w") as archive:
            for i in range(start, start + 250):
                record = {"caption": [f"a dog runs after ball {n} on the beach" for n in range(captions)]}
                for ending, made in (("jpg", content + b"%d" % i), ("json", json.dumps(record).encode())):
                    member = tarfile.TarInfo(f"{i:06d}.{ending}")
                    member.size = len(made)
                    archive.addfile(member, io.BytesIO(made))
    return root


@pytest.mark.parametrize("captions", [1, 5])
def test_an_image_takes_few_bytes_of_memory(project, tmp_path, monkeypatch, captions):
    """Texts are in files. In memory are an index of ids or hashes, and places."""
    monkeypatch.setattr(texts, "SPILL", 0)
    monkeypatch.setattr(texts, "AT_ONCE", 100)
    monkeypatch.setattr(clean, "AHEAD", 100)
    peaks = []
    for count in (250, 500, 2500):  # the first run imports
        project(source="webdataset", root=str(shards(tmp_path / str(count), count, captions)))
        tracemalloc.start()
        prepare.main()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(load_data().images["id"]) == 2500
    assert (peaks[2] - peaks[1]) / 2000 < 150


def test_a_carriage_return_in_a_file_name_shifts_no_row(project):
    rows = [("x\ry", 'a "b", c'), ("\n", "z")]
    prepare.write_table(Path("table.csv"), ("a", "b"), rows)
    assert pd.read_csv("table.csv", dtype=str, keep_default_na=False).to_numpy().tolist() == [
        list(row) for row in rows
    ]


def start() -> subprocess.Popen:
    command, environment = [sys.executable, "-m", "stages.prepare"], os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def runs(process: str) -> bool:
    """Whether a process runs. False also for a zombie."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:
        return False


def test_drawing_workers_end_with_their_stage_and_a_second_stage_waits(project):
    project(source="scenes", scenes={"images": 20_000, "size": 64}, workers=2)
    first = start()
    wait_for(lambda: len(list(Path("data/images").glob("*.jpg"))) > 20)
    workers = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    assert len(workers) == 2
    second = start()
    assert (
        second.stdout.readline()
        == f"waiting: process {first.pid} is writing data (`kill {first.pid}` stops it)\n"
    )
    for process in (second, first):
        process.kill()
        process.communicate()
    wait_for(lambda: not any(map(runs, workers)))
    assert list(Path(".work/locks").glob("data-*"))
