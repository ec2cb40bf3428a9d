"""A trained network as a folder in the Hugging Face manner, the same for encoders and decoders.

    model.safetensors   the weights, each tensor once
    config.json         kind    vgg16, clip, lstm, clipcap, ...
                        sizes   the network's Config: what it is built from
                        ...     what it goes with and was made from: an encoder's `preprocess` and scores, a decoder's
                                `features`, `training` and scores

A decoder's folder has its tokenizer beside them.
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
from models.empty import no_weights

Config = TypeVar("Config")
Part = TypeVar("Part")

CONFIG, WEIGHTS = "config.json", "model.safetensors"
AGAIN = "`dvc repro` makes those in checkpoints/; copy any other folder anew"
BESIDE_SIZES = ("preprocess", "labels", "dev_map", "retrieval")  # in an encoder's config.json of the older form


def config_from(config: type[Config], *settings: BaseModel, **others: Any) -> Config:
    """A network's Config: the fields that groups of settings have under the same names, and `others`."""
    names = {field.name for field in fields(config)}
    found = {name: getattr(group, name) for group in settings for name in names & set(type(group).model_fields)}
    return config(**found | others)


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose config.json is read and whose weights are not yet.

    Attributes:
        about: config.json without kind and sizes.
    """

    folder: Path
    kind: str
    sizes: dict[str, Any]
    about: dict[str, Any]

    def part(self, key: str, convert: Callable[[Any], Part]) -> Part:
        """What config.json has under `key`. UserError where it has nothing there, or nothing that `convert` takes."""
        path = self.folder / CONFIG
        if key not in self.about:
            raise UserError(f"{path} has no `{key}`: {AGAIN}")
        with opening(path, f"the config of a {self.kind} with its `{key}`", AGAIN):
            return convert(self.about[key])

    def network(self, build: Callable[[dict[str, Any]], nn.Module], prefix: str = "") -> nn.Module:
        """The network with its weights, in fp32 on the CPU.

        Args:
            build: makes the network from the sizes; its random weights are not drawn.
            prefix: of the names of those weights that the network has.

        Raises:
            UserError: sizes that make no such network, or weights that are not the network's, all and no others.
        """
        try:
            with no_weights():
                network = build(dict(self.sizes))
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            raise UserError(
                f"{self.folder / CONFIG}: its sizes make no {self.kind} ({in_a_line(error)}): {AGAIN}"
            ) from None
        self._load(network, prefix)
        return network

    def _load(self, network: nn.Module, prefix: str) -> None:
        """Copies tensor by tensor, so that no weight is in memory twice."""
        path, own = self.folder / WEIGHTS, network.state_dict()
        with opening(path, "a file of weights", AGAIN), safe_open(path, "pt") as file:
            names = {name.removeprefix(prefix) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
            if missing := own.keys() - names - copies(network).keys():
                fault = f"{len(missing)} weights are missing, such as {min(missing)}"
            elif more := names - own.keys():
                fault = f"{len(more)} weights have no place in the network, such as {min(more)}"
            else:
                shapes = {name: tuple(file.get_slice(prefix + name).get_shape()) for name in names}
                fault = next(
                    (
                        f"{name} has the shape {shape}, not {tuple(own[name].shape)}"
                        for name, shape in sorted(shapes.items())
                        if shape != own[name].shape
                    ),
                    None,
                )
            if fault:
                raise UserError(f"{self.folder}: {WEIGHTS} does not fit {CONFIG}: {fault}; {AGAIN}")
            for name in names:
                own[name].copy_(file.get_tensor(prefix + name))


def save(folder: str | Path, kind: str, network: nn.Module, sizes: dict[str, Any], **about: Any) -> None:
    """Writes a checkpoint folder; `about` goes into its config.json.

    Args:
        sizes: what a function given to `Checkpoint.network` makes this network from.
    """
    folder, again = Path(folder), copies(network)
    weights = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items() if name not in again}
    with atomic_write(folder / WEIGHTS, "wb") as file:
        save_file(weights, file.name, metadata={"format": "pt"})
    write_json(folder / CONFIG, {"kind": kind, "sizes": sizes, **about})


def read(folder: str | Path, kinds: Collection[str]) -> Checkpoint:
    """The checkpoint in a folder, of one of these kinds. UserError when there is none."""
    folder, expected = Path(folder), " or ".join(kinds)
    path = folder / CONFIG
    with opening(path, f"the config of a checkpoint of kind {expected}", AGAIN):
        config = from_older(read_json(path, AGAIN))
        kind, sizes = config.pop("kind"), dict(config.pop("sizes"))
    if kind not in kinds:
        raise UserError(f"{folder} is a checkpoint of kind {kind!r}; expected {expected}")
    return Checkpoint(folder, kind, sizes, config)


def is_ours(folder: Path) -> bool:
    """Whether a folder's config.json is one of these, of whatever kind and form."""
    path = folder / CONFIG
    config = read_json(path, AGAIN) if path.is_file() else None
    return isinstance(config, dict) and ("kind" in config or "network" in config)


def from_older(config: dict[str, Any]) -> dict[str, Any]:
    """A config.json in today's form. An encoder's of the older form named its kind `network`, sizes beside it."""
    if "network" not in config:
        return dict(config)
    sizes = {key: value for key, value in config.items() if key not in ("network", *BESIDE_SIZES)}
    about = {key: value for key, value in config.items() if key in BESIDE_SIZES}
    return {"kind": config["network"], "sizes": sizes, **about}


def copies(network: nn.Module) -> dict[str, str]:
    """{name: the first name of the same tensor}, where a tensor has several."""
    first: dict[int, str] = {}
    tensors = network.state_dict(keep_vars=True)
    named = {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}
    return {name: original for name, original in named.items() if name != original}
