"""Finds pretrained weights: at a path, in the libraries' usual caches, or on the network, in this order.

This module opens no weights and does not import torch, since `captioning.data.needed` looks for all files
before any work starts. `captioning.features.initial` and stage train_clipcap get their paths here.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from captioning.core.errors import UserError, in_a_line
from captioning.weights.download import DownloadFault, download, within

# Torchvision's VGG16_Weights.IMAGENET1K_V1.
VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
CLIP_URL = "https://openaipublic.azureedge.net/clip/models"
CLIP_FILES = {  # name of clip.available_models(): its file's sha256, which the URL also contains
    "RN50": "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    "RN101": "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
    "RN50x4": "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
    "RN50x16": "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
    "RN50x64": "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
    "ViT-B/32": "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "ViT-B/16": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    "ViT-L/14": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    "ViT-L/14@336px": "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
}
GPT2_REPOSITORIES = {  # short name: its repositories on the Hugging Face hub, the current name first
    **{name: (f"openai-community/{name}", name) for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")},
    "distilgpt2": ("distilbert/distilgpt2", "distilgpt2"),
}
GPT2_FILES = ("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json",
              "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json")  # fmt: skip
HF = "hf:"  # before a folder, or an owner/name of the hub, with a vision model of transformers
OPEN_CLIP = "open_clip:"  # before NAME/PRETRAINED of that library
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # owner/name of the hub
TOWER_FILES = ("config.json", "preprocessor_config.json", "processor_config.json", "model*.safetensors",
               "model.safetensors.index.json")  # fmt: skip
PRETRAINED = {  # network: the setting that names its weights, and hub repositories for some of those names
    "vgg16": ("vgg16.weights", {"imagenet": "timm/vgg16.tv_in1k"}),
    "clip": ("clip.weights", {
        "ViT-B/32": "openai/clip-vit-base-patch32", "ViT-B/16": "openai/clip-vit-base-patch16",
        "ViT-L/14": "openai/clip-vit-large-patch14", "ViT-L/14@336px": "openai/clip-vit-large-patch14-336",
    }),
    "clipcap": ("model.gpt2", {name: repositories[0] for name, repositories in GPT2_REPOSITORIES.items()}),
}  # fmt: skip


@dataclass(frozen=True)
class Needed(ABC):
    """A file or folder that params.yaml names and the project does not contain.

    Attributes:
        setting: the setting that names it, as `key = value`.
    """

    setting: str

    @abstractmethod
    def find(self) -> Path | None:
        """Returns its path on this machine; None: not found."""

    @abstractmethod
    def get(self) -> Path:
        """Returns its path, after a download if necessary. Raises UserError if it is not available."""

    @abstractmethod
    def places(self) -> list[str]:
        """Returns the places where `find` looks."""


@dataclass(frozen=True)
class OwnFile(Needed):
    """A path that the user gave."""

    path: str
    kind: str = "file"  # file | folder

    def find(self) -> Path | None:
        path = Path(self.path).expanduser()
        return path if (path.is_dir() if self.kind == "folder" else path.is_file()) else None

    def get(self) -> Path:
        if found := self.find():
            return found
        path = Path(self.path).expanduser()
        if path.exists():
            found = "a folder" if path.is_dir() else "not a folder"
            raise UserError(f"{self.setting}: expected a {self.kind}, but {path.absolute()} is {found}")
        raise UserError(f"{self.setting}: there is no such {self.kind} (looked at {path.absolute()})")

    def places(self) -> list[str]:
        return [self.path]


@dataclass(frozen=True)
class WebFile(Needed):
    """A file in a library's own cache, with its checksum or the checksum's first digits."""

    url: str
    cache: Path
    sha256: str

    @property
    def path(self) -> Path:
        return self.cache / self.url.rpartition("/")[2]

    def find(self) -> Path | None:
        return self.path if self.path.is_file() else None

    def get(self) -> Path:
        try:
            return self.find() or download(self.url, self.path, self.sha256)
        except DownloadFault as fault:
            raise UserError(
                f"{self.setting}: {self.path.name} is not in {self.cache} and cannot be downloaded: {fault}; "
                f"copy the file there, or set {self.setting.partition(' = ')[0]} to its path"
            ) from None

    def places(self) -> list[str]:
        return [str(self.path)]


@dataclass(frozen=True)
class HubFolder(Needed):
    """A model in a repository of the Hugging Face hub, in that library's cache.

    Attributes:
        repositories: names of the same model.
        files: patterns of the files to download.
        complete: whether a folder has enough of them.
        wanted: the same in words.
    """

    repositories: tuple[str, ...]
    files: tuple[str, ...]
    complete: Callable[[Path], bool]
    wanted: str

    def find(self) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        for repository in self.repositories:
            config = try_to_load_from_cache(repository, "config.json")
            if isinstance(config, str) and self.complete(Path(config).parent):
                return Path(config).parent
        return None

    def get(self) -> Path:
        key = self.setting.partition(" = ")[0]
        advice = f"put these files into a folder and set {key} to its path"
        return self.find() or download_from_hub(
            self.setting, f"{self.repositories[0]} ({self.wanted})", self._download, advice
        )

    def _download(self) -> Path:
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(self.repositories[0], allow_patterns=list(self.files)))
        if not self.complete(folder):
            raise OSError(f"the repository lacks one of {self.wanted}")
        return folder

    def places(self) -> list[str]:
        return [hub_cache(name) for name in self.repositories]


def hub_cache(repository: str) -> str:
    """The folder of a repository in the cache of the Hugging Face hub's library."""
    from huggingface_hub import constants

    return f"{constants.HF_HUB_CACHE}/models--{repository.replace('/', '--')}"


