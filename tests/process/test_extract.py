"""The extraction stages as DVC runs them, with small, real networks: killed, run again, run on other
images."""

import contextlib
import hashlib
import importlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from forked import start
from PIL import Image, ImageDraw
from ruamel.yaml import YAML

from captioning.features.encoders import load_clip, load_vgg16, save_clip, save_vgg16
from captioning.features.images import clip_preprocess, vgg16_preprocess
from captioning.features.pixels import ImageFiles, pixel_batches
from captioning.features.store import FeatureStore
from models import clip, vgg16

ROOT = Path(__file__).resolve().parents[2]
BATCH = 8
CLIP = clip.CLIPConfig(64, 64, (1, 1, 1, 1), 16, None, 16, 300, 64, 1)


def run_stage(stage: str) -> None:
    torch.set_num_threads(1)
    importlib.import_module(f"stages.{stage}").main()


def draw(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (90, 70), tuple(rng.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, size = rng.integers(0, 70, 3).tolist()
        pen.ellipse((x, y, x + size + 2, y + size + 2), fill=tuple(rng.integers(0, 256, 3).tolist()))
    image.save(path)


class Project:
    """A folder with the inputs of an extraction stage: settings, checkpoints, a table of images."""

    def __init__(self, folder: Path, images: int, batch_size: int = BATCH, **groups) -> None:
        self.folder = folder
        (folder / "data" / "images").mkdir(parents=True)
        for i in range(images):
            draw(folder / "data" / "images" / f"{i:03}.jpg", i)
        params = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
        for name in ("extract_vgg16", "extract_clip"):
            params[name] |= {"batch_size": batch_size}
        for name, values in groups.items():
            params[name] |= values
        YAML(typ="safe").dump(params, folder / "params.yaml")
        torch.manual_seed(0)
        network = vgg16.VGG16(vgg16.VGG16Config(64, 0.25, True, 3))
        save_vgg16(folder / "checkpoints/vgg16", network, vgg16_preprocess(64))
        save_clip(folder / "checkpoints/clip", clip.build(CLIP), clip_preprocess(64))
        self.prepare()

    def prepare(self) -> None:
        """Writes what stage `prepare` would write for the images in the folder."""
        paths = sorted((self.folder / "data" / "images").glob("*.jpg"))
        rows = [
            (p.stem, f"data/images/{p.name}", "train", hashlib.sha256(p.read_bytes()).hexdigest())
            for p in paths
        ]
        table = pd.DataFrame(rows, columns=["id", "path", "split", "sha256"])
        table.to_csv(self.folder / "data/images.csv", index=False)
        captions = pd.DataFrame([(row[0], "a ball", "a ball") for row in rows])
        captions.to_csv(
            self.folder / "data/captions.csv", index=False, header=["image_id", "caption", "tokens"]
        )

    def run_alone(self, stage: str, root: Path = ROOT) -> str:
        """Runs the stage in a process of its own, as DVC does."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        command = [sys.executable, "-m", f"stages.{stage}"]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            text=True,
            check=True,
            stdout=subprocess.PIPE,
            timeout=300,
        ).stdout

    def run(self, stage: str) -> str:
        """Runs the stage like `run_alone`, but in this process, which has loaded torch. Returns the output or
        the error."""
        out = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out):
            try:
                importlib.import_module(f"stages.{stage}").main()
            except SystemExit as end:
                assert isinstance(end.code, str)  # printed to stderr, with exit code 1
                return end.code
        return out.getvalue()

    def kill_after(self, stage: str, size: int) -> None:
        """Starts a stage and kills it without warning once its rows have grown to `size` bytes."""

        def written() -> int:
            return sum(path.stat().st_size for path in self.folder.glob(".work/rows/*/*.rows"))

        process = start(self.folder, run_stage, stage)
        while process.is_alive() and written() < size:
            time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL

    def store(self, name: str) -> Path:
        return self.folder / f"features/{name}.h5"


def test_killed_at_several_moments_then_run_gives_the_bytes_of_an_undisturbed_run(tmp_path):
    count, stage = 250, "extract_vgg16"
    calm, killed = Project(tmp_path / "calm", count), Project(tmp_path / "killed", count)
    assert f"{count} images, 0 reused, {count} computed" in calm.run_alone(stage)
    row = FeatureStore.open(calm.store("vgg16")).shape[1] * 2 + 68
    for share in (0.01, 0.1, 0.3, 0.5, 0.6):
        killed.kill_after(stage, int(count * row * share))
        assert not killed.store("vgg16").exists()
    line = killed.run_alone(stage)
    reused = int(line.rpartition(" images, ")[2].partition(" reused")[0])
    assert 0.6 * count - BATCH <= reused < count, line
    assert killed.store("vgg16").read_bytes() == calm.store("vgg16").read_bytes()
    assert sorted(p.name for p in (tmp_path / "killed/features").iterdir()) == ["vgg16.h5"]


def test_a_second_stage_and_a_temporary_run_of_dvc_compute_nothing(tmp_path):
    """Three at once: two in the project, one in a copy of it that shares its working folder."""
    project, stage = Project(tmp_path / "a", 120), "extract_vgg16"
    copied = project.folder / ".dvc/tmp/exps/copy"
    for name in ("data", "checkpoints", "params.yaml"):
        copied.mkdir(parents=True, exist_ok=True)
        (copied / name).symlink_to(project.folder / name)
    printed = [tmp_path / f"{number}.txt" for number in range(3)]
    started = [
        start(folder, run_stage, stage, out=out)
        for folder, out in zip((project.folder, project.folder, copied), printed, strict=True)
    ]
    for process in started:
        process.join(300)
        assert process.exitcode == 0
    said = sorted(out.read_text().rpartition(" images, ")[2].partition(" in ")[0] for out in printed)
    assert said == ["0 reused, 120 computed", *["120 reused, 0 computed"] * 2]
    assert (copied / "features/vgg16.h5").read_bytes() == project.store("vgg16").read_bytes()


def test_a_new_changed_or_removed_image_costs_one_image(tmp_path):
    project = Project(tmp_path / "a", 20)
    project.run("extract_clip")
    images = tmp_path / "a/data/images"
    before = FeatureStore.open(project.store("clip"))
    ids = before.ids
    old = before.load(ids)

    draw(images / "004b.jpg", 99)  # in the middle, so that all batches would shift
    project.prepare()
    assert "21 images, 20 reused, 1 computed" in project.run("extract_clip")
    draw(images / "007.jpg", 100)
    project.prepare()
    assert "21 images, 20 reused, 1 computed" in project.run("extract_clip")
    (images / "012.jpg").unlink()
    project.prepare()
    assert "20 images, 20 reused, 0 computed" in project.run("extract_clip")

    store = FeatureStore.open(project.store("clip"))
    same = [image_id for image_id in ids if image_id not in ("007", "012")]
    assert np.array_equal(store.load(same), old[[ids.index(image_id) for image_id in same]])
    assert not np.array_equal(store.load(["007"]), old[[ids.index("007")]])
    incremental = project.store("clip").read_bytes()
    shutil.rmtree(tmp_path / "a/.work")
    assert "20 images, 0 reused, 20 computed" in project.run("extract_clip")
    assert project.store("clip").read_bytes() == incremental


def test_the_store_holds_what_the_encoders_say(tmp_path):
    project = Project(tmp_path / "a", 11, vgg16={"layer": "conv5_3"})
    project.run("extract_vgg16")
    project.run("extract_clip")
    images = sorted((tmp_path / "a/data/images").glob("*.jpg"))
    for name, encoder in [
        ("vgg16", load_vgg16(tmp_path / "a/checkpoints/vgg16", "conv5_3", "auto", torch.device("cpu"))),
        ("clip", load_clip(tmp_path / "a/checkpoints/clip", True, "auto", torch.device("cpu"))),
    ]:
        (pixels,) = pixel_batches(ImageFiles(images, encoder.preprocess), 11)
        store = FeatureStore.open(project.store(name), expect=encoder.attributes)
        features = store.load([path.stem for path in images])
        np.testing.assert_allclose(features, encoder(pixels).numpy(), rtol=2e-2, atol=2e-2)
    assert FeatureStore.open(project.store("vgg16")).shape == (11, 4, 4, 128)
    lengths = np.linalg.norm(features.astype(np.float32), axis=1)
    assert np.allclose(lengths, 1, atol=2e-3) and len(np.unique(features, axis=0)) == 11


def test_other_weights_recompute_all(tmp_path):
    project = Project(tmp_path / "a", 9)
    project.run("extract_clip")
    save_clip(tmp_path / "a/checkpoints/clip", clip.build(CLIP), clip_preprocess(64))
    out = project.run("extract_clip")
    assert "0 reused, 9 computed" in out


def test_other_code_recomputes_all_and_comments_do_not(tmp_path):
    project, copy = Project(tmp_path / "a", 9), tmp_path / "code"
    for name in ("captioning", "models", "stages", "scenes"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    network = copy / "models/vgg16.py"
    first = project.run_alone("extract_vgg16", copy), project.store("vgg16").read_bytes()
    assert "0 reused, 9 computed" in first[0]
    source = network.read_text()
    network.write_text(source.replace('"""', '"""More to say of it. ', 1) + "# the end\n")
    assert "9 reused, 0 computed" in project.run_alone("extract_vgg16", copy)
    assert source.count("return self.classifier[:5](") == 1
    network.write_text(source.replace("return self.classifier[:5](", "return 2 * self.classifier[:5]("))
    assert "0 reused, 9 computed" in project.run_alone("extract_vgg16", copy)
    twice, once = FeatureStore.open(project.store("vgg16")).load(["003"]), first[1]
    network.write_text(source)
    assert "9 reused, 0 computed" in project.run_alone("extract_vgg16", copy)
    assert project.store("vgg16").read_bytes() == once
    np.testing.assert_array_equal(twice, 2 * FeatureStore.open(project.store("vgg16")).load(["003"]))


def test_a_bad_image_is_one_line_and_nothing_computed_is_lost(tmp_path):
    project = Project(tmp_path / "a", 20)
    bad = tmp_path / "a/data/images/017.jpg"
    bad.write_bytes(bad.read_bytes()[:500])
    project.prepare()
    error = project.run("extract_clip")
    assert error.startswith("error: data/images/017.jpg is not a usable image") and "\n" not in error
    assert "dvc repro" in error
    draw(bad, 200)
    error = project.run("extract_clip")  # the table is still the old one
    assert "017.jpg has changed since stage prepare read it" in error
    project.prepare()
    assert "20 images, 17 reused, 3 computed" in project.run("extract_clip")


def test_imported_features_go_through_the_same_stage(tmp_path):
    features = np.random.default_rng(0).normal(size=(12, 7)).astype(np.float32)
    np.savez(tmp_path / "theirs.npz", ids=[f"{i:03}.jpg" for i in range(12)], features=features)
    imported = {"features": str(tmp_path / "theirs.npz")}
    project = Project(tmp_path / "a", 10, clip=imported, vgg16=imported)
    for name in ("clip", "vgg16"):
        project.run(f"extract_{name}")
    store = FeatureStore.open(project.store("vgg16"))
    assert np.array_equal(store.load(["003", "009"]), features[[3, 9]].astype(np.float16))
    unit = FeatureStore.open(project.store("clip")).load(["003", "009"])
    # By extract_clip.normalize.
    assert np.allclose(np.linalg.norm(unit.astype(np.float32), axis=1), 1, atol=2e-3)
    for i in range(12, 15):
        draw(tmp_path / f"a/data/images/{i:03}.jpg", i)
    project.prepare()
    assert "no features of 3 of 13 images, such as 012, 013, 014" in project.run("extract_vgg16")
