"""CLIP's retrieval scores: ties share a rank, and embeddings without information find nothing."""

import numpy as np
import pandas as pd
import pytest
import torch
from small_project import SETTINGS

from captioning.core.errors import UserError
from captioning.data.dataset import Data
from captioning.features.images import vgg16_preprocess
from captioning.training.clip import retrieval
from captioning.training.finetune import augmented, mirrorable, shift, two_or_more
from models.contrastive import contrastive_loss, mean_direction, same_pairs
from models.vgg16 import VGG16, VGG16Config
from stages import finetune_vgg16
from stages.finetune_clip import draw

OWNER = torch.arange(40).repeat_interleave(5)  # 40 images of five captions


def embeddings() -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    return images, images[OWNER] + 0.1 * torch.randn(200, 16, generator=torch.Generator().manual_seed(1))


def test_good_embeddings_find_each_other():
    assert retrieval(*embeddings(), OWNER)["mean_recall"] > 0.99


def test_recalls_are_those_of_a_plain_count():
    images, texts = torch.randn(2, 40, 16, generator=torch.Generator().manual_seed(2))[0], embeddings()[1]
    cosines = torch.cosine_similarity(images[:, None], texts[None], dim=2)  # (N, M)
    found = retrieval(images, texts, OWNER)
    by_image = [OWNER[row.argsort(descending=True)[:5]] for row in cosines]
    assert found["image_to_text_r5"] == pytest.approx(sum(i in top for i, top in enumerate(by_image)) / 40)
    by_text = [column.argsort(descending=True)[:10] for column in cosines.T]
    wanted = sum(int(OWNER[j]) in top.tolist() for j, top in enumerate(by_text)) / 200
    assert found["text_to_image_r10"] == pytest.approx(wanted)


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_embeddings_that_are_all_alike_or_nan_find_nothing(value):
    found = retrieval(torch.full((40, 16), value), torch.full((200, 16), value), OWNER)
    assert found["mean_recall"] == 0


def test_a_caption_that_two_images_share_is_found_by_both():
    images, texts = embeddings()
    texts[5] = texts[0]  # the second image's first caption
    images[0] = images[1] = texts[0]
    assert retrieval(images, texts, OWNER)["image_to_text_r1"] == 1


def test_one_picture_under_two_names_is_one_picture_to_the_loss_and_to_retrieval():
    pictures = torch.arange(32).repeat_interleave(2)
    images = torch.eye(32)[pictures]  # perfect, and equal for equal pictures
    words = torch.arange(64)[:, None]
    assert contrastive_loss(images, images, torch.tensor(9.0)) > 0.69
    assert contrastive_loss(images, images, torch.tensor(9.0), same_pairs(pictures, words)) < 1e-4
    assert retrieval(images, images, torch.arange(64), pictures)["mean_recall"] == 1
    texts, owner = images.repeat_interleave(2, dim=0), torch.arange(64).repeat_interleave(2)
    assert retrieval(images, texts, owner)["image_to_text_r1"] == 0
    assert retrieval(images, texts, owner, pictures)["mean_recall"] == 1


def test_a_text_belongs_to_every_image_of_its_picture_and_of_its_words():
    pictures, words = torch.tensor([0, 0, 1, 2]), torch.tensor([[5], [6], [6], [7]])
    assert same_pairs(pictures, words).int().tolist() == [
        [1, 1, 1, 0],
        [1, 1, 1, 0],
        [0, 1, 1, 0],
        [0, 0, 0, 1],
    ]


def test_a_text_of_several_captions_is_the_mean_of_their_directions():
    one, other = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 5.0])
    assert torch.equal(mean_direction(torch.stack([one, other])[None]), torch.tensor([[0.5, 0.5]]))
    assert torch.equal(mean_direction(one[None, None]), one[None])  # of one nothing changes


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_captions_are_drawn_without_repetition_as_long_as_there_are(count):
    captions, rng = torch.arange(3)[:, None].repeat(1, 4), np.random.default_rng(0)
    drawn = [draw(captions, count, rng) for _ in range(40)]
    assert {tuple(one.shape) for one in drawn} == {(count, 4)}
    assert all(len(one[:, 0].unique()) == min(count, 3) for one in drawn)
    assert torch.cat(drawn)[:, 0].unique().tolist() == [0, 1, 2]  # each has its turn


@pytest.mark.parametrize("stage", ["finetune_vgg16", "finetune_clip"])
def test_a_single_training_image_is_refused_in_a_sentence(stage):
    rows = [("a", "a.jpg", "train", "0"), ("b", "b.jpg", "dev", "1")]
    data = Data(pd.DataFrame(rows, columns=["id", "path", "split", "sha256"]), pd.DataFrame())
    with pytest.raises(UserError, match=f"{stage}: the training split has 1 image.*set {stage}.epochs to 0"):
        two_or_more(data, stage)


def test_dev_captions_without_a_word_to_predict_are_refused_in_a_sentence():
    rows = [
        (name, f"{name}.jpg", split, name)
        for name, split in zip("abc", ("train", "train", "dev"), strict=True)
    ]
    said = [("a", "a dog runs"), ("b", "two dogs"), ("c", "they are here")]
    captions = pd.DataFrame(said, columns=["image_id", "caption"])
    captions["tokens"] = captions["caption"]
    data = Data(pd.DataFrame(rows, columns=["id", "path", "split", "sha256"]), captions)
    network, preprocess = VGG16(VGG16Config(32, 0.1)), vgg16_preprocess(32)
    with pytest.raises(
        UserError, match=r"finetune_vgg16: .* none of the 4 content words .*set finetune_vgg16"
    ):
        finetune_vgg16.train(SETTINGS, data, network, preprocess, lambda **_: None)


class Store:
    """The pixels of images in memory."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: np.ndarray) -> torch.Tensor:
        return self.images[torch.from_numpy(index)]


def test_images_are_mirrored_where_captions_stay_true():
    captions = [
        ["a dog beside a tree"],
        ["a dog", "a dog to the left of a tree"],
        ["the right one runs"],
        ["leftover"],
    ]
    allowed = mirrorable(captions)
    assert allowed.tolist() == [True, False, False, True]
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)  # too small for a shift
    seen = [[] for _ in images]
    for epoch in range(20):
        for batch, index in augmented(Store(images), allowed, 4, 0, epoch):
            for image, row in zip(batch, index, strict=True):
                assert torch.equal(image, images[row]) or torch.equal(image, images[row].flip(-1))
                seen[row].append(torch.equal(image, images[row]))
    assert all(any(same) and all(same) != allowed[row] for row, same in enumerate(seen))


def test_shifted_images_have_mirrored_edges():
    images = torch.randint(0, 256, (25, 3, 9, 9), dtype=torch.uint8)
    at = torch.cartesian_prod(torch.arange(5), torch.arange(5))  # all places
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    shifted = shift(images, at, 2)
    for image, source, (y, x) in zip(shifted, padded, at.tolist(), strict=True):
        assert np.array_equal(image, source[:, y : y + 9, x : x + 9])
    assert shifted.is_contiguous(memory_format=torch.channels_last)
