"""Stage prepare: turns any source of images and captions into a table of images and a table of captions.

Reads   the source that `data.source` names: scenes (drawn here), or files at `data.root` and
        `data.annotations`. Flickr8k is downloaded first if it is missing. Once the data are found usable, all
        pretrained weights that params.yaml names are fetched, before anything is written.
Writes  data/images.csv        id,path,split,sha256: one row per image, in the order train, dev, test
        data/captions.csv      image_id,caption,tokens: one row per caption; the scores compare the tokens
        data/statistics.json   counts, lengths, vocabulary, what is left out and why, and, unless the data
                               are drawn, doubts: reasons why scores may mean little
        data/images/, data/facts.json   scenes only: the drawings, and what each shows
        data/shards/                    webdataset only: its pictures, unpacked
Takes   6 s of a core for Flickr8k's 8,091 photographs at 224x224 and their captions. Part of it is decoding:
        .4 ms per picture, or 1 ms at 500x375, shared among the cores. COCO's count (123,287 at 224x224,
        616,435 captions) takes about a minute on 2 cores and 1 GB, nearly all of it to read Karpathy's JSON.
        What is read is in columns on disk (`captioning.core.texts`): see docs/scaling.md for the memory.
        Scenes take as long as drawing them, see `scenes.making`.
Expect  one line per decision (layout, splits), one line on what was left out, one line per split. Every
        fault of the data is reported. More faults than `data.max_dropped` allows, or a split without images,
        stop the run.
"""

from __future__ import annotations

import os
import shutil
import statistics
from bisect import bisect
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate, chain
from pathlib import Path

from captioning.core import settings
from captioning.core.errors import UserError
from captioning.core.files import atomic_write, csv_line, only_writer, write_json
from captioning.core.paths import CAPTIONS, DATA, DRAWINGS, FACTS, IMAGES, SHARDS, STATISTICS, UNPACKED
from captioning.core.progress import track
from captioning.core.threads import ending_with_this
from captioning.data.clean import Cleaned, clean, clean_caption
from captioning.data.dataset import CAPTION_COLUMNS, IMAGE_COLUMNS, SPLITS
from captioning.data.enough import doubts
from captioning.data.needed import downloads, needed, require
from captioning.data.sources import flickr8k, folder, karpathy, webdataset
from captioning.data.sources.base import Dropped, Item, Items, Reading, count_reasons
from scenes import making
from stages import stage

SOURCES = {
    "flickr8k": flickr8k.read,
    "karpathy": karpathy.read,
    "folder": folder.read,
    "webdataset": webdataset.read,
}
OURS = ("images", "shards", "images.csv", "captions.csv", "facts.json", "statistics.json")


@stage
def main() -> None:
    params = settings.load()
    with only_writer(DATA):
        prepare(params)


def prepare(params: settings.Settings) -> None:
    refuse_foreign_files()
    source = params.data.source
    require(needed(params) if source == "scenes" else downloads(params.data))
    reading = draw_scenes(params) if source == "scenes" else SOURCES[source](params.data, params.data.seed)
    for note in reading.notes:
        print(note, flush=True)
    cleaned = clean(reading, params.data, params.machine.threads)
    summary = summarise(cleaned, source, reading.splits_from)
    for doubt in summary.get("doubts", []):
        print(f"warning: {doubt}", flush=True)
    require(needed(params))  # all files that later stages need: a missing one is reported now, not in an hour
    if cleaned.dropped:
        print(f"left out: {count_reasons(cleaned.dropped)} (listed in {STATISTICS})")
    if source != "scenes":
        remove_drawings()
    if source != "webdataset":
        remove_shards()
    images = ((one.id, portable(one.path), one.split, one.sha256) for one in cleaned.images)
    write_table(IMAGES, IMAGE_COLUMNS, images)
    captions = ((image.id, *said) for image in cleaned.images for said in image.captions)
    write_table(CAPTIONS, CAPTION_COLUMNS, captions)
    write_json(STATISTICS, summary)
    for split, counts in summary["splits"].items():
        print(f"{split}: {counts['images']} images, {counts['captions']} captions")
    words = summary["caption_words"]
    print(
        f"captions have {words['min']} to {words['max']} words, {words['mean']} on average; "
        f"those for training use {summary['vocabulary']} different ones"
    )


