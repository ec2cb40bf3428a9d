"""An ensemble's probabilities are its members' mean in every search; the error names a member that does not
fit."""

from dataclasses import replace

import pytest
import torch
from random_decoders import END, MODELS, log_probs_after, random_clipcap, random_features, random_lstm

from captioning.core.errors import UserError
from captioning.decoders.checkpoint import Decoder, save_decoder
from captioning.decoders.ensemble import Ensemble, weights_of, with_others
from captioning.decoders.kinds import load
from captioning.decoders.vocabulary import word_vocabulary
from captioning.search.base import Rules, greedy
from captioning.search.beam import beam_search
from models.lstm import LSTMConfig, LSTMDecoder


@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_each_token_s_probability_is_the_members_mean(kind):
    members = [MODELS[kind](seed)[0] for seed in range(3)]
    grid = MODELS[kind](0)[1]
    features = random_features(0, 3, grid)
    for image, captions in enumerate(
        beam_search(Ensemble(members).eval(), features, Rules(beam_size=3, max_tokens=7, eos_id=END))
    ):
        one = features[image : image + 1]
        for caption in captions:
            tokens = caption.tokens + [END] * caption.ended
            for i, token in enumerate(tokens):
                own = torch.tensor([log_probs_after(model, one, tokens[:i])[token] for model in members])
                assert caption.log_probs[i] == pytest.approx(own.exp().mean().log().item(), abs=1e-4)


def test_an_ensemble_of_equals_is_the_decoder_itself():
    for model in (random_clipcap(1), random_lstm(1)):
        both, features, rules = (
            Ensemble([model, model]).eval(),
            random_features(1, 4),
            Rules(max_tokens=9, eos_id=END),
        )
        assert both.max_tokens == model.max_tokens
        alone = [captions[0].tokens for captions in greedy(model, features, rules)]
        assert [captions[0].tokens for captions in greedy(both, features, rules)] == alone


def lstm(seed: int, captions: list[str], features: dict[str, str]) -> Decoder:
    torch.manual_seed(seed)
    text = word_vocabulary(captions, 1)
    config = LSTMConfig(text.size, 8, embed_dim=16, hidden_size=16)
    return Decoder("lstm", LSTMDecoder(config), text, config.to_dict(), features)


def test_folders_are_joined_or_refused_by_name(tmp_path):
    captions, features = ["a dog runs", "a cat"], {"encoder": "vgg16", "layer": "fc7"}
    folders = {name: str(tmp_path / name) for name in ("own", "seed1", "words", "grid", "absent")}
    for name, given in {
        "own": (0, captions, features),
        "seed1": (1, captions, features),
        "words": (1, ["a horse"], features),
        "grid": (1, captions, features | {"layer": "conv5_3"}),
    }.items():
        save_decoder(tmp_path / name, lstm(*given))
    decoder = load(folders["own"])
    assert with_others(decoder, []) is decoder.model
    joined = with_others(decoder, [folders["seed1"]])
    assert len(joined.members) == 2 and not joined.training and joined.members[0] is decoder.model
    for name, fault in {
        "words": "vocabulary",
        "grid": r"other features \(layer differ",
        "absent": "is not a checkpoint folder",
    }.items():
        with pytest.raises(UserError, match=f"{name}.*{fault}"):
            with_others(decoder, [folders[name]])
    with pytest.raises(UserError, match=r"seed1 cannot be joined .* kind lstm, not clipcap"):
        with_others(replace(decoder, kind="clipcap"), [folders["seed1"]])


def test_weights_are_known_by_their_hash(tmp_path):
    for name, seed in {"a": 0, "b": 1, "c": 1}.items():
        save_decoder(tmp_path / name, lstm(seed, ["a dog"], {}))
    hashes = weights_of([tmp_path / name for name in "abc"])
    a, b, c = hashes.values()
    assert list(hashes) == [str(tmp_path / name) for name in "abc"] and a != b == c
