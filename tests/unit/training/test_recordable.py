"""Steps that a GPU can record: shapes and branches do not depend on data, nothing synchronizes, launches are
few."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from processor import needs_bf16
from small_data import REAL_FLICKR8K
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from benchmarks.material import scenes_captions
from captioning.data.sources import flickr8k
from captioning.decoders.checkpoint import Decoder
from captioning.decoders.vocabulary import train_bpe, word_vocabulary
from captioning.search.base import Rules, evaluating
from captioning.search.sampling import FixedSampler
from captioning.training.batches import CaptionBatches
from captioning.training.graphs import CastWeights
from captioning.training.self_critical import SelfCritical
from captioning.training.step import set_rate, training_step
from models.clipcap import ClipCap, ClipCapConfig
from models.gpt2 import GPT2, GPT2Config
from models.losses import CHUNK
from models.lstm import LSTMConfig, LSTMDecoder

FEATURES = 16
DECODERS = pytest.mark.parametrize("kind", ["clipcap", "frozen", "lstm", "grid"])
CPU = torch.device("cpu")


def decoder(
    kind: str, dropout: float = 0.0, layers: int = 2, vocabulary: int = 1000, merge: bool = True
) -> nn.Module:
    torch.manual_seed(0)
    if kind in ("lstm", "grid"):
        sizes = dict(embed_dim=32, hidden_size=32, attention_dim=16, dropout=dropout, image_dropout=dropout)
        return LSTMDecoder(
            LSTMConfig(vocabulary, FEATURES, grid=kind == "grid", merge=merge, **sizes)
        ).train()
    gpt = GPT2(
        GPT2Config(
            vocab_size=vocabulary, n_embd=48, n_layer=layers, n_head=4, n_positions=128,
            resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout,
        )
    )  # fmt: skip
    mapping = "transformer" if kind == "frozen" else "mlp"
    config = ClipCapConfig(FEATURES, mapping, 10, clip_len=4, mapping_layers=2, freeze_gpt2=kind == "frozen")
    return ClipCap(config, gpt).train()


def encoded(captions: list[list[str]], kind: str) -> list[list[list[int]]]:
    every = [caption for of_image in captions for caption in of_image]
    text = word_vocabulary(every, 1) if kind in ("lstm", "grid") else train_bpe(every[:2000], 1000)
    flat = iter(text.encode(every))
    return [[next(flat) for _ in of_image] for of_image in captions]


def batches(model: nn.Module, kind: str, images: int, size: int, few_sizes: bool) -> CaptionBatches:
    captions = encoded(scenes_captions(images), kind)
    captions = [[[token % 1000 for token in caption] for caption in of_image] for of_image in captions]
    shape = (images, 2, 3, FEATURES) if kind == "grid" else (images, FEATURES)
    features = np.random.default_rng(0).standard_normal(shape).astype(np.float16)
    return CaptionBatches(features, captions, size, 0, CPU, model.packing, few_sizes)


def gradients(
    model: nn.Module, features: torch.Tensor, captions
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model.loss(features, captions, 0.1).mean
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@DECODERS
def test_a_batch_packed_when_encoded_is_one_packed_from_padded_captions(kind):
    """Both are equal to the last bit, in the order of an epoch."""
    model = decoder(kind)
    packed, plain = batches(model, kind, 24, 8, False), batches(model, kind, 24, 8, False)
    plain.packing = None
    for (features, captions), (same, padded) in zip(packed.epoch(3), plain.epoch(3), strict=True):
        assert torch.equal(features, same)
        (loss, ours), (expected, theirs) = (
            gradients(model, features, captions),
            gradients(model, features, padded),
        )
        assert loss == expected
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@DECODERS
def test_filling_a_batch_up_changes_neither_loss_nor_gradients(kind):
    model = decoder(kind)
    filled = batches(model, kind, 60, 8, True)
    exact = batches(model, kind, 60, 8, False)
    shapes = set()
    for (features, captions), (_, own) in list(zip(filled.epoch(1), exact.epoch(1), strict=True))[:4]:
        shapes.add(str(tree_map(lambda x: x.shape, captions[:-2])))
        (loss, ours), (expected, theirs) = (
            gradients(model, features, captions),
            gradients(model, features, own),
        )
        torch.testing.assert_close(loss, expected)
        for name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5, msg=name)
    assert len(shapes) < 4, "no batch was filled up"


@DECODERS
def test_loss_is_one_graph(kind):
    model = decoder(kind)
    features, captions = next(batches(model, kind, 16, 8, True).epoch(0))
    expected = model.loss(features, captions, 0.1).total
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):
        compiled = torch.compile(lambda f, c: model.loss(f, c, 0.1), fullgraph=True, backend="eager")
        found = compiled(features, captions).total
    torch.testing.assert_close(found, expected)
    found.backward()


@DECODERS
def test_loss_and_gradients_need_no_data(kind):
    """Fake tensors have only shapes: code that depends on values, or waits for them, raises an error."""
    model = decoder(kind)
    features, captions = next(batches(model, kind, 16, 8, True).epoch(0))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        model.loss(*faked(mode, (features, captions)), 0.1).mean.backward()


def faked(mode: FakeTensorMode, tree):
    return tree_map(lambda x: mode.from_tensor(x) if isinstance(x, torch.Tensor) else x, tree)


def critical(kind: str, layers: int = 2) -> tuple[SelfCritical, torch.Tensor, np.ndarray]:
    """Self-critical training as on a GPU, on a few images of drawings."""
    captions = scenes_captions(4)
    text = word_vocabulary([caption for of_image in captions for caption in of_image], 1)
    torch.manual_seed(0)
    features = torch.randn(4, 2, 3, FEATURES) if kind == "grid" else torch.randn(4, FEATURES)
    network = decoder(kind, layers=layers, vocabulary=text.size)
    critic = SelfCritical(Decoder(kind, network, text, {}, {}), captions, 3, max_tokens=12, fixed=True)
    return critic, features, np.arange(4)


@DECODERS
def test_sampling_is_one_graph_and_needs_no_data(kind):
    critic, features, images = critical(kind)
    chances = critic.chances(0, 0, images)
    with torch.no_grad():
        features, *_ = critic.prepare(features, images, chances)
        sampler, chances = critic.sampler, chances.flatten(0, 1)
        with evaluating(critic.model):
            tokens, over, state = sampler.begin(features, chances[:, :1])
            block = tokens[:, -1], over, state, chances[:, 1:9]
            with FakeTensorMode(allow_non_fake_inputs=True) as mode:
                sampler.begin(*faked(mode, (features, chances[:, :1])))
                sampler.go_on(*faked(mode, block))
            same = tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, block)
            expected = sampler.go_on(*block)
            torch._dynamo.reset()
            with torch._dynamo.config.patch(allow_rnn=True):
                found = torch.compile(sampler.go_on, fullgraph=True, backend="eager")(*same)
    assert torch.equal(found[0], expected[0]) and found[0].shape == (12, 8)
    for ours, theirs in zip(tree_flatten(found[2])[0], tree_flatten(expected[2])[0], strict=True):
        torch.testing.assert_close(ours, theirs)


@DECODERS
def test_the_self_critical_loss_is_one_graph_and_needs_no_data(kind):
    critic, features, images = critical(kind)
    with torch.no_grad():
        batch = critic.prepare(features, images, critic.chances(0, 0, images))
    expected = critic.loss(*batch)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        critic.loss(*faked(mode, batch)).backward()
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):
        found = torch.compile(critic.loss, fullgraph=True, backend="eager")(*batch)
    torch.testing.assert_close(found, expected)
    found.backward()


@DECODERS
def test_self_critical_batches_have_the_shapes_of_their_length(kind):
    """Whatever was said: the batches of other random numbers are as large."""
    critic, features, images = critical(kind)
    with torch.no_grad():
        found = [critic.prepare(features, images, critic.chances(0, epoch, images)) for epoch in (0, 1)]
    shapes = [[x.shape for x in tree_flatten(batch)[0] if isinstance(x, torch.Tensor)] for batch in found]
    assert shapes[0] == shapes[1] and not torch.equal(found[0][3], found[1][3])


class OnTheGPU(TorchDispatchMode):
    """Fails if an operation reads or makes a tensor of the host: no recording may."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        used = [x for x in tree_flatten((args, kwargs, out))[0] if isinstance(x, torch.Tensor)]
        assert all(x.device.type == "cuda" for x in used), f"{function} crosses devices"
        return out


