"""Rewards, dev scores and consensus use exactly the tokens of the scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import REAL_FLICKR8K

from captioning.data.ptb import ptb_tokenize
from captioning.data.ptb_fast import LINES, RunningTokenizer, quick_tokenize

HARD = [
    "A brown dog runs on the beach.",
    "The man's dogs don't want to leave; they're tired, it's late & they can't swim... I'd say we'll go",
    "A boy says \"hello\" to a girl (his sister), who says 'no'.",
    "Two children -- smiling - in the U.S. at Mr. Smith's 2.5 m long half-pipe",
    "a t-shirt - wearing 3-year-old , two black/white dogs and a café’s sign",
    "1,000 cups at 10:30, 5 o'clock or 10 a.m. in St. Paul; 1 1/2 miles, $5, # 2 of statefarm.com",
    "gimme, gonna, cannot; rock 'n' roll of the 50's and <b>HTML</b> for me@here.org",
    "एक कुत्ता समुद्र तट पर दौड़ता है।",
    "யானை தண்ணீர் குடிக்கிறது",
    "一只狗在海滩上奔跑",
    "❤️ a cat 👩‍👧 with 🇫🇷 flags ☺️",
    "İSTANBUL, STRASSE, ẞ, ΟΔΟΣ",
    "e\u0301te\u0301 and ete\u0301\u0323",
    "half a pair \ud83d of surrogates",
    "lines\u2028of\x85every\x0bkind\r\nand \x00 \x1f \ufeff \u200b",
    "a" * 1000,
    "  ",
    "",
]


def test_what_captions_hold():
    assert quick_tokenize(HARD) == ptb_tokenize(HARD)
    assert quick_tokenize(["एक कुत्ता दौड़ता है"]) == ["एक कुत्ता दौड़ता है"]


@settings(max_examples=8)  # each starts Java
@given(st.lists(st.text(st.characters(), max_size=40), min_size=20, max_size=60))
def test_any_text(captions):
    assert quick_tokenize(captions) == ptb_tokenize(captions)


def test_however_many_at_once():
    """A call of one caption, or one larger than all of Java's buffers, neither hangs nor gets another call's
    answer."""
    tokenizer, rng = RunningTokenizer(), np.random.default_rng(0)
    for count in (1, 0, 3, 5000, 1, LINES, LINES + 1, 2):
        captions = [f"word {number} of the caption" for number in rng.integers(10**9, size=count)]
        assert tokenizer.tokenize(captions) == captions


@pytest.mark.skipif(not REAL_FLICKR8K.is_dir(), reason="needs ../shared/flickr8k: Flickr8k's captions")
def test_flickr8k():
    lines = (REAL_FLICKR8K / "Flickr8k_text/Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    captions = [line.partition("\t")[2] for line in lines][::4]
    assert quick_tokenize(captions) == ptb_tokenize(captions)
