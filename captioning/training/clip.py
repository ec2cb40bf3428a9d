"""Fine-tuning a CLIP of full size: which weights train and how fast, and batches larger than the memory.

CLIP's blocks are counted from the output: depth 0 is the two projections and the temperature, depth 1 the
last block of each tower with the norm behind it, and so on down to the embeddings of patches and words.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from captioning.core.errors import UserError
from captioning.core.settings import FinetuneCLIPSettings

PROJECTIONS = ("logit_scale", "text_projection", "visual.proj", "visual.attnpool.c_proj")


def depths(model: nn.Module) -> dict[str, int]:
    """The depth of every parameter by its name, in either kind of image tower."""
    towers: dict[str, list[str]] = defaultdict(list)  # tower -> its blocks, from the input to the output
    for name, module in model.named_modules():
        if type(module).__name__ in ("ResidualAttentionBlock", "Bottleneck"):
            towers["visual" if name.startswith("visual.") else "text"].append(name)
    found = {}
    for name, _ in model.named_parameters():
        blocks = towers["visual" if name.startswith("visual.") else "text"]
        inside = next((i for i, block in enumerate(blocks) if name.startswith(f"{block}.")), None)
        if name.startswith(PROJECTIONS):
            found[name] = 0
        elif inside is not None:
            found[name] = len(blocks) - inside
        elif name.startswith(("ln_final", "visual.ln_post", "visual.attnpool")):
            found[name] = 1
        else:
            found[name] = len(blocks) + 1
    return found


def parameter_groups(model: nn.Module, options: FinetuneCLIPSettings) -> list[dict]:
    """Freezes weights outside `options.trains`; returns the rest as `captioning.training.loop.Job.groups`.

    A weight at depth d learns at `layer_decay` ** d times the peak rate (Clark et al. 2020, ELECTRA).
    """
    most = {"all": None, "last": options.blocks, "projections": 0}[options.trains]
    by_depth: dict[int, list[nn.Parameter]] = defaultdict(list)
    where = depths(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(most is None or where[name] <= most)
        if parameter.requires_grad:
            by_depth[where[name]].append(parameter)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            _keep_in_eval_mode(module)  # a frozen network keeps its running statistics
    return [{"params": by_depth[d], "scale": options.layer_decay**d} for d in sorted(by_depth)]


def _keep_in_eval_mode(module: nn.Module) -> None:
    module.eval()
    module.train = lambda mode=True: module


def recompute_blocks(model: nn.Module) -> None:
    """Gradient checkpointing (Chen et al. 2016): transformer blocks store their input, recompute the rest.

    A ResNet's blocks are not changed: their batch normalisation would count every batch twice.
    """
    for module in model.modules():
        if type(module).__name__ == "ResidualAttentionBlock":
            module.forward = functools.partial(_recomputed, module.forward)


def move_masks(model: nn.Module, device: torch.device) -> None:
    """Moves the text tower's causal masks, which otherwise stay where they were made.

    Each block would copy its mask at each step, and the host would wait for that.
    """
    for module in model.modules():
        if getattr(module, "attn_mask", None) is not None:
            module.attn_mask = module.attn_mask.to(device)


def _recomputed(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return forward(x)
    return checkpoint(forward, x, use_reentrant=False)


def embed(encode: Callable[[Tensor], Tensor], inputs: Tensor, chunk_size: int | None) -> Tensor:
    """Embeddings (B, D) of inputs (B, ...), in the memory that `chunk_size` inputs take. None: all at once.

    Cached gradients (Gao et al. 2021, https://arxiv.org/abs/2101.06983): the batch is first encoded without a
    graph, and the contrastive loss of all pairs gives each embedding's gradient. Then each chunk is encoded
    again, with a graph, for the backward pass. Autograd does these last steps itself if every chunk's
    encoding is a checkpoint. Loss and gradients equal those of the undivided batch.
    """
    if chunk_size is None or chunk_size >= len(inputs) or not torch.is_grad_enabled():
        return encode(inputs)
    return torch.cat([checkpoint(encode, part, use_reentrant=False) for part in inputs.split(chunk_size)])


def check_chunks(model: nn.Module, options: FinetuneCLIPSettings) -> None:
    """Raises UserError if chunks would change the result: batch normalisation needs the whole batch."""
    if options.chunk_size and any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise UserError(
            "finetune_clip.chunk_size needs a CLIP whose image tower is a transformer (ViT-...): a ResNet's "
            "batch normalisation would see chunks instead of batches; set it to null and lower batch_size"
        )


def retrieval(
    images: Tensor, texts: Tensor, owner: Tensor, pictures: Tensor | None = None
) -> dict[str, float]:
    """Recall at 1, 5 and 10, in both directions, as in Flickr8k's retrieval benchmarks.

    Args:
        images: (N, D) embeddings; texts: (M, D) embeddings; owner: (M,) the image that each text describes.
        pictures: (N,) a number for each image's picture, equal if a picture has several names: a text of one
            of them is a text of all. None: all differ.

    Returns:
        `image_to_text_r1`, ... (an image finds one of its captions among the k nearest), `text_to_image_r1`,
        ... (a caption finds its image), and `mean_recall` of the six. Ties share their mean rank, and NaN
        comes last, so embeddings that are all equal, or NaN, find nothing.
    """
    with torch.autocast(images.device.type, enabled=False):  # bf16 would create ties
        similarity = F.normalize(images.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T  # (N, M)
    pictures = torch.arange(len(images), device=owner.device) if pictures is None else pictures
    own = pictures[owner] == pictures[:, None]  # (N, M)
    image_rank, text_rank = (_best_rank(similarity, own, dim) for dim in (1, 0))  # (N,) and (M,)
    found = {}
    for name, rank in (("image_to_text", image_rank), ("text_to_image", text_rank)):
        found |= {f"{name}_r{k}": (rank < k).float().mean().item() for k in (1, 5, 10)}
    return found | {"mean_recall": sum(found.values()) / 6}


def _best_rank(similarity: Tensor, own: Tensor, dim: int) -> Tensor:
    """The number of others that rank before the best own item along `dim`; a tie counts half."""
    best = similarity.masked_fill(~own, -torch.inf).max(dim=dim, keepdim=True).values
    level = (similarity == best) & ~own
    return (~(similarity <= best)).sum(dim=dim) + level.sum(dim=dim) / 2
