"""Packed captions: what begins alike is one branch, and every token sees its own caption's beginning alone."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.losses import PAD
from models.packing import attention_mask, pack

END = 1
caption = st.lists(st.integers(2, 4), max_size=5).map(lambda words: [*words, END])
image_of_captions = st.lists(caption | st.just([]), min_size=3, max_size=3)  # an image may lack captions


def padded(images: list[list[list[int]]]) -> torch.Tensor:
    longest = max(1, max(len(words) for of_image in images for words in of_image))
    rows = [[words + [PAD] * (longest - len(words)) for words in of_image] for of_image in images]
    return torch.tensor(rows)  # (B, C, T)


def test_a_shared_beginning_is_one_branch():
    packed = pack(padded([[[5, 6, 7, END], [5, 6, 8, END], [5, 6, 7, END]], [[5, END], [9, 6, END], []]]))
    nodes = list(zip(packed.image.tolist(), packed.caption.tolist(), packed.step.tolist(), strict=True))
    assert nodes == [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 2), (1, 0, 0), (1, 1, 0), (1, 1, 1)]
    assert packed.rank.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert packed.rows.tolist() == [0, 2, 3, 4, 0, 2, 3, 5, 0, 2, 3, 4, 1, 6, 1, 7, 8]
    assert packed.tokens.tolist() == [5, 6, 7, END, 5, 6, 8, END, 5, 6, 7, END, 5, END, 9, 6, END]


@settings(max_examples=60, deadline=None)
@given(st.lists(image_of_captions, min_size=1, max_size=3), st.integers(1, 3))
def test_each_target_is_predicted_from_its_own_caption_s_beginning(images, prefix_len):
    captions = padded(images)
    packed = pack(captions)
    rows = prefix_len + (int(packed.rank.max()) + 1 if len(packed.rank) else 0) + 2  # two empty cells at least
    cells = packed.image * rows + prefix_len + packed.rank
    seen = attention_mask(packed, cells, prefix_len, rows)  # (B, S, S)
    place = {int(cell): n for n, cell in enumerate(cells)}
    word = captions[packed.image, packed.caption, packed.step].tolist()

    def beginning(row: int) -> list[int]:
        """The words that the output which `rows` names has seen, first to last."""
        if row < len(captions):
            return []
        query = int(cells[row - len(captions)])
        image, own = divmod(query, rows)
        keys = seen[image, own].nonzero()[:, 0].tolist()
        assert keys[:prefix_len] == list(range(prefix_len))
        return [word[place[image * rows + key]] for key in keys[prefix_len:]]

    found = iter(zip(packed.rows.tolist(), packed.tokens.tolist(), strict=True))
    for of_image in images:
        for words in of_image:
            for i, target in enumerate(words):
                row, token = next(found)
                assert (beginning(row), token) == (words[:i], target)
    assert next(found, None) is None
    beginnings = {
        (i, *words[:n]) for i, of_image in enumerate(images) for words in of_image for n in range(1, len(words))
    }
    assert len(packed.image) == len(beginnings)  # each once
    upper = torch.ones(rows, rows, dtype=torch.bool).triu(1)
    assert not seen[:, upper].any() and seen[:, :, :1].all()
