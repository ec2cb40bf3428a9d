"""The tokenizer without Java agrees with the one of the scores."""

import pytest
from small_data import REAL_FLICKR8K

from captioning.data.ptb import ptb_tokenize
from captioning.data.ptb_fast import quick_tokenize

HARD = [
    "A brown dog runs on the beach.",
    "A dog, wet and happy, is running along the sea!",
    "The man's dogs don't want to leave; they're tired, it's late & they can't swim... I'd say we'll go",
    "A boy says \"hello\" to a girl (his sister), who says 'no'.",
    "Two children -- smiling - in the U.S. at Mr. Smith's 2.5 m long half-pipe",
    "a t-shirt - wearing 3-year-old , two black/white dogs and a café’s sign",
    "1,000 cups at 10:30, 5 o'clock or 10 a.m. in St. Paul",
    "Race dog # 2 of statefarm.com costs $5",
    "gonna fall, cannot stand; rock 'n' roll of the 50's",
    "  ",
    "",
]


def test_what_captions_hold():
    assert [quick_tokenize(text) for text in HARD] == ptb_tokenize(HARD)


@pytest.mark.skipif(not REAL_FLICKR8K.is_dir(), reason="needs ../shared/flickr8k: Flickr8k's captions")
def test_flickr8k():
    lines = (REAL_FLICKR8K / "Flickr8k_text/Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    captions = [line.partition("\t")[2] for line in lines][::4]
    expected = ptb_tokenize(captions)
    wrong = [text for text, tokens in zip(captions, expected, strict=True) if quick_tokenize(text) != tokens]
    assert len(wrong) < 0.0005 * len(captions), wrong[:10]
