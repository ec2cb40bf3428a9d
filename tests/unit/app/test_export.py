"""Exporting a captioner: the exported folder captions as the project does, here and through the hub."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from official import gpt2_tokenizer
from published_clipcap import published
from safetensors import safe_open
from small_data import ROOT
from small_project import edit_params, photos, project

from app import load_captioner
from app.export import export, export_published, push
from captioning.core.errors import UserError
from captioning.features.encoders import save_clip
from captioning.features.images import clip_preprocess
from models import clip

CONSENSUS = {"  consensus: 0.0 ": "  consensus: 8.0 "}


@pytest.fixture(scope="module", params=["fc7", "conv5_3"])
def house(request, tmp_path_factory) -> Path:
    return project(tmp_path_factory.mktemp("house"), request.param)


@pytest.mark.parametrize(
    "edits", [{"  max_tokens: 40 ": "  max_tokens: 9 "}, CONSENSUS], ids=["beams", "consensus"]
)
@pytest.mark.parametrize("kind", ["clipcap", "lstm"])
def test_an_exported_folder_captions_as_the_project_does_to_the_last_bit(house, tmp_path, kind, edits):
    shutil.copytree(house, tmp_path / "house")
    edit_params(tmp_path / "house", edits)
    checkpoint, pictures = tmp_path / "house/checkpoints" / kind, photos(tmp_path / "pictures", 5)
    captioner = load_captioner(checkpoint)
    wanted, several = captioner(pictures), captioner.several(pictures[:1], 3)
    assert (captioner.consensus is not None) == (edits is CONSENSUS)
    export(checkpoint, tmp_path / "given")
    shutil.rmtree(tmp_path / "house")
    given = load_captioner(tmp_path / "given")
    assert given(pictures) == wanted and given.several(pictures[:1], 3) == several
    assert given.how.generate == captioner.how.generate
    if edits is CONSENSUS:
        assert given.consensus.shares(torch.zeros(1, *given.consensus.standardize.mean.shape)).tobytes() == (
            captioner.consensus.shares(torch.zeros(1, *given.consensus.standardize.mean.shape)).tobytes()
        )
    written = [path for path in (tmp_path / "given").rglob("*") if path.is_file()]
    assert {path.suffix for path in written} == {".json", ".safetensors", ".md"}
    (tmp_path / "usual").touch()
    assert {path.stat().st_mode for path in written} == {(tmp_path / "usual").stat().st_mode}, (
        "for others to read"
    )


@pytest.mark.parametrize("kind", ["clipcap", "lstm"])
def test_half_precision_is_half_the_space(house, tmp_path, kind):
    checkpoint, pictures = house / "checkpoints" / kind, photos(tmp_path / "pictures", 1)
    for half in (False, True):
        export(checkpoint, tmp_path / f"half-{half}", half)
        for name in ("model", "encoder/model"):
            with safe_open(tmp_path / f"half-{half}/{name}.safetensors", "pt") as file:
                types = {file.get_slice(one).get_dtype() for one in file.keys()}  # noqa: SIM118
                assert types <= ({"F16", "I64"} if half else {"F32", "I64"})
                assert not any(one.startswith("transformer.") for one in file.keys()), "CLIP's text tower"  # noqa: SIM118
    given = load_captioner(tmp_path / "half-True")
    assert all(p.dtype == torch.float32 for p in given.decoder.model.parameters())
    before = load_captioner(checkpoint).decoder.model.state_dict()
    for name, weights in given.decoder.model.state_dict().items():
        assert torch.equal(weights, before[name].half().float()) or not weights.is_floating_point(), name
    assert len(given(pictures)) == 1
    export(tmp_path / "half-False", tmp_path / "half-of-it", True)
    assert (tmp_path / "half-of-it/README.md").read_text() == (
        tmp_path / "half-True/README.md"
    ).read_text().replace("half-True", "half-of-it")


def test_what_cannot_be_exported_is_said_and_leaves_nothing(house, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").touch()
    with pytest.raises(UserError, match="full exists already: name another folder"):
        export(house / "checkpoints/lstm", tmp_path / "full")
    with pytest.raises(UserError, match=r"checkpoints/none/config\.json "):
        export(tmp_path / "checkpoints/none", tmp_path / "new")
    shutil.copytree(house / "checkpoints", tmp_path / "checkpoints")
    shutil.rmtree(tmp_path / "checkpoints/clip")
    with pytest.raises(UserError, match=r"checkpoints/clip/config\.json "):
        export(tmp_path / "checkpoints/clipcap", tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"full", "checkpoints"}


def test_a_tampered_folder_is_refused(house, tmp_path):
    export(house / "checkpoints/lstm", tmp_path / "given")
    content = (tmp_path / "given/encoder/model.safetensors").read_bytes()
    with open(tmp_path / "given/encoder/model.safetensors", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    with pytest.raises(UserError, match="learned from features whose weights is"):
        load_captioner(tmp_path / "given")
    (tmp_path / "given/encoder/model.safetensors").write_bytes(content)
    config = json.loads((tmp_path / "given/config.json").read_text())
    del config["captioning"]["generate"]["no_repeat_ngram"]  # as written by a version without it
    (tmp_path / "given/config.json").write_text(json.dumps(config))
    assert load_captioner(tmp_path / "given").how.generate.no_repeat_ngram == 0
    config["captioning"]["generate"]["beam_sise"] = 3
    (tmp_path / "given/config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"given/config.json.*beam_sise"):
        load_captioner(tmp_path / "given")
    (tmp_path / "given/config.json").write_text("[]")
    with pytest.raises(UserError, match=r"given/config.json"):
        load_captioner(tmp_path / "given")


@pytest.mark.parametrize("mapping", ["mlp", "transformer"])
def test_a_file_of_clipcaps_authors_becomes_a_captioner(tmp_path, monkeypatch, mapping):
    monkeypatch.chdir(ROOT)
    gpt2_tokenizer(tmp_path / "gpt2", 300)
    sizes = clip.CLIPConfig(16, 64, (1, 1, 1, 1), 16, None, 24, 1000, 64, 1)
    save_clip(tmp_path / "clip", clip.build(sizes), clip_preprocess(64))
    source = published(tmp_path / "coco_prefix-009.pt", mapping)
    export_published(source, tmp_path / "given", str(tmp_path / "clip"), str(tmp_path / "gpt2"))
    given = load_captioner(tmp_path / "given")
    assert given.decoder.features["normalization"] == ("none" if mapping == "mlp" else "l2")
    assert given.decoder.text.end == "." and len(given(photos(tmp_path, 2))) == 2
    with pytest.raises(UserError, match="holds no weights that can be opened safely"):
        source.write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
        export_published(source, tmp_path / "other", str(tmp_path / "clip"), str(tmp_path / "gpt2"))


def test_captions_of_training_images_are_not_uploaded_without_a_yes(tmp_path, monkeypatch, capsys):
    house = project(tmp_path / "house")
    edit_params(house, CONSENSUS)
    export(house / "checkpoints/lstm", tmp_path / "given")
    for answer in ("n\n", "\n", ""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        with pytest.raises(UserError, match="given stays here: answer y or give --yes"):
            push(tmp_path / "given", "me/captioner", sure=False)
        assert (
            "consensus.json has the captions of 8 training images. Upload them? [y/N]"
            in capsys.readouterr().out
        )
    with pytest.raises(UserError, match=r"cannot be uploaded to me/captioner: HF_HUB_OFFLINE is set"):
        push(tmp_path / "given", "me/captioner", sure=True)
    with pytest.raises(UserError, match=r"me/captioner is not a folder here .*HF_HUB_OFFLINE is set"):
        load_captioner("me/captioner")
    with pytest.raises(UserError, match=r"checkpoints/nothing/config\.json "):
        load_captioner("checkpoints/nothing")
