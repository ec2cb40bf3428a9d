"""Fine-tuning CLIP: chunks give the gradients of the whole batch, frozen layers stay fixed, depth sets the
rate."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from captioning.core import settings
from captioning.core.errors import UserError
from captioning.features.clip_text import trim
from captioning.training.clip import (
    check_chunks,
    depths,
    embed,
    move_masks,
    parameter_groups,
    recompute_blocks,
)
from captioning.training.step import training_step
from models import clip
from models.contrastive import contrastive_loss

VALUES = settings.read_yaml(Path(__file__).parents[3] / "params.yaml")
VIT = clip.CLIPConfig(32, 64, 3, 64, 32, 12, 100, 64, 2)
RESNET = clip.CLIPConfig(32, 64, (1, 2, 1, 1), 16, None, 12, 100, 64, 2)


def options(**changes) -> settings.FinetuneCLIPSettings:
    values = copy.deepcopy(VALUES)
    values["finetune_clip"] |= changes
    return settings.check(values, "params.yaml").finetune_clip


def network(config: clip.CLIPConfig = VIT) -> clip.CLIP:
    torch.manual_seed(0)
    return clip.build(config)


def inputs(pairs: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    texts = torch.randint(1, 99, (pairs, 12), generator=generator)
    return torch.randn(pairs, 3, 64, 64, generator=generator), texts


def gradients(model: clip.CLIP, chunk_size: int | None) -> tuple[Tensor, dict[str, Tensor]]:
    images, texts = inputs()
    image_embeddings = embed(model.encode_image, images, chunk_size)
    loss = contrastive_loss(image_embeddings, embed(model.encode_text, texts, chunk_size), model.logit_scale)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("chunk_size", [1, 3, 7, 100])
@pytest.mark.parametrize("recompute", [False, True])
def test_chunks_give_loss_and_gradients_of_the_whole_batch(chunk_size, recompute):
    expected_loss, expected = gradients(network(), None)
    model = network()
    if recompute:
        recompute_blocks(model)
    loss, found = gradients(model, chunk_size)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-6, atol=1e-6)
    assert found.keys() == expected.keys() == dict(model.named_parameters()).keys()
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-7, (
            name
        )  # sums are rounded in another order


def test_a_chunk_is_encoded_twice_and_no_more_than_one_chunk_at_a_time():
    sizes = []

    def encode(part: Tensor) -> Tensor:
        sizes.append((len(part), torch.is_grad_enabled()))
        return weight * part

    weight = torch.ones(3, requires_grad=True)
    embed(encode, torch.ones(7, 3), 3).sum().backward()
    # All once, then again from the last to the first.
    assert [size for size, _ in sizes] == [3, 3, 1, 1, 3, 3]
    assert torch.equal(weight.grad, torch.full((3,), 7.0))
    sizes.clear()
    with torch.no_grad():
        embed(encode, torch.ones(7, 3), 3)
    assert sizes == [(7, False)]


def test_chunks_work_under_autocast():
    model = network()
    with torch.autocast("cpu", torch.bfloat16):
        _, whole = gradients(network(), None)
        _, chunked = gradients(model, 3)
    for name, gradient in whole.items():
        torch.testing.assert_close(chunked[name], gradient, rtol=0.05, atol=0.02, msg=name)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_step_in_bf16_takes_chunks_and_checkpoints(recompute):
    """What is computed again in the backward pass takes the same kernels as before."""

    def stepped(chunk_size: int | None) -> Tensor:
        model = network()
        if recompute and chunk_size:
            recompute_blocks(model)

        def loss(images: Tensor, texts: Tensor) -> Tensor:
            embeddings = (
                embed(encode, part, chunk_size)
                for encode, part in ((model.encode_image, images), (model.encode_text, texts))
            )
            return contrastive_loss(*embeddings, model.logit_scale)

        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        return torch.stack(training_step(model, loss, optimizer, torch.bfloat16, 1.0)(*inputs()))

    torch.testing.assert_close(stepped(3), stepped(None), rtol=0.02, atol=0.02)


def test_batch_normalisation_and_chunks_are_refused():
    check_chunks(network(VIT), options(chunk_size=4))
    check_chunks(network(RESNET), options(chunk_size=None))
    with pytest.raises(UserError, match="chunk_size needs a CLIP whose image tower is a transformer"):
        check_chunks(network(RESNET), options(chunk_size=4))


def test_every_mask_moves():
    model = network()
    move_masks(model, torch.device("meta"))
    assert [block.attn_mask.device.type for block in model.transformer.resblocks] == ["meta"] * 2
    assert all(block.attn_mask is None for block in model.visual.transformer.resblocks)


def test_depth_counts_from_the_output():
    found = depths(network(VIT))
    expected = {
        "visual.proj": 0, "text_projection": 0, "logit_scale": 0,
        "visual.ln_post.weight": 1, "ln_final.bias": 1,
        "visual.transformer.resblocks.2.ln_1.weight": 1, "visual.transformer.resblocks.0.ln_1.weight": 3,
        "transformer.resblocks.1.mlp.c_fc.weight": 1, "transformer.resblocks.0.mlp.c_fc.weight": 2,
        "visual.conv1.weight": 4, "visual.class_embedding": 4, "token_embedding.weight": 3,
        "positional_embedding": 3,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    found = depths(network(RESNET))
    assert found["visual.attnpool.c_proj.weight"] == 0 and found["visual.attnpool.q_proj.weight"] == 1
    blocks = [found[f"visual.layer{i}.{j}.conv1.weight"] for i, j in [(4, 0), (3, 0), (2, 1), (2, 0), (1, 0)]]
    assert blocks == [1, 2, 3, 4, 5] and found["visual.conv1.weight"] == 6


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize(
    ("changes", "most"),
    [({"trains": "projections"}, 0), ({"trains": "last", "blocks": 1}, 1), ({"trains": "all"}, 99)],
)
def test_what_trains_is_what_changes(config, changes, most):
    model = network(config)
    groups = parameter_groups(model, options(layer_decay=0.5, **changes))
    where, before = depths(model), {name: t.clone() for name, t in model.state_dict().items()}
    listed = {id(p): group["scale"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in listed) == parameter.requires_grad == (where[name] <= most), name
        if parameter.requires_grad:
            assert listed[id(parameter)] == 0.5 ** where[name]
    model.train()
    images, texts = inputs()
    optimizer = torch.optim.SGD([p for group in groups for p in group["params"]], lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        contrastive_loss(model.encode_image(images), model.encode_text(texts), model.logit_scale).backward()
        optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {"visual.proj", "visual.attnpool.c_proj.weight"} & changed and "text_projection" in changed
    for name in changed:
        owner = name.rpartition(".")[0]
        buffers = "running" in name or "num_batches" in name
        assert where[f"{owner}.weight" if buffers else name] <= most, f"{name} is frozen"


def test_one_rate_for_all_without_decay():
    groups = parameter_groups(network(), options(layer_decay=1.0, trains="all"))
    assert {group["scale"] for group in groups} == {1.0}


@pytest.mark.parametrize(("longest", "kept"), [(3, 8), (8, 8), (9, 12), (12, 12)])
def test_columns_that_no_caption_reaches_are_dropped_and_change_nothing(longest, kept):
    model, ends = network(), [longest, 2, longest - 1]
    texts = torch.zeros(3, 12, dtype=torch.long)
    for row, end in zip(texts, ends, strict=True):
        row[:end] = torch.arange(5, 5 + end)
        row[end - 1] = 99  # the highest number ends a caption
    short = trim(texts)
    assert short.shape == (3, kept) and torch.equal(short, texts[:, :kept])
    assert trim(texts.unflatten(0, (1, 3))).shape == (1, 3, kept)
    torch.testing.assert_close(model.encode_text(short), model.encode_text(texts), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [16, 32])
def test_a_narrow_stem_trains_by_channel_and_learns_the_same(width):
    """A stem of 8 channels works on contiguous images, one of 16 does not. Gradients are OpenAI's tower's."""
    config = dataclasses.replace(RESNET, vision_width=width)
    torch.manual_seed(0)
    ours, theirs = clip.build(config).visual.train(), clip.build_image_tower(config).train()
    theirs.load_state_dict(ours.state_dict())
    images = inputs()[0].contiguous(memory_format=torch.channels_last)
    layouts = {}
    for name in ("bn1", "layer1"):
        module = getattr(ours, name)
        module.register_forward_hook(lambda _, given, out, name=name: layouts.update({name: given[0]}))

    found, expected = ours(images), theirs(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    ((found + expected) * weight).sum().backward()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (one.grad - other.grad).norm() <= 1e-3 * other.grad.norm() + 1e-5, name
    for (name, one), other in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)
    assert layouts["bn1"].is_contiguous() == (width == 16)
    assert layouts["layer1"].is_contiguous(memory_format=torch.channels_last)

    with torch.no_grad():
        ours.eval()(images)
    assert layouts["bn1"].is_contiguous(memory_format=torch.channels_last)  # without training as before
