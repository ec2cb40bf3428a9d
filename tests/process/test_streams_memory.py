"""Rows and captions read from disk stay in a bounded resident set, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

from benchmarks import scale_tables
from benchmarks.scale import write_rows

LIMITED = """
import sys
from pathlib import Path
from benchmarks.scale import streamed
from benchmarks.turns import resident
batches = streamed(Path(sys.argv[1]), window=2 * 2**20, block=2**18)
for _ in batches.epoch(0):  # imports, threads, and blocks of memory that stay
    break
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
before = resident()
for _ in batches.epoch(1):
    pass
print(resident("VmHWM") - before, batches.store.shape[0] * batches.store.shape[1] * 2)
"""


def test_the_resident_set_is_bounded(tmp_path):
    """An epoch of 50,000 rows, 102 MB and 20 of packed captions, in windows of 2 MB."""
    write_rows(tmp_path / "f.h5", 50_000, 1024)
    grown, features = alone(LIMITED, tmp_path / "f.h5", tmp_path / "work")
    assert features > 102e6 and grown < 40 * 2**20


CAPTIONS_LIMITED = """
import sys
from pathlib import Path
from benchmarks.turns import resident
from captioning.core import texts
from captioning.data.dataset import load_data
from captioning.decoders.vocabulary import word_vocabulary
from captioning.features.store import FeatureStore
from captioning.training.decoder import DecoderData
from captioning.training.streams import fits_in_memory
texts.SPILL, folder = 2**18, Path(sys.argv[1])
before = resident()
data = load_data(folder)
store, captions = FeatureStore.open(folder / "features.h5"), data.by_image("tokens", "train")
assert len(store.rows(data.column("id", "train"))) == len(captions) == 39_960
word_vocabulary((caption for of_image in captions for caption in of_image), 2)
assert fits_in_memory(store, captions)
DecoderData(data, store, {"train": captions}).hashes()
print(resident("VmHWM") - before, sum(len(text) for name in data.captions for text in data.captions[name]))
"""


def test_the_captions_of_a_large_split_are_not_in_memory(tmp_path):
    """Those of 40,000 images, which took 100 MB as strings in tables and lists."""
    scale_tables.write(tmp_path, 40_000, 5)
    grown, letters = alone(CAPTIONS_LIMITED, tmp_path, tmp_path / "work")
    assert letters > 25e6 and grown < 40 * 2**20


def alone(program: str, path: Path, work: Path) -> list[int]:
    """Runs a program in a process of its own, and returns the numbers that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=300,
        env={"PATH": "/usr/bin:/bin", "CAPTIONING_WORK": str(work), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(map(int, done.stdout.split()))
