"""Everything outside the project that a run reads: looked for, and fetched, before any work is done."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from captioning.core.settings import DataSettings, Settings
from captioning.data.sources import flickr8k, folder, karpathy, webdataset
from captioning.data.sources.flickr8k_download import Flickr8k
from captioning.weights import sources
from captioning.weights.sources import Needed


def located(data: DataSettings) -> dict[str, Path]:
    """The user's own pictures and captions, by setting; {} for drawings and downloads.

    Pictures are there for sources that grow; published sets are what they are. UserError where something is missing.
    """
    if data.source == "folder":
        root, annotations = folder.locate(data.root, data.annotations)
        return {"data.root": root, "data.annotations": annotations}
    if data.source == "webdataset":
        return {"data.root": webdataset.locate(data.root)[0]}
    if data.source == "karpathy":
        return {"data.annotations": karpathy.locate(data.root, data.annotations)[1]}
    if data.source == "flickr8k" and data.root:
        return {"data.annotations": flickr8k.locate(data.root).captions}
    return {}


def downloads(data: DataSettings) -> list[Needed]:
    """What the source of images itself is fetched from."""
    if data.source == "flickr8k" and not data.root:
        return [Flickr8k("data.source = flickr8k, data.root = null")]
    return []


def needed(settings: Settings) -> list[Needed]:
    """Everything outside the project that a run of these settings reads, in the order of the stages."""
    found: list[Needed | None] = [*downloads(settings.data)]
    found += [sources.vgg16(settings.vgg16.weights), sources.clip(settings.clip.weights)]
    for key, path in (("vgg16.features", settings.vgg16.features), ("clip.features", settings.clip.features)):
        found.append(sources.features(key, path))
    found.append(sources.gpt2(settings.model.gpt2))
    found.append(sources.clipcap(settings.model.init_from))
    return [one for one in found if one]


def require(wanted: Iterable[Needed]) -> None:
    """Gets whatever is missing. UserError in one sentence when something cannot be had."""
    for one in wanted:
        if not one.find():
            one.get()
            print(f"fetched {one.setting}: {one.find()}", flush=True)
