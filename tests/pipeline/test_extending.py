"""Follows docs/extending.md: a decoder added in the files that it lists, and in no other, trains, loads and
captions."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from project_copy import ROOT, run

DOCUMENT = (ROOT / "docs/extending.md").read_text(encoding="utf-8")

MODEL = '''"""The next word by the image and the last word alone."""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn

from models.losses import cross_entropy, targets_of
from models.standardize import Standardize


@dataclass(frozen=True)
class BigramConfig:
    vocab_size: int
    feature_size: int
    image_dropout: float = 0.0

    def to_dict(self):
        return asdict(self)


class State:
    """What the image says for each token, (N, V): one row a caption or beam."""

    def __init__(self, image):
        self.image = image

    def expand(self, width):
        return State(self.image.repeat_interleave(width, dim=0))

    def select(self, rows):
        return State(self.image[rows])


class Bigram(nn.Module):
    max_tokens = None

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.standardize = Standardize(config.feature_size, config.image_dropout)
        self.image = nn.Linear(config.feature_size, config.vocab_size)
        self.following = nn.Embedding(config.vocab_size, config.vocab_size)
        self.first = nn.Parameter(torch.zeros(config.vocab_size))

    def loss(self, features, captions, label_smoothing=0.0, weights=None):
        targets = targets_of(captions, weights)
        image = self.image(self.standardize(features))[:, None].expand(-1, captions.shape[1], -1)  # (B, C, V)
        inner = image[:, :, None] + self.following(captions[..., :-1].clamp(min=0))  # (B, C, T-1, V)
        logits = torch.cat([image[targets.first] + self.first, inner[targets.inside]])
        logits = F.pad(logits, (0, 0, 0, len(targets.tokens) - len(logits)))
        return cross_entropy(logits, targets, label_smoothing)

    def begin(self, features):
        image = self.image(self.standardize(features))
        return image + self.first, State(image)

    def step(self, tokens, state):
        return state.image + self.following(tokens), state


def from_sizes(sizes):
    return Bigram(BigramConfig(**sizes))
'''

STAGE = '''"""Stage train_bigram."""

from captioning.core import settings as schema
from captioning.core.device import seed_everything
from captioning.core.paths import features
from captioning.data.dataset import load_data
from captioning.decoders.checkpoint import Decoder, feature_identity
from captioning.decoders.vocabulary import word_vocabulary
from captioning.features.store import FeatureStore
from captioning.training.decoder import DecoderData, train_decoder
from captioning.weights.checkpoint import config_from
from models.bigram import BigramConfig, from_sizes
from stages import stage


@stage
def main():
    settings = schema.load()
    data, store = load_data(), FeatureStore.open(features("vgg16"))
    captions = {split: list(data.tokens(split).values()) for split in ("train", "dev")}
    flat = (one for of_image in captions["train"] for one in of_image)
    text = word_vocabulary(flat, settings.bigram.min_count)
    seed_everything(settings.seed)
    config = config_from(BigramConfig, settings.bigram, vocab_size=text.size, feature_size=store.shape[-1])
    sizes = config.to_dict()
    decoder = Decoder("bigram", from_sizes(sizes), text, sizes, feature_identity(store.attrs))
    train_decoder("train_bigram", decoder, DecoderData(data, store, captions), settings, standardize=True)


if __name__ == "__main__":
    main()
'''

NEW = {"models/bigram.py": MODEL, "stages/train_bigram.py": STAGE}

TRAINING = """
bigram:
  min_count: 1
  image_dropout: 0.1

train_bigram:
  epochs: 8
  batch_size: 4
  lr: 0.1
  weight_decay: 0.0
  warmup: 0.1
  clip_norm: 5.0
  patience: 8
  precision: fp32
  label_smoothing: 0.0
  monitor: loss
  ema: 0.0
  self_critical: {epochs: 1, batch_size: 8, lr: 0.001, samples: 3}

"""

TRAIN_STAGE = """
  train_bigram:
    cmd: python -m stages.train_bigram
    deps: [code/train_bigram.txt, data, features/vgg16.h5]
    params: [seed, bigram, train_bigram, generate.max_tokens]
    outs:
      - checkpoints/bigram
      - live/train_bigram

