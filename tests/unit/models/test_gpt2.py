"""Our GPT-2 is that of transformers: names, weights of a seed, logits, and what config.json may say."""

import pytest
import torch
from transformers import GPT2Config as LibraryConfig
from transformers import GPT2LMHeadModel, set_seed

from benchmarks.networks import library_gpt2
from models import gpt2
from models.gpt2 import ACTIVATIONS, GPT2, GPT2Config

SIZES = {
    "vocab_size": 40, "n_positions": 24, "n_embd": 32, "n_layer": 3, "n_head": 4, "initializer_range": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("tied", [True, False])
def test_a_seed_gives_the_weights_that_it_gives_the_library(tied):
    sizes = SIZES | {"tie_word_embeddings": tied}
    set_seed(3)
    theirs, next_draw = GPT2LMHeadModel(LibraryConfig(**sizes)), torch.rand(1)
    set_seed(3)
    ours = GPT2(GPT2Config(**sizes))
    assert torch.rand(1) == next_draw
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    assert all(torch.equal(weight, expected[name]) for name, weight in ours.state_dict().items())
    assert (ours.lm_head.weight is ours.transformer.wte.weight) == tied


@torch.no_grad()
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_logits_word_by_word_are_those_of_the_library_s_forward(activation):
    torch.manual_seed(0)
    ours = GPT2(GPT2Config(**SIZES, activation_function=activation)).eval()
    prefix, tokens = torch.randn(2, 5, SIZES["n_embd"]), torch.randint(SIZES["vocab_size"], (2, 9))
    expected = library_gpt2(ours)(inputs_embeds=torch.cat([prefix, ours.transformer.wte(tokens)], 1)).logits[
        :, 4:
    ]
    logits, state = gpt2.begin(ours, prefix)
    torch.testing.assert_close(logits, expected[:, 0])
    for step in range(tokens.shape[1]):
        logits, state = gpt2.step(ours, tokens[:, step], state)
        torch.testing.assert_close(logits, expected[:, step + 1])


def test_config_json_of_any_transformers_is_read():
    written = LibraryConfig(**SIZES, attn_pdrop=0.2).to_dict() | {"n_ctx": 24, "task_specific_params": {}}
    assert GPT2Config.from_dict(written) == GPT2Config(**SIZES, attn_pdrop=0.2)
    assert GPT2Config.from_dict({}) == GPT2Config.from_dict(LibraryConfig().to_dict()) == GPT2Config()
    assert GPT2Config.from_dict(GPT2Config(**SIZES).to_dict()) == GPT2Config(**SIZES)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"activation_function": "quick_gelu"}, "activation_function is quick_gelu; known are gelu_new, "),
        ({"n_head": 5}, "5 heads do not divide its width of 32"),
        ({"model_type": "llama"}, "describes a llama, not a GPT-2"),
        ({"add_cross_attention": True}, "GPT-2 with cross-attention"),
    ],
)
def test_another_network_is_refused(changes, fault):
    with pytest.raises(ValueError, match=fault):
        GPT2Config.from_dict(SIZES | changes)
