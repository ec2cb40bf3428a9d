"""The feature store: it returns what was stored, bytes depend only on content, and no error passes
silently."""

import hashlib
import json
import multiprocessing
import pickle
import random
import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from captioning.core.errors import UserError
from captioning.features.extract import Written, reporting, write_features
from captioning.features.rows import RowStore
from captioning.features.store import FeatureStore

ATTRS = {"encoder": "a test", "weights": "1234", "precision": "float32"}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def row(key: str, shape=(6,)) -> np.ndarray:
    """The features of an image with this hash."""
    return np.random.default_rng(int(key[:8], 16)).normal(size=shape).astype(np.float32)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def forget_rows() -> None:
    shutil.rmtree(".work/rows", ignore_errors=True)


class Images:
    """A list of images, their features computed in batches of 4, and a record of the computed ones."""

    def __init__(self, names, shape=(6,), changed=()):
        self.ids = [f"image {name}" for name in names]
        self.sha256s = [sha(f"{name}{' changed' * (name in changed)}") for name in names]
        self.shape, self.computed = shape, []

    def compute(self, needed):
        for start in range(0, len(needed), 4):
            batch = needed[start : start + 4]
            self.computed += [self.ids[i] for i in batch]
            yield np.stack([row(self.sha256s[i], self.shape) for i in batch])

    def write(self, path, attrs=ATTRS, code="code") -> Written:
        return write_features(path, self.ids, self.sha256s, attrs, code, self.compute)

    def expected(self):
        return np.stack([row(key, self.shape) for key in self.sha256s]).astype(np.float16)


@pytest.mark.parametrize("shape", [(6,), (2, 3, 5)])
def test_what_goes_in_comes_out(tmp_path, shape):
    images = Images(range(11), shape)
    assert images.write(tmp_path / "f.h5") == Written(reused=0, computed=11)
    store = FeatureStore.open(tmp_path / "f.h5", expect=ATTRS)
    assert store.ids == images.ids and store.shape == (11, *shape) and len(store) == 11
    assert np.array_equal(store.load(images.ids), images.expected())
    some = ["image 7", "image 0", "image 7", "image 10"]
    assert np.array_equal(store.load(some), images.expected()[[7, 0, 7, 10]])
    assert store.load(some).dtype == np.float16 and store.load([]).shape == (0, *shape)
    assert {"encoder", "weights", "precision", "data", "format"} <= set(store.attrs)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".work", "f.h5"]
    assert not list((tmp_path / ".work/tmp").iterdir())
    assert np.array_equal(pickle.loads(pickle.dumps(store)).load(some), store.load(some))
    with h5py.File(tmp_path / "f.h5") as file:  # any HDF5 library can read it
        assert np.array_equal(file["features"][:], images.expected())
        assert file["ids"].asstr()[3] == "image 3"


def test_long_and_foreign_ids_are_kept_whole(tmp_path):
    images = Images(["a", "ü" * 300, "写真", "x" * 1000])
    images.write(tmp_path / "f.h5")
    assert FeatureStore.open(tmp_path / "f.h5").ids == images.ids


def test_only_what_is_new_or_changed_is_computed_and_the_bytes_are_those_of_a_fresh_file(tmp_path):
    path = tmp_path / "f.h5"
    Images(range(10)).write(path)
    cases = [
        ("nothing", Images(range(10)), []),
        ("new", Images([3, "new", *range(10), "last"][1:]), ["image new", "image last"]),
        ("changed", Images(["new", *range(10), "last"], changed=[4]), ["image 4"]),
        ("removed", Images(["new", *range(9)], changed=[4]), []),
        ("another order", Images([*reversed(range(9)), "new"], changed=[4]), []),
    ]
    for name, images, computed in cases:
        written = images.write(path)
        assert images.computed == computed and written.computed == len(computed), name
        fresh = tmp_path / "fresh.h5"
        with pytest.MonkeyPatch.context() as elsewhere:
            elsewhere.setenv("CAPTIONING_WORK", str(tmp_path / name))
            assert images.write(fresh).reused == 0
        assert path.read_bytes() == fresh.read_bytes(), name
    path.unlink()  # as DVC does before a stage
    assert images.write(path) == Written(10, 0) and path.read_bytes() == fresh.read_bytes()