"""

# {file: [(a text in it, the text that replaces every occurrence)]}
EDITS = {
    "captioning/core/settings.py": [
        (
            "class SelfCriticalSettings(",
            "class BigramSettings(Group):\n    min_count: Positive\n    image_dropout: Share\n\n\n"
            "class SelfCriticalSettings(",
        ),
        ("    clipcap: list[str]\n", "    clipcap: list[str]\n    bigram: list[str]\n"),
        (
            "    generate: GenerateSettings\n",
            "    bigram: BigramSettings\n    train_bigram: TrainDecoderSettings\n"
            "    generate: GenerateSettings\n",
        ),
    ],
    "params.yaml": [
        ("\ngenerate:\n", TRAINING + "generate:\n"), ("    lstm: []", "    bigram: []\n    lstm: []"),
    ],
    "captioning/core/paths.py": [('{"lstm": "vgg16", ', '{"lstm": "vgg16", "bigram": "vgg16", ')],
    "captioning/decoders/kinds.py": [
        ("from models.lstm ", "from models import bigram\nfrom models.lstm "),
        ('"clipcap": from_sizes', '"clipcap": from_sizes, "bigram": bigram.from_sizes'),
    ],
    "captioning/training/card.py": [
        ("WHAT = {\n", 'WHAT = {\n    "bigram": "The next word by the last one",\n'),
    ],
    "captioning/evaluation/report/data.py": [
        ('MODELS = ("clipcap", "lstm"', 'MODELS = ("clipcap", "lstm", "bigram"'),
        ('TRAINED = ("train_clipcap", ', 'TRAINED = ("train_clipcap", "train_bigram", '),
    ],
    "captioning/evaluation/report/page/dom.js": [('lstm: "LSTM", ', 'lstm: "LSTM", bigram: "Bigram", ')],
    "captioning/evaluation/report/page/run.js": [
        ('train_clipcap: ', 'train_bigram: "Bigram", train_clipcap: '),
    ],
    "app/__init__.py": [('"lstm": "LSTM"', '"lstm": "LSTM", "bigram": "Bigram"')],
    "dvc.yaml": [
        ("\n  generate:\n", TRAIN_STAGE + "  generate:\n"),
        ("      lstm: vgg16\n", "      lstm: vgg16\n      bigram: vgg16\n"),
        *(
            (f"      - {old}\n", f"      - {old}\n      - {old.replace('lstm', 'bigram')}\n")
            for old in (
                "captions/lstm.json", "captions/lstm_diverse.json", "captions/lstm_details.json",
                "captions/lstm_weights.json", "results/lstm.csv",
            )
        ),
        (
            "lstm\n      - checkpoints/clipcap\n",
            "lstm\n      - checkpoints/bigram\n      - checkpoints/clipcap\n",
        ),
        (
            "lstm\n      - live/train_clipcap\n",
            "lstm\n      - live/train_bigram\n      - live/train_clipcap\n",
        ),
        ("lstm, train_lstm, model", "lstm, train_lstm, bigram, train_bigram, model"),
    ],
}  # fmt: skip

SCRIPT = """
import json, sys
from pathlib import Path

import torch

from app import KINDS
from captioning.core import paths, settings
from captioning.decoders.kinds import load
from captioning.features.store import FeatureStore
from captioning.search.base import Rules
from captioning.search.beam import beam_search
from stages import generate, train_bigram

sys.path.append({tests!r})
from small_decoders import THINGS, scenes

data, _ = scenes(Path.cwd())
for table, path in ((data.images, paths.IMAGES), (data.captions, paths.CAPTIONS)):
    path.parent.mkdir(exist_ok=True)
    table.to_csv(path, index=False)
paths.features("vgg16").parent.mkdir()
Path("features.h5").rename(paths.features("vgg16"))

train_bigram.main()
decoder = load(paths.checkpoint("bigram"))
store = FeatureStore.open(paths.features("vgg16"), expect=decoder.features)
features = torch.from_numpy(store.load(data.split("dev"))).float()
found = beam_search(decoder.model, features, Rules.of(settings.load().generate, decoder.text))
captions = [decoder.text.decode(of_image[0].tokens) for of_image in found]

sys.argv[1:] = ["bigram"]
generate.main()
written = [entry["caption"] for entry in json.loads(paths.captions("bigram").read_text())]
assert written == captions, (written, captions)

first = [said[0].lower() for said in data.references("dev").values()]
true = [next(thing for thing in THINGS if thing in said) for said in first]
right = sum(thing in caption for thing, caption in zip(true, captions))
print("RIGHT", right, len(true), KINDS["bigram"])
"""


def section(title: str) -> str:
    return DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def listed(text: str) -> list[str]:
    """The files at the beginning of the lines of a list in the document."""
    return [
        name
        for line in text.splitlines()
        if line.startswith("- ")
        for name in re.findall(r"^- `([^`]+)`", line)
    ]


def extend(house: Path) -> None:
    """Copies the repository and adds the toy decoder."""
    for package in ("app", "captioning", "models", "scenes", "stages"):
        shutil.copytree(ROOT / package, house / package, ignore=shutil.ignore_patterns("__pycache__"))
    (house / "tests/unit").mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml", "tests/conftest.py", "tests/unit/test_dag.py"):
        shutil.copy(ROOT / name, house / name)
    for name, text in NEW.items():
        (house / name).write_text(text, encoding="utf-8")
    for name, edits in EDITS.items():
        text = (house / name).read_text(encoding="utf-8")
        for old, new in edits:
            assert old in text, f"{name} has no {old!r}"
            text = text.replace(old, new)
        (house / name).write_text(text, encoding="utf-8")


def test_the_document_lists_the_files_that_a_decoder_needs():
    needed = section("A third decoder").split("\n### ")[0]
    assert {name.replace("NAME", "bigram") for name in listed(needed)} == {*NEW, *EDITS}


def test_the_files_of_the_document_exist():
    for name in listed(DOCUMENT):
        assert "NAME" in name or (ROOT / name).exists(), name
    for name in re.findall(r"`((?:captioning|models|stages|app|commands|tests)/[\w/.]+\.\w+)`", DOCUMENT):
        assert (ROOT / name).exists() or "NAME" in name, name


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    extend(folder)
    return folder


def test_a_decoder_added_in_these_files_trains_loads_and_captions(house):
    text = (house / "params.yaml").read_text(encoding="utf-8")
    (house / "params.yaml").write_text(text.replace("  split: test ", "  split: dev "), encoding="utf-8")
    (house / "commands").mkdir()
    (house / "commands/trial.py").write_text(SCRIPT.format(tests=str(ROOT / "tests")), encoding="utf-8")
    printed = run(house, "python", "-m", "commands.trial")
    right, of, name = re.search(r"RIGHT (\d+) (\d+) (\w+)", printed).groups()
    assert int(right) >= int(of) - 1, printed
    assert name == "Bigram" and "train_bigram.self_critical" in printed


DAG = "known_settings or setting_matters or one_way and models or one_way and stages"


def test_the_extended_pipeline_keeps_its_own_rules(house):
    options = ("-q", "-p", "no:cacheprovider", "-k", DAG)
    assert "passed" in run(house, "python", "-m", "pytest", *options, "tests/unit/test_dag.py")
