"""CLIP's retrieval scores: what is level shares a rank, and embeddings that say nothing find nothing."""

import pytest
import torch

from captioning.training.clip import retrieval

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
