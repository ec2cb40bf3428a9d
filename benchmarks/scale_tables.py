"""What captions cost before and during a decoder's training: seconds and memory by part. Made-up texts.

    python -m benchmarks.scale_tables [--images 1000000] [--captions 5] [--limit 1000]

A process does what stage train_lstm does, with a small network: it reads the tables and the ids of the
features, counts words, hashes and packs all captions in files, and takes STEPS steps. `--limit` is the MB of
data (RLIMIT_DATA) that the process may use beside its libraries; with more it dies.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.turns import Run, in_turn, resident, working_in
from captioning.core.errors import command
from captioning.core.malloc import keep_freed_memory
from captioning.data.dataset import CAPTION_COLUMNS, IMAGE_COLUMNS, load_data
from captioning.decoders.checkpoint import Decoder
from captioning.decoders.vocabulary import word_vocabulary
from captioning.features.store import FeatureStore, write_store
from captioning.training import streams
from captioning.training.decoder import DecoderData
from models.lstm import LSTMConfig, LSTMDecoder

STEPS, BATCH, WIDTH, WORDS, DISTINCT, AT_ONCE = 50, 4, 64, 10_000, 20_000, 10_000
HEAD = """\
| images | captions | part | seconds | resident, peak | data |
| --- | --- | --- | --- | --- | --- |"""


@command
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_tables", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--images", type=int, default=10**6, help="(default 1000000)")
    parser.add_argument("--captions", type=int, default=5, help="of each image (default 5)")
    parser.add_argument(
        "--limit",
        type=int,
        help="MB of data beside the libraries'; a process that needs more fails or stalls (default: none)",
    )
    given = parser.parse_args()
    print(*rows(given.images, given.captions, given.limit), sep="\n")


def rows(images: int, captions: int = 5, limit: int | None = None) -> Iterator[str]:
    """Lines of a table: seconds of each part, and the memory added since the first one.

    The resident set's peak leaves out pages that the system took back. Data are what RLIMIT_DATA counts.
    """
    yield HEAD
    with tempfile.TemporaryDirectory() as folder, working_in(folder):
        write(Path(folder), images, captions)
        found = in_turn({"stage": stage}, {"folder": folder, "limit": limit}, rounds=1)["stage"].results[0]
    for part, (seconds, *gained) in found.items():
        memory = " | ".join(f"{size / 2**20:,.0f} MB" for size in gained)
        yield f"| {images:,} | {images * captions:,} | {part} | {seconds:,.1f} | {memory} |"


def stage(sizes: dict[str, Any]) -> Run:
    keep_freed_memory()  # as every stage
    streams.IN_MEMORY = 0  # as if there were more
    folder = Path(sizes["folder"])

    def run(turn: int) -> dict[str, Any]:
        before, data_before, found, clock = resident(), resident("VmData"), {}, time.perf_counter()
        if sizes["limit"]:
            most = data_before + sizes["limit"] * 2**20
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))

        def lap(part: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            found[part] = now - clock, resident("VmHWM") - before, resident("VmData") - data_before
            Path("/proc/self/clear_refs").write_text("5")  # the next part's peak begins here
            clock = now

        data = load_data(folder)
        captions = {split: data.by_image("tokens", split) for split in ("train", "dev")}
        lap("read tables")
        store = FeatureStore.open(folder / "features.h5")
        store.rows(data.column("id", "train"))
        lap("find features")
        text = word_vocabulary((caption for of_image in captions["train"] for caption in of_image), 2)
        lap("count words")
        config = LSTMConfig(text.size, WIDTH, embed_dim=16, hidden_size=16)
        decoder = Decoder("lstm", LSTMDecoder(config), text, config.to_dict(), {})
        learned = DecoderData(data, store, captions)
        learned.hashes()
        lap("hash captions")
        batches = learned.batches("train", decoder, BATCH, 0)
        lap("encode and pack captions")
        decoder.model.standardize.fit(batches.features)
        lap("standardise features")
        optimizer = torch.optim.AdamW(decoder.model.parameters())
        for _, batch in zip(range(STEPS), batches.epoch(turn), strict=False):
            optimizer.zero_grad()
            decoder.model.loss(*batch).mean.backward()
            optimizer.step()
        lap(f"{STEPS} steps of {BATCH} images")
        return found

    return run


def write(folder: Path, images: int, captions: int) -> None:
    """Writes a data set as stage prepare does, and its features. Captions are drawn from DISTINCT ones."""
    rng = np.random.default_rng(0)
    words = [f"w{i:04d}" for i in range(WORDS)]
    said = [
        " ".join(words[i] for i in np.minimum(rng.zipf(1.3, length), WORDS) - 1)
        for length in rng.integers(6, 15, DISTINCT)
    ]
    cells = [f",{one.capitalize()} .,{one}\n" for one in said]
    with open(folder / "images.csv", "w") as table, open(folder / "captions.csv", "w") as texts:
        table.write(",".join(IMAGE_COLUMNS) + "\n")
        texts.write(",".join(CAPTION_COLUMNS) + "\n")
        for start in range(0, images, AT_ONCE):
            some = range(start, min(start + AT_ONCE, images))
            table.writelines(
                f"{i:09d},data/shards/{i:09d}.jpg,{'dev' if i % 1000 == 0 else 'train'},{i:064x}\n"
                for i in some
            )
            drawn = rng.integers(DISTINCT, size=(len(some), captions)).tolist()
            texts.writelines(
                f"{i:09d}{cells[which]}"
                for i, of_image in zip(some, drawn, strict=True)
                for which in of_image
            )
    ids, sha256s = [f"{i:09d}" for i in range(images)], [f"{i:064x}" for i in range(images)]

    def features(block: range) -> np.ndarray:
        return rng.standard_normal((len(block), WIDTH), np.float32).astype(np.float16)

    write_store(folder / "features.h5", ids, sha256s, {"encoder": "random"}, (WIDTH,), features)


if __name__ == "__main__":
    main()
