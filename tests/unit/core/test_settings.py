"""params.yaml: errors name the wrong key and the nearest right one before any work."""

import copy
import time
from pathlib import Path

import pytest

from captioning.core import settings
from captioning.core.errors import UserError
from commands import preset as presets

ROOT = Path(__file__).parents[3]
VALUES = settings.read_yaml(ROOT / "params.yaml")


def changed(key: str, value) -> dict:
    values = copy.deepcopy(VALUES)
    *path, last = key.split(".")
    group = values
    for part in path:
        group = group[part]
    group[last] = value
    return values


def fault(values: dict) -> str:
    with pytest.raises(UserError) as caught:
        settings.check(values, "params.yaml")
    return str(caught.value)


def test_the_file_loads():
    loaded = settings.load(ROOT / "params.yaml")
    assert loaded.model.prefix_len == VALUES["model"]["prefix_len"]


@pytest.mark.parametrize(
    "key,value,expected",
    [
        ("model.prefix_len", "ten", ["model.prefix_len = 'ten'", "a whole number"]),
        ("model.prefix_len", 10.5, ["model.prefix_len = 10.5", "a whole number"]),
        ("model.prefix_len", True, ["model.prefix_len = True", "a whole number"]),
        ("model.prefix_len", None, ["model.prefix_len = None", "a whole number"]),
        ("model.prefix_len", 0, ["model.prefix_len = 0", "1 or more"]),
        ("train_lstm.epochs", -1, ["train_lstm.epochs = -1", "0 or more"]),
        ("train_lstm.lr", float("nan"), ["train_lstm.lr = nan"]),
        ("train_lstm.lr", 0, ["train_lstm.lr = 0", "more than 0"]),
        ("model.mapping", "mpl", ["model.mapping = 'mpl'", "'mlp' or 'transformer'"]),
        ("model", 3, ["model = 3", "a group of settings"]),
        ("vgg16.image_size", 100, ["vgg16.image_size = 100", "a multiple of 32"]),
        (
            "model.prefx_len",
            20,
            ["model.prefx_len = 20", "no such setting", "did you mean model.prefix_len?"],
        ),
        ("trian_lstm", {}, ["did you mean train_lstm?"]),
        ("lstm.hidden_size", 300, ["lstm:", "tie_weights"]),
        ("finetune_clip.batch_size", 1, ["finetune_clip.batch_size = 1", "2 or more"]),
        ("generate.length_penalty", 1e300, ["generate.length_penalty = 1e+300", "10.0 or less"]),
        ("generate.max_tokens", 500, ["generate.max_tokens = 500", "model.max_caption_tokens"]),
    ],
)
def test_a_fault_names_key_value_and_what_was_expected(key, value, expected):
    message = fault(changed(key, value))
    for part in expected:
        assert part in message


def test_all_faults_are_told_at_once():
    values = changed("model.prefix_len", "ten")
    values["train_lstm"]["epochs"] = -1
    del values["seed"]
    message = fault(values)
    assert message.startswith("params.yaml has 3 faults:\n") and "seed is missing" in message
    alone = fault(changed("model.prefix_len", 0))
    assert alone.startswith("params.yaml has a fault:\n  model.prefix_len = 0:")


@pytest.mark.parametrize(
    "text", ["seed: 0\nseed: 1\n", "- a\n- b\n", "", "seed: [0\n", "seed: !!python/object:os.system x\n"]
)
def test_a_file_that_is_no_settings_is_an_error(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        settings.load(tmp_path / "params.yaml")


def nested_aliases(join: str) -> str:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} " + join.format(", ".join([f"*a{i - 1}"] * 9)) for i in range(1, 10)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "seed: 0\ndate: 2001-99-99\n",
            "'2001-99-99' on line 2 looks like a value of type timestamp but is not one",
        ),
        ("seed: !!int abc\n", "'abc' on line 1 looks like a value of type int"),
        ("seed: !!bool x\n", "'x' on line 1 looks like a value of type bool"),
        ("seed: !!float x\n", "type float"),
        ("seed: !!int " + "9" * 5000, "type int"),
        ("seed: !!binary é\n", "binary"),
        ("seed: " + "[" * 3000, "nested too deep"),
        (nested_aliases("[{}]"), "its aliases unfold to more than 100,000 values"),
        (nested_aliases("{{<<: [{}]}}"), "its aliases unfold to more than 100,000 values"),
        ("seed: &a [*a]\n", "its aliases unfold|params.yaml"),
        ("? [a, {b: c}]\n: 1\n", "params.yaml"),
        (f"seed: 0x{'f' * 5000}\n", "on line 1 is larger than any setting may be"),
        (
            "model:\n  clip_len: 10\n prefix_len: 10  # tokens\n",
            "YAML: line 3, 'prefix_len: 10': expected <block end>, .* that begins on line 1; mend",
        ),
        ("seed: [0\n", "YAML: line 2: expected ',' or ']', .*, while parsing a flow sequence .* on line 1;"),
        ("seed: b: c", "YAML: line 1, 'seed: b: c': mapping values are not allowed here; mend"),
        ("seed: \0", "special characters are not allowed at position 6$"),
    ],
)
def test_what_yaml_cannot_make_a_value_of_is_one_sentence_at_once(tmp_path, text, said):
    (tmp_path / "params.yaml").write_text(text)
    start = time.process_time()
    with pytest.raises(UserError, match=said) as caught:
        settings.load(tmp_path / "params.yaml")
    assert str(caught.value).startswith(f"{tmp_path}/params.yaml ") and len(str(caught.value)) < 1000
    assert time.process_time() - start < 10


def test_a_folder_in_the_place_of_the_settings_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        settings.load(tmp_path)


def test_numbers_are_read_as_dvc_reads_them(tmp_path):
    (tmp_path / "params.yaml").write_text("lr: 1e-3\n")
    assert settings.read_yaml(tmp_path / "params.yaml") == {"lr": 0.001}


# ---- presets


@pytest.fixture
def params(tmp_path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


@pytest.mark.parametrize("name", presets.names(ROOT / "presets"))
def test_a_preset_gives_valid_settings_and_keeps_comments(params, name):
    before = params.read_text()
    presets.apply(name, params, ROOT / "presets")
    settings.load(params)
    comments = [line.partition("#")[2].strip() for line in before.splitlines() if "#" in line]
    after = params.read_text()
    assert all(comment in after for comment in comments)


@pytest.mark.parametrize("name", presets.names(ROOT / "presets"))
def test_scenes_after_any_preset_is_the_committed_file(params, name):
    """So `scenes` must name every key that another preset changes."""
    presets.apply(name, params, ROOT / "presets")
    presets.apply("scenes", params, ROOT / "presets")
    assert settings.read_yaml(params) == VALUES


def test_a_preset_that_is_laid_already_leaves_every_byte(params):
    before = params.read_text()
    assert presets.apply("scenes", params, ROOT / "presets") == []
    assert params.read_text() == before


def test_an_unknown_preset_names_its_neighbour(params):
    with pytest.raises(UserError, match=r"did you mean scenes\?"):
        presets.apply("scene", params, ROOT / "presets")


def test_a_preset_with_a_fault_leaves_the_file_alone(params, tmp_path):
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "scenes.yaml").write_text("seed: 0\n")
    (folder / "bad.yaml").write_text("model: {prefix_len: -1}\n")
    before = params.read_text()
    with pytest.raises(UserError, match=r"model\.prefix_len = -1"):
        presets.apply("bad", params, folder)
    assert params.read_text() == before