def refuse_foreign_files() -> None:
    """Raises UserError if data/ holds files that this stage does not write, since the stage empties data/."""
    found = sorted(DATA.iterdir()) if DATA.is_dir() else []
    foreign = [path for path in found if path.name not in OURS and not path.name.startswith(".")]
    if DRAWINGS.exists() and not FACTS.exists():  # drawings have their facts beside them
        foreign.append(DRAWINGS)
    if SHARDS.exists() and not UNPACKED.exists():
        foreign.append(SHARDS)
    if foreign:
        raise UserError(
            f"{DATA}/ is emptied by this stage, and {foreign[0]} is not its output: move it out of {DATA}/ "
            "(your own pictures may be in any other folder; name it in data.root)"
        )


def remove_drawings() -> None:
    """Removes the drawings, then their facts. This order matters: the facts mark drawings as this stage's."""
    shutil.rmtree(DRAWINGS, ignore_errors=True)
    FACTS.unlink(missing_ok=True)


def remove_shards() -> None:
    """Removes the unpacked pictures, then their mark, in this order for the same reason."""
    shutil.rmtree(SHARDS, ignore_errors=True)
    UNPACKED.unlink(missing_ok=True)


def draw_scenes(params: settings.Settings) -> Reading:
    """Draws the scenes and returns them as a source's Reading."""
    chosen, seed = params.data.scenes, params.data.seed
    remove_drawings()
    write_json(FACTS, {})  # marks the drawings as this stage's, even if it is killed while drawing
    threads = params.machine.threads
    scenes = making.write(DRAWINGS, chosen.images, seed, chosen.size, threads, ending_with_this())
    drawn = list(track(scenes, "drawing scenes", total=chosen.images))
    write_json(FACTS, {image_id: facts for image_id, _, _, _, facts in drawn})
    items = Items(Item(name, DRAWINGS / file, split, captions) for name, file, split, captions, _ in drawn)
    what = f"{chosen.images} scenes of {chosen.size} pixels drawn with seed {seed}"
    splits_from = "position: of ten scenes the ninth is dev and the tenth test"
    return Reading(items, splits_from, notes=[f"{what}: {DRAWINGS}, facts in {FACTS}"])


def portable(path: str) -> str:
    """A path relative to the project if the file is inside it, else an absolute path."""
    return os.path.abspath(path).removeprefix(os.path.join(os.getcwd(), ""))


def summarise(cleaned: Cleaned, source: str, splits_from: str) -> dict:
    """The contents of statistics.json. Words are PTB tokens."""
    lengths, vocabulary = Counter(), Counter()
    sizes = {split: Counter() for split in SPLITS}  # numbers of captions, and how many images have them
    for image in cleaned.images:
        sizes[image.split][len(image.captions)] += 1
        for _, tokens in image.captions:
            words = tokens.split()
            lengths[len(words)] += 1
            if image.split == "train":
                vocabulary.update(words)
    splits = {
        split: {
            "images": of_split.total(),
            "captions": total(of_split),
            "images_by_captions": histogram(of_split),
        }
        for split, of_split in sizes.items()
    }
    doubtful = []
    if source != "scenes":
        images = {split: counts["images"] for split, counts in splits.items()}
        doubtful = doubts(images, (tokens for image in cleaned.images for _, tokens in image.captions))
    return ({"doubts": doubtful} if doubtful else {}) | {
        "source": source,
        "splits_from": splits_from,
        "splits": splits,
        "caption_words": {
            "min": min(lengths),
            "median": median(lengths),
            "mean": round(total(lengths) / lengths.total(), 2),
            "max": max(lengths),
            "histogram": histogram(lengths),
        },
        "vocabulary": len(vocabulary),
        "most_frequent_words": dict(vocabulary.most_common(50)),
        "dropped_counts": dict(Counter(entry.reason for entry in cleaned.dropped).most_common()),
        "dropped": [_entry(entry) for entry in cleaned.dropped],
    }


def total(counts: Counter[int]) -> int:
    """The sum of the counted numbers."""
    return sum(number * times for number, times in counts.items())


def median(counts: Counter[int]) -> float:
    """The median of the counted numbers."""
    numbers = sorted(counts)
    ends = list(accumulate(counts[number] for number in numbers))
    middle = range((ends[-1] - 1) // 2, ends[-1] // 2 + 1)  # one place, or two
    return statistics.median(numbers[bisect(ends, place)] for place in middle)


def histogram(counts: Counter[int]) -> dict[str, int]:
    return {str(number): times for number, times in sorted(counts.items())}


def _entry(entry: Dropped) -> dict[str, str]:
    caption = {} if entry.caption is None else {"caption": clean_caption(entry.caption)[:200]}
    return {"image": clean_caption(entry.image), **caption, "reason": entry.reason}


def write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with atomic_write(path) as file:
        file.writelines(map(csv_line, chain([columns], rows)))


if __name__ == "__main__":
    main()
