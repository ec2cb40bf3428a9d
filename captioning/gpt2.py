"""GPT-2 and its tokenizer: OpenAI's by name, any by folder, or a small one made for the captions at hand."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from captioning import pretrained
from captioning.errors import UserError
from captioning.settings import ClipCap
from captioning.text import Text, pretrained_bpe, train_bpe


def language_model(options: ClipCap, captions: list[str]) -> tuple[Text, GPT2LMHeadModel]:
    """What `model.gpt2` asks for, in fp32 on the CPU.

    Args:
        captions: of the training images; a tokenizer from scratch is trained on them.
    """
    if options.gpt2 == "scratch":
        return from_scratch(options, captions)
    folder = pretrained.gpt2(options.gpt2).get()
    return open_tokenizer(folder), open_model(folder)


def from_scratch(options: ClipCap, captions: list[str]) -> tuple[Text, GPT2LMHeadModel]:
    s, text = options.scratch, train_bpe(captions, options.scratch.vocab_size)
    config = GPT2Config(
        vocab_size=text.size,
        n_positions=options.prefix_len + options.max_caption_tokens,
        n_embd=s.width,
        n_layer=s.layers,
        n_head=s.heads,
        embd_pdrop=s.dropout,
        attn_pdrop=s.dropout,
        resid_pdrop=s.dropout,
        bos_token_id=text.eos_id,
        eos_token_id=text.eos_id,
    )
    return text, GPT2LMHeadModel(config)


def open_tokenizer(folder: Path) -> Text:
    """A folder's tokenizer; `vocab.json` and `merges.txt` are enough."""
    names = {path.name for path in folder.glob("*")}
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise UserError(f"{folder} has no tokenizer: expected vocab.json and merges.txt, or tokenizer.json")
    try:
        return pretrained_bpe(str(folder))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: the tokenizer cannot be read: {' '.join(str(error).split())}") from None


def open_model(folder: Path) -> GPT2LMHeadModel:
    """A folder's weights, all of them: transformers would draw those that are missing."""
    logging.disable_progress_bar()  # over in a moment
    try:
        config = GPT2Config.from_pretrained(folder, local_files_only=True)
        if config.model_type != "gpt2" or not hasattr(config, "n_embd"):
            raise ValueError(f"config.json describes a {config.model_type}, no GPT-2")
        model, found = GPT2LMHeadModel.from_pretrained(
            folder, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder} holds no GPT-2 that can be read: {' '.join(str(error).split())}") from None
    if missing := sorted(found["missing_keys"]):
        raise UserError(f"{folder}: {len(missing)} of GPT-2's weights are missing, such as {missing[0]}")
    return model
