"""Agreement with people's judgements: the protocol on a few lines, tau by its definition, the published
numbers."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from small_data import REAL_FLICKR8K, write

from benchmarks.human_judgements import CROWD, EXPERT, PUBLISHED, correlations, kendall, read
from captioning.core.errors import UserError

CAPTIONS = {
    "a.jpg": ["A dog runs on the beach .", "A brown dog is running along the sea ."],
    "b.jpg": ["A man rides a horse .", "A man is on a horse in a field ."],
}


@pytest.fixture
def folder(tmp_path):
    lines = [f"{name}#{n}\t{text}" for name, texts in CAPTIONS.items() for n, text in enumerate(texts)]
    write(tmp_path / "Flickr8k.token.txt", lines)
    write(
        tmp_path / EXPERT, ["a.jpg\tb.jpg#0\t1\t1\t2", "a.jpg\ta.jpg#1\t4\t4\t4", "b.jpg\ta.jpg#0\t1\t1\t1"]
    )
    write(
        tmp_path / CROWD, ["a.jpg\tb.jpg#0\t0\t0\t3", "a.jpg\ta.jpg#1\t1\t3\t0", "b.jpg\ta.jpg#0\t0.25\t1\t3"]
    )
    return tmp_path


def test_experts_are_a_row_each_and_own_references_are_left_out(folder):
    found = read(folder, EXPERT)
    assert found.ratings.tolist() == [1, 1, 2, 1, 1, 1]
    assert set(found.captions) == {CAPTIONS["b.jpg"][0], CAPTIONS["a.jpg"][0]}
    assert found.references[0] == CAPTIONS["a.jpg"] and found.references[-1] == CAPTIONS["b.jpg"]


def test_the_crowds_captions_leave_the_references_instead(folder):
    found = read(folder, CROWD)
    assert found.ratings.tolist() == [0, 1, 0.25]
    # Both rows lose the judged one.
    assert found.references[0] == found.references[1] == CAPTIONS["a.jpg"][:1]


def test_scores_that_rank_as_people_do(folder):
    write(folder / CROWD, ["a.jpg\tb.jpg#0\t0\t0\t3", "a.jpg\ta.jpg#1\t1\t3\t0", "b.jpg\tb.jpg#1\t1\t3\t0"])
    found = correlations(read(folder, CROWD), "b")
    # Three scores, two ratings.
    assert found["bleu_1"] == found["rouge_l"] == pytest.approx(2 / np.sqrt(3 * 2))


def test_tau_is_its_definition_with_ties():
    generator = np.random.default_rng(0)
    scores, ratings = generator.integers(0, 9, 60).astype(float), generator.integers(1, 5, 60).astype(float)
    signs = [
        (np.sign(scores[i] - scores[j]), np.sign(ratings[i] - ratings[j]))
        for i, j in itertools.combinations(range(60), 2)
    ]
    balance = sum(a * b for a, b in signs)
    untied = sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs)
    assert kendall(scores, ratings, "b") == pytest.approx(balance / np.sqrt(untied))
    assert kendall(scores, ratings, "c") == pytest.approx(2 * balance / (60**2 * 3 / 4))
    assert kendall(ratings, ratings, "b") == 1 and kendall(-ratings, ratings, "b") == -1


def test_absent_and_odd_files_are_named(folder):
    write(folder / EXPERT, ["a.jpg\tb.jpg#0\t1\t1\t2", "a.jpg\tb.jpg#0\t1"])
    with pytest.raises(UserError, match="line 2: expected 5 columns"):
        read(folder, EXPERT)
    write(folder / EXPERT, ["a.jpg\tc.jpg#0\t1\t1\t2"])
    with pytest.raises(UserError, match=r"does not fit Flickr8k.token.txt.*c.jpg#0"):
        read(folder, EXPERT)
    (folder / CROWD).unlink()
    with pytest.raises(UserError, match=r"Flickr8k_text.zip holds it"):
        read(folder, CROWD)


def test_the_experts_agree_with_our_scores_as_published():
    folder = Path(os.environ.get("FLICKR8K_TEXT", REAL_FLICKR8K / "Flickr8k_text"))
    if not (folder / EXPERT).is_file():
        pytest.skip(f"{folder} has no {EXPERT}; FLICKR8K_TEXT names a folder that has it (1 minute)")
    found = correlations(read(folder, EXPERT), "c")
    assert {name: round(100 * found[name], 1) for name in PUBLISHED[EXPERT]} == PUBLISHED[EXPERT]
