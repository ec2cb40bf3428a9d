"""Self-critical training: its gradient is the policy gradient, and captions score higher after it than
before."""

import numpy as np
import pytest
import torch
from processor import needs_bf16
from random_decoders import random_clipcap, random_lstm

from captioning.core.errors import UserError
from captioning.decoders.checkpoint import Decoder
from captioning.decoders.vocabulary import word_vocabulary
from captioning.metrics.cider import CiderD
from captioning.search.base import Hypothesis, Rules, greedy
from captioning.search.sampling import sample
from captioning.training.self_critical import GreedyCider, SelfCritical, as_tensor, tokens_of
from models.lstm import LSTMConfig, LSTMDecoder

FEATURES, IMAGES = 6, 4
WORDS = ["a dog runs", "two men sit", "a red car", "one cat sleeps"]
REFERENCES = [[f"{words} here", f"{words} in the park"] for words in WORDS]
IMAGE_FEATURES = torch.eye(IMAGES, FEATURES) * 3


def small_decoder(dropout: float = 0.0) -> Decoder:
    torch.manual_seed(0)
    text = word_vocabulary([caption for of_image in REFERENCES for caption in of_image], 1)
    model = LSTMDecoder(
        LSTMConfig(text.size, FEATURES, embed_dim=24, hidden_size=24, dropout=dropout, image_dropout=dropout)
    )
    return Decoder("lstm", model, text, {}, {})


