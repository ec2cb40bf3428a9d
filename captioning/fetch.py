"""`make fetch`: gets what params.yaml names and the project does not contain, and lists what is there.

The first stage does the same by itself, before any other work; this is for looking, and for machines whose jobs have
no network. An air-gapped machine needs the files listed, at the places listed.
"""

from __future__ import annotations

import argparse

from captioning import settings as schema
from captioning.errors import UserError, command
from captioning.pretrained import Flickr8k, HubFolder, WebFile, needed


def require(settings: schema.Settings) -> None:
    """Gets whatever is missing. UserError in one sentence when something cannot be had."""
    for one in needed(settings):
        if not one.find():
            one.get()
            print(f"fetched {one.setting}: {one.find()}", flush=True)


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="make fetch", description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="look only, and fail when something is missing")
    only_look = parser.parse_args().list
    wanted = needed(schema.load())
    if not wanted:
        print("params.yaml names nothing that would have to be fetched")
    for one in wanted:
        print(f"{'there' if one.find() else 'missing':8}{one.setting}: {one.find() or ' or '.join(one.places())}")
        for source in sources(one) if not one.find() else []:
            print(f"{'':8}  from {source}")
    missing = [one for one in wanted if not one.find()]
    if missing and only_look:
        raise UserError(f"{len(missing)} of {len(wanted)} are missing")
    for one in missing:
        print(f"fetched {one.setting}: {one.get()}", flush=True)


def sources(one) -> list[str]:
    if isinstance(one, WebFile):
        return [one.url]
    if isinstance(one, HubFolder):
        return [f"https://huggingface.co/{one.repositories[0]}"]
    if isinstance(one, Flickr8k):
        return [f"{one.url}/Flickr8k_text.zip", f"{one.url}/Flickr8k_Dataset.zip"]
    return []


if __name__ == "__main__":
    main()
