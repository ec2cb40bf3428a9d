"""Variety, rarity, facts and CLIPScore on captions whose scores can be computed by hand."""

from __future__ import annotations

import clip as openai_clip
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from captioning.core.files import sha256_of
from captioning.evaluation.bootstrap import ratio
from captioning.evaluation.scene_facts import fact_scores, wrong
from captioning.evaluation.tables import probability
from captioning.evaluation.variety import by_rarity, lengths, rarity, variety
from captioning.features.encoders import open_clip, save_clip
from captioning.features.images import clip_preprocess
from captioning.features.store import FeatureStore, write_store
from captioning.metrics import clipscore
from models import clip
from scenes.making import draw


def test_a_small_p_is_not_said_to_be_zero():
    assert [probability(p) for p in (1 / 1001, 0.0004, 0.25)] == ["p = 0.001", "p < 0.001", "p = 0.250"]


def test_variety_of_a_collapsed_captioner_and_of_one_that_is_not():
    train = {"t": ["a dog runs", "a cat"]}
    collapsed = variety({str(n): "a dog runs" for n in range(10)}, train)
    assert collapsed == {
        "distinct_1": 0.1, "distinct_2": 0.1, "vocabulary": 3, "distinct_captions": 0.1, "copied": 1,
        "mean_words": 3,
    }  # fmt: skip
    varied = variety({"1": "a cat", "2": "two red birds", "3": ""}, train)
    assert varied["distinct_1"] == varied["distinct_2"] == varied["distinct_captions"] == 1
    assert varied["copied"] == pytest.approx(1 / 3)


def test_lengths_are_shares_without_gaps():
    rows = lengths({"a": ["x", "x y z", "x y z"], "b": ["x y z w"]})
    assert rows == [
        {"words": 1, "a": 1 / 3, "b": 0.0}, {"words": 2, "a": 0.0, "b": 0.0},
        {"words": 3, "a": 2 / 3, "b": 0.0}, {"words": 4, "a": 0.0, "b": 1.0},
    ]  # fmt: skip


def test_what_is_rare_is_what_people_agree_on():
    train = {"t1": ["a dog runs", "the dog"], "t2": ["a dog sleeps"], "t3": ["a zebra"]}
    references = {
        "x": ["a dog", "the dog and a zebra"],
        "y": ["a zebra", "one zebra eats"],
        "z": ["a lynx", "a cat"],
    }
    assert rarity(train, references) == {"x": 2, "y": 1, "z": 0}
    rows = by_rarity({"x": 2, "y": 1, "z": 0}, {"m": {"x": 3.0, "y": 2.0, "z": 1.0}})
    assert [row["m"] for row in rows] == [1.0, 2.0, 3.0]
    assert [row["training_images"] for row in rows] == [0.0, 1.0, 2.0]


def test_facts_of_the_scenes_own_captions_are_right_and_of_others_wrong():
    scenes = {str(n): draw(n, seed=3, size=32) for n in range(12)}
    facts = {image: scene.facts for image, scene in scenes.items()}
    own = [{image: scene.captions[n] for image, scene in scenes.items()} for n in range(5)]
    right = fact_scores(own, facts, 200, 0)
    assert right["all"]["precision"]["value"] > 0.97
    assert 0.4 < right["all"]["recall"]["value"] < 1
    assert right["all"]["recall"]["low"] <= right["all"]["recall"]["value"] <= right["all"]["recall"]["high"]
    moved = dict(zip(own[0], [*list(own[0].values())[1:], own[0]["0"]], strict=True))
    assert fact_scores([moved], facts, 200, 0)["all"]["precision"]["value"] < 0.6
    assert any(wrong(moved, facts).values())
    silent = fact_scores([dict.fromkeys(facts, "it is")], facts, 200, 0)
    assert "precision" not in silent["all"] and silent["all"]["recall"]["value"] == 0


def test_ratio_is_that_of_sums_and_its_interval_shrinks_with_images():
    top, under = np.array([1.0, 0.0] * 50), np.full(100, 2.0)
    few, many = ratio(top[:10], under[:10], 500, 0), ratio(top, under, 500, 0)
    assert few["value"] == many["value"] == 0.25
    assert few["high"] - few["low"] > 2 * (many["high"] - many["low"])


@pytest.fixture(scope="module")
def own_clip(tmp_path_factory):
    """A small CLIP and its feature store of three images; the features are embeddings of the images'
    captions."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    config = clip.CLIPConfig(32, 32, (1, 1, 1, 1), 16, None, 20, 49408, 64, 1)
    save_clip(folder, clip.build(config), clip_preprocess(32))
    captions = ["a dog runs", "two cats sleep on a very long sofa", "one bird"]
    model, _, _ = open_clip(folder)
    with torch.inference_mode():
        rows = model.eval().encode_text(openai_clip.tokenize(captions, 20).long()).half().numpy()
    attributes = {"encoder": "clip", "weights": sha256_of(folder / "model.safetensors")}
    path = folder / "clip.h5"
    write_store(
        path,
        ["a", "b", "c"],
        [f"{n:064x}" for n in range(3)],
        attributes,
        (32,),
        lambda r: rows[r.start : r.stop],
    )
    return folder, FeatureStore.open(path), dict(zip("abc", captions, strict=True)), rows


def test_clipscore_is_2_5_times_the_cosine(own_clip):
    folder, store, captions, rows = own_clip
    assert clipscore.fault(folder, store) is None
    scorer = clipscore.CLIPScorer(folder, store, official=False)
    plain, with_references = scorer.score(
        captions, {i: [text, "something else"] for i, text in captions.items()}
    )
    assert plain == pytest.approx([2.5] * 3, abs=0.01), "each caption points where its image does"
    assert with_references == pytest.approx([2 * 2.5 / 3.5] * 3, abs=0.01), "harmonic mean of 2.5 and 1"
    others = {"a": captions["b"], "b": captions["c"], "c": captions["a"]}
    plain, _ = scorer.score(others, {i: ["x"] for i in others})
    units = F.normalize(torch.from_numpy(rows).float(), dim=1)
    expected = 2.5 * (units * units[[1, 2, 0]]).sum(1).clamp(min=0)
    assert plain == pytest.approx(expected.numpy(), abs=0.01), "cut contexts give the same embeddings"


def test_clipscore_of_another_clip_s_features_is_refused(own_clip, tmp_path):
    folder, store, _, _ = own_clip
    assert "not those of the CLIP" in clipscore.fault(tmp_path, store)
    store.attrs["weights"], kept = "other", store.attrs["weights"]
    assert "not those of the CLIP" in clipscore.fault(folder, store)
    store.attrs["weights"] = kept


def test_only_untouched_official_clips_count_as_official():
    assert all(clipscore.is_official(name, 0) for name in openai_clip.available_models())
    assert not clipscore.is_official("ViT-B/32", 3)
    assert not clipscore.is_official("scratch", 0)
