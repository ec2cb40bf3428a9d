"""Vocabularies: decoding returns the encoded text, the end is a token, the unknown word is never said."""

import gc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import captioning.decoders.vocabulary
from captioning.core.errors import UserError
from captioning.decoders.vocabulary import Text, pretrained_bpe, train_bpe, word_vocabulary

CAPTIONS = ["a man in a red shirt runs", "a dog runs on the beach", "two dogs , one black , run"] * 3
GPT2 = Path(__file__).parents[4] / "shared" / "gpt2-tokenizer"


def test_words_seen_too_rarely_are_unknown():
    text = word_vocabulary([*CAPTIONS, "a zebra runs"], min_count=3)
    [ids] = text.encode(["a zebra runs"])
    assert ids[-1] == text.eos_id and ids[1] in text.banned_ids
    assert text.decode(ids) == "a <unk> runs"
    assert text.decode(text.encode(["a man runs"])[0]) == "a man runs"


def test_words_come_by_frequency_then_alphabet():
    text = word_vocabulary(["b a", "a c", "c b a"], min_count=1)
    assert [text.tokenizer.id_to_token(i) for i in range(text.size)] == [
        "<|endoftext|>", "<unk>", "a", "b", "c",
    ]  # fmt: skip


BPE = train_bpe(CAPTIONS, 400)


def test_bpe_folds_case_and_the_closing_stop():
    assert BPE.encode(["A Man runs ."]) == BPE.encode(["a man runs"])
    assert BPE.decode(BPE.encode(["A Man, in red ."])[0]) == "a man, in red"


@given(st.text(max_size=60))
def test_bpe_keeps_any_text(caption):
    expected = BPE.tokenizer.normalizer.normalize_str(caption.replace("<|endoftext|>", ""))
    assert BPE.decode(BPE.encode([caption.replace("<|endoftext|>", "")])[0]) == " ".join(expected.split())


def test_a_long_caption_is_cut_and_still_ends():
    [ids] = BPE.encode(["a man " * 50], max_tokens=10)
    assert len(ids) == 10 and ids[-1] == BPE.eos_id


@pytest.mark.parametrize("text", [BPE, word_vocabulary(CAPTIONS, 1)], ids=["bpe", "words"])
def test_saved_and_loaded_is_the_same_and_transformers_reads_it(tmp_path, text):
    from transformers import AutoTokenizer

    text.save(tmp_path)
    again = Text.load(tmp_path)
    assert again.encode(CAPTIONS) == text.encode(CAPTIONS)
    assert (again.size, again.eos_id, again.banned_ids) == (text.size, text.eos_id, text.banned_ids)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert [*theirs(CAPTIONS[0]).input_ids, text.eos_id] == text.encode(CAPTIONS[:1])[0]
    assert theirs.eos_token_id == text.eos_id


@pytest.mark.skipif(not GPT2.exists(), reason="GPT-2's own tokenizer files are not beside the project")
def test_gpt2_s_own_tokenizer():
    text = pretrained_bpe(GPT2)
    assert (text.size, text.eos_id, text.banned_ids) == (50257, 50256, ())
    assert text.encode(["A man in a red shirt ."])[0] == [32, 582, 287, 257, 2266, 10147, 764, 50256]


@pytest.mark.parametrize("kind", ["vocab.json and merges.txt", "tokenizer.json"])
def test_a_pretrained_tokenizer_is_that_of_transformers(tmp_path, kind):
    from transformers import GPT2TokenizerFast

    without_normalizer().tokenizer.model.save(str(tmp_path))
    theirs = GPT2TokenizerFast.from_pretrained(tmp_path)
    if kind == "tokenizer.json":
        theirs.save_pretrained(tmp_path)
        (tmp_path / "vocab.json").unlink()
    texts = [*CAPTIONS, "  two  blanks \n", "é ∂", "a <|endoftext|> b", "", "it's 2 dogs'"]
    ours = pretrained_bpe(tmp_path)
    assert ours.encode(texts) == [[*ids, theirs.eos_token_id] for ids in theirs(texts).input_ids]
    ids = ours.encode(texts)
    assert ours.tokenizer.decode_batch(ids) == theirs.backend_tokenizer.decode_batch(ids)


def test_padding_and_truncation_of_a_pretrained_tokenizer_are_not_used(tmp_path):
    tokenizer = without_normalizer().tokenizer
    wanted = Text(tokenizer).encode(CAPTIONS)
    assert len(set(map(len, wanted))) > 1
    tokenizer.enable_padding()
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert pretrained_bpe(tmp_path).encode(CAPTIONS) == wanted


def test_a_vocabulary_without_all_bytes_is_refused(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(ValueError, match="lacks tokens for some bytes"):
        pretrained_bpe(tmp_path)


def without_normalizer() -> Text:
    """Byte-level BPE like GPT-2's own: no normalizer, no blank before the first word."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(
        [f"{caption} ." for caption in CAPTIONS] + ["it's a dog's 2nd run!!"], trainer
    )
    return Text(tokenizer)


BY_WORD = {"bpe": without_normalizer(), "words": word_vocabulary(CAPTIONS, 1)}
if GPT2.is_dir():
    BY_WORD["gpt2"] = pretrained_bpe(GPT2)
pieces = st.sampled_from(
    ["a man", "dog's", " ", "  ", "\t", "\u00a0", "2nd", "run!!", "é", "<|endoftext|>", "'s", ". ."]
)


@pytest.mark.parametrize("text", BY_WORD.values(), ids=list(BY_WORD))
@given(st.lists(st.one_of(st.text(max_size=12), st.lists(pieces, max_size=8).map("".join)), max_size=4))
def test_words_encoded_once_give_the_captions_tokens(text, captions):
    encoded = text.tokenizer.encode_batch_fast(captions, add_special_tokens=False)
    assert text.encode(captions) == [[*caption.ids, text.eos_id] for caption in encoded]
    assert text.encode(captions, 3) == [[*caption.ids[:2], text.eos_id] for caption in encoded]


def test_a_normalizer_is_given_whole_captions():
    assert not BPE._splits_at_blanks() and all(text._splits_at_blanks() for text in BY_WORD.values())
    assert BPE.encode(["a dog ."]) == BPE.encode(["a dog"])  # it removes the blank before the full stop


def test_a_vocabulary_without_a_word_is_an_error():
    with pytest.raises(UserError, match=r"lstm\.min_count = 9: no word of .* occurs more than 3 times"):
        word_vocabulary(["a dog", "a cat", "a bird"], min_count=9)


def test_captions_are_encoded_alike_in_blocks(monkeypatch):
    captions = [*CAPTIONS, "a\tman", "", "  two", *CAPTIONS[::-1]]
    whole = [text.encode(captions) for text in BY_WORD.values()]
    monkeypatch.setattr(captioning.decoders.vocabulary, "AT_ONCE", 2)
    assert [text.encode(captions) for text in BY_WORD.values()] == whole


def test_garbage_is_collected_again_after_encoding():
    with pytest.raises(TypeError):
        BPE.encode([None])
    assert gc.isenabled()
