"""Packed captions: equal beginnings share one branch, and each token sees only its own caption's
beginning."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.losses import PAD, ROUND, targets_of
from models.packed_runs import Runs
from models.packed_trees import PackedTrees, Trees, seen

END = 1
caption = st.lists(st.integers(2, 4), max_size=5).map(lambda words: [*words, END])
image_of_captions = st.lists(caption | st.just([]), min_size=3, max_size=3)  # an image may have no captions


def padded(images: list[list[list[int]]]) -> np.ndarray:
    longest = max(1, max(len(words) for of_image in images for words in of_image))
    rows = [[words + [PAD] * (longest - len(words)) for words in of_image] for of_image in images]
    return np.array(rows)  # (B, C, T)


def packed_trees(images: list, prefix: int, more: int = 0) -> PackedTrees:
    """All images as one batch, in a bucket with `more` rounds, cells and targets more than they need."""
    trees, index = Trees(padded(images), prefix), np.arange(len(images))
    nodes, cells, targets = trees.size(index)
    return trees.pack(index, bucket=(nodes + ROUND * more, cells + more, targets + more))


def test_a_shared_beginning_is_one_branch():
    packed = packed_trees(
        [[[5, 6, 7, END], [5, 6, 8, END], [5, 6, 7, END]], [[5, END], [9, 6, END], []]], prefix=2
    )
    nodes = packed.cells[4:11]  # after the prefixes of both images
    assert packed.tokens.tolist() == [5, 6, 7, 8, 5, 9, 6, *[0] * 21]
    assert packed.positions.tolist() == [0, 1, 0, 1, 2, 3, 4, 4, 2, 2, 3, *[0] * 21]
    assert packed.cells.tolist() == [0, 1, 8, 9, 2, 3, 4, 5, 10, 11, 12, *[16] * 21]
    assert packed.first.flatten()[nodes].tolist() == [2, 3, 4, 5, 2, 3, 4]
    assert packed.last.flatten()[nodes].tolist() == [5, 5, 4, 5, 2, 4, 4]
    assert packed.outputs.tolist()[:9] == [1, 3, 4, 5, 6, 7, 8, 9, 10] and len(packed.outputs) == 32
    assert packed.rows.tolist() == [0, 2, 3, 4, 0, 2, 3, 5, 0, 2, 3, 4, 1, 6, 1, 7, 8]
    assert packed.targets.tolist() == [5, 6, 7, END, 5, 6, 8, END, 5, 6, 7, END, 5, END, 9, 6, END]
    assert packed.weights.tolist() == [1.0] * 17 and packed.count == 17


@settings(max_examples=60, deadline=None)
@given(st.lists(image_of_captions, min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 1))
def test_each_target_is_predicted_from_its_own_caption_s_beginning(images, prefix_len, more):
    packed = packed_trees(images, prefix_len, more)
    cells, start = packed.first.shape[1], len(images) * prefix_len
    visible = seen(packed.first, packed.last)  # (B, S, S)
    place = {int(cell): n for n, cell in enumerate(packed.cells[start:]) if cell < len(images) * cells}

    def beginning(row: int) -> list[int]:
        """The words seen by the output that `rows` names, first to last."""
        place_of_row = int(packed.outputs[row])
        image, own = divmod(int(packed.cells[place_of_row]), cells)
        keys = visible[image, own].nonzero()[:, 0].tolist()
        assert keys[:prefix_len] == list(range(prefix_len))
        assert place_of_row >= start or (image, own, len(keys)) == (row, prefix_len - 1, prefix_len)
        return [int(packed.tokens[place[image * cells + key]]) for key in keys[prefix_len:]]

    found = iter(zip(packed.rows.tolist(), packed.targets.tolist(), packed.weights.tolist(), strict=True))
    for of_image in images:
        for words in of_image:
            for i, target in enumerate(words):
                row, token, weight = next(found)
                assert (beginning(row), token, weight) == (words[:i], target, 1)
    assert [weight for *_, weight in found] == [0] * more, "filling counts for something"
    assert packed.count == sum(len(words) for of_image in images for words in of_image)
    beginnings = {
        (i, *words[:n])
        for i, of_image in enumerate(images)
        for words in of_image
        for n in range(1, len(words))
    }
    assert len(place) == len(beginnings)  # each once
    assert not visible[:, torch.ones(cells, cells, dtype=torch.bool).triu(1)].any(), (
        "a cell sees what comes after it"
    )
    assert visible.any(2).all(), "a softmax over nothing"


@settings(max_examples=60, deadline=None)
@given(st.lists(image_of_captions, min_size=1, max_size=4), st.integers(1, 4), st.integers(0, 1))
def test_runs_hold_the_inputs_and_the_targets_of_every_caption(images, groups, more):
    captions = padded(images)
    runs, index = Runs(captions, groups), np.arange(len(images))
    rows, exist, inputs, *steps = runs.size(index)
    weights = np.arange(captions[..., 0].size, dtype=np.float32).reshape(captions.shape[:2])
    bucket = (rows, exist + more, inputs + more, *(most + more for most in steps))
    packed = runs.pack(index, weights, bucket)
    expected = targets_of(torch.from_numpy(captions), torch.from_numpy(weights))
    kept = packed.tokens != PAD
    assert packed.tokens[kept].tolist() == expected.tokens[: expected.count].tolist()
    assert packed.weights[kept].tolist() == expected.weights[: expected.count].tolist()
    assert packed.count == kept.sum() == expected.count and len(packed.tokens) % ROUND == 0
    words = torch.cat([run.flatten() for run in packed.words])[packed.inside[:inputs]]
    assert words.tolist() == captions[..., :-1][expected.inside.numpy()].tolist()
    assert sorted(torch.cat(packed.order).tolist()) == list(range(len(images) * rows))
    assert (
        packed.present[packed.real > 0].tolist()
        == expected.first[:, :rows].flatten().nonzero()[:, 0].tolist()
    )
    lengths = packed.lengths.flatten()[torch.cat(packed.order)]
    assert groups == 1 or (lengths.diff() <= 0).all(), "captions of like length do not stand together"
