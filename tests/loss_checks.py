"""Captions for the losses of both decoders, and a check that both must pass."""

import torch
from torch import Tensor, nn

from models.losses import PAD


def check_caption_weights(
    model: nn.Module, twin: nn.Module, features: Tensor, captions: Tensor, weights: Tensor
):
    """Checks that `weights` (B, C) scale each caption's share in the sum and in its gradient. `twin`, equal
    to `model`, computes the loss of each caption alone."""
    loss = model.loss(features, captions, weights=weights)
    expected = sum(
        weights[i, j] * twin.loss(features[i : i + 1], captions[i : i + 1, j : j + 1]).total
        for i, j in (captions[..., 0] >= 0).nonzero().tolist()
    )
    loss.total.backward()
    expected.backward()
    torch.testing.assert_close(loss.total, expected)
    assert loss.tokens == (captions >= 0).sum()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def random_captions(seed: int, vocabulary: int, end: int, shape: tuple[int, int, int]) -> Tensor:
    """Captions (B, C, T) of 0 (absent) to T tokens, the last of them `end`, padded with PAD."""
    generator = torch.Generator().manual_seed(seed)
    result = torch.full(shape, PAD)
    for row in result.view(-1, shape[-1]):
        length = int(torch.randint(len(row) + 1, (), generator=generator))
        row[:length] = torch.randint(2, vocabulary, (length,), generator=generator)
        row[max(length - 1, 0) : length] = end
    return result