def test_a_renamed_or_doubled_image_costs_nothing(tmp_path, capsys):
    images = Images(range(5))
    images.write(tmp_path / "f.h5")
    images.ids = [f"renamed {i}" for i in range(5)] + ["copy"]
    images.sha256s.append(images.sha256s[2])
    images.computed.clear()
    with reporting("f.h5", {**ATTRS, "device": "cpu"}) as work:
        work.written = images.write(tmp_path / "f.h5")
    assert images.computed == [] and work.written == Written(reused=5, computed=0, copies=1)
    said = "f.h5: 6 images, 5 reused, 0 computed, 1 with the same content as another in "
    assert said in capsys.readouterr().out
    assert images.write(tmp_path / "g.h5", code="other") == Written(reused=0, computed=5, copies=1)
    assert np.array_equal(
        FeatureStore.open(tmp_path / "f.h5").load(["renamed 2", "copy"]), images.expected()[[2, 2]]
    )


def test_rows_of_other_weights_or_other_code_are_not_reused_and_come_back(tmp_path):
    images, path = Images(range(6)), tmp_path / "f.h5"
    images.write(path)
    first = path.read_bytes()
    assert images.write(path, code="other code").computed == 6
    assert path.read_bytes() == first, "the file does not say what code made it"
    assert images.write(path, {**ATTRS, "weights": "5678"}).computed == 6
    assert images.write(path) == Written(6, 0) and path.read_bytes() == first
    images.write(path, {**ATTRS, "weights": "5678"})
    with pytest.raises(UserError, match=r"made with weights = '5678', but '1234' is expected"):
        FeatureStore.open(tmp_path / "f.h5", expect={"encoder": "a test", "weights": "1234"})
    with pytest.raises(UserError, match="normalization = None"):
        FeatureStore.open(tmp_path / "f.h5", expect={"normalization": "l2"})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_name_their_image(tmp_path, value):
    images = Images(range(10))

    def compute(needed):
        for batch in images.compute(needed):
            if "image 6" in images.computed[-4:]:
                batch[2, 3] = value
            yield batch

    with pytest.raises(UserError, match=r"image 6 are not finite .*precision: fp32"):
        write_features(tmp_path / "f.h5", images.ids, images.sha256s, ATTRS, "code", compute)
    images.computed.clear()
    images.write(tmp_path / "f.h5")
    assert images.computed == images.ids[4:]  # the first batch was kept


def test_features_too_large_for_float16_are_an_error(tmp_path):
    with pytest.raises(UserError, match=r"image 1 reach 7e\+04, and float16 holds no more than 65504"):
        write_features(
            tmp_path / "f.h5",
            ["image 0", "image 1"],
            [sha("0"), sha("1")],
            ATTRS,
            "code",
            lambda _: [np.array([[1.0], [7e4]])],
        )


def test_ids_must_exist_and_be_unique(tmp_path):
    with pytest.raises(UserError, match="no images"):
        Images([]).write(tmp_path / "f.h5")
    with pytest.raises(UserError, match=r"1 image ids occur more than once, such as image 2"):
        Images([1, 2, 3, 2]).write(tmp_path / "f.h5")


def test_a_file_that_was_replaced_is_not_read_with_the_old_places(tmp_path):
    path = tmp_path / "f.h5"
    Images([1, 2, 3]).write(path)
    store = FeatureStore.open(path)
    Images([2, 3, 4]).write(path)
    for read in (lambda: store.load(["image 1"]), lambda: store.ids):
        with pytest.raises(UserError, match=r"f\.h5 was replaced or removed"):
            read()
    assert FeatureStore.open(path).ids == ["image 2", "image 3", "image 4"]


def test_unusable_files_are_one_sentence(tmp_path):
    images, path = Images(range(200)), tmp_path / "f.h5"
    with pytest.raises(UserError, match=r"f\.h5 is missing: run `dvc repro`"):
        FeatureStore.open(path)
    images.write(path)
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"f\.h5"):
            FeatureStore.open(path)
    path.write_text("no HDF5")
    with pytest.raises(UserError, match="not a feature store"):
        FeatureStore.open(path)
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros((3, 4))
    with pytest.raises(UserError, match="not a feature store of this version"):
        FeatureStore.open(path)
    assert images.write(path).reused == 200 and path.read_bytes() == whole  # computed again
    with pytest.raises(UserError, match=r"no features of 2 of 3 images, such as x, y"):
        FeatureStore.open(path).load(["image 1", "x", "y"])