@DECODERS
def test_what_is_recorded_does_not_touch_the_host(kind):
    """The networks are on a GPU that need not exist, since fake tensors have no numbers."""
    features, captions = next(batches(decoder(kind), kind, 16, 8, True).epoch(0))
    chances = torch.rand(8 * 3, 9)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.device("cuda"):
        model = decoder(kind, dropout=0.1)
        sampler = FixedSampler(
            model, Rules(max_tokens=12, eos_id=0, banned_ids=(1, 2)), 3, torch.device("cuda")
        )
        features, captions, chances = tree_map(
            lambda x: x.to("cuda") if isinstance(x, torch.Tensor) else x,
            faked(mode, (features, captions, chances)),
        )
        with OnTheGPU(), torch.backends.cudnn.flags(enabled=False):  # cuDNN asks the GPU's driver
            model.loss(features, captions, 0.1)
            with torch.no_grad(), evaluating(model):
                tokens, over, state = sampler._begin(features, chances[:, :1])
                sampler._go_on(tokens[:, -1], over, state, chances[:, 1:])


def steps(model: nn.Module, cast: bool = True):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, fused=True)
    step = training_step(model, lambda f, c: model.loss(f, c).mean, optimizer, torch.bfloat16, 1.0, cast=cast)
    return step, optimizer


class Count(TorchDispatchMode):
    """Counts dispatched operations, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if not function.is_view and not str(function).startswith("profiler"):
            self.counts[str(function)] += 1
        return function(*args, **(kwargs or {}))


@needs_bf16
@pytest.mark.parametrize(("kind", "images", "most"), [("clipcap", 8, 700), ("lstm", 16, 150)])
def test_a_step_launches_few_operations(kind, images, most, monkeypatch):
    """Counts a whole step as on a GPU: weights cast once, forward, backward, clipping, AdamW; GPT-2's twelve
    layers."""
    monkeypatch.setitem(CHUNK, "cpu", CHUNK["cuda"])
    monkeypatch.setattr("captioning.training.step.attention_kernels", lambda *_: nullcontext())
    model = decoder(kind, layers=12, merge=False)
    step, _ = steps(model)
    batch = next(batches(model, kind, images, images, True).epoch(0))
    step(*batch)
    with Count() as count:
        step(*batch)
    assert sum(count.counts.values()) <= most, count.counts.most_common(40)


@needs_bf16
def test_on_a_processor_a_step_in_bf16_computes_attention_as_plain_products():
    model = decoder("clipcap", layers=2)
    batch = next(batches(model, "clipcap", 8, 8, True).epoch(0))
    with Count() as count:
        steps(model)[0](*batch)
    assert not [name for name in count.counts if "scaled_dot_product" in name], count.counts
    assert count.counts["aten._softmax.default"] + count.counts["aten._safe_softmax.default"] == 2


@needs_bf16
@pytest.mark.parametrize(("kind", "most"), [("clipcap", 200), ("lstm", 40)])
def test_a_sampled_token_launches_few_operations(kind, most):
    """Counts the token's share of a recorded block, weights cast before it; GPT-2's twelve layers."""
    critic, features, images = critical(kind, layers=12)
    with (
        torch.no_grad(),
        torch.autocast("cpu", torch.bfloat16),
        CastWeights(critic.model, torch.bfloat16).in_place(),
    ):
        critic.prepare(features, images, chances := critic.chances(0, 0, images))
        chances = chances.flatten(0, 1)
        tokens, over, state = critic.sampler.begin(features, chances[:, :1])
        with Count() as count:
            critic.sampler.go_on(tokens[:, -1], over, state, chances[:, 1:9])
    assert sum(count.counts.values()) <= 8 * most, count.counts.most_common(40)


@needs_bf16
@DECODERS
def test_weights_cast_once_a_step_train_as_those_that_autocast_casts(kind):
    ours, theirs = decoder(kind), decoder(kind)
    (once, first), (each, second) = steps(ours), steps(theirs, cast=False)
    for batch in list(batches(ours, kind, 32, 8, True).epoch(0))[:3]:
        for optimizer in (first, second):
            set_rate(optimizer.param_groups[0], 1e-3)
        (loss, norm), (expected, length) = once(*batch), each(*batch)
        assert loss.item() == pytest.approx(expected.item(), rel=2e-3)
        assert norm.item() == pytest.approx(length.item(), rel=3e-2)
    frozen = [name for name, weight in ours.named_parameters() if not weight.requires_grad]
    for name, weight in ours.named_parameters():
        assert weight.dtype == torch.float32 and weight.grad is None
        assert name in frozen or not torch.equal(weight, decoder(kind).get_parameter(name)), (
            f"{name} did not move"
        )


def flickr8k_captions() -> list[list[str]]:
    reading = flickr8k.read(SimpleNamespace(root=str(REAL_FLICKR8K), annotations=None), seed=0)
    return [item.captions for item in reading.items if item.split == "train"]


@pytest.mark.skipif(not REAL_FLICKR8K.is_dir(), reason="needs Flickr8k's captions beside the project")
@pytest.mark.parametrize(("kind", "images", "most"), [("clipcap", 8, 8), ("lstm", 16, 8)])
def test_an_epoch_of_flickr8k_comes_in_few_shapes(kind, images, most):
    captions = encoded(flickr8k_captions(), kind)
    table = CaptionBatches(
        np.zeros((len(captions), 1), np.float16),
        captions,
        images,
        0,
        CPU,
        decoder(kind).packing,
        few_sizes=True,
    )
    work, used, needed, had = table.packing.work, set(), 0, 0
    for index in table.order(5, images):
        size = table.packing.size(index)
        bucket = table.buckets.of(size)
        used.add(bucket)
        needed, had = needed + work(size), had + work(bucket)
    print(f"{kind}: {len(used)} shapes, {1 - needed / had:.1%} padding")
    assert 1 < len(used) <= most and 1 - needed / had < 0.15 and len(captions) == 6000
