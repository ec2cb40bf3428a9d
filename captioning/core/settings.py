"""The schema of params.yaml: every setting, its type and its limits, checked before any work starts.

params.yaml contains the values and their meaning; this file contains what is allowed. There are no defaults:
a missing key is an error, and so is an unknown or misspelt one. A file that loads therefore shows every
setting of a run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from captioning.core.errors import UserError, shown
from captioning.core.paths import PARAMS
from captioning.core.setting_faults import explain
from captioning.core.yaml_files import read_yaml

Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]
Precision = Literal["auto", "fp32", "bf16"]


def _whole_or_auto(value: Any) -> int | str:
    if value == "auto" or (type(value) is int and value >= 0):
        return value
    raise ValueError(f"expected a whole number, 0 or more, or auto; it is {shown(value)}")


class Group(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


class ScenesSettings(Group):
    images: Annotated[int, Field(ge=10)]
    size: Annotated[int, Field(ge=32, le=1024)]


class DataSettings(Group):
    source: Literal["scenes", "flickr8k", "karpathy", "folder", "webdataset"]
    root: str | None
    annotations: str | None
    seed: Whole
    max_words: Positive
    max_dropped: Share
    dev_share: Share
    test_share: Share
    scenes: ScenesSettings


class VGG16ScratchSettings(Group):
    width: Annotated[float, Field(gt=0, le=1)]
    dropout: Share


class VGG16Settings(Group):
    weights: str
    layer: Literal["fc7", "conv5_3"]
    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=32)]
    features: str | None
    scratch: VGG16ScratchSettings


class CLIPScratchSettings(Group):
    embed_dim: Positive
    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=32)]
    vision_layers: Annotated[list[Positive], Field(min_length=4, max_length=4)]
    vision_width: Annotated[int, Field(ge=8, multiple_of=2)]
    context_length: Annotated[int, Field(ge=8, le=77)]
    text_layers: Positive
    text_width: Annotated[int, Field(ge=64, multiple_of=64)]


class CLIPSettings(Group):
    weights: str
    layer: Literal["embedding", "patches"]
    activation: Literal["quick_gelu", "gelu"]
    features: str | None
    scratch: CLIPScratchSettings


class ExtractSettings(Group):
    batch_size: Positive
    precision: Precision


class ExtractCLIPSettings(ExtractSettings):
    normalize: bool


class TrainingSettings(Group):
    """Settings of every training stage: the options of `captioning.training.loop.fit`."""

    epochs: Whole
    batch_size: Positive
    lr: Rate
    weight_decay: NonNegative
    warmup: Share
    clip_norm: Annotated[float, Field(gt=0)]
    patience: Positive
    precision: Precision


class FinetuneSettings(TrainingSettings):
    # `captioning.data.enough` replaces `auto` by a number.
    epochs: Annotated[Any, PlainValidator(_whole_or_auto)]
    mirror: bool


class FinetuneVGG16Settings(FinetuneSettings):
    labels: Positive


class FinetuneCLIPSettings(FinetuneSettings):
    batch_size: Annotated[int, Field(ge=2)]  # contrast needs a second pair
    trains: Literal["all", "last", "projections"]
    blocks: Positive
    layer_decay: Rate
    checkpointing: bool
    chunk_size: Positive | None
    captions: Positive


class LSTMSettings(Group):
    embed_dim: Positive
    hidden_size: Positive
    merge: bool
    attention_dim: Positive
    dropout: Share
    image_dropout: Share
    tie_weights: bool
    min_count: Positive

    @model_validator(mode="after")
    def _tied_sizes(self):
        if self.tie_weights and self.embed_dim != self.hidden_size:
            raise ValueError(
                "tie_weights needs embed_dim and hidden_size to be equal: "
                f"{self.embed_dim} and {self.hidden_size}"
            )
        return self


class SelfCriticalSettings(Group):
    epochs: Whole
    batch_size: Positive
    lr: Rate
    samples: Annotated[int, Field(ge=2, le=100)]


class TrainDecoderSettings(TrainingSettings):
    label_smoothing: Share
    monitor: Literal["loss", "cider"]
    ema: Share
    self_critical: SelfCriticalSettings


class GPT2ScratchSettings(Group):
    vocab_size: Annotated[int, Field(ge=258)]
    layers: Positive
    heads: Positive
    width: Positive
    dropout: Share

    @model_validator(mode="after")
    def _heads_divide_width(self):
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads: {self.width} and {self.heads}")
        return self


class ClipCapSettings(Group):
    prefix_len: Annotated[int, Field(ge=1, le=200)]
    standardize: bool
    image_dropout: Share
    mapping: Literal["mlp", "transformer"]
    clip_len: Positive
    mapping_layers: Positive
    gpt2: str
    freeze_gpt2: bool
    init_from: str | None
    max_caption_tokens: Annotated[int, Field(ge=2, le=512)]
    scratch: GPT2ScratchSettings


class EnsembleSettings(Group):
    lstm: list[str]
    clipcap: list[str]


class DiverseSettings(Group):
    captions: Annotated[int, Field(ge=0, le=100)]
    method: Literal["nucleus", "beams"]
    top_p: Rate
    temperature: Annotated[float, Field(gt=0)]
    strength: NonNegative


class GenerateSettings(Group):
    beam_size: Positive
    length_penalty: Annotated[float, Field(ge=-10, le=10)]
    no_repeat_ngram: Whole
    max_tokens: Annotated[int, Field(ge=1, le=512)]
    batch_size: Positive
    consensus: NonNegative
    ensemble: EnsembleSettings
    diverse: DiverseSettings

    @model_validator(mode="after")
    def _something_to_choose_from(self):
        if self.consensus and self.beam_size == 1:
            raise ValueError("consensus chooses among a beam's captions: expected beam_size 2 or more")
        return self


class EvaluateSettings(Group):
    split: Literal["test", "dev"]
    bootstrap: Annotated[int, Field(ge=100)]


class MachineSettings(Group):
    """What changes a run's speed but not its results, apart from rounding. No stage depends on it."""

    workers: Whole
    processes: Positive
    ray: str | None

    @property
    def threads(self) -> int:
        """The number of threads or processes: `workers`, or the number of cores."""
        return self.workers or os.cpu_count() or 1