def test_a_shard_torn_anywhere_is_recovered(tmp_path):
    Images(range(30)).write(tmp_path / "fresh.h5")
    forget_rows()
    images, path = Images(range(30)), tmp_path / "f.h5"
    rows = RowStore(ATTRS, "code")
    with rows.writing():
        rows.append(images.sha256s[:20], images.expected()[:20])
    [shard] = rows.folder.glob("*.rows")
    whole = shard.read_bytes()
    rng = random.Random(0)
    for attempt in range(40):
        content = bytearray(whole[: rng.randrange(len(whole) + 1)])
        if attempt % 2 and content:
            content[rng.randrange(len(content))] ^= 0xFF
        forget_rows()
        shard.parent.mkdir(parents=True)
        shard.write_bytes(content)
        images.computed.clear()
        images.write(path)
        assert path.read_bytes() == (tmp_path / "fresh.h5").read_bytes()
        assert 10 <= len(images.computed) <= 30
        path.unlink()
    forget_rows()
    shard.parent.mkdir(parents=True)
    shard.write_bytes(whole)
    images.computed.clear()
    images.write(path)
    assert images.computed == images.ids[20:]


def test_the_manifest_counts_shards_and_a_damaged_one_is_computed_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("captioning.features.rows.SHARD_BYTES", 700)  # 80 bytes a row, batches of 4: 12 rows
    images, path = Images(range(30)), tmp_path / "f.h5"
    images.write(path)
    whole, folder = path.read_bytes(), RowStore(ATTRS, "code").folder
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert [entry["rows"] for entry in entries] == [12, 12, 6]
    for entry in entries:
        assert hashlib.sha256((folder / entry["shard"]).read_bytes()).hexdigest() == entry["sha256"]
    made_by = json.loads((folder / "identity.json").read_text())
    assert made_by == {"attributes": ATTRS, "code": "code"}
    damaged = folder / entries[1]["shard"]
    content = bytearray(damaged.read_bytes())
    content[200] ^= 1
    damaged.write_bytes(content)
    images.computed.clear()
    images.write(path)
    assert images.computed == images.ids[12:24] and path.read_bytes() == whole
    assert f"{entries[1]['shard']} is damaged: its 12 rows are computed again" in capsys.readouterr().out
    with open(folder / "manifest.jsonl", "a") as file:
        file.write('{"shard": "torn')
    assert images.write(path) == Written(30, 0)
    (folder / "manifest.jsonl").write_text("no JSON\n")
    assert images.write(path) == Written(30, 0)


class Slow(Images):
    """Takes 2 ms per batch, and reports when it begins."""

    def compute(self, needed):
        self.begun.set()
        for batch in super().compute(needed):
            time.sleep(0.002)
            yield batch


def in_another_process(images: Slow, path: Path):
    """Runs `images.write(path)` in a process that has just been forked; sets `images.begun` once it
    computes."""
    context = multiprocessing.get_context("fork")
    images.begun = context.Event()
    process = context.Process(target=images.write, args=(path,))
    process.start()
    return process


def test_kills_at_random_moments_leave_the_same_bytes(tmp_path):
    Images(range(400), (64,)).write(tmp_path / "fresh.h5")
    forget_rows()
    rng, path, started = random.Random(1), tmp_path / "f.h5", 0
    while not path.exists():
        process = in_another_process(Slow(range(400), (64,)), path)
        time.sleep(rng.uniform(0.0, 0.1) * 1.2**started)  # on a busy machine a process needs longer to begin
        process.kill()
        process.join()
        started += 1
    assert started > 2
    images = Images(range(400), (64,))
    assert images.write(path).reused == 400
    assert path.read_bytes() == (tmp_path / "fresh.h5").read_bytes()


def test_a_second_writer_waits_and_reuses(tmp_path, capsys):
    path, slow, images = tmp_path / "f.h5", Slow(range(800)), Images(range(800))
    process = in_another_process(slow, path)
    assert slow.begun.wait(60)
    assert images.write(path) == Written(reused=800, computed=0)
    assert f"waiting: process {process.pid} is writing {path}" in capsys.readouterr().out
    process.join()
    assert process.exitcode == 0
