"""The content words of captions: the words that say what a picture shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

# English function words: articles, pronouns, prepositions, conjunctions, auxiliaries.
FUNCTION_WORDS = frozenset(
    "a about above across after against along alongside amongst an and another are around as at away back be "
    "been before behind being below beneath beside besides between beyond both but by can close could do "
    "does doing down during each either far for from front gets getting going has have having he her here "
    "hers herself him himself his how i if in inside into is it its itself just large like many me middle "
    "more most much my near nearby next no not of off on one onto or other others our out outside over past "
    "same several she side small so some someone something such than that the their them then there these "
    "they this those through to together top toward towards under underneath until up upon us very was we "
    "were what when where which while who whose will with within without you your n't 's".split()
)


def content_words(captions: Iterable[str], limit: int) -> list[str]:
    """The `limit` content words that occur in the most captions; ties in alphabetical order."""
    found = (word for caption in captions for word in set(caption.split()) - FUNCTION_WORDS)
    counts = Counter(word for word in found if word.isalpha())
    return sorted(counts, key=lambda word: (-counts[word], word))[:limit]
