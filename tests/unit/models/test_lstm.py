"""The LSTM: its loss equals feeding each caption word by word, and its attention is that of Xu et al."""

import pytest
import torch
import torch.nn.functional as F
from loss_checks import check_caption_weights, random_captions
from processor import needs_bf16

from models.losses import PAD
from models.lstm import LSTMConfig, LSTMDecoder

VOCABULARY, FEATURES, END = 30, 10, 1
KINDS = pytest.mark.parametrize("grid", [False, True], ids=["pooled", "grid"])
MERGES = pytest.mark.parametrize("merge", [False, True], ids=["first", "merged"])


def small_lstm(grid: bool, dropout: float = 0.0, **changes) -> LSTMDecoder:
    torch.manual_seed(0)
    sizes = dict(embed_dim=16, hidden_size=16, attention_dim=8, attention_penalty=0.0)
    return LSTMDecoder(
        LSTMConfig(VOCABULARY, FEATURES, grid=grid, dropout=dropout, image_dropout=dropout, **sizes | changes)
    )


def some_features(grid: bool, images: int = 4) -> torch.Tensor:
    shape = (images, 2, 3, FEATURES) if grid else (images, FEATURES)
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def some_captions(images: int = 4, captions: int = 5, longest: int = 9, seed: int = 0) -> torch.Tensor:
    return random_captions(seed, VOCABULARY, END, (images, captions, longest))


def loss_word_by_word(model: LSTMDecoder, features: torch.Tensor, captions: torch.Tensor) -> torch.Tensor:
    """The loss of each caption on its own, through the functions that decoding uses."""
    total = torch.zeros(())
    for image, rows in enumerate(captions):
        for row in rows:
            tokens = row[row >= 0]
            logits, state = model.begin(features[image : image + 1])
            for token in tokens:
                total = total + F.cross_entropy(logits, token[None])
                logits, state = model.step(token[None], state)
    return total


@KINDS
@MERGES
@pytest.mark.parametrize("tie", [True, False])
def test_loss_and_gradients_are_those_of_feeding_word_by_word(grid, merge, tie):
    model, twin = (small_lstm(grid, tie_weights=tie, merge=merge) for _ in range(2))
    features, captions = some_features(grid), some_captions()
    loss, expected = model.loss(features, captions), loss_word_by_word(twin, features, captions)
    loss.total.backward()
    expected.backward()
    assert loss.tokens == (captions >= 0).sum()
    torch.testing.assert_close(loss.mean, expected / (captions >= 0).sum())
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5, msg=name)


@MERGES
def test_beams_are_told_apart_and_images_leave(merge):
    """Expanded, reordered and removed rows give the same results as each row alone."""
    model, features = small_lstm(False, merge=merge), some_features(False)
    _, state = model.begin(features)
    state = state.expand(2).select(torch.tensor([1, 0, 6, 7]))  # images 0 and 3
    logits, _ = model.step(torch.tensor([4, 5, 6, 7]), state)
    for row, (image, token) in enumerate([(0, 4), (0, 5), (3, 6), (3, 7)]):
        _, alone = model.begin(features[image : image + 1])
        torch.testing.assert_close(model.step(torch.tensor([token]), alone)[0][0], logits[row])


@KINDS
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 6), (3, 1, 4), (2, 5, 1), (2, 4, 2), (1, 9, 12)])
def test_any_number_of_images_captions_and_tokens(grid, shape):
    images, captions, longest = shape
    model, captions = small_lstm(grid), some_captions(images, captions, longest, seed=1)
    captions[0, 0] = torch.arange(2, 2 + longest)
    features = some_features(grid, images)
    torch.testing.assert_close(
        model.loss(features, captions).total, loss_word_by_word(model, features, captions)
    )


@KINDS
def test_padding_and_order_of_captions_do_not_matter(grid):
    model = small_lstm(grid, attention_penalty=1.0).train()
    features, captions = some_features(grid), some_captions()
    wide = F.pad(captions.flip(1), (0, 5), value=PAD)
    torch.testing.assert_close(model.loss(features, captions).total, model.loss(features, wide).total)


@KINDS
def test_dropout_is_for_training_only(grid):
    model = small_lstm(grid, dropout=0.5)
    features, captions = some_features(grid), some_captions()
    assert model.train().loss(features, captions).total != model.loss(features, captions).total
    assert model.eval().loss(features, captions).total == model.loss(features, captions).total


