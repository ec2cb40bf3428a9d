"""The CIDEr-D reward equals pycocoevalcap's, with its own references' frequencies or another corpus's."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.cider.cider_scorer import CiderScorer
from small_data import REAL_FLICKR8K

from captioning.metrics.cider import CiderD

WORDS = "a the man dog two runs jumps on in grass sand red black small".split()


def drawn(images: int, seed: int) -> tuple[dict[str, list[str]], dict[str, str]]:
    """References and candidates of few words, so that they share many n-grams. Some candidates are
    references."""
    rng = random.Random(seed)
    text = lambda: " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))  # noqa: E731
    references = {str(i): [text() for _ in range(rng.randint(1, 5))] for i in range(images)}
    return references, {i: rng.choice([*given, text(), ""]) for i, given in references.items()}


def with_frequencies_of(
    corpus: list[list[str]], references: dict[str, list[str]], candidates: dict[str, str]
):
    """pycocoevalcap's own code with the document frequencies of another corpus."""
    other = CiderScorer()
    for texts in corpus:
        other += (texts[0], texts)
    other.compute_doc_freq()
    scorer = CiderScorer()
    for i in references:
        scorer += (candidates[i], references[i])
    scorer.document_frequency = other.document_frequency
    # Its compute_cider takes the number of images from its own references. Give it the corpus's number.
    images = len(scorer.crefs)
    scorer.crefs += [other.crefs[0]] * (len(corpus) - images)
    scorer.ctest += [other.ctest[0]] * (len(corpus) - images)
    return scorer.compute_cider()[:images]


def ours(reward: CiderD, references: dict[str, list[str]], candidates: dict[str, str]) -> list[float]:
    return [reward.scores(references[i], [candidates[i]])[0] for i in references]


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_coco_caption_s(seed):
    references, candidates = drawn(30, seed)
    _, expected = Cider().compute_score(references, {i: [text] for i, text in candidates.items()})
    assert ours(CiderD(references.values()), references, candidates) == pytest.approx(expected, abs=1e-9)
    assert max(expected) > 1


@pytest.mark.parametrize("count_end", [False, True])
def test_frequencies_of_another_corpus(count_end):
    corpus, (references, candidates) = list(drawn(50, 1)[0].values()), drawn(30, 2)
    reward = CiderD(corpus, count_end)
    found = ours(reward, references, candidates)
    if count_end:  # the end becomes a written word
        corpus, references = (
            [closed(texts) for texts in corpus],
            {i: closed(t) for i, t in references.items()},
        )
        candidates = {i: f"{text} </s>" for i, text in candidates.items()}
    expected = with_frequencies_of(corpus, references, candidates)
    assert found == pytest.approx(expected, abs=1e-9)


def closed(texts: list[str]) -> list[str]:
    return [f"{text} </s>" for text in texts]


def test_the_end_as_a_word_tells_a_whole_caption_from_one_that_stops_too_soon():
    corpus = [
        [f"a {animal} runs in the {place}"]
        for animal in ("dog", "cat")
        for place in ("grass", "sand", "snow")
    ]
    (reference,), whole, stopped = corpus[0], "a dog jumps in the grass", "a dog runs in the"
    (plain, other), (better, worse) = (
        CiderD(corpus, count_end).scores([reference], [whole, stopped]) for count_end in (False, True)
    )
    assert worse - better < other - plain


def test_several_candidates_of_an_image_are_scored_one_by_one():
    references, candidates = drawn(20, 3)
    reward, texts = CiderD(references.values()), list(candidates.values())
    given = references["0"]
    assert reward.scores(given, texts) == [reward.scores(given, [text])[0] for text in texts]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.lists(st.sampled_from(WORDS[:5])).map(" ".join), min_size=1, max_size=3), min_size=1)
)
def test_any_references_even_empty_ones(corpus):
    corpus = [*corpus, ["a word"]]  # theirs fails if there are none at all
    reward = CiderD(corpus)
    expected = Cider().compute_score(
        dict(enumerate(corpus)), {i: [texts[0]] for i, texts in enumerate(corpus)}
    )[1]
    found = [reward.scores(texts, [texts[0]])[0] for texts in corpus]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_no_corpus():
    with pytest.raises(ValueError, match="one image or more"):
        CiderD([])


@pytest.mark.skipif(not REAL_FLICKR8K.is_dir(), reason="needs ../shared/flickr8k: Flickr8k's captions")
def test_real_captions():
    captions: dict[str, list[str]] = {}
    for line in (REAL_FLICKR8K / "Flickr8k_text/Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        name, _, caption = line.partition("\t")
        captions.setdefault(name.partition("#")[0], []).append(caption.lower().rstrip(" ."))
    images = list(captions)[:400]
    references = {i: captions[i][1:] for i in images}
    for shift in (0, 1):  # a caption of the image, one of another image
        candidates = {i: captions[images[(k + shift) % len(images)]][0] for k, i in enumerate(images)}
        _, expected = Cider().compute_score(references, {i: [text] for i, text in candidates.items()})
        assert ours(CiderD(references.values()), references, candidates) == pytest.approx(expected, abs=1e-9)
