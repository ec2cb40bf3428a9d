"""What a worker of a cluster does with a range of images, and what the row store makes of its shards. Ray is
not needed: an actor is a plain object too."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.core.errors import UserError
from captioning.features.cluster import RANGE, Identity, Worker, connected, differences, split
from captioning.features.encoders import load_vgg16, save_vgg16
from captioning.features.extract import Written, extract, fill_and_write, write_features
from captioning.features.images import vgg16_preprocess
from captioning.features.rows import Entry, RowStore, write_shard
from models import vgg16

BATCH = 4
ATTRS = {"encoder": "a test", "weights": "1234", "precision": "float32"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def row(key: str) -> np.ndarray:
    """The features of an image with this hash."""
    return np.random.default_rng(int(key[:8], 16)).normal(size=6).astype(np.float16)


class Images:
    """A list of made-up images, whose rows a number of workers write in ranges of ten."""

    def __init__(self, count: int = 30) -> None:
        self.ids, self.sha256s, self.computed = (
            [f"image {i}" for i in range(count)],
            [sha(i) for i in range(count)],
            [],
        )

    def fill(self, rows: RowStore, needed: list[int]) -> None:
        self.computed = needed
        for start in range(0, len(needed), 10):
            keys = [self.sha256s[i] for i in needed[start : start + 10]]
            rows.adopt(write_shard(rows.folder, keys, (np.stack([row(key)]) for key in keys)))

    def write(self, path: Path) -> bytes:
        fill_and_write(path, self.ids, self.sha256s, ATTRS, "code", self.fill)
        return path.read_bytes()


def manifest() -> Path:
    return RowStore(ATTRS, "code").folder / "manifest.jsonl"


def entries() -> list[dict]:
    return [json.loads(line) for line in manifest().read_text().splitlines()]


def rewrite(lines: list[dict]) -> None:
    manifest().write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_shards_of_workers_make_the_bytes_of_one_process(tmp_path, monkeypatch):
    images = Images()
    shards = images.write(tmp_path / "f.h5")
    assert [entry["rows"] for entry in entries()] == [10, 10, 10]
    for entry in entries():
        content = (manifest().parent / entry["shard"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    monkeypatch.setenv("CAPTIONING_WORK", str(tmp_path / "other"))
    compute = lambda needed: (np.stack([row(images.sha256s[i])]) for i in needed)  # noqa: E731
    assert write_features(tmp_path / "f.h5", images.ids, images.sha256s, ATTRS, "code", compute) == Written(
        0, 30
    )
    assert (tmp_path / "f.h5").read_bytes() == shards


@pytest.mark.parametrize("harm", ["taken away", "bytes", "count", "hash", "cut short"])
def test_rows_of_a_shard_that_does_not_fit_the_manifest_are_computed_anew(tmp_path, capsys, harm):
    images = Images()
    whole = images.write(tmp_path / "f.h5")
    lines = entries()
    shard = manifest().parent / lines[1]["shard"]
    content = bytearray(shard.read_bytes())
    if harm == "taken away":
        shard.unlink()
    elif harm == "bytes":
        content[-3] ^= 1
        shard.write_bytes(content)
    elif harm == "cut short":
        shard.write_bytes(content[:-80])
    elif harm == "count":
        rewrite([*lines[:1], lines[1] | {"rows": 9}, lines[2]])
    else:
        rewrite([*lines[:1], lines[1] | {"sha256": "0" * 64}, lines[2]])
    assert images.write(tmp_path / "f.h5") == whole and images.computed == list(range(10, 20))
    said = {"taken away": "is missing: its 10", "count": "has 10 rows, not 9: its 9"}.get(
        harm, "is damaged: its 10"
    )
    assert f"{shard.name} {said} rows are computed again" in capsys.readouterr().out
    images.computed = []
    assert images.write(tmp_path / "f.h5") == whole and not images.computed
    assert "anew" not in capsys.readouterr().out and sorted(entries(), key=str) == sorted(lines, key=str)


def test_a_complete_shard_of_a_dead_driver_is_kept_and_an_unfinished_one_removed(tmp_path):
    images = Images()
    whole = images.write(tmp_path / "f.h5")
    rewrite(entries()[:2])  # killed before it listed the third
    unfinished = manifest().parent / "0123.tmp"
    unfinished.write_bytes(b"half")
    images.computed = []
    assert images.write(tmp_path / "f.h5") == whole
    assert not images.computed and len(entries()) == 3 and not unfinished.exists()


def test_what_a_dead_worker_left_is_removed_when_the_store_is_whole(tmp_path):
    rows = RowStore(ATTRS, "code")
    unfinished = rows.folder / "0123.tmp"
    with pytest.raises(UserError), rows.writing():
        unfinished.write_bytes(b"half")
        raise UserError("an image is bad")
    assert unfinished.exists()  # other workers may be writing still
    with rows.writing():
        assert not unfinished.exists()
        unfinished.write_bytes(b"half")
    assert not unfinished.exists()


def test_a_shard_that_is_not_as_its_worker_says_is_refused(tmp_path):
    rows = RowStore(ATTRS, "code")
    with rows.writing():
        entry = write_shard(rows.folder, [sha(1), sha(2)], [np.stack([row(sha(1)), row(sha(2))])])
        for wrong, fault in [
            (Entry("0123.rows", 2, entry.sha256), "0123.rows is missing"),
            (entry._replace(rows=3), "has 2 rows, not 3"),
            (entry._replace(sha256="0" * 64), "is damaged"),
        ]:
            with pytest.raises(
                UserError, match=f"{fault}, although a worker .* that all machines of the cluster share"
            ):
                rows.adopt(wrong)
        assert rows.missing([sha(1)]) == [0]
        other = write_shard(rows.folder, [sha(3)], [np.zeros((1, 7), np.float16)])
        rows.adopt(entry)
        assert np.array_equal(rows.read([sha(2)])[0], row(sha(2)))
        with pytest.raises(ValueError, match="rows of shape"):
            rows.adopt(other)


def test_a_worker_that_fails_leaves_no_file(tmp_path):
    def batches():
        yield np.zeros((1, 6), np.float16)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_shard(tmp_path, [sha(1), sha(2)], batches())
    assert write_shard(tmp_path, [sha(1)], []) is None and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("count", "slots"), [(1, 8), (30, 2), (1000, 3), (100_000, 2)])
def test_ranges_are_whole_batches_and_cover_all_images(count, slots):
    ranges = list(split(range(5, 5 + count), slots, 8))
    assert [i for images in ranges for i in images] == list(range(5, 5 + count))
    assert all(len(images) % 8 == 0 for images in ranges[:-1]) and max(map(len, ranges)) <= RANGE
    assert len(ranges) >= min(slots, -(-count // 8))


@pytest.fixture
def worker(tmp_path) -> Worker:
    """A worker with a small VGG16, in a project with ten pictures."""
    torch.manual_seed(0)
    save_vgg16("checkpoint", vgg16.VGG16(vgg16.VGG16Config(32, 0.05, True, 3)), vgg16_preprocess(32))
    rng = np.random.default_rng(0)
    for i in range(10):
        Image.fromarray(rng.integers(256, size=(40, 50, 3), dtype=np.uint8)).save(f"{i}.png")
    return Worker(str(tmp_path), lambda: load_vgg16("checkpoint"), BATCH, 1)


def pictures() -> tuple[list[str], list[str], list[str]]:
    """Ids, paths and hashes."""
    paths = [f"{i}.png" for i in range(10)]
    return (
        [path[:1] for path in paths],
        paths,
        [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths],
    )


def test_a_worker_computes_the_rows_that_one_process_does(worker, tmp_path, monkeypatch):
    ids, paths, sha256s = pictures()
    extract(tmp_path / "f.h5", worker.encoder, ids, paths, sha256s, BATCH, 1)
    alone = (tmp_path / "f.h5").read_bytes()
    monkeypatch.setenv("CAPTIONING_WORK", str(tmp_path / "other"))
    identity, results = worker.identity(), []

    def fill(rows: RowStore, needed: list[int]) -> None:
        for images in (needed[7:], needed[:7]):  # in any order
            lists = ([column[i] for i in images] for column in (ids, paths, sha256s))
            results.append(worker.encode(identity, str(rows.folder.absolute()), *lists))
            rows.adopt(results[-1].entry)

    fill_and_write(tmp_path / "f.h5", ids, sha256s, *identity, fill)
    assert (tmp_path / "f.h5").read_bytes() == alone
    assert [result.entry.rows for result in results] == [3, 7] and all(
        result.seconds > 0 for result in results
    )


def test_a_worker_keeps_the_rows_before_an_unusable_image(worker, tmp_path):
    Path("6.png").write_bytes(b"no picture")
    result = worker.encode(worker.identity(), str(tmp_path), *pictures())
    assert result.entry.rows == 6 and result.fault[0].startswith("6.png is not an image")
    Path("0.png").unlink()
    ids, paths, sha256s = ["0"], ["0.png"], ["0" * 64]
    result = worker.encode(worker.identity(), str(tmp_path), ids, paths, sha256s)
    assert result.entry is None and result.fault == ("0.png does not exist", "image file missing")


def test_a_worker_elsewhere_is_refused(worker, tmp_path):
    attributes, code = worker.identity()
    on_gpu = Identity(attributes | {"device": "cuda", "decoding": "on the GPU"}, code)
    fault = r"different features \(decoding 'on the GPU' and None, device 'cuda' and 'cpu'\): all machines"
    with pytest.raises(UserError, match=fault):
        worker.encode(on_gpu, str(tmp_path), [], [], [])
    assert (
        differences(Identity(attributes, code), Identity(attributes, "x"))
        == "the code that computes features"
    )
    with pytest.raises(UserError, match=r"does not see .*absent: all machines must share it"):
        worker.encode(worker.identity(), str(tmp_path / "absent"), [], [], [])
    with pytest.raises(
        UserError, match=r"cannot enter /absent \(No such file or directory\): all machines must share"
    ):
        Worker("/absent", worker.load, BATCH, 1).identity()


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(UserError, match=r"^machine.ray = 'auto' needs Ray: .*requirements-ray.txt`"),
        connected("auto"),
    ):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense:none"])
def test_where_no_cluster_answers_it_is_said_at_once(address):
    pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")
    start = time.monotonic()
    with (
        pytest.raises(UserError, match=rf"machine.ray = '{address}': no Ray cluster can be reached"),
        connected(address),
    ):
        pass
    assert time.monotonic() - start < 20


def test_a_ray_that_does_not_start_is_one_sentence(monkeypatch):
    def init(*_, **__):
        raise Exception("The current node timed out during startup.")  # Ray's, on a busy machine

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    with (
        pytest.raises(UserError, match=r"did not start on this machine \(The current node timed .*less busy"),
        connected("local"),
    ):
        pass
