"""Trains small networks as the stages do, without dropout: `python -m small_training NETWORK ...`, in as many
processes as `machine.processes` of the current folder's params.yaml says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd
import torch
from small_decoders import options, train
from small_project import CAPTIONS, SETTINGS, photos

from captioning.core import settings
from captioning.core.errors import command
from captioning.features.encoders import save_clip, save_vgg16
from captioning.features.images import clip_preprocess, vgg16_preprocess
from captioning.training.processes import in_processes
from models import clip, vgg16
from stages import finetune_clip, finetune_vgg16

SPLITS = ["train"] * 11 + ["dev"] * 3  # in batches of 4: the last one has 3
TOWERS = {"vit": (3, 64, 32), "resnet": ((1, 1, 1, 1), 16, None)}  # layers, width, patch size


def write_params(folder: Path, processes: int) -> None:
    values = settings.read_yaml(Path(__file__).parent.parent / "params.yaml")
    values["machine"] = values["machine"] | {"workers": 1, "processes": processes}
    (folder / "params.yaml").write_text(f"{values!r}\n".replace("None", "null"))


def write_data() -> None:
    ids, pictures = [f"image{i}" for i in range(len(SPLITS))], photos(Path("pictures"), len(SPLITS))
    hashes = [str(max(i, 1)) for i in range(len(ids))]  # the first two are one picture under two names
    Path("data").mkdir()
    images = pd.DataFrame({"id": ids, "path": pictures, "split": SPLITS, "sha256": hashes})
    images.to_csv("data/images.csv", index=False)
    pairs = [(name, CAPTIONS[(5 * i + j) % 24]) for i, name in enumerate(ids) for j in range(2)]
    captions = pd.DataFrame(pairs, columns=["image_id", "caption"])
    captions.assign(tokens=captions["caption"]).to_csv("data/captions.csv", index=False)


def encoder_settings(stage: str, **changes) -> settings.Settings:
    small = {"epochs": 2, "batch_size": 4, "lr": 1e-3, "precision": "fp32"} | changes
    group = getattr(SETTINGS, stage).model_copy(update=small)
    machine = SETTINGS.machine.model_copy(update={"workers": 1})
    return SETTINGS.model_copy(update={stage: group, "machine": machine})


def train_vgg16() -> None:
    torch.manual_seed(0)
    network = vgg16.VGG16(vgg16.VGG16Config(32, 0.0625, batch_norm=True, num_labels=1, dropout=0.0))
    preprocess, folder = vgg16_preprocess(32), Path("checkpoints/vgg16")
    finetune_vgg16.train(
        encoder_settings("finetune_vgg16", labels=8), network, preprocess,
        lambda **extra: save_vgg16(folder, network, preprocess, **extra),
    )  # fmt: skip


def train_clip(tower: str, chunk_size: int | None = None) -> None:
    layers, width, patch = TOWERS[tower]
    torch.manual_seed(0)
    model, preprocess = clip.build(clip.CLIPConfig(32, 64, layers, width, patch, 24, 49408, 64, 1)), clip_preprocess(64)
    chosen = encoder_settings("finetune_clip", chunk_size=chunk_size, captions=2)
    folder = Path(f"checkpoints/{tower}{chunk_size or ''}")
    finetune_clip.train(chosen, model, preprocess, lambda **extra: save_clip(folder, model, preprocess, **extra))


def train_decoder(kind: str, batch_size: int, critic_epochs: int = 0, frozen: bool = False) -> None:
    critic = {"epochs": critic_epochs, "batch_size": 5, "lr": 0.001, "samples": 3}
    own = Path(f"features_of_{os.environ.get('RANK', 0)}")
    own.mkdir(exist_ok=True)
    chosen = options(epochs=2, batch_size=batch_size, lr=0.001, self_critical=critic)
    train(kind, own, chosen, frozen=frozen, dropout=False)


NETWORKS = {
    "lstm": lambda: train_decoder("lstm", 23, critic_epochs=2),  # the last batch of cross-entropy has one image
    "clipcap": lambda: train_decoder("clipcap", 5, critic_epochs=1),
    "frozen": lambda: train_decoder("clipcap", 7, frozen=True),
    "vgg16": train_vgg16,
    "vit": lambda: train_clip("vit"),
    "vit1": lambda: train_clip("vit", chunk_size=1),
    "resnet": lambda: train_clip("resnet"),
}


@command
@in_processes
def main() -> None:
    for name in sys.argv[1:]:
        NETWORKS[name]()


if __name__ == "__main__":
    main()
