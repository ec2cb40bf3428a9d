"""Batches read from disk: those of memory, in an order that the seed decides."""

import numpy as np
import pytest
import small_decoders
import torch

from benchmarks.scale import write_rows
from captioning.features.store import FeatureStore
from captioning.training import decoder as decoders
from captioning.training import streams
from captioning.training.batches import CaptionBatches
from captioning.training.streams import StreamedBatches
from models.packed_runs import Runs
from models.packed_trees import Trees
from models.standardize import Standardize

N, WIDTH = 300, 6
RNG = np.random.default_rng(0)
CAPTIONS = [
    [[*RNG.integers(1, 9, RNG.integers(1, 12)).tolist(), 0] for _ in range(RNG.integers(1, 6))]
    for _ in range(N)
]
PACKINGS = {"trees": lambda captions, _: Trees(captions, 2), "runs": lambda captions, _: Runs(captions, 2)}
CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path, monkeypatch) -> FeatureStore:
    """Rows whose first number is the row; images are every other row, and one block is out of order."""
    monkeypatch.setenv("CAPTIONING_WORK", str(tmp_path / "work"))
    features = np.random.default_rng(1).standard_normal((2 * N, WIDTH)).astype(np.float16)
    features[:, 0] = np.arange(2 * N)
    write_rows(tmp_path / "f.h5", 2 * N, WIDTH, lambda block: features[block.start : block.stop])
    return FeatureStore.open(tmp_path / "f.h5")


ROWS = np.concatenate([np.arange(0, N), np.arange(2 * N - 1, N - 1, -1)])[::2]


def streamed(
    store, packing="trees", seed=0, size=4, few_sizes=False, window=70 * 2 * WIDTH
) -> StreamedBatches:
    parts = [CAPTIONS[start : start + 77] for start in range(0, N, 77)]
    return StreamedBatches(
        store, ROWS, parts, size, seed, CPU, PACKINGS[packing], few_sizes, window=window, block=20 * 2 * WIDTH
    )


def in_memory(store, packing="trees", seed=0, size=4, few_sizes=False) -> CaptionBatches:
    return CaptionBatches(store.read(ROWS), CAPTIONS, size, seed, CPU, PACKINGS[packing], few_sizes)


def assert_equal(one, other) -> None:
    (features, captions), (same, too) = one, other
    torch.testing.assert_close((features, tuple(captions)), (same, tuple(too)), rtol=0, atol=0)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_batch_is_that_of_memory(store, packing):
    """From the window that was read ahead, from disk for any other images, and in the given order."""
    disk, memory = streamed(store, packing), in_memory(store, packing)
    for index in disk.order(3, 4):
        assert_equal(disk.take(index), memory.take(index))
    scattered = np.array([299, 0, 150, 7])
    assert_equal(disk.take(scattered), memory.take(scattered))
    for one, other in zip(disk.in_order(), memory.in_order(), strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("size", [1, 4, 7, 300, 1000])
def test_an_epoch_is_every_image_once_in_full_batches(store, size):
    disk = streamed(store, size=size)
    found = list(disk.order(0, size))
    assert len(found) == len(disk) and sorted(np.concatenate(found)) == list(range(N))
    assert sorted(map(len, found))[1:] == [size] * (len(disk) - 1)


def test_the_order_depends_on_seed_and_epoch_alone(store):
    def order(batches, epoch):
        return tuple(np.concatenate(list(batches.order(epoch, 4))))

    one = streamed(store)
    next(one.epoch(5))  # an epoch that was not finished
    assert order(one, 1) == order(streamed(store), 1)
    assert len({order(streamed(store, seed=seed), epoch) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_a_window_mixes_blocks_from_everywhere(store):
    """64 images of 15 blocks of 20: the first window of an epoch has images from both halves of the split."""
    disk = streamed(store)
    for epoch in range(3):
        first = np.concatenate([index for _, index in zip(range(16), disk.order(epoch, 4), strict=False)])
        assert len(np.unique(first // 20)) >= 4 and first.min() < N / 2 < first.max()


def test_long_captions_make_small_windows(store, monkeypatch):
    monkeypatch.setattr(streams, "WINDOW_CAPTIONS", 40_000)
    disk = streamed(store, window=2**20)
    read = [len(disk._read(images).features) for images, _ in disk._plan(0, 4)]
    packed = sum(len(column.bytes) for column in disk.columns)
    assert sum(read) == N and max(read) <= 40_000 * N / packed < N / 3


def test_one_window_gives_the_epochs_of_memory(store):
    """Then nothing depends on where the images are."""
    disk, memory = streamed(store, window=2**20), in_memory(store)
    for one, other in zip(disk.epoch(2), memory.epoch(2), strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("packing", PACKINGS)
def test_few_sizes_hold_the_same_captions(store, packing):
    disk, memory = streamed(store, packing, few_sizes=True), in_memory(store, packing, few_sizes=True)
    shapes = {
        tuple(x.shape for x in captions[:2] if isinstance(x, torch.Tensor)) for _, captions in disk.epoch(0)
    }
    assert len(shapes) <= len(disk.buckets.sizes) + 1 < len(disk)
    index = next(disk.order(0, 4))
    assert disk.take(index, disk.buckets)[1].count == memory.take(index)[1].count


def test_standardisation_is_that_of_memory(store):
    disk, whole = (
        Standardize(WIDTH).fit(streamed(store).features),
        Standardize(WIDTH).fit(in_memory(store).features),
    )
    torch.testing.assert_close((disk.mean, disk.std), (whole.mean, whole.std))


@pytest.mark.parametrize("kind", ["lstm", "clipcap"])
def test_a_decoder_learns_from_disk_what_it_learns_from_memory(kind, tmp_path, monkeypatch):
    """Both phases, over features that fit in one window: the same weights to the last bit."""
    weights, made = [], []
    monkeypatch.setattr(decoders, "StreamedBatches", lambda *given: made.append(1) or StreamedBatches(*given))
    for name, limit in (("memory", streams.IN_MEMORY), ("disk", 0)):
        monkeypatch.setattr(streams, "IN_MEMORY", limit)
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        small_decoders.train(kind, tmp_path / name, small_decoders.options(epochs=2))
        assert len(made) == (2 if name == "disk" else 0)  # train and dev
        weights.append((tmp_path / name / f"checkpoints/{kind}/model.safetensors").read_bytes())
    assert weights[0] == weights[1]