@KINDS
def test_captions_of_one_image_get_dropout_of_their_own(grid):
    """The image is read once for all its captions, but dropout on their words is independent."""
    model = small_lstm(grid, dropout=0.5).train()
    hidden = []
    model.lstm.register_forward_hook(lambda module, inputs, output: hidden.append(output[0]))
    model.loss(some_features(grid, 1), torch.tensor([[[4, 5, 6, END]] * 2]))
    # After the last word.
    first, second = torch.cat([rows.reshape(len(rows), -1)[:, -16:] for rows in hidden])[-2:]
    assert not torch.equal(first, second)


@KINDS
def test_weights_are_of_each_caption_s_share_in_the_sum(grid):
    model, twin = small_lstm(grid), small_lstm(grid)
    features, captions = some_features(grid), some_captions()
    weights = torch.randn(captions.shape[:2], generator=torch.Generator().manual_seed(3))
    check_caption_weights(model, twin, features, captions, weights)


def test_the_scale_of_the_features_does_not_matter():
    model, captions = small_lstm(False), some_captions()
    with torch.no_grad():
        model.image.bias.zero_()
    features = some_features(False)
    torch.testing.assert_close(
        model.loss(features, captions).total, model.loss(features * 50, captions).total, rtol=1e-3, atol=1e-3
    )


def test_label_smoothing_mixes_in_the_mean_over_the_vocabulary():
    model, features = small_lstm(False), some_features(False, 1)
    logs, _ = model.begin(features)
    logs = logs.log_softmax(1)[0]
    loss = model.loss(features, torch.tensor([[[7]]]), label_smoothing=0.2)
    torch.testing.assert_close(loss.total, -(0.8 * logs[7] + 0.2 * logs.mean()))


def test_attention_weights_are_a_distribution_and_depend_on_the_state():
    model, features = small_lstm(True), some_features(True)
    _, state = model.begin(features)
    weights = model.attention(state.hidden, state.grid, state.keys)[1]
    assert weights.shape == (4, 6)
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    other = model.attention(state.hidden + 1, state.grid, state.keys)[1]
    assert not torch.allclose(weights, other)


def test_the_regulariser_wants_every_cell_to_receive_one():
    """Xu et al. 2015, equation 14: lambda * sum over cells of (1 - sum over steps of attention) squared."""
    plain, model = small_lstm(True).train(), small_lstm(True, attention_penalty=0.7).train()
    features, captions = some_features(True), some_captions()
    seen = []
    model.attention.register_forward_hook(lambda module, inputs, output: seen.append(output[1]))
    wanted = torch.zeros(())
    for image, rows in enumerate(captions):
        for tokens in (row[row >= 0] for row in rows if row[0] >= 0):
            seen.clear()
            loss_word_by_word(model, features[image : image + 1], tokens[None, None])
            received = torch.stack(seen[: len(tokens)]).sum(0)[0]  # (L,): attention before each target
            wanted = wanted + 0.7 * ((1 - received) ** 2).sum()
    difference = model.loss(features, captions).total - plain.loss(features, captions).total
    torch.testing.assert_close(difference, wanted)
    torch.testing.assert_close(
        model.eval().loss(features, captions).total, plain.loss(features, captions).total
    )


@needs_bf16
@KINDS
def test_bf16_autocast_stays_near_fp32(grid):
    model, features, captions = small_lstm(grid), some_features(grid), some_captions()
    exact = model.loss(features, captions).mean
    with torch.autocast("cpu", torch.bfloat16):
        near = model.loss(features.half(), captions).mean
    near.backward()
    assert near.dtype == torch.float32
    assert abs(float(near.detach() - exact.detach())) < 0.05


@KINDS
def test_it_learns_what_the_features_say(grid):
    """Four images, each with its own caption: the loss approaches zero."""
    model = small_lstm(grid, embed_dim=32, hidden_size=32).train()
    features, captions = some_features(grid), torch.randint(2, VOCABULARY, (4, 1, 6))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        loss = model.loss(features, captions).mean
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="tie_weights"):
        small_lstm(False, embed_dim=8)
    with pytest.raises(ValueError, match=r"\(B, D\) with D = 10, not \(4, 2, 3, 10\)"):
        small_lstm(False).loss(some_features(True), some_captions())
    with pytest.raises(ValueError, match=r"\(B, H, W, D\)"):
        small_lstm(True).begin(some_features(False))


def test_the_recurrent_layer_is_never_in_eval_mode():
    model = LSTMDecoder(LSTMConfig(20, 8, embed_dim=16, hidden_size=16)).eval()
    assert not model.training and not model.dropout.training
    assert model.lstm.training, (
        "cuDNN gives self-critical training, which has dropout off, no gradient otherwise"
    )