def download_from_hub(setting: str, what: str, download: Callable[[], Path], advice: str) -> Path:
    """Returns what `download` returns; fails at once without a network.

    Raises UserError, which names `setting` and `what` and ends in `advice`, for any error of the download.
    """
    from huggingface_hub import constants

    try:
        check_online()
        return download()
    except Exception as error:  # errors of the hub, of httpx, of the system
        raise UserError(
            f"{setting}: {what} is not in {constants.HF_HUB_CACHE} and cannot be downloaded: "
            f"{in_a_line(error)}; {advice}"
        ) from None


def is_gpt2_folder(folder: Path) -> bool:
    """Whether a folder contains a model with a tokenizer, in the files of the Hugging Face hub."""

    def has(*names: str) -> bool:
        return all((folder / name).is_file() for name in names)

    files = ("model.safetensors", "pytorch_model.bin")
    weights = any(has(name) or has(f"{name}.index.json") for name in files)
    return has("config.json") and weights and (has("vocab.json", "merges.txt") or has("tokenizer.json"))


def is_tower_folder(folder: Path) -> bool:
    """Whether a folder contains a model with an image processor, in the files of the Hugging Face hub."""
    names = {path.name for path in folder.glob("*")}
    processors = {"preprocessor_config.json", "processor_config.json"}
    weights = {"model.safetensors", "model.safetensors.index.json"}
    return "config.json" in names and bool(names & processors) and bool(names & weights)


def check_online() -> None:
    """Raises OSError if the Hugging Face hub does not answer soon. Its own code would retry for minutes."""
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    url = constants.ENDPOINT
    try:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "captioning"})
        within(8, lambda: urllib.request.urlopen(request, timeout=8))
    except urllib.error.HTTPError:  # any answer counts
        pass
    except OSError as error:
        raise OSError(f"{url} cannot be reached ({getattr(error, 'reason', '') or error})") from None


# ---- what a setting names ----------------------------------------------------------------------------------


def _cache(variable: str, *below: str) -> Path:
    """Returns a library's cache folder: the environment variable's, otherwise one below ~/.cache."""
    if os.environ.get(variable):
        return Path(os.environ[variable]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", *below).expanduser()


def vgg16(weights: str) -> Needed | None:
    """What `vgg16.weights` names; None for fresh weights."""
    setting = f"vgg16.weights = {weights}"
    if weights == "imagenet":
        digits = VGG16_URL.rpartition("-")[2].partition(".")[0]
        return WebFile(setting, VGG16_URL, _cache("TORCH_HOME", "torch") / "hub" / "checkpoints", digits)
    return None if weights == "scratch" else _own(setting, weights)


def _own(setting: str, path: str) -> OwnFile:
    """A path of a file or a folder."""
    return OwnFile(setting, path, "folder" if Path(path).expanduser().is_dir() else "file")


def clip(weights: str) -> Needed | None:
    """What `clip.weights` names; None for fresh weights."""
    setting = f"clip.weights = {weights}"
    if weights.startswith(HF):
        return _hf_tower(setting, weights.removeprefix(HF))
    if weights.startswith(OPEN_CLIP):
        from captioning.weights import open_clip

        return open_clip.needed(setting, weights.removeprefix(OPEN_CLIP))
    if weights in CLIP_FILES:
        sha256, name = CLIP_FILES[weights], weights.replace("/", "-").replace("@", "-")
        return WebFile(setting, f"{CLIP_URL}/{sha256}/{name}.pt", Path("~/.cache/clip").expanduser(), sha256)
    if weights != "scratch" and weights.lower() in {name.lower() for name in CLIP_FILES}:
        raise UserError(f"{setting}: expected one of {', '.join(CLIP_FILES)}")
    return None if weights == "scratch" else _own(setting, weights)


def _hf_tower(setting: str, name: str) -> Needed:
    """A folder, or a repository of the hub."""
    if name and Path(name).expanduser().is_dir():
        return OwnFile(setting, name, "folder")
    if REPOSITORY.fullmatch(name):
        wanted = "config.json, preprocessor_config.json, model.safetensors"
        return HubFolder(setting, (name,), TOWER_FILES, is_tower_folder, wanted)
    raise UserError(f"{setting}: expected {HF} and a folder, or an owner/name of the Hugging Face hub")


def gpt2(name: str) -> Needed | None:
    """What `model.gpt2` names; None for fresh weights."""
    setting = f"model.gpt2 = {name}"
    if name == "scratch":
        return None
    if name and Path(name).expanduser().is_dir():
        return OwnFile(setting, name, "folder")
    repositories = (name,) if REPOSITORY.fullmatch(name) else GPT2_REPOSITORIES.get(name)
    if repositories:
        wanted = "config.json, model.safetensors, vocab.json, merges.txt"
        return HubFolder(setting, repositories, GPT2_FILES, is_gpt2_folder, wanted)
    raise UserError(
        f"{setting}: expected a folder, one of {', '.join(GPT2_REPOSITORIES)}, or an owner/name of the "
        "Hugging Face hub"
    )


def features(key: str, path: str | None) -> OwnFile | None:
    """Imported features: a file, or clip-retrieval's folder; None without."""
    return _own(f"{key} = {path}", path) if path else None


def clipcap(path: str | None) -> Needed | None:
    """What `model.init_from` names; None if it names nothing."""
    return _own(f"model.init_from = {path}", path) if path else None
