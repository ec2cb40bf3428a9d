"""A full disk gives one sentence, old files stay whole, and no partial file is left. On a real small disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
from pathlib import Path
import numpy as np
from captioning.core.errors import command

@command
def main():
    {body}

main()
"""
WRITERS = {
    "safetensors": """
from captioning.decoders.checkpoint import Decoder, save_decoder
from captioning.decoders.vocabulary import word_vocabulary
from models.lstm import LSTMConfig, LSTMDecoder
text = word_vocabulary(["a dog"], 1)
model = LSTMDecoder(LSTMConfig(text.size, 6, embed_dim=600, hidden_size=600))
save_decoder(Path("out"), Decoder("lstm", model, text, {}, {}))
""",
    "features": """
from captioning.features.store import write_store
ids = [str(number) for number in range(3000)]
numbers = np.random.default_rng(0).integers(0, 1000, (3000, 1000)).astype(np.float16)
write_store(Path("out/clip.h5"), ids, ["0" * 64] * 3000, {}, (1000,), lambda block: numbers[: len(block)])
""",
    "state": """
import torch
from captioning.core.files import atomic_write
with atomic_write("out/resume.pt", "wb") as file:
    torch.save({"weights": torch.zeros(2 * 10**6)}, file)
""",
    "packed captions": """
from captioning.training.streams import _Column
Path(".work").mkdir(exist_ok=True)  # as a project has
column = _Column()
for _ in range(10**5):
    column.append(np.ones((100, 7), np.int32), np.ones(100, np.int64))
""",
    "results": """
from captioning.core.files import all_at_once, atomic_write, write_json
with all_at_once("out", "metrics.json") as folder:
    write_json(folder / "out/scores.json", {})
    with atomic_write(folder / "out/per_image.npz", "wb") as file:
        np.savez(file, scores=np.ones(10**6))
""",
    "tables": """
from stages.prepare import write_table
write_table(Path("out/images.csv"), ("id", "path"), [("0" * 50, "1")] * 10**5)
""",
    "drawings": """
from captioning.core.threads import ending_with_this
from scenes import making
list(making.write(Path("drawn"), 500, 0, 224, 2, ending_with_this()))
""",
}
NAMES = ("model.safetensors", "clip.h5", "resume.pt", "scores.json", "per_image.npz", "images.csv")


def mount(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(["mount", *arguments], capture_output=True)


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    made = mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", folder)
    if made.returncode:
        pytest.skip("needs the right to mount a disk of 3 MB")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_leaves_the_old_files_and_no_half_ones(disk, writer):
    (disk / "out").mkdir()
    for name in NAMES:
        (disk / "out" / name).write_text("old")
    program = PROGRAM.format(body=WRITERS[writer].strip().replace("\n", "\n    "))
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=disk, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert (
        len(said) == 1
        and said[0].startswith("error: ")
        and "No space left on device; free some space" in said[0]
    )
    assert {path.name: path.read_text() for path in (disk / "out").iterdir()} == dict.fromkeys(NAMES, "old")
    assert not (disk / "metrics.json").exists() and not list(disk.glob(".work/tmp/*"))


def test_a_row_store_on_a_full_disk_keeps_the_rows_that_were_written(disk, monkeypatch):
    import numpy as np

    from captioning.features.rows import RowStore

    monkeypatch.chdir(disk)
    store, written = RowStore({}, "code"), []
    with pytest.raises(OSError, match="No space left on device"), store.writing():
        for number in range(1000):
            store.append([f"{number:064x}"], np.full((1, 8000), number, np.float16))
            written.append(f"{number:064x}")
    (disk / "ballast").write_bytes(b"")
    again = RowStore({}, "code")
    for shard in disk.glob(".work/rows/*/*.rows"):
        os.truncate(shard, shard.stat().st_size - 16000)  # room for the manifest
    with again.writing():
        assert len(written) > 100 and not again.missing(written[:-2])
        assert again.read(written[:100])[:, 0].tolist() == list(range(100))


@pytest.mark.parametrize("small", [".work", "features"])
def test_extraction_goes_on_when_the_full_disk_has_room(disk, small, tmp_path, monkeypatch):
    """The working folder or the features on a disk of their own: full, with room, then read-only."""
    from test_extract import Project

    calm, project = Project(tmp_path / "calm", 40), Project(tmp_path / "full", 40)
    calm.run("extract_vgg16")
    whole = calm.store("vgg16").read_bytes()
    (project.folder / small).symlink_to(disk)
    mount("-o", f"remount,size={len(whole) // 2048 * 1024}", disk)
    said = project.run("extract_vgg16")
    assert said.startswith("error: no space left in features/ or .work/ while writing vgg16.h5: free some")
    assert not list(project.folder.glob("features/*"))
    mount("-o", "remount,size=3m", disk)
    said = project.run("extract_vgg16")
    reused = int(said.rpartition(" images, ")[2].partition(" reused")[0])
    assert reused == 40 if small == "features" else 0 < reused < 40
    assert project.store("vgg16").read_bytes() == whole
    mount("-o", "remount,ro", disk)
    said = project.run("extract_vgg16")
    assert said.startswith("error: ") and "Read-only file system" in said and "\n" not in said
    assert project.store("vgg16").read_bytes() == whole
