"""A trained network as a folder in Hugging Face style, the same for encoders and decoders.

    model.safetensors   the weights, each tensor once
    config.json         kind    vgg16, clip, lstm, clipcap, ...
                        sizes   the network's Config, from which it is built
                        ...     its origin and use: an encoder's `preprocess` and scores, a decoder's
                                `features`, `training` and scores

A decoder's folder also has its tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from captioning.core.errors import UserError, in_a_line, opening
from captioning.core.files import atomic_write, read_json, write_json
from captioning.core.paths import CONFIG, WEIGHTS
from models.empty import no_weights

Config = TypeVar("Config")
Part = TypeVar("Part")

AGAIN = "run `dvc repro` if it is in checkpoints/; copy any other folder again"
# In the older form of an encoder's config.json.
BESIDE_SIZES = ("preprocess", "labels", "dev_map", "retrieval")


def config_from(config: type[Config], *settings: BaseModel, **others: Any) -> Config:
    """Builds a network's Config from `others` and from the settings with the names of its fields."""
    names = {field.name for field in fields(config)}
    found = {}
    for group in settings:
        found |= {name: getattr(group, name) for name in names & set(type(group).model_fields)}
    return config(**found | others)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder. Its config.json has been read; its weights have not.

    Attributes:
        about: config.json without kind and sizes.
    """

    folder: Path
    kind: str
    sizes: dict[str, Any]
    about: dict[str, Any]

    def part(self, key: str, convert: Callable[[Any], Part]) -> Part:
        """Returns the converted value of `key` in config.json.

        Raises UserError if there is none, or none that `convert` accepts.
        """
        path = self.folder / CONFIG
        if key not in self.about:
            raise UserError(f"{path} has no `{key}`: {AGAIN}")
        with opening(path, f"the config of a {self.kind} with its `{key}`", AGAIN):
            return convert(self.about[key])

    def network(self, build: Callable[[dict[str, Any]], nn.Module], prefix: str = "") -> nn.Module:
        """Returns the network with its weights, in fp32 on the CPU.

        Args:
            build: makes the network from the sizes, without random initial weights.
            prefix: the prefix of the network's weights in the file.

        Raises:
            UserError: sizes that make no such network, or missing, extra or ill-shaped weights.
        """
        try:
            with no_weights():
                network = build(dict(self.sizes))
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            raise UserError(
                f"{self.folder / CONFIG}: its sizes do not make a {self.kind} ({in_a_line(error)}): {AGAIN}"
            ) from None
        self._load(network, prefix)
        return network

    def _load(self, network: nn.Module, prefix: str) -> None:
        """Copies the weights one by one, so that none is in memory twice."""
        path, own = self.folder / WEIGHTS, network.state_dict()
        with opening(path, "a file of weights", AGAIN), safe_open(path, "pt") as file:
            names = {name.removeprefix(prefix) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
            if missing := own.keys() - names - copies(network).keys():
                fault = f"{len(missing)} weights are missing, such as {min(missing)}"
            elif more := names - own.keys():
                fault = f"{len(more)} weights have no place in the network, such as {min(more)}"
            else:
                shapes = {name: tuple(file.get_slice(prefix + name).get_shape()) for name in names}
                odd = min((name for name in names if shapes[name] != own[name].shape), default="")
                fault = odd and f"{odd} has the shape {shapes[odd]}, not {tuple(own[odd].shape)}"
            if fault:
                raise UserError(f"{self.folder}: {WEIGHTS} does not fit {CONFIG}: {fault}; {AGAIN}")
            for name in names:
                own[name].copy_(file.get_tensor(prefix + name))


def save(folder: str | Path, kind: str, network: nn.Module, sizes: dict[str, Any], **about: Any) -> None:
    """Writes a checkpoint folder; `about` is added to its config.json.

    Args:
        sizes: the argument with which `build` of `Checkpoint.network` makes this network.
    """
    folder, again = Path(folder), copies(network)
    kept = {name: tensor for name, tensor in network.state_dict().items() if name not in again}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in kept.items()}
    with atomic_write(folder / WEIGHTS, "wb") as file:
        mode = Path(file.name).stat().st_mode
        save_file(weights, file.name, metadata={"format": "pt"})
        Path(file.name).chmod(mode)  # only their owner can read the library's files
    write_json(folder / CONFIG, {"kind": kind, "sizes": sizes, **about})


def read(folder: str | Path, kinds: Collection[str]) -> Checkpoint:
    """Reads the checkpoint in a folder. Raises UserError if there is none of these kinds."""
    folder, expected = Path(folder), " or ".join(kinds)
    path = folder / CONFIG
    with opening(path, f"the config of a checkpoint of kind {expected}", AGAIN):
        config = from_older(read_json(path, AGAIN))
        kind, sizes = config.pop("kind"), dict(config.pop("sizes"))
    if kind not in kinds:
        raise UserError(f"{folder} is a checkpoint of kind {kind!r}; expected {expected}")
    return Checkpoint(folder, kind, sizes, config)


def is_ours(folder: Path) -> bool:
    """Whether a folder's config.json is that of a checkpoint, of any kind and either form."""
    path = folder / CONFIG
    config = read_json(path, AGAIN) if path.is_file() else None
    return isinstance(config, dict) and ("kind" in config or "network" in config)


def from_older(config: dict[str, Any]) -> dict[str, Any]:
    """Converts a config.json to the current form.

    In the older form, an encoder's kind was called `network`, and its sizes were on the top level.
    """
    if "network" not in config:
        return dict(config)
    sizes = {key: value for key, value in config.items() if key not in ("network", *BESIDE_SIZES)}
    about = {key: value for key, value in config.items() if key in BESIDE_SIZES}
    return {"kind": config["network"], "sizes": sizes, **about}


def copies(network: nn.Module) -> dict[str, str]:
    """Returns {name: the first name of the same tensor} for tensors with several names."""
    first: dict[int, str] = {}
    tensors = network.state_dict(keep_vars=True)
    named = {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}
    return {name: original for name, original in named.items() if name != original}
