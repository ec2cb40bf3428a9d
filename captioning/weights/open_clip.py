"""What `clip.weights: open_clip:NAME/PRETRAINED` names: a model of open_clip, and its weights' tag or file.

The library is optional and takes seconds to import, with torch. So it is imported only if a setting names it.
"""

from __future__ import annotations

import difflib
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from captioning.core.errors import UserError
from captioning.weights.sources import Needed, OwnFile, download_from_hub, hub_cache


@dataclass(frozen=True)
class HubFile(Needed):
    """One file of a repository of the Hugging Face hub, in that library's cache.

    Attributes:
        names: files with the same weights, the preferred one first.
    """

    repository: str
    names: tuple[str, ...]

    def find(self) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = [try_to_load_from_cache(self.repository, name) for name in self.names]
        return next((Path(path) for path in found if isinstance(path, str)), None)

    def get(self) -> Path:
        what = f"{self.repository} ({' or '.join(self.names)})"
        advice = "give the path of the file in place of the tag"
        return self.find() or download_from_hub(self.setting, what, self._download, advice)

    def _download(self) -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        *preferred, last = self.names
        for name in preferred:
            with suppress(EntryNotFoundError):
                return Path(hf_hub_download(self.repository, name))
        return Path(hf_hub_download(self.repository, last))

    def places(self) -> list[str]:
        return [hub_cache(self.repository)]


def check_installed(what: str) -> None:
    """Raises UserError with the way to install open_clip if it is missing. `what` is what needs it."""
    if find_spec("open_clip") is None:
        raise UserError(
            f"{what} needs open_clip, which is not installed: `uv pip install open_clip_torch` "
            "(requirements-open-clip.txt has the version that was tried)"
        )


def parts(text: str) -> tuple[str, str]:
    """NAME and PRETRAINED of a setting's text after `open_clip:`. PRETRAINED may be a path with slashes."""
    name, _, pretrained = text.partition("/")
    return name, pretrained


def preprocessing(name: str, pretrained: str) -> dict[str, Any]:
    """A tag's preprocessing and quick_gelu, from the library. {} for a file."""
    from open_clip import get_pretrained_cfg

    return {} if Path(pretrained).expanduser().is_file() else get_pretrained_cfg(name, pretrained)


def needed(setting: str, text: str) -> Needed:
    """The weights of NAME/PRETRAINED. Raises UserError if the library has no such name or tag."""
    check_installed(setting)
    import open_clip
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    name, pretrained = parts(text)
    if (config := open_clip.get_model_config(name)) is None or not pretrained:
        known = open_clip.list_models()
        near = difflib.get_close_matches(name, known, 3) or known[:3]
        raise UserError(
            f"{setting}: expected open_clip:NAME/PRETRAINED, with NAME one of open_clip.list_models() "
            f"({', '.join(near)}, ...) and PRETRAINED a tag or a file"
        )
    if Path(pretrained).expanduser().is_file():
        return OwnFile(setting, pretrained)
    made = open_clip.get_pretrained_cfg(name, pretrained)
    if not (where := made.get("hf_hub")):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise UserError(
            f"{setting}: {pretrained} is neither a file nor a tag of {name}; its tags are: {tags}"
        )
    if bool(made.get("quick_gelu")) != bool(config.get("quick_gelu")):
        other = name.removesuffix("-quickgelu") if config.get("quick_gelu") else f"{name}-quickgelu"
        raise UserError(
            f"{setting}: these weights were trained with another activation; name {other}/{pretrained}"
        )
    repository, _, file = where.rpartition("/")
    names = HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
    if file:
        names = str(Path(file).with_suffix(".safetensors")), file
    return HubFile(setting, repository, tuple(dict.fromkeys(names)))
