"""Files of other people: a damaged file gives one sentence, a file that fits only by accident is refused."""

import copy
import fcntl
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from official import gpt2_folder
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from captioning.core import settings
from captioning.core.errors import UserError, command
from captioning.core.files import all_at_once
from captioning.decoders.clipcap import open_model
from captioning.features import foreign
from captioning.features.initial import initial_clip
from captioning.features.store import FeatureStore, write_store
from captioning.weights.state_dict import read_state_dict
from models import clip

VALUES = settings.read_yaml(Path(__file__).parents[3] / "params.yaml")
VIT = clip.CLIPConfig(32, 64, 2, 64, 32, 12, 100, 64, 2)


def opened(path: Path, activation: str = "quick_gelu") -> clip.CLIP:
    values = copy.deepcopy(VALUES)
    values["clip"] |= {"weights": str(path), "activation": activation}
    return initial_clip(settings.check(values, "params.yaml").clip)[0].eval()


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_a_clip_of_transformers_gives_its_features(tmp_path, activation):
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 2, "num_hidden_layers": 2}
    sizes["hidden_act"] = activation
    text = sizes | {"vocab_size": 100, "max_position_embeddings": 12, "eos_token_id": 99, "bos_token_id": 98}
    config = CLIPConfig(
        text_config=text, vision_config=sizes | {"image_size": 64, "patch_size": 32}, projection_dim=32
    )
    theirs = CLIPModel(config).eval()
    theirs.save_pretrained(tmp_path)
    ours, images, words = opened(tmp_path), torch.randn(3, 3, 64, 64), torch.randint(1, 90, (3, 12))
    words[:, 7] = 99
    with torch.no_grad():
        found = theirs(input_ids=words, pixel_values=images)
        mine = [
            torch.nn.functional.normalize(x, dim=-1)
            for x in (ours.encode_image(images), ours.encode_text(words))
        ]
    torch.testing.assert_close(mine[0], found.image_embeds)
    torch.testing.assert_close(mine[1], found.text_embeds)
    assert all(weight.is_contiguous() for weight in ours.parameters())  # as NCCL needs them

    weights, names = load_file(tmp_path / "model.safetensors"), []
    for number, part in enumerate((list(weights)[::2], list(weights)[1::2])):
        names.append({name: f"pytorch_model-{number}.bin" for name in part})
        torch.save({name: weights[name] for name in part}, tmp_path / f"pytorch_model-{number}.bin")
    (tmp_path / "model.safetensors").unlink()
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": names[0] | names[1]}))
    shards = opened(tmp_path).state_dict()
    assert all(torch.equal(weight, shards[name]) for name, weight in ours.state_dict().items())
    for damaged, said in (
        ("{", "index of a model's weights"),
        ('{"weight_map": {"a": "../b.bin"}}', "not a file of its"),
    ):
        (tmp_path / "damaged").mkdir(exist_ok=True)
        shutil.copy(tmp_path / "config.json", tmp_path / "damaged")
        (tmp_path / "damaged" / index.name).write_text(damaged)
        with pytest.raises(UserError, match=said):
            opened(tmp_path / "damaged")

    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["vision_config"]["num_attention_heads"] = 4
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match="4 heads for a width of 128"):
        opened(tmp_path)


def test_wrapped_and_prefixed_weights_are_unwrapped(tmp_path):
    model = clip.build(VIT)
    weights = model.state_dict()
    for wrapper in ("model", "model_state_dict", "state_dict"):
        for prefix in ("module.", "clip_model.", "module.clip_model."):
            named = {prefix + name: tensor for name, tensor in weights.items()}
            torch.save({wrapper: named, "epoch": 3}, tmp_path / "clip.pt")
            assert read_state_dict(tmp_path / "clip.pt").keys() == weights.keys()
    assert clip.activation_of(opened(tmp_path / "clip.pt", "gelu")) == "gelu"


def test_a_width_that_openai_has_not_is_refused_without_a_config(tmp_path):
    torch.save(
        clip.build(clip.CLIPConfig(32, 64, 1, 320, 32, 12, 100, 64, 1)).state_dict(), tmp_path / "clip.pt"
    )
    with pytest.raises(UserError, match="no CLIP of OpenAI has a vision_width of 320"):
        opened(tmp_path / "clip.pt")


def test_more_weights_than_a_gpt2_config_describes_are_refused(tmp_path):
    folder = tmp_path / "gpt2"
    gpt2_folder(folder)
    weights = load_file(folder / "model.safetensors")
    more = {
        n.replace(".h.0.", ".h.7.").replace("h.0.", "h.7."): t.clone()
        for n, t in weights.items()
        if "h.0." in n
    }
    save_file(weights | more, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="have no place in the network"):
        open_model(folder)


def test_readers_of_a_store_need_no_lock(tmp_path):
    write_store(tmp_path / "f.h5", ["a"], ["0" * 64], {}, (2,), lambda block: np.ones((1, 2), np.float16))
    with open(tmp_path / "f.h5", "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as HDF5 does
        assert FeatureStore.open(tmp_path / "f.h5").ids == ["a"]


def test_a_file_that_takes_for_ever_is_given_up(tmp_path, monkeypatch):
    np.savez(tmp_path / "f.npz", ids=np.array(["a"]), features=np.ones((1, 2), np.float32))
    foreign.try_out(tmp_path / "f.npz")
    monkeypatch.setattr(foreign, "SECONDS", 0.01)
    with pytest.raises(UserError, match="could not be read in 0 s"):
        foreign.try_out(tmp_path / "f.npz")


@pytest.mark.parametrize("name", ["f.npz", "f.h5"])
def test_damaged_feature_files_are_one_sentence(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(200))
    with pytest.raises(UserError, match="damaged"):
        foreign.try_out(tmp_path / name)


def test_results_take_their_places_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("metrics.json").write_text("old")
    with pytest.raises(OSError), all_at_once("results", "metrics.json") as folder:
        (folder / "metrics.json").write_text("new")
        raise OSError("disk full")
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["metrics.json"] and Path(
        "metrics.json"
    ).read_text() == "old"


def test_a_full_disk_is_told_of_safetensors_too():
    @command
    def main() -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(SystemExit, match="writing a file: No space left on device; free some space"):
        main()
