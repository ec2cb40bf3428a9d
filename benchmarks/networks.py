"""Full-size networks with random weights, the same in every process; tiny ones to try the benchmarks."""

import copy

import torch

from models.clipcap import ClipCap, ClipCapConfig
from models.gpt2 import GPT2, GPT2Config
from models.lstm import LSTMConfig, LSTMDecoder

CLIP_SIZE, FC7_SIZE = 512, 4096  # numbers in an embedding of ViT-B/32, and of VGG16's fc7
GPT2_VOCABULARY = 50257  # also if the tokenizer has fewer
NEVER = -1  # the end-of-text token: random weights never choose it, so all captions get the full length

TINY_GPT2 = {"n_layer": 2, "n_head": 4, "n_embd": 64}


def clipcap(mapping: str, prefix_len: int, freeze: bool, vocabulary: int, tiny: bool) -> ClipCap:
    """ClipCap on GPT-2 (124 M), with the mapping networks' published sizes."""
    torch.manual_seed(0)
    gpt = GPT2(GPT2Config(vocab_size=vocabulary, **(TINY_GPT2 if tiny else {})))
    config = ClipCapConfig(
        feature_size=CLIP_SIZE,
        mapping=mapping,
        prefix_len=prefix_len,
        clip_len=prefix_len,
        mapping_layers=2 if tiny else 8,
        freeze_gpt2=freeze,
    )
    return ClipCap(config, gpt)


def library_gpt2(gpt: GPT2, **ids: int):
    """transformers' `GPT2LMHeadModel` with copied weights; the `ids` of special tokens are for `generate`."""
    import transformers  # slow, and only needed here

    none = {"bos_token_id": None, "eos_token_id": None}
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**gpt.config.to_dict() | none | ids))
    theirs.load_state_dict(gpt.state_dict())
    tokens = gpt.transformer.wte.weight
    return theirs.train(gpt.training).requires_grad_(tokens.requires_grad).to(tokens.device)


def in_library(model: ClipCap) -> ClipCap:
    """A copy whose `gpt` is transformers' and callable; ClipCap's own `loss`, `begin` and `step` fail."""
    twin = copy.deepcopy(model)
    twin.gpt = library_gpt2(model.gpt)
    return twin


def lstm(vocabulary: int, tiny: bool) -> LSTMDecoder:
    """The baseline's decoder at Flickr8k's sizes."""
    torch.manual_seed(0)
    size = 64 if tiny else 512
    return LSTMDecoder(LSTMConfig(vocabulary, FC7_SIZE, embed_dim=size, hidden_size=size))


def features(images: int, size: int) -> torch.Tensor:
    return torch.randn(images, size, generator=torch.Generator().manual_seed(1))