class Settings(Group):
    seed: Whole
    machine: MachineSettings
    data: DataSettings
    vgg16: VGG16Settings
    finetune_vgg16: FinetuneVGG16Settings
    clip: CLIPSettings
    finetune_clip: FinetuneCLIPSettings
    extract_vgg16: ExtractSettings
    extract_clip: ExtractCLIPSettings
    lstm: LSTMSettings
    train_lstm: TrainDecoderSettings
    model: ClipCapSettings
    train_clipcap: TrainDecoderSettings
    generate: GenerateSettings
    evaluate: EvaluateSettings

    @model_validator(mode="after")
    def _captions_fit(self):
        if self.generate.max_tokens > self.model.max_caption_tokens:
            raise ValueError(
                f"generate.max_tokens = {self.generate.max_tokens}: expected model.max_caption_tokens or "
                f"less ({self.model.max_caption_tokens}), the longest caption that GPT-2 is trained on"
            )
        return self

    @model_validator(mode="after")
    def _layer_and_towers_fit(self):
        weights, imported = self.clip.weights, self.clip.features
        if weights.startswith(("hf:", "open_clip:")) and self.finetune_clip.epochs and not imported:
            raise ValueError(
                f"clip.weights = {weights}: such a tower cannot be fine-tuned; set finetune_clip.epochs to 0"
            )
        if self.clip.layer == "patches" and self.model.mapping == "mlp":
            raise ValueError(
                "clip.layer = patches gives many vectors per image, but model.mapping = mlp takes one: "
                "set model.mapping to transformer"
            )
        resnet = weights == "scratch" or weights.startswith("RN")
        if self.clip.layer == "patches" and resnet and not imported:
            raise ValueError(
                f"clip.layer = patches: clip.weights = {weights} is a ResNet, which has no patches; "
                "name a ViT"
            )
        return self


def load(path: str | Path = PARAMS) -> Settings:
    """Reads and checks params.yaml. Reports all faults at once, with key, value and what was expected."""
    values = read_yaml(path)
    try:
        return check(values, str(path))
    except UserError as error:  # `dvc exp run -S` leaves its change in the file, and DVC does not report it
        raise UserError(
            f"{error}\n`git diff {path}` shows what differs from HEAD. Mend the line; `git checkout {path}` "
            "discards every uncommitted change, a preset's too"
        ) from None


def check(values: dict, origin: str) -> Settings:
    """Settings from the groups of params.yaml. Raises UserError, which lists all faults of `origin`."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [explain(fault, known_keys()) for fault in error.errors()]
        count = "a fault" if len(lines) == 1 else f"{len(lines)} faults"
        raise UserError(f"{origin} has {count}:\n  " + "\n  ".join(lines)) from None


def known_keys(group: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """Every dotted key of the schema, such as `data.scenes.images`, in the order of the file."""
    keys = []
    for name, field in group.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            keys += known_keys(nested, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys
