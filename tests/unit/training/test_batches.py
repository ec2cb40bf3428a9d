"""Batches: every caption once an epoch, with its own image's features, in an order that the seed decides."""

import numpy as np
import torch

from captioning.training.batches import CaptionBatches

N = 37
RNG = np.random.default_rng(0)
CAPTIONS = [
    [[int(i), *RNG.integers(1, 9, RNG.integers(1, 12)).tolist(), 0] for _ in range(RNG.integers(1, 6))]
    for i in range(N)
]
FEATURES = np.arange(N, dtype=np.float16)[:, None].repeat(3, axis=1)


def batches(seed: int = 0, size: int = 8) -> CaptionBatches:
    return CaptionBatches(FEATURES, CAPTIONS, size, seed, torch.device("cpu"))


def unpack(epoch) -> list[tuple[int, list[list[int]]]]:
    found = []
    for features, captions in epoch:
        assert features.dtype == torch.float32 and captions.dtype == torch.int64
        assert (captions != -100).any(dim=(0, 1))[-1], "the last column is padding only"
        for image, of_image in zip(features, captions, strict=True):
            rows = [[token for token in caption.tolist() if token != -100] for caption in of_image]
            found.append((int(image[0]), [row for row in rows if row]))
    return found


def test_an_epoch_is_every_image_once_with_all_its_captions():
    found = unpack(batches().epoch(0))
    assert sorted(image for image, _ in found) == list(range(N))
    assert all(CAPTIONS[image] == captions for image, captions in found)


def test_in_order():
    assert [image for image, _ in unpack(batches().in_order())] == list(range(N))


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        return [image for image, _ in unpack(batches(seed).epoch(epoch))]

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_len_is_the_number_of_batches():
    for size in (1, 8, 36, 37, 100):
        assert len(batches(size=size)) == len(list(batches(size=size).epoch(0)))


def test_images_of_similar_length_share_a_batch():
    def padding(epoch) -> float:
        cells = [(captions == -100).float().mean().item() for _, captions in epoch]
        return sum(cells) / len(cells)

    lengths = RNG.integers(1, 30, 512)
    captions = [[[1] * int(length)] for length in lengths]
    table = CaptionBatches(np.zeros((512, 1), np.float16), captions, 8, 0, torch.device("cpu"))
    assert padding(table.epoch(0)) < 0.5 * padding(table.in_order())
