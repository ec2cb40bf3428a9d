"""Captions as token ids: a word vocabulary for the LSTM, byte-level BPE for GPT-2, in one small class.

Both are `tokenizers` objects and are saved as `tokenizer.json` + `tokenizer_config.json`, which transformers
can read, too.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, compress
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from captioning.core.errors import UserError, opening
from captioning.core.files import atomic_write, read_json, write_json

AGAIN = "`dvc repro` makes the checkpoint again"
END, UNKNOWN = "<|endoftext|>", "<unk>"
AT_ONCE = 10_000  # captions whose words are in memory together; words take many times the memory of tokens


@contextmanager
def without_garbage_collector() -> Iterator[None]:
    """Disables the garbage collector while many lists are made: it would scan them all repeatedly."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Text:
    """A tokenizer with an end-of-text token, the target after a caption's last word.

    Attributes:
        size: number of tokens in the vocabulary.
        eos_id: the end-of-text token, or another token that ends captions (`end`).
        banned_ids: tokens that must never be generated (`<unk>`).
    """

    def __init__(self, tokenizer: Tokenizer, end: str = END) -> None:
        self.tokenizer, self.end = tokenizer, end
        self.size = tokenizer.get_vocab_size()
        self.eos_id = tokenizer.token_to_id(end)
        if self.eos_id is None:
            raise UserError(f"the tokenizer has no {end} token, which must end every caption")
        unknown = tokenizer.token_to_id(UNKNOWN)
        self.banned_ids = () if unknown is None else (unknown,)

    def encode(self, captions: list[str], max_tokens: int | None = None) -> list[list[int]]:
        """Token ids of each caption, cut to `max_tokens - 1` and followed by the end-of-text token."""
        with without_garbage_collector():
            encoded = self._encode_words(captions) if self._splits_at_blanks() else self._encode(captions)
        for ids in encoded:
            if max_tokens is not None:
                del ids[max_tokens - 1 :]
            ids.append(self.eos_id)
        return encoded

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [found.ids for found in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _encode_words(self, captions: list[str]) -> list[list[int]]:
        """Encodes every distinct word once, with and without the blank before it.

        Captions repeat the same few thousand words.
        """
        firsts: dict[str, list[int]] = {}
        others: dict[str, list[int]] = {}
        encoded = []
        for start in range(0, len(captions), AT_ONCE):
            block = captions[start : start + AT_ONCE]
            texts = [caption.split(" ") for caption in block]
            # Plain: single blanks between words, and no other white space.
            plain = [caption.split() == words for caption, words in zip(block, texts, strict=True)]
            odd = iter(self._encode([block[i] for i, is_plain in enumerate(plain) if not is_plain]))
            usual = list(compress(texts, plain))
            new = list({words[0] for words in usual} - firsts.keys())
            firsts.update(zip(new, self._encode(new), strict=True))
            new = list(set().union(*usual) - others.keys())
            others.update(zip(new, self._encode([f" {word}" for word in new]), strict=True))

            def join(words: list[str]) -> list[int]:
                return [*firsts[words[0]], *chain.from_iterable(map(others.__getitem__, words[1:]))]

            for words, is_plain in zip(texts, plain, strict=True):
                encoded.append(join(words) if is_plain else next(odd))
        return encoded

    def _splits_at_blanks(self) -> bool:
        """Whether a word's tokens depend only on the word, as in GPT-2's tokenizer and a word vocabulary."""
        if self.tokenizer.normalizer is not None:
            return False
        split = self.tokenizer.pre_tokenizer
        as_in_gpt2 = isinstance(split, pre_tokenizers.ByteLevel) and split.use_regex
        return as_in_gpt2 or isinstance(split, pre_tokenizers.WhitespaceSplit)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the tokens before the first end-of-text token."""
        words = []
        for token in ids:
            if token == self.eos_id:
                break
            words.append(int(token))
        return " ".join(self.tokenizer.decode(words).split())

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json and tokenizer_config.json, in the form of transformers."""
        with atomic_write(folder / "tokenizer.json") as file:
            file.write(self.tokenizer.to_str(pretty=True))
        config = {"tokenizer_class": "PreTrainedTokenizerFast"}
        config |= {"eos_token": self.end, "bos_token": END, "pad_token": END}
        if self.banned_ids:
            config["unk_token"] = UNKNOWN
        write_json(folder / "tokenizer_config.json", config)

    @classmethod
    def load(cls, folder: Path) -> Text:
        """Reads what `save` wrote. Raises UserError if a file is missing or damaged."""
        with opening(folder / "tokenizer.json", "a tokenizer", AGAIN):
            tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        path = folder / "tokenizer_config.json"
        with opening(path, "a tokenizer's config", AGAIN):
            return cls(tokenizer, read_json(path, AGAIN).get("eos_token", END))


def word_vocabulary(captions: Iterable[str], min_count: int) -> Text:
    """One token per word of text separated by white space.

    Words seen fewer than `min_count` times become `<unk>`.
    """
    counts = Counter(word for caption in captions for word in caption.split())
    frequent = (word for word, count in counts.items() if count >= min_count)
    words = sorted(frequent, key=lambda word: (-counts[word], word))
    if not words:
        most = max(counts.values(), default=0)
        raise UserError(
            f"lstm.min_count = {min_count}: no word of the training captions occurs more than {most} times; "
            "set a lower one"
        )
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys([END, UNKNOWN, *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Text(tokenizer)


def train_bpe(captions: Iterable[str], vocab_size: int) -> Text:
    """Trains GPT-2's kind of tokenizer (byte-level BPE) on the captions.

    Unlike GPT-2's own, it lowercases text and drops the final full stop, as the metrics do. A small model
    then needs no capacity for either.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"[\s.]+$"), ""),
            normalizers.Replace(Regex(r"\s+(?=[,;:!?])"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return Text(tokenizer)


def pretrained_bpe(folder: str | Path) -> Text:
    """The tokenizer of a GPT-2: a folder's `vocab.json` and `merges.txt`, or else its `tokenizer.json`.

    A `tokenizer.json` decides whether a text begins with a blank (`add_prefix_space`). Its padding and
    truncation, if any, are not used.

    Raises an error of `tokenizers` for unreadable files, and ValueError for a vocabulary without all bytes.
    """
    vocab, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
    if vocab.is_file() and merges.is_file():
        no_affixes = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
        tokenizer = Tokenizer(models.BPE.from_file(str(vocab), str(merges), **no_affixes))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([END])
    else:
        tokenizer = Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
        tokenizer.no_padding()  # some files have settings of the batches that their model learned from
        tokenizer.no_truncation()
    if tokenizer.get_vocab_size() <= 256:
        raise ValueError("its vocabulary lacks tokens for some bytes")
    return Text(tokenizer)
