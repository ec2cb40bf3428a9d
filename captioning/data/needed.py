"""Everything outside the project that a run reads: looked for, and fetched, before any work is done."""

from __future__ import annotations

from captioning.core.settings import Settings
from captioning.data.sources.flickr8k_download import Flickr8k
from captioning.weights import sources
from captioning.weights.sources import Needed, OwnFile


def needed(settings: Settings) -> list[Needed]:
    """Everything outside the project that a run of these settings reads, in the order of the stages."""
    found: list[Needed | None] = []
    if settings.data.source == "flickr8k" and not settings.data.root:
        found.append(Flickr8k("data.source = flickr8k, data.root = null"))
    found += [sources.vgg16(settings.vgg16.weights), sources.clip(settings.clip.weights)]
    for key, path in (("vgg16.features", settings.vgg16.features), ("clip.features", settings.clip.features)):
        found.append(OwnFile(f"{key} = {path}", path) if path else None)
    found.append(sources.gpt2(settings.model.gpt2))
    found.append(sources.clipcap(settings.model.init_from))
    return [one for one in found if one]


def require(settings: Settings) -> None:
    """Gets whatever is missing. UserError in one sentence when something cannot be had."""
    for one in needed(settings):
        if not one.find():
            one.get()
            print(f"fetched {one.setting}: {one.find()}", flush=True)
