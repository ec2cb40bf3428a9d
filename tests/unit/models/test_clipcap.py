"""ClipCap: packed rows give the published padded form's loss and gradients; weights have the published
names."""

import pytest
import torch
import torch.nn.functional as F
from loss_checks import check_caption_weights, random_captions

from benchmarks.networks import in_library
from models.clipcap import ClipCap, ClipCapConfig
from models.gpt2 import GPT2, GPT2Config
from models.losses import PAD

VOCABULARY, FEATURES, PREFIX, END = 50, 12, 4, 1


def small_gpt(seed: int = 0, dropout: float = 0.0, **changes) -> GPT2:
    torch.manual_seed(seed)
    sizes = dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=32, initializer_range=0.2)
    drops = dict(resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout)
    return GPT2(GPT2Config(**sizes | drops | changes))


def small_model(mapping: str, seed: int = 0, freeze_gpt2: bool = False, gpt: GPT2 | None = None) -> ClipCap:
    config = ClipCapConfig(FEATURES, mapping, PREFIX, clip_len=3, mapping_layers=2, freeze_gpt2=freeze_gpt2)
    return ClipCap(config, gpt or small_gpt(seed))


def some_captions(seed: int, images: int = 4, captions: int = 3, longest: int = 7) -> torch.Tensor:
    """As `random_captions`, at least one of them of `longest` tokens."""
    result = random_captions(seed, VOCABULARY, END, (images, captions, longest))
    result[0, 0] = torch.arange(2, 2 + longest)
    return result


def padded_loss(model: ClipCap, features: torch.Tensor, captions: torch.Tensor) -> torch.Tensor:
    """The loss of a ClipCap `in_library` in the published form: one padded row per caption, the prefix
    computed for each, the library's forward."""
    rows = captions.flatten(0, 1)  # (B*C, T)
    prefix = model.prefix(features.repeat_interleave(captions.shape[1], dim=0))  # (B*C, P, E)
    embeddings = torch.cat([prefix, model.gpt.transformer.wte(rows.clamp(min=0))], dim=1)
    mask = torch.cat([torch.ones(prefix.shape[:2]), (rows >= 0).float()], dim=1)
    logits = model.gpt(inputs_embeds=embeddings, attention_mask=mask).logits[:, prefix.shape[1] - 1 : -1]
    return F.cross_entropy(logits.flatten(0, 1), rows.flatten(), ignore_index=PAD, reduction="sum")


@pytest.mark.parametrize("mapping", ["mlp", "transformer"])
@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_packed_rows_give_the_loss_and_gradients_of_padded_rows(mapping, freeze, seed):
    model = small_model(mapping, seed, freeze)
    twin = in_library(model)
    features, captions = torch.randn(4, FEATURES), some_captions(seed)

    loss, expected = model.loss(features, captions), padded_loss(twin, features, captions)
    loss.total.backward()
    expected.backward()

    assert loss.tokens == (captions >= 0).sum()
    torch.testing.assert_close(loss.total, expected, rtol=1e-6, atol=1e-5)
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        if freeze and name.startswith("gpt."):
            assert ours.grad is None and theirs.grad is None
        else:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=2e-5, msg=name)


def test_weights_are_of_each_caption_s_share_in_the_sum():
    model, twin = small_model("mlp"), small_model("mlp")
    features, captions = torch.randn(4, FEATURES), some_captions(0)
    weights = torch.randn(captions.shape[:2])
    check_caption_weights(model, twin, features, captions, weights)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 6), (3, 1, 4), (2, 5, 1), (2, 4, 2)])
def test_any_number_of_images_captions_and_tokens(shape):
    model = small_model("mlp")
    images, captions, longest = shape
    features, captions = torch.randn(images, FEATURES), some_captions(3, images, captions, longest)
    torch.testing.assert_close(
        model.loss(features, captions).total, padded_loss(in_library(model), features, captions)
    )


def test_padding_and_order_of_captions_do_not_matter():
    model = small_model("mlp")
    features, captions = torch.randn(4, FEATURES), some_captions(0)
    wide = F.pad(captions.flip(1), (0, 5), value=PAD)
    torch.testing.assert_close(model.loss(features, captions).total, model.loss(features, wide).total)


@pytest.mark.parametrize(
    "changes",
    [
        {"activation_function": "relu"},
        {"n_inner": 24},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"tie_word_embeddings": False},
        {"layer_norm_epsilon": 0.1},
        # A rate of 1 drops everything, so it is not random.
        *({name: 1.0} for name in ("embd_pdrop", "resid_pdrop", "attn_pdrop")),
    ],
    ids=str,
)
def test_every_setting_of_gpt2_acts_as_in_the_library(changes):
    model = small_model("mlp", gpt=small_gpt(**changes)).train()
    for weight in (weight for weight in model.gpt.parameters() if weight.ndim == 1):
        weight.data += 0.2 * torch.randn_like(weight)  # fresh biases are all 0
    twin, features, captions = in_library(model), torch.randn(4, FEATURES), some_captions(1)
    loss, expected = model.loss(features, captions).total, padded_loss(twin, features, captions)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for (name, ours), theirs in zip(model.gpt.named_parameters(), twin.gpt.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=2e-5, msg=name)


def test_label_smoothing_mixes_in_the_mean_over_the_vocabulary():
    model = small_model("mlp")
    features, captions = torch.randn(4, FEATURES), some_captions(1)
    rows = captions.flatten(0, 1)
    prefix = model.prefix(features.repeat_interleave(3, dim=0))
    embeddings = torch.cat([prefix, model.gpt.transformer.wte(rows.clamp(min=0))], dim=1)
    logs = (
        in_library(model).gpt(inputs_embeds=embeddings).logits[:, PREFIX - 1 : -1][rows >= 0].log_softmax(-1)
    )  # (M, V)
    wanted = -(0.9 * logs.gather(1, rows[rows >= 0][:, None]).sum() + 0.1 * logs.mean(1).sum())
    torch.testing.assert_close(model.loss(features, captions, label_smoothing=0.1).total, wanted)


