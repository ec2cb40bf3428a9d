"""Small files in the official formats, with weights that need no random generator."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from captioning.decoders.vocabulary import Text, train_bpe

WORDS = (
    "a man in the red shirt runs on grass with two black dogs while some children watch them near water"
).split()
CAPTIONS = [" ".join(WORDS[i % 7 : i % 7 + 9]) for i in range(40)] + [" ".join(WORDS)]


def wave(name: str, shape: tuple[int, ...]) -> Tensor:
    """Weights from a formula, so that another program can make the same ones; norms around one."""
    count, seed = torch.Size(shape).numel(), sum(map(ord, name))
    values = 0.2 * torch.sin(torch.arange(count, dtype=torch.float64) * (0.7 + 0.001 * (seed % 97)) + seed)
    norms = ("ln_1.weight", "ln_2.weight", "ln_f.weight", "norm1.weight", "norm2.weight")
    return (values + name.endswith(norms)).view(shape).float()


def gpt2_tokenizer(folder: Path, tokens: int = 300) -> Text:
    """Writes `vocab.json` and `merges.txt` in the form of OpenAI's GPT-2."""
    folder.mkdir(parents=True, exist_ok=True)
    text = train_bpe(CAPTIONS, tokens)
    assert text.size == tokens
    text.tokenizer.model.save(str(folder))
    return text


def gpt2_folder(folder: Path, tokens: int = 300, layers: int = 2) -> GPT2LMHeadModel:
    """Writes a GPT-2 as on the Hugging Face hub: the weights of `transformer.` under the old short names, no
    head."""
    text = gpt2_tokenizer(folder, tokens)
    torch.manual_seed(0)
    ids = {"bos_token_id": text.eos_id, "eos_token_id": text.eos_id}
    config = GPT2Config(vocab_size=tokens, n_embd=128, n_layer=layers, n_head=2, n_positions=64, **ids)
    model = GPT2LMHeadModel(config).eval()
    from safetensors.torch import save_file

    weights = {
        n.removeprefix("transformer."): t for n, t in model.state_dict().items() if n != "lm_head.weight"
    }
    for layer in range(layers):  # masks, which the hub's files still have
        weights[f"h.{layer}.attn.bias"] = torch.ones(64, 64).tril().view(1, 1, 64, 64)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(
        json.dumps(config.to_diff_dict() | {"architectures": ["GPT2LMHeadModel"]})
    )
    return model