def trained_a_little() -> Decoder:
    """A decoder after a little cross-entropy training, far from its optimum."""
    decoder = small_decoder()
    ids = [decoder.text.encode(of_image) for of_image in REFERENCES]
    captions = as_tensor([[Hypothesis(one[:-1], 0, [], True) for one in of_image] for of_image in ids], 0)
    assert captions.tolist()[0][0] == ids[0][0] + [-100] * (captions.shape[2] - len(ids[0][0]))
    optimizer = torch.optim.AdamW(decoder.model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        decoder.model.loss(IMAGE_FEATURES, captions).mean.backward()
        optimizer.step()
    return decoder


def loss_of(critic: SelfCritical, images: np.ndarray, epoch: int = 0) -> torch.Tensor:
    return critic.loss(*critic.prepare(IMAGE_FEATURES[images], images, critic.chances(0, epoch, images)))


@pytest.mark.parametrize("references", [REFERENCES[:1], [REFERENCES[0]] * 3])
def test_a_reward_that_is_always_0_is_refused(references, capsys):
    with pytest.raises(UserError, match=r"has CIDEr-D 0\..*train_lstm\.self_critical\.epochs to 0"):
        SelfCritical(small_decoder(), references, samples=2)
    GreedyCider(small_decoder(), references)
    assert capsys.readouterr().out.startswith("note: dev_cider is always 0 here")
    SelfCritical(small_decoder(), [*references, REFERENCES[1]], samples=2)
    GreedyCider(small_decoder(), [*references, REFERENCES[1]])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("fixed", [False, True])
def test_the_gradient_is_the_policy_gradient(fixed):
    """Compares with a sum over captions: reward minus the others' mean, times the gradient of the
    log-probability."""
    decoder, twin = trained_a_little(), trained_a_little()
    images, text = np.array([2, 0, 3]), decoder.text
    critic = SelfCritical(decoder, REFERENCES, samples=4, fixed=fixed)
    loss = loss_of(critic, images)
    loss.backward()

    rules = Rules(max_tokens=40, eos_id=text.eos_id, banned_ids=text.banned_ids)
    found = sample(twin.model, IMAGE_FEATURES[images], rules, 4, chances=critic.chances(0, 0, images))
    reward, total, tokens, every = CiderD(REFERENCES, count_end=True), 0.0, 0, []
    for image, captions in zip(images, found, strict=True):
        said = tokens_of(text, [[one.tokens for one in captions]])
        rewards = reward.scores(REFERENCES[image], said[0])
        every += rewards
        for k, one in enumerate(captions):
            others = [r for j, r in enumerate(rewards) if j != k]
            row = torch.tensor([[one.tokens + [text.eos_id] * one.ended]])
            log_probability = -twin.model.loss(IMAGE_FEATURES[image : image + 1], row).total
            assert log_probability.item() == pytest.approx(sum(one.log_probs), abs=1e-4)
            total = total - (rewards[k] - sum(others) / 3) * log_probability
            tokens += row.shape[2]
    (total / tokens).backward()
    assert len(set(every)) > 5
    assert loss.item() == pytest.approx(-sum(every) / len(every), abs=1e-6)
    for ours, theirs in zip(decoder.model.parameters(), twin.model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_no_dropout_but_the_features_own():
    decoder, images = small_decoder(dropout=0.5), np.arange(IMAGES)

    def gradient() -> torch.Tensor:
        torch.manual_seed(0)
        decoder.model.train().zero_grad()
        loss_of(SelfCritical(decoder, REFERENCES, samples=4), images).backward()
        assert decoder.model.training
        return decoder.model.image.weight.grad.clone()

    with_dropout = gradient()
    decoder.model.dropout.p = decoder.model.image_dropout.p = 0.0
    assert torch.equal(gradient(), with_dropout) and with_dropout.any()
    decoder.model.standardize.dropout.p = 0.0
    assert not torch.equal(gradient(), with_dropout)


def test_captions_score_better_afterwards():
    decoder = trained_a_little()
    dev = GreedyCider(decoder, REFERENCES)
    before = dev.of([IMAGE_FEATURES[:3], IMAGE_FEATURES[3:]])
    critic, images = SelfCritical(decoder, REFERENCES, samples=5), np.arange(IMAGES)
    optimizer = torch.optim.AdamW(decoder.model.parameters(), lr=0.01)
    losses = []
    for epoch in range(90):
        optimizer.zero_grad()
        loss = loss_of(critic, images, epoch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < sum(losses[:10])
    assert dev.of([IMAGE_FEATURES]) > before + 2


@needs_bf16
@pytest.mark.parametrize("kind", ["lstm", "clipcap"])
def test_autocast_gives_every_weight_its_gradient(kind):
    """Autocast caches cast weights. The sampling casts them without a gradient, so those must not be used
    again."""
    model = random_lstm(0) if kind == "lstm" else random_clipcap(0)
    text = word_vocabulary([" ".join(f"w{i}" for i in range(22))], 1)
    assert text.size == 24
    decoder = Decoder(kind, model, text, {}, {})
    critic = SelfCritical(decoder, [["w1 w2 w3", "w4 w5"], ["w6 w7"], ["w8"]], samples=6)
    torch.manual_seed(0)
    features, images = torch.randn(3, 8), np.arange(3)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            batch = critic.prepare(features, images, critic.chances(0, 0, images))
        loss = critic.loss(*batch)
    loss.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())
    assert all(
        weight.grad.abs().sum() > 0 for name, weight in model.named_parameters() if "attn.bias" not in name
    )


def test_weights_that_are_no_numbers_give_a_loss_that_is_none():
    """The loss is NaN, so that training stops with the step's number and not inside the sampling."""
    decoder = small_decoder()
    torch.nn.init.constant_(decoder.model.output_bias, float("nan"))
    assert loss_of(SelfCritical(decoder, REFERENCES, samples=2), np.arange(IMAGES)).isnan()


def test_a_caption_that_was_cut_has_no_end():
    found = [[Hypothesis([5, 6], 0, [], True), Hypothesis([7, 8, 9], 0, [], False)]]
    assert as_tensor(found, 1).tolist() == [[[5, 6, 1], [7, 8, 9]]]


def test_greedy_cider_is_coco_caption_s():
    from pycocoevalcap.cider.cider import Cider

    decoder = trained_a_little()
    text = decoder.text
    found = greedy(
        decoder.model, IMAGE_FEATURES, Rules(max_tokens=40, eos_id=text.eos_id, banned_ids=text.banned_ids)
    )
    said = {i: [text.decode(captions[0].tokens)] for i, captions in enumerate(found)}
    expected, _ = Cider().compute_score(dict(enumerate(REFERENCES)), said)
    assert GreedyCider(decoder, REFERENCES).of([IMAGE_FEATURES]) == pytest.approx(expected)


def test_as_many_tokens_as_generate_may_say():
    """An untrained network hardly ever ends a caption, so the caption is as long as the limit allows."""
    decoder = small_decoder()
    decoder.model.output_bias.data[decoder.text.eos_id] = -1e4
    lengths = []

    def record(text, captions):
        lengths.append({len(one) for of_image in captions for one in of_image})
        return [["a dog"] * len(of_image) for of_image in captions]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("captioning.training.self_critical.tokens_of", record)
        GreedyCider(decoder, REFERENCES, max_tokens=55).of([IMAGE_FEATURES])
        loss_of(SelfCritical(decoder, REFERENCES, samples=2, max_tokens=7), np.arange(IMAGES))
    assert lengths == [{55}, {7}]


def test_one_dev_image_is_scored_by_the_training_images_frequencies():
    decoder, dev = trained_a_little(), [["a dog runs here", "a dog runs"]]
    assert GreedyCider(decoder, dev).of([IMAGE_FEATURES[:1]]) == 0, "log(1 image / 1 image)"
    rules = Rules(max_tokens=40, eos_id=decoder.text.eos_id, banned_ids=decoder.text.banned_ids)
    found = greedy(decoder.model, IMAGE_FEATURES[:1], rules)
    [[said]] = tokens_of(decoder.text, [[found[0][0].tokens]])
    expected = CiderD(REFERENCES).scores(dev[0], [said])[0]
    assert expected > 0.1 and GreedyCider(decoder, dev, REFERENCES).of([IMAGE_FEATURES[:1]]) == pytest.approx(
        expected
    )


def test_a_dev_split_that_is_no_smaller_than_training_keeps_its_own_frequencies():
    decoder = trained_a_little()
    own = GreedyCider(decoder, REFERENCES).of([IMAGE_FEATURES])
    assert GreedyCider(decoder, REFERENCES, REFERENCES[:2]).of([IMAGE_FEATURES]) == own
