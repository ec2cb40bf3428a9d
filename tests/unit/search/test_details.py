"""Details of captions: their tokens make up the caption, and attention is that of the steps that chose
them."""

import base64

import numpy as np
import pytest
import torch

from captioning.decoders.checkpoint import Decoder
from captioning.decoders.vocabulary import train_bpe, word_vocabulary
from captioning.search.base import Rules
from captioning.search.beam import beam_search
from captioning.search.explain import details, pieces
from models.clipcap import ClipCap, ClipCapConfig
from models.gpt2 import GPT2, GPT2Config
from models.lstm import LSTMConfig, LSTMDecoder

CAPTIONS = ["a dog runs on the beach", "two dogs run", "a café by the sea", "one dog and a cat"]


def lstm(grid: bool) -> Decoder:
    text = word_vocabulary(CAPTIONS, 1)
    config = LSTMConfig(text.size, 8, grid=grid, embed_dim=16, hidden_size=16, attention_dim=16)
    return Decoder("lstm", LSTMDecoder(config).eval(), text, config.to_dict(), {})


def clipcap() -> Decoder:
    text = train_bpe(CAPTIONS, 300)
    gpt = GPT2(GPT2Config(vocab_size=text.size, n_positions=40, n_embd=16, n_layer=1, n_head=2))
    config = ClipCapConfig(feature_size=8, prefix_len=3)
    return Decoder("clipcap", ClipCap(config, gpt).eval(), text, config.to_dict(), {})


@pytest.fixture(params=["lstm", "attending lstm", "clipcap"])
def decoder(request) -> Decoder:
    torch.manual_seed(0)
    return clipcap() if request.param == "clipcap" else lstm(grid=request.param != "lstm")


def test_details_of_every_kind_of_captioner(decoder):
    grid = decoder.kind == "lstm" and decoder.model.config.grid
    features = torch.randn(3, 4, 5, 8) if grid else torch.randn(3, 8)
    text = decoder.text
    found = beam_search(decoder.model, features, Rules(beam_size=2, max_tokens=6, eos_id=text.eos_id))
    captions = [hypotheses[0] for hypotheses in found]
    entries = details(decoder, ["x", "y", "z"], features, captions)
    assert [entry["image_id"] for entry in entries] == ["x", "y", "z"]
    for entry, caption in zip(entries, captions, strict=True):
        # An untrained network says bytes that are not text.
        said = "".join(entry["tokens"]).replace("\ufffd", "")
        assert " ".join(said.split()) == " ".join(text.decode(caption.tokens).replace("\ufffd", "").split())
        assert len(entry["log_probs"]) == len(entry["tokens"]) + entry["ended"]
        assert entry["log_probs"] == pytest.approx(caption.log_probs, abs=6e-4)
        assert ("attention" in entry) == grid
        if grid:
            maps = np.frombuffer(base64.b64decode(entry["attention"]["maps"]), np.uint8)
            maps = maps.reshape(
                len(entry["tokens"]), entry["attention"]["rows"] * entry["attention"]["columns"]
            )
            assert (entry["attention"]["rows"], entry["attention"]["columns"]) == (4, 5)
            assert (maps.max(axis=1) == 255).all()
        assert len(entry.get("prefix_words", [])) == (3 if decoder.kind == "clipcap" else 0)


def test_attention_is_that_of_the_steps_that_chose_the_tokens():
    torch.manual_seed(1)
    model = lstm(grid=True).model
    features, tokens = torch.randn(2, 3, 3, 8), torch.randint(2, 9, (2, 4))
    weights = model.attention_of(features, tokens)
    assert weights.shape == (2, 4, 9)
    assert torch.allclose(weights.sum(2), torch.ones(2, 4))
    seen = []
    model.attention.register_forward_hook(lambda module, given, result: seen.append(result[1]))
    _, state = model.begin(features)
    for step in range(3):
        _, state = model.step(tokens[:, step], state)
    assert torch.allclose(weights, torch.stack(seen, dim=1))


def test_a_prefix_that_is_a_word_is_read_as_it():
    torch.manual_seed(2)
    decoder = clipcap()
    token = decoder.text.encode(["dog"])[0][0]
    decoder.model.prefix = lambda features: (
        3 * decoder.model.gpt.transformer.wte.weight[token].expand(len(features), 2, -1)
    )
    features = torch.randn(1, 8)
    found = beam_search(decoder.model, features, Rules(beam_size=1, max_tokens=3, eos_id=decoder.text.eos_id))
    [entry] = details(decoder, ["x"], features, found[0])
    assert entry["prefix_words"] == [decoder.text.tokenizer.decode([token]).strip()] * 2


def test_pieces_of_characters_that_take_several_tokens():
    text = train_bpe(["a"], 257)  # single bytes: an accented letter takes two, a face four
    tokens = text.encode(["é 😀 x"])[0][:-1]
    assert "".join(pieces(text, tokens)).strip() == "é 😀 x"
    assert len(pieces(text, tokens)) == len(tokens)
