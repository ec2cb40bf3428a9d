"""Captions of one image that differ: diverse beam search (Vijayakumar et al. 2018, https://arxiv.org/abs/1610.02424).

Groups of beams take each step one after the other. A token costs a group `strength` for each beam of an earlier group
that has just taken it at the same place (Hamming diversity), so the first group's captions are those of beam search and
each further group's move away from what has been said. As in the authors' code, what a caption has been charged stays
charged when it is ranked.
"""

from collections.abc import Collection

import torch

from captioning.decoding import Decoder, Hypothesis, LiveBeams, Rules, evaluating, longest_caption


@torch.inference_mode()
def diverse_beam_search(
    model: Decoder,
    features: torch.Tensor,
    *,
    groups: int,
    strength: float,
    beam_size: int,
    max_tokens: int,
    eos_id: int,
    length_penalty: float = 1.0,
    banned_ids: Collection[int] = (),
    no_repeat_ngram: int = 0,
) -> list[list[Hypothesis]]:
    """The best caption of each group, for each image in the order of the groups.

    Args:
        groups: captions an image.
        strength: of the diversity, in nats; 0 gives every group the same captions.
        beam_size: of each group; the rest as in `captioning.decoding.beam_search`.

    Returns:
        hypotheses whose `log_probs` are the model's own; `score`, by which a group chose, has the charges in it.
    """
    if groups < 1:
        raise ValueError(f"groups must be 1 or more, not {groups}")
    max_tokens = longest_caption(model, beam_size, max_tokens)
    rules = Rules(beam_size, max_tokens, eos_id, length_penalty, banned_ids, no_repeat_ngram)
    found: list[list[Hypothesis]] = [[] for _ in range(len(features))]
    if not found:
        return found
    with evaluating(model):
        logits, state = model.begin(features)  # (n, V), then (n * G * K, V)
        images = torch.arange(len(features), device=logits.device)  # (n,) those still in the batch
        each = [LiveBeams.start(len(images), rules, logits.device) for _ in range(groups)]
        for length in range(1, max_tokens + 1):
            taken = logits.new_zeros(len(images), logits.shape[1], dtype=torch.float32)  # (n, V) by earlier groups
            parents = []
            for group, beams in enumerate(each):
                own = logits if length == 1 else logits.unflatten(0, (-1, groups, beam_size))[:, group].flatten(0, 1)
                each[group], parent = beams.advance(own, rules, strength * taken)
                parents.append(parent + group * beam_size)
                taken.scatter_add_(1, each[group].paths[..., -1], each[group].scores.isfinite().float())
            going = torch.stack([beams.going for beams in each]).any(dim=0)  # (n,)
            stay, leave = going.nonzero()[:, 0], (~going).nonzero()[:, 0]
            done = [beams.ended.at(leave).hypotheses() for beams in each]
            for image, *of_groups in zip(images[leave].tolist(), *done, strict=True):
                found[image] = [captions[0] for captions in of_groups]
            if len(stay) == 0:
                break
            if length == 1:
                state = state.expand(groups * beam_size)
            first = torch.arange(len(images), device=images.device)[:, None] * groups * beam_size  # (n, 1)
            rows = first + torch.cat(parents, dim=1)  # (n, G * K)
            images, each = images[stay], [beams.at(stay) for beams in each]
            tokens = torch.cat([beams.paths[..., -1] for beams in each], dim=1)  # (n', G * K)
            logits, state = model.step(tokens.flatten(), state.select(rows[stay].flatten()))
    return found
