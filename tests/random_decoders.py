"""Decoders with random weights and different captions, and transformers' `generate` answers for them."""

import pytest
import torch

from benchmarks.networks import library_gpt2
from captioning.search.base import Hypothesis
from models.clipcap import ClipCap, ClipCapConfig
from models.gpt2 import GPT2, GPT2Config
from models.lstm import LSTMConfig, LSTMDecoder

VOCABULARY, FEATURES, PREFIX, END, PADDING = 24, 8, 3, 1, 0


def random_clipcap(seed: int, vocabulary: int = VOCABULARY, mapping: str = "mlp") -> ClipCap:
    """A ClipCap with weights so large that captions differ, and an end-of-text token so likely that some end
    early."""
    torch.manual_seed(seed)
    sizes = dict(vocab_size=vocabulary, n_embd=16, n_layer=2, n_head=2, n_positions=32, initializer_range=0.4)
    gpt = GPT2(GPT2Config(**sizes))
    end = gpt.lm_head.weight[END].detach()
    gpt.transformer.ln_f.bias.data = 2 * end / end.square().sum()  # adds 2 to the token's logit
    config = ClipCapConfig(FEATURES, mapping, PREFIX, clip_len=2, mapping_layers=1, mapping_heads=2)
    return ClipCap(config, gpt).eval()


def random_lstm(seed: int, grid: bool = False) -> LSTMDecoder:
    torch.manual_seed(seed)
    sizes = dict(embed_dim=16, hidden_size=16, attention_dim=8)
    model = LSTMDecoder(LSTMConfig(VOCABULARY, FEATURES, grid=grid, **sizes))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.startswith("norm"):
                weight.copy_(torch.randn_like(weight) * 0.8)
        model.output_bias[END] = 1.0
    return model.eval()


def random_features(seed: int, images: int, grid: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (images, 2, 3, FEATURES) if grid else (images, FEATURES)
    return torch.randn(shape, generator=generator)


def generated(model: ClipCap, features: torch.Tensor, beams: int, max_tokens: int, **options):
    """The answers of the library: per beam of each image, the tokens up to and including end-of-text, and
    scores."""
    prefix = model.prefix(features)
    library = library_gpt2(model.gpt, bos_token_id=END, eos_token_id=END, pad_token_id=PADDING)
    answer = library.generate(
        inputs_embeds=prefix,
        attention_mask=torch.ones(prefix.shape[:2], dtype=torch.int64),
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=max_tokens,
        do_sample=False,
        early_stopping=False,
        output_scores=True,
        return_dict_in_generate=True,
        **options,
    )
    rows = [row[: row.index(END) + 1] if END in row else row for row in answer.sequences.tolist()]
    scores = answer.sequences_scores.tolist() if beams > 1 else [None] * len(rows)
    return rows, scores


def assert_same(found: list[list[Hypothesis]], rows: list[list[int]], scores: list[float]) -> None:
    ours = [caption for captions in found for caption in captions]
    assert [caption.tokens + [END] * caption.ended for caption in ours] == rows
    for caption, score in zip(ours, scores, strict=True):
        assert score is None or caption.score == pytest.approx(score, abs=1e-4)


def log_probs_after(model, features: torch.Tensor, tokens: list[int]) -> list[float]:
    """Log-probabilities of the next token, from the start, for one image (1, ...)."""
    logits, state = model.begin(features)
    for token in tokens:
        logits, state = model.step(torch.tensor([token]), state)
    return logits[0].log_softmax(0).tolist()


MODELS = {
    "clipcap": lambda seed: (random_clipcap(seed), False),
    "lstm": lambda seed: (random_lstm(seed), False),
    "attention": lambda seed: (random_lstm(seed, grid=True), True),
}
