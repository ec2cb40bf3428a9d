"""Several different captions of one image: sampled (`captioning.search.sampling`), or by diverse beam search.

Diverse beam search (Vijayakumar et al. 2018, https://arxiv.org/abs/1610.02424): groups of beams take each
step one after the other. A token costs a group `strength` for each beam of an earlier group that chose it at
the same step (Hamming diversity). So the first group is plain beam search, and each further group moves away
from the captions before it. As in the authors' code, a caption's costs stay in the score that ranks it.
"""

from dataclasses import replace

import torch
from torch import Tensor

from captioning.core.settings import GenerateSettings
from captioning.decoders.vocabulary import Text
from captioning.search.base import Batch, CaptionModel, Hypothesis, Rules, evaluating, parted
from captioning.search.beam import LiveBeams, beam_search
from captioning.search.sampling import sample


@torch.inference_mode()
def diverse_beam_search(
    model: CaptionModel, features: Tensor, rules: Rules, *, groups: int, strength: float
) -> list[list[Hypothesis]]:
    """The best caption of each group, for each image in the order of the groups.

    Args:
        rules: as in `captioning.search.beam.beam_search`, of each group.
        groups: captions per image.
        strength: the penalty for equal tokens, in nats; 0 gives every group the same captions.

    Returns:
        hypotheses whose `log_probs` are the model's own; `score`, by which a group chose, includes the costs.
    """
    if groups < 1:
        raise ValueError(f"groups must be 1 or more, not {groups}")
    rules, beam_size = rules.within(model), rules.beam_size
    each = [LiveBeams.start(len(features), rules, features.device) for _ in range(groups)]
    with evaluating(model):
        batch = Batch(model, features, groups * beam_size)
        for length, logits in batch.steps():
            size = len(batch.images), logits.shape[1]
            parents, taken = [], logits.new_zeros(size, dtype=torch.float32)  # (n, V) by earlier groups
            for group, beams in enumerate(each):
                own = logits
                if length > 1:  # (n * G * K, V) -> (n * K, V)
                    own = logits.unflatten(0, (-1, groups, beam_size))[:, group].flatten(0, 1)
                each[group], parent = beams.advance(own, rules, strength * taken)
                parents.append(parent + group * beam_size)
                taken.scatter_add_(1, each[group].paths[..., -1], each[group].scores.isfinite().float())
            stay, leave = parted(torch.stack([beams.going for beams in each]).any(dim=0))
            done = zip(*(beams.ended.at(leave).hypotheses() for beams in each), strict=True)
            batch.end(leave, [[captions[0] for captions in of_groups] for of_groups in done])
            tokens = torch.cat([beams.paths[..., -1] for beams in each], dim=1)  # (n, G * K)
            batch.go_on(stay, tokens, torch.cat(parents, dim=1))
            each = [beams.at(stay) for beams in each]
    return batch.found


def several(
    model: CaptionModel,
    features: Tensor,
    options: GenerateSettings,
    text: Text,
    generator: torch.Generator | None,
) -> list[list[Hypothesis]]:
    """`options.diverse.captions` captions of each image (0: none), sampled or by diverse beam search.

    Args:
        features: (B, ...) what `model.begin` takes.
        generator: makes random numbers on the model's device.
    """
    wanted, rules = options.diverse, Rules.of(options, text)
    if wanted.captions == 0:
        return [[] for _ in features]
    if wanted.method == "beams":
        return diverse_beam_search(model, features, rules, groups=wanted.captions, strength=wanted.strength)
    drawing = {"top_p": wanted.top_p, "temperature": wanted.temperature, "generator": generator}
    return sample(model, features, rules, wanted.captions, **drawing)


def distinct(
    model: CaptionModel,
    features: Tensor,
    options: GenerateSettings,
    text: Text,
    count: int,
    most_rows: int = 512,
) -> list[list[Hypothesis]]:
    """`count` different captions of each image: those of `several`; a beam's best replace repetitions.

    An image gets fewer only if a beam of twice as many hypotheses has too few different ones.

    Args:
        most_rows: hypotheses that a beam search keeps at a time over all its images; one image may need more.
    """
    wanted = options.model_copy(update={"diverse": options.diverse.model_copy(update={"captions": count})})
    found = [
        {text.decode(one.tokens): one for one in reversed(drawn)}
        for drawn in several(model, features, wanted, text, None)
    ]
    found = [dict(reversed(drawn.items())) for drawn in found]  # the first of those that read the same
    lacking = [row for row, drawn in enumerate(found) if len(drawn) < count]
    rules = replace(Rules.of(options, text), beam_size=2 * count)
    step = max(1, most_rows // (2 * count))
    for first in range(0, len(lacking), step):
        rows = lacking[first : first + step]
        for row, beams in zip(rows, beam_search(model, features[rows], rules), strict=True):
            for one in beams:
                found[row].setdefault(text.decode(one.tokens), one)
    return [list(drawn.values())[:count] for drawn in found]
