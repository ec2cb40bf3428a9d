"""Trains small networks as the stages do, without dropout: `python -m small_training NETWORK ...`, in as many
processes as `machine.processes` of the current folder's params.yaml says."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from small_decoders import options, train
from small_project import CAPTIONS, SETTINGS, photos

from captioning.core import settings
from captioning.core.errors import command
from captioning.core.paths import checkpoint
from captioning.data.dataset import load_data
from captioning.features.encoders import save_clip, save_vgg16
from captioning.features.images import clip_preprocess, vgg16_preprocess
from captioning.training.distributed import rank
from captioning.training.processes import in_processes
from models import clip, vgg16
from stages import finetune_clip, finetune_vgg16

SPLITS = ["train"] * 23 + ["dev"] * 5  # in batches of 8: the last one has 7


def write_params(folder: Path, processes: int) -> None:
    values = settings.read_yaml(Path(__file__).parent.parent / "params.yaml")
    values["machine"] = values["machine"] | {"workers": 1, "processes": processes}
    (folder / "params.yaml").write_text(f"{values!r}\n".replace("None", "null"))


def write_data(folder: Path) -> None:
    ids, pictures = [f"image{i}" for i in range(len(SPLITS))], photos(folder / "pictures", len(SPLITS))
    hashes = [str(max(i, 1)) for i in range(len(ids))]  # the first two are one picture under two names
    (folder / "data").mkdir()
    images = pd.DataFrame({"id": ids, "path": pictures, "split": SPLITS, "sha256": hashes})
    images.to_csv(folder / "data/images.csv", index=False)
    pairs = [(name, CAPTIONS[(5 * i + j) % 24]) for i, name in enumerate(ids) for j in range(2)]
    captions = pd.DataFrame(pairs, columns=["image_id", "caption"])
    captions.assign(tokens=captions["caption"]).to_csv(folder / "data/captions.csv", index=False)


def encoder_settings(stage: str, **changes) -> settings.Settings:
    small = {"epochs": 2, "batch_size": 8, "lr": 1e-3, "precision": "fp32"} | changes
    group = getattr(SETTINGS, stage).model_copy(update=small)
    machine = SETTINGS.machine.model_copy(update={"workers": 1})
    return SETTINGS.model_copy(update={stage: group, "machine": machine})


def train_vgg16(folder: str, batch_norm: bool, **changes) -> None:
    torch.manual_seed(0)
    network = vgg16.VGG16(vgg16.VGG16Config(32, 0.0625, batch_norm=batch_norm, num_labels=1, dropout=0.0))
    chosen, preprocess = encoder_settings("finetune_vgg16", labels=8, **changes), vgg16_preprocess(32)
    write = partial(save_vgg16, Path("checkpoints", folder), network, preprocess)
    finetune_vgg16.train(chosen, load_data(), network, preprocess, write)


def train_clip(folder: str, vit: bool, **changes) -> None:
    tower = (2, 64, 32) if vit else ((1, 1, 1, 1), 16, None)  # layers, width, patch size
    torch.manual_seed(0)
    model, preprocess = clip.build(clip.CLIPConfig(32, 64, *tower, 24, 49408, 64, 1)), clip_preprocess(64)
    write = partial(save_clip, Path("checkpoints", folder), model, preprocess)
    chosen = encoder_settings("finetune_clip", captions=2, **changes)
    finetune_clip.train(chosen, load_data(), model, preprocess, write)


def train_decoder(
    folder: str, kind: str, batch_size: int, epochs: int = 2, critic: int = 0, frozen: bool = False
) -> None:
    """The decoder's checkpoint is moved to `folder`."""
    phase = {"epochs": critic, "batch_size": 5, "lr": 0.03, "samples": 3}
    own = Path(f"features_of_{rank()}")
    own.mkdir(exist_ok=True)
    chosen = options(epochs=epochs, batch_size=batch_size, lr=0.01, self_critical=phase)
    train(kind, own, chosen, frozen=frozen, dropout=False)
    if rank() == 0:
        checkpoint(kind).rename(checkpoint(kind).with_name(folder))


ONE_STEP = {"epochs": 1, "batch_size": 23}
NETWORKS = {
    "lstm_short": lambda: train_decoder("lstm_short", "lstm", 23),  # a last batch of one image
    "lstm_long": lambda: train_decoder("lstm_long", "lstm", 6, epochs=12),
    "critic": lambda: train_decoder("critic", "lstm", 6, epochs=4, critic=2),
    "tuned": lambda: train_decoder("tuned", "clipcap", 5),
    "frozen": lambda: train_decoder("frozen", "clipcap", 7, frozen=True),
    "vgg16": lambda: train_vgg16("vgg16", batch_norm=False),
    "vgg16_bn": lambda: train_vgg16("vgg16_bn", batch_norm=True, **ONE_STEP),
    "vit": lambda: train_clip("vit", vit=True),
    "vit_chunks": lambda: train_clip("vit_chunks", vit=True, chunk_size=3),
    "resnet": lambda: train_clip("resnet", vit=False, **ONE_STEP),
}


@command
@in_processes
def main() -> None:
    for name in sys.argv[1:]:
        NETWORKS[name]()


if __name__ == "__main__":
    main()
