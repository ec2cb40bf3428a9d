"""`make fetch`: downloads what params.yaml names and the project lacks, and lists what is there.

The first stage does the same before any other work. Use this command to see what is missing, or to prepare
machines without a network: copy the listed files to the listed places.
"""

from __future__ import annotations

import argparse

from captioning.core import settings as schema
from captioning.core.errors import UserError, command
from captioning.data.needed import located, needed
from captioning.data.sources.flickr8k_download import Flickr8k
from captioning.weights.open_clip import HubFile
from captioning.weights.sources import HubFolder, Needed, WebFile


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m commands.fetch", description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="download nothing; fail if something is missing")
    only_look = parser.parse_args().list
    settings = schema.load()
    for key, path in located(settings.data).items():  # checks this before downloading gigabytes of weights
        print(f"{'there':8}{key}: {path}")
    wanted = needed(settings)
    if not wanted:
        print("params.yaml names nothing to fetch")
    missing = []
    for one in wanted:
        if found := one.find():
            print(f"{'there':8}{one.setting}: {found}")
            continue
        missing.append(one)
        print(f"{'missing':8}{one.setting}: {' or '.join(one.places())}")
        for source in origins(one):
            print(f"{'':8}  from {source}")
    if missing and only_look:
        raise UserError(f"{len(missing)} of {len(wanted)} are missing: `make fetch` downloads what it can")
    for one in missing:
        print(f"fetched {one.setting}: {one.get()}", flush=True)


def origins(one: Needed) -> list[str]:
    """The addresses from which a download comes."""
    if isinstance(one, WebFile):
        return [one.url]
    if isinstance(one, HubFolder):
        return [f"https://huggingface.co/{one.repositories[0]}"]
    if isinstance(one, HubFile):
        return [f"https://huggingface.co/{one.repository}"]
    if isinstance(one, Flickr8k):
        return [f"{one.url}/Flickr8k_text.zip", f"{one.url}/Flickr8k_Dataset.zip"]
    return []


if __name__ == "__main__":
    main()
