"""Features that clip-retrieval computed: its folder of img_emb/*.npy and metadata/*.parquet."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from captioning.core.errors import UserError
from captioning.features.importing import import_features
from captioning.features.store import FeatureStore

IDS = ["beach/1", "2", "3", "4", "5"]
SHA256S = [f"{i:064d}" for i in range(5)]


def test_without_pyarrow_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    from captioning.features.foreign import arrays

    with (
        pytest.raises(UserError, match=r"needs pyarrow: `uv pip install pyarrow`"),
        arrays(tmp_path),
    ):
        pass


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two parts, as `clip-retrieval inference` writes them, with one picture more than needed."""
    pytest.importorskip("pyarrow", reason="pyarrow, which reads parquet files, is not installed")
    names = [f"/data/pictures/{name}.jpg" for name in ("4", "beach/1", "more", "5", "3", "2")]
    for part, rows in enumerate((slice(0, 4), slice(4, 6))):
        write(tmp_path / "out", part, names[rows])
    return tmp_path / "out"


def write(
    folder: Path, part: int, names: list[str], column: str = "image_path", rows: int | None = None
) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    for kind in ("img_emb", "metadata"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    made = np.stack([value(name) for name in names])[:rows]
    np.save(folder / f"img_emb/img_emb_{part}.npy", made)
    table = pyarrow.table({column: names, "caption": [""] * len(names)})
    write_table(table, folder / f"metadata/metadata_{part}.parquet")


def value(name: str) -> np.ndarray:
    return np.full(4, sum(name.encode()), np.float16)


def test_each_picture_gets_its_own_row_whatever_the_order(folder, tmp_path):
    import_features(tmp_path / "f.h5", folder, IDS, SHA256S)
    store = FeatureStore.open(tmp_path / "f.h5")
    wanted = np.stack([value(f"/data/pictures/{name}.jpg") for name in IDS])
    np.testing.assert_array_equal(store.load(IDS), wanted)
    with pytest.raises(UserError, match=r"no features of 1 of 1 images, such as absent"):
        import_features(tmp_path / "g.h5", folder, ["absent"], SHA256S[:1])


def test_parts_are_in_the_order_of_their_numbers(folder, tmp_path):
    for part in range(2, 12):
        write(folder, part, [f"/data/pictures/p{part}.jpg"])
    import_features(tmp_path / "f.h5", folder, ["p2", "p11"], SHA256S[:2])
    rows = FeatureStore.open(tmp_path / "f.h5").load(["p2", "p11"])
    np.testing.assert_array_equal(rows, [value("/data/pictures/p2.jpg"), value("/data/pictures/p11.jpg")])


@pytest.mark.parametrize(
    "wart", ["fewer embeddings", "fewer rows", "no part", "no table", "no column", "twice", "cut", "none"]
)
def test_what_does_not_fit_together_is_refused_in_a_sentence(folder, tmp_path, wart):
    names = ["/data/pictures/3.jpg", "/data/pictures/2.jpg"]
    said = "rows: expected as many"
    if wart == "fewer embeddings":
        write(folder, 1, names, rows=1)
    elif wart == "fewer rows":
        embeddings = (folder / "img_emb/img_emb_1.npy").read_bytes()
        write(folder, 1, names[:1])
        (folder / "img_emb/img_emb_1.npy").write_bytes(embeddings)
    elif wart == "no part":
        (folder / "img_emb/img_emb_0.npy").unlink()
        said = "has no img_emb/img_emb_0.npy, although"
    elif wart == "no table":
        (folder / "metadata/metadata_1.parquet").unlink()
        said = "it must name the pictures of"
    elif wart == "no column":
        write(folder, 1, names, column="url")
        said = "has no column image_path; it has url, caption"
    elif wart == "twice":
        write(folder, 1, names[:1] * 2)
        said = "occurs twice"
    elif wart == "cut":
        path = folder / "metadata/metadata_1.parquet"
        path.write_bytes(path.read_bytes()[:-40])
        said = "clip-retrieval"
    else:
        folder = folder / "metadata"
        said = "has no img_emb"
    with pytest.raises(UserError, match=said):
        import_features(tmp_path / "f.h5", folder, IDS, SHA256S)
    assert not (tmp_path / "f.h5").exists()
