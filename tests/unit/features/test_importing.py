"""Features that others computed: ids are matched, faults are named, and nothing in a file is executed."""

import hashlib
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from captioning.core.errors import UserError
from captioning.features.extract import Written
from captioning.features.importing import import_features
from captioning.features.store import FeatureStore

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


IDS = [f"{i}_photo" for i in range(9)]
SHA256S = [sha(image_id) for image_id in IDS]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def features_file(path: Path, ids, features) -> Path:
    if path.suffix == ".npz":
        np.savez(path, ids=np.array(ids), features=features)
    else:
        with h5py.File(path, "w") as file:
            file["ids"] = [str(image_id) for image_id in ids]
            file["features"] = features
    return path


@pytest.mark.parametrize("kind", ["npz", "h5"])
@pytest.mark.parametrize("suffix", ["", ".jpg", ".JPEG"])
def test_import_matches_ids_and_leaves_out_the_rest(tmp_path, kind, suffix, capsys):
    features = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    names = [f"{i}_photo{suffix}" for i in range(12)]
    source = features_file(tmp_path / f"theirs.{kind}", names[::-1], features[::-1])
    assert import_features(tmp_path / "f.h5", source, IDS, SHA256S) == Written(reused=0, computed=9)
    store = FeatureStore.open(tmp_path / "f.h5")
    assert np.array_equal(store.load(IDS), features[:9].astype(np.float16))
    assert store.attrs["encoder"] == f"imported from theirs.{kind}"
    assert "3 more left out" in capsys.readouterr().out
    import_features(tmp_path / "f.h5", source, IDS, SHA256S, normalize=True)
    assert np.allclose(np.linalg.norm(FeatureStore.open(tmp_path / "f.h5").load(IDS), axis=1), 1, atol=2e-3)


def test_import_of_grids_numbers_as_ids_and_image_names_as_ids(tmp_path):
    grid = np.random.default_rng(0).normal(size=(3, 2, 2, 4)).astype(np.float16)
    source = features_file(tmp_path / "a.npz", [42, 7, 9], grid)
    import_features(tmp_path / "f.h5", source, ["9", "42"], SHA256S[:2])
    assert np.array_equal(FeatureStore.open(tmp_path / "f.h5").load(["42", "9"]), grid[[0, 2]])
    import_features(tmp_path / "f.h5", source, ["9.png", "42.png"], SHA256S[:2])
    assert FeatureStore.open(tmp_path / "f.h5").ids == ["9.png", "42.png"]


def test_images_whose_names_differ_in_their_suffix_alone(tmp_path):
    ids = ["twin.jpg", "twin.png", "single"]
    features = np.arange(8, dtype=np.float32).reshape(4, 2)
    source = features_file(tmp_path / "a.npz", ["twin.png", "other.jpg", "single.jpg", "twin.jpg"], features)
    import_features(tmp_path / "f.h5", source, ids, SHA256S[:3])
    assert np.array_equal(FeatureStore.open(tmp_path / "f.h5").load(ids), features[[3, 0, 2]])


@pytest.mark.parametrize("name", ["twin", "twin.jpg"])
def test_a_row_is_of_one_image(tmp_path, name):
    source = features_file(tmp_path / "a.npz", [name, "other"], np.ones((2, 3), np.float32))
    with pytest.raises(UserError, match=f"has only '{name}' for the images twin.jpg, twin.png"):
        import_features(tmp_path / "f.h5", source, ["twin.jpg", "other", "twin.png"], SHA256S[:3])


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_large_features_are_normalised_without_an_overflow(tmp_path, kind):
    features = np.ones((9, 4), np.float32)
    features[3] = [3e30, 4e30, 0, 0]
    source = features_file(tmp_path / f"large.{kind}", IDS, features)
    import_features(tmp_path / "f.h5", source, IDS, SHA256S, normalize=True)
    np.testing.assert_allclose(
        FeatureStore.open(tmp_path / "f.h5").load(IDS[3:4]), [[0.6, 0.8, 0, 0]], rtol=1e-3
    )


def test_import_names_what_is_wrong(tmp_path):
    good = np.ones((9, 4), np.float32)
    bad, more = good.copy(), np.ones((10, 4), np.float32)
    bad[3, 1] = np.nan
    cases = [
        (
            features_file(tmp_path / "missing.npz", IDS[:6], good[:6]),
            "no features of 3 of 9 images, such as 6_photo",
        ),
        (features_file(tmp_path / "nan.npz", IDS, bad), "3_photo are not finite"),
        (features_file(tmp_path / "large.h5", IDS, good * 1e6), "0_photo reach 1e\\+06"),
        (features_file(tmp_path / "shape.npz", IDS, good[:, 0]), "expected \\(N, D\\)"),
        (features_file(tmp_path / "count.h5", IDS, good[:5]), "expected \\(N, D\\)"),
        (features_file(tmp_path / "integers.npz", IDS, good.astype(int)), "expected floats"),
        (features_file(tmp_path / "twice.npz", [*IDS[:8], IDS[0]], good), "'0_photo' occurs twice"),
        (
            features_file(tmp_path / "which.npz", ["0_photo.png", *(f"{i}.jpg" for i in IDS)], more),
            "keep one, or name it as the image",
        ),
        (features_file(tmp_path / "none.h5", IDS, good[:, :0]), "expected \\(N, D\\)"),
        (tmp_path / "group.h5", "`features` is a group"),
        (tmp_path / "empty.npz", "cannot be read"),
        (tmp_path / "none.npz", "there is no such file or folder"),
        (tmp_path / "theirs.csv", "in an .npz or .h5 file"),
        (tmp_path / "text.npz", "cannot be read"),
        (tmp_path / "text.h5", "cannot be read"),
        (
            tmp_path / "pickled.npz",
            "cannot be read: it holds Python objects, which are not opened; save ids as",
        ),
        (tmp_path / "names.npz", "must hold `ids` and `features`"),
    ]
    for name in ("theirs.csv", "text.npz", "text.h5"):
        (tmp_path / name).write_text("no features")
    np.savez(tmp_path / "pickled.npz", ids=np.array(IDS, dtype=object), features=good)
    (tmp_path / "empty.npz").touch()
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file["ids"] = IDS
        file.create_group("features")
    np.savez(tmp_path / "names.npz", id=np.array(IDS), features=good)
    for source, fault in cases:
        with pytest.raises(UserError, match=fault):
            import_features(tmp_path / "f.h5", source, IDS, SHA256S)
        assert not (tmp_path / "f.h5").exists()


def test_pickles_in_a_features_file_are_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    np.savez(tmp_path / "trap.npz", ids=np.array([Trap()], dtype=object), features=np.ones((1, 2)))
    with pytest.raises(UserError):
        import_features(tmp_path / "f.h5", tmp_path / "trap.npz", IDS[:1], SHA256S[:1])
    assert not (tmp_path / "sprung").exists()


def test_flickr8k_features_come_through(tmp_path):
    source = SHARED / "flickr8k" / "efficientnet_lite0.npz"
    if not source.is_file():
        pytest.skip("the Flickr8k features beside the project are absent")
    with np.load(source) as file:
        names, features = [str(name) for name in file["ids"]], file["features"]
    ids = [name.removesuffix(".jpg") for name in names[100:3100]]
    import_features(tmp_path / "f.h5", source, ids, [sha(image_id) for image_id in ids])
    assert np.array_equal(FeatureStore.open(tmp_path / "f.h5").load(ids), features[100:3100])
