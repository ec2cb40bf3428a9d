"""Fine-tuning a CLIP of full size: which weights train and how fast, and batches larger than the memory.

CLIP's blocks are counted from the output: depth 0 is the two projections and the temperature, depth 1 the last block of
each tower with the norm behind it, and so on down to the embeddings of patches and words.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from captioning.errors import UserError
from captioning.settings import FinetuneCLIP

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


def parameter_groups(model: nn.Module, options: FinetuneCLIP) -> list[dict]:
    """Freezes what `options.trains` leaves out, and returns the rest as `captioning.training.Job.groups`.

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
            _keep_in_eval_mode(module)  # a frozen network keeps its running statistics, too
    return [{"params": by_depth[d], "scale": options.layer_decay**d} for d in sorted(by_depth)]


def _keep_in_eval_mode(module: nn.Module) -> None:
    module.eval()
    module.train = lambda mode=True: module


def recompute_blocks(model: nn.Module) -> None:
    """Gradient checkpointing (Chen et al. 2016): transformer blocks keep their input and compute the rest again.

    A ResNet's blocks are left alone: their batch normalisation would count every batch twice.
    """
    for module in model.modules():
        if type(module).__name__ == "ResidualAttentionBlock":
            module.forward = functools.partial(_recomputed, module.forward)


def _recomputed(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return forward(x)
    return checkpoint(forward, x, use_reentrant=False)


def embed(encode: Callable[[Tensor], Tensor], inputs: Tensor, chunk_size: int | None) -> Tensor:
    """Embeddings (B, D) of inputs (B, ...), with the memory of `chunk_size` of them; None: all at once.

    Cached gradients (Gao et al. 2021, https://arxiv.org/abs/2101.06983): the batch is encoded without a graph, the
    contrastive loss of all pairs gives each embedding's gradient, and only then is one chunk after another encoded
    again, with a graph, and that gradient sent through it. Autograd does the latter two by itself when every chunk's
    encoding is a checkpoint. Loss and gradients are those of the undivided batch.
    """
    if chunk_size is None or chunk_size >= len(inputs) or not torch.is_grad_enabled():
        return encode(inputs)
    return torch.cat([checkpoint(encode, part, use_reentrant=False) for part in inputs.split(chunk_size)])


def check_chunks(model: nn.Module, options: FinetuneCLIP) -> None:
    """UserError where chunks would change the outcome: batch normalisation looks at a whole batch."""
    if options.chunk_size and any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise UserError(
            "finetune_clip.chunk_size needs a CLIP whose image tower is a transformer (ViT-...): a ResNet's batch "
            "normalisation would see chunks instead of batches; set it to null and lower batch_size"
        )
