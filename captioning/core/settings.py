"""The schema of params.yaml: every setting, its type and its limits, checked before any work starts.

params.yaml contains the values and their meaning; this file contains what is allowed. There are no defaults:
a missing key is an error, and so is an unknown or misspelt one. A file that loads therefore shows every
setting of a run.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from captioning.core.errors import UserError

MOST_VALUES = 100_000  # in a file of settings; ours has 150
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]
Precision = Literal["auto", "fp32", "bf16"]


def _whole_or_auto(value: Any) -> int | str:
    if value == "auto" or (type(value) is int and value >= 0):
        return value
    raise ValueError(f"expected a whole number, 0 or more, or auto; it is {_show(value)}")


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
    """Settings of every training stage: the options of `captioning.training.fit`."""

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
                f"clip.weights = {weights}: such towers are used as they are; set finetune_clip.epochs to 0"
            )
        if self.clip.layer == "patches" and self.model.mapping == "mlp":
            raise ValueError(
                "clip.layer = patches gives many tokens an image, and the mlp takes one vector: set "
                "model.mapping to transformer"
            )
        if (
            self.clip.layer == "patches"
            and not imported
            and (weights == "scratch" or weights.startswith("RN"))
        ):
            raise ValueError(
                f"clip.layer = patches: clip.weights = {weights} is a ResNet, which has no patches; "
                "name a ViT"
            )
        return self


def load(path: str | Path = "params.yaml") -> Settings:
    """Reads and checks params.yaml. Reports all faults at once, with key, value and what was expected."""
    values = read_yaml(path)
    try:
        return check(values, str(path))
    except UserError as error:  # `dvc exp run -S` leaves its change in the file, and DVC does not report it
        raise UserError(
            f"{error}\n`git diff {path}` shows what was changed, `git checkout {path}` undoes it"
        ) from None


def read_yaml(path: str | Path) -> dict:
    """Reads a file and parses it with `parse_yaml`."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: run from the project's folder, or restore it with `git checkout {path}`"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): restore it with `git checkout {path}`"
        ) from None
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes, origin: str) -> dict:
    """Parses YAML 1.2 to plain Python, as DVC does (`1e-3` is a number, a duplicate key is an error)."""
    try:
        text = content.decode()
        _check_nodes(text)
        values = YAML(typ="safe", pure=True).load(text)
    except RecursionError:
        raise UserError(
            f"{origin} is not valid YAML: values are nested too deep; close their brackets"
        ) from None
    except (YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:  # its parser raises them
        raise UserError(f"{origin} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(
            f"{origin} must hold groups of settings (`data:`, `model:`, ...), not {type(values).__name__}"
        )
    return values


def _check_nodes(text: str) -> None:
    """Raises ValueError, with the line, if a value does not fit its tag or form, or if aliases are too many.

    An alias represents everything that it names, so a few lines of nested aliases unfold to millions of
    values.
    """
    yaml = YAML(typ="safe", pure=True)
    waiting, count = [yaml.compose(text)], 0
    while waiting:
        node, count = waiting.pop(), count + 1
        if count > MOST_VALUES:
            raise ValueError(f"its aliases unfold to more than {MOST_VALUES:,} values; write the values out")
        if isinstance(node, MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            waiting += node.value
        elif isinstance(node, ScalarNode) and not node.tag.endswith(":merge"):  # `<<` is not a value
            shown = f"{_show(node.value)} on line {node.start_mark.line + 1}"
            try:
                value = yaml.constructor.construct_object(node, deep=True)
            except (ValueError, KeyError, TypeError, AttributeError):
                kind = node.tag.rpartition(":")[2]
                raise ValueError(
                    f"{shown} reads as a value of type {kind} and is none; quote or correct it"
                ) from None
            if isinstance(value, int) and value.bit_length() > 63:
                raise ValueError(f"{shown} is larger than any setting may be; write a smaller number")


def check(values: dict, origin: str) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [_explain(fault) for fault in error.errors()]
        raise UserError(f"{origin} has {len(lines)} fault(s):\n  " + "\n  ".join(lines)) from None


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


def _explain(fault: dict[str, Any]) -> str:
    """Describes a pydantic fault in a sentence: the key, the value, what was expected."""
    path = [str(part) for part in fault["loc"]]
    key, value, kind = ".".join(path), fault["input"], fault["type"]
    if kind == "extra_forbidden" and path[-1] == "workers":
        return f"{key} has moved: one number, machine.workers, is for all stages; remove this key"
    if kind == "extra_forbidden":
        siblings = [known for known in _groups_and_keys() if known.rpartition(".")[0] == ".".join(path[:-1])]
        near = difflib.get_close_matches(key, siblings, 1, 0.6) or difflib.get_close_matches(
            key, _groups_and_keys(), 1, 0.6
        )
        hint = (
            f"did you mean {near[0]}?"
            if near
            else f"known here: {', '.join(s.rpartition('.')[2] for s in siblings)}"
        )
        return f"{key} = {_show(value)}: no such setting; {hint}"
    if kind == "missing":
        return f"{key} is missing; every setting must be given (see the comments in params.yaml)"
    if kind == "value_error":
        return f"{key}: {fault['ctx']['error']}" if key else str(fault["ctx"]["error"])
    return f"{key} = {_show(value)}: expected {_expected(fault)}"


def _expected(fault: dict[str, Any]) -> str:
    context, kind = fault.get("ctx", {}), fault["type"]
    limits = {
        "greater_than_equal": ("{ge} or more", "ge"),
        "greater_than": ("more than {gt}", "gt"),
        "less_than_equal": ("{le} or less", "le"),
        "less_than": ("less than {lt}", "lt"),
        "multiple_of": ("a multiple of {multiple_of}", "multiple_of"),
        "literal_error": ("{expected}", "expected"),
    }
    if kind in limits:
        return limits[kind][0].format(**context)
    types = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "list_type": "a list",
        "finite_number": "a finite number",
        "model_type": "a group of settings",
        "dict_type": "a group of settings",
    }
    return types.get(kind, fault["msg"])


def _groups_and_keys() -> list[str]:
    keys = known_keys()
    groups = {key[:i] for key in keys for i, char in enumerate(key) if char == "."}
    return keys + sorted(groups)


def _show(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python prints no whole number of more than 4,300 digits, and 0xfff... can have them
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."