def test_a_frozen_gpt2_has_no_dropout_and_no_gradients():
    frozen = small_model("mlp", freeze_gpt2=True, gpt=small_gpt(dropout=0.5)).train()
    features, captions = torch.randn(4, FEATURES), some_captions(0)
    assert frozen.loss(features, captions).total == frozen.loss(features, captions).total
    assert all(name.startswith("clip_project.") for name, p in frozen.named_parameters() if p.requires_grad)
    tuned = small_model("mlp", gpt=small_gpt(dropout=0.5)).train()
    assert tuned.loss(features, captions).total != tuned.loss(features, captions).total
    assert tuned.eval().loss(features, captions).total == tuned.loss(features, captions).total


def test_the_dropout_of_attention_is_used():
    gpt = small_gpt(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.5)
    model = small_model("mlp", gpt=gpt).train()
    features, captions = torch.randn(4, FEATURES), some_captions(0)
    assert model.loss(features, captions).total != model.loss(features, captions).total


def test_bf16_autocast_stays_near_fp32():
    model = small_model("transformer")
    features, captions = torch.randn(4, FEATURES), some_captions(0)
    exact = model.loss(features, captions).mean
    with torch.autocast("cpu", torch.bfloat16):
        near = model.loss(features.half(), captions).mean
    near.backward()
    assert near.dtype == torch.float32
    assert abs(float(near.detach() - exact.detach())) < 0.05
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_names_are_those_of_the_published_checkpoints():
    mapping = {name for name in small_model("mlp").state_dict() if not name.startswith("gpt.")}
    assert mapping == {f"clip_project.model.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")}
    layer = "norm1.weight norm1.bias attn.to_queries.weight attn.to_keys_values.weight attn.project.weight "
    layer += (
        "attn.project.bias norm2.weight norm2.bias mlp.fc1.weight mlp.fc1.bias mlp.fc2.weight mlp.fc2.bias"
    )
    names = {f"clip_project.transformer.layers.{i}.{name}" for i in (0, 1) for name in layer.split()}
    names |= {"clip_project.linear.weight", "clip_project.linear.bias", "clip_project.prefix_const"}
    assert {name for name in small_model("transformer").state_dict() if not name.startswith("gpt.")} == names
    assert "gpt.transformer.h.0.attn.c_attn.weight" in small_model("mlp").state_dict()


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="mlp or transformer"):
        small_model("linear")
    with pytest.raises(ValueError, match="heads"):
        small_model("transformer", gpt=small_gpt(n_embd=36))
    with pytest.raises(ValueError, match="32"):
        small_model("mlp").loss(torch.randn(1, FEATURES), torch.ones(1, 1, 30, dtype=torch.int64))


def wave_weights(model: ClipCap) -> ClipCap:
    """Weights without a random generator: a wave of another frequency for each, norms around one."""
    state = model.state_dict()
    norms = ("ln_1.weight", "ln_2.weight", "ln_f.weight", "norm1.weight", "norm2.weight")
    for i, (name, weight) in enumerate(sorted(state.items())):
        steps = torch.arange(weight.numel(), dtype=torch.float64)
        wave = 0.25 * torch.sin(steps * (0.7 + 0.013 * i) + i) + name.endswith(norms)
        state[name] = wave.view(weight.shape).float()
    state["gpt.lm_head.weight"] = state["gpt.transformer.wte.weight"]
    model.load_state_dict(state)
    return model.eval()


@pytest.mark.parametrize(
    ("mapping", "first", "last"),
    [
        ("mlp", [-1.40832, -0.42676, 1.75347, -0.99143], [2.91673, 3.01004, -5.3512, 1.31795]),
        ("transformer", [0.03855, 0.7985, 0.39219, -0.58695], [-1.14222, -1.12472, 0.53552, 1.41359]),
    ],
)
@torch.no_grad()
def test_logits_are_those_of_the_authors_model(mapping, first, last):
    """The figures come from rmokady/CLIP_prefix_caption's `ClipCaptionModel` (train.py) with these weights
    and inputs."""
    sizes = dict(vocab_size=40, n_embd=32, n_layer=2, n_head=4, n_positions=32)
    gpt = GPT2(GPT2Config(**sizes))
    model = wave_weights(ClipCap(ClipCapConfig(16, mapping, 4, clip_len=3, mapping_layers=2), gpt))
    logits, state = model.begin(torch.cos(torch.arange(32) * 0.9).view(2, 16))
    torch.testing.assert_close(logits[0, :4], torch.tensor(first), rtol=0, atol=1e-4)
    for tokens in ([3, 8], [9, 24], [27, 1]):
        logits, state = model.step(torch.tensor(tokens), state)
    torch.testing.assert_close(logits[1, -4:], torch.tensor(last), rtol=0, atol=1e-4)


def test_dropout_of_features_is_for_training_alone():
    torch.manual_seed(0)
    model = ClipCap(ClipCapConfig(FEATURES, prefix_len=PREFIX, image_dropout=0.5), small_gpt())
    plain = ClipCap(ClipCapConfig(FEATURES, prefix_len=PREFIX), model.gpt)
    plain.load_state_dict(model.state_dict())
    features = torch.randn(3, FEATURES)
    assert not torch.equal(model.prefix(features), plain.prefix(features))
    assert torch.equal(model.eval().prefix(features), plain.prefix(features))
