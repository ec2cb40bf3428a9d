"""A small folder of pictures: adding more, no fine-tuning for so few, and warnings about figures that mean
little."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from project_copy import TINY, commit, lay, ran, run
from ruamel.yaml import YAML
from small_data import ROOT, data_settings, photo, photos, write

from captioning.core import settings as schema
from captioning.core.errors import UserError
from captioning.data.enough import FEWEST_TO_TUNE, doubts, found_doubts, settle
from captioning.data.ptb import ptb_tokenize
from captioning.data.sources import folder
from commands import preset
from stages import extract_clip, extract_vgg16, finetune_clip, finetune_vgg16, inputs, prepare

MANY = {"train": 8000, "dev": 1000, "test": 1000}
ENGLISH = ["A dog runs with the ball .", "Two men and a boat ."]


def add(root: Path, first: int, count: int) -> None:
    """Adds numbered pictures with one caption each. The first three are test, dev and dev."""
    names = [f"{i:03d}.jpg" for i in range(first + count)]
    photos(root, names)
    splits = ["test", "dev", "dev", *["train"] * len(names)]
    rows = [
        f"{name},A dog runs with ball number {name[:3]} .,{split}"
        for name, split in zip(names, splits, strict=False)
    ]
    write(root / "captions.csv", ["image,caption,split", *rows])


def lay_settings(folder: Path, **changes) -> None:
    yaml = YAML()
    values = yaml.load(folder / "params.yaml")
    lay(values, changes)
    yaml.dump(values, folder / "params.yaml")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with the preset's settings at tiny sizes, and 20 pictures."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    preset.apply("folder-scratch", folder=ROOT / "presets")
    lay_settings(tmp_path, **{k: v for k, v in TINY.items() if not k.startswith("finetune") and k != "data"})
    add(tmp_path / "pictures", 0, 20)
    return tmp_path


@pytest.mark.parametrize("epochs", [0, "auto"])
def test_five_more_pictures_cost_five_rows(project, capsys, epochs):
    lay_settings(project, finetune_vgg16={"epochs": epochs}, finetune_clip={"epochs": epochs})
    told = []
    for first, count in ((0, 20), (20, 5)):
        add(project / "pictures", first, count)
        for stage in (prepare, finetune_vgg16, finetune_clip, extract_vgg16, extract_clip):
            stage.main()
        told.append(capsys.readouterr().out)
    for name in ("vgg16", "clip"):
        assert f"features/{name}.h5: 20 images, 0 reused, 20 computed" in told[0]
        assert f"features/{name}.h5: 25 images, 20 reused, 5 computed" in told[1]
        config = json.loads(Path(f"checkpoints/{name}/config.json").read_text())
        choice = "auto, with 22 training images, fewer than 1000"
        assert (f"finetune_{name}.epochs: 0 ({choice})" in told[1]) == (epochs == "auto")
        assert config.get("epochs_from") == (choice if epochs == "auto" else None)
        assert '"epochs": 0' in Path(f"checkpoints/{name}/README.md").read_text()


def test_auto_trains_where_there_are_enough_and_a_number_stays(project):
    settings = schema.load()
    for images, weights, epochs in (
        (FEWEST_TO_TUNE - 1, "scratch", 0), (FEWEST_TO_TUNE, "scratch", 10), (FEWEST_TO_TUNE, "ViT-B/32", 5),
    ):  # fmt: skip
        one = settings.model_copy(update={"clip": settings.clip.model_copy(update={"weights": weights})})
        settled, choice = settle(one, "clip", images)
        assert (
            settled.finetune_clip.epochs == choice["epochs"] == epochs
            and str(images) in choice["epochs_from"]
        )
        assert settled.finetune_vgg16.epochs == "auto"
    lay_settings(project, finetune_clip={"epochs": 3})
    settled, choice = settle(schema.load(), "clip", 4)
    assert (settled.finetune_clip.epochs, choice) == (3, {})
    for wrong in ("automatic", -1, 2.5, True, None):
        lay_settings(project, finetune_clip={"epochs": wrong})
        with pytest.raises(
            UserError, match=r"finetune_clip.epochs: expected a whole number, 0 or more, or auto"
        ):
            schema.load()


def test_plain_repro_sees_new_pictures_captions_and_bytes_and_leaves_all_where_they_are(tmp_path):
    project = tmp_path / "project"
    for name in filter(
        None, run(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    ):
        if (ROOT / name).is_file() and name != "dvc.lock":
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, project / name)
    run(project, "git", "init", "--quiet")
    run(project, "python", "-m", "commands.preset", "folder-scratch")
    commit(project, "before any run")
    output = run(project, "dvc", "repro", "prepare", fails=True)
    assert "data.root = pictures is not a folder" in output and ran(output) == ["code", "inputs"]

    pictures = project / "pictures"
    add(pictures, 0, 6)
    output = run(project, "dvc", "repro", "prepare")
    assert ran(output)[-1] == "prepare" and "warning: 3 training images" in output
    assert ran(run(project, "dvc", "repro", "prepare")) == []
    assert "up to date" in run(project, "dvc", "status", "prepare")
    add(pictures, 6, 1)
    assert "train: 4 images" in run(project, "dvc", "repro", "prepare")
    photo(pictures / "004.jpg", 99)  # other bytes under the same name
    assert "prepare" in ran(run(project, "dvc", "repro", "prepare"))
    commit(project, "with pictures")
    assert sorted(os.listdir(pictures)) == [*(f"{i:03d}.jpg" for i in range(7)), "captions.csv"]

    elsewhere = project / ".dvc/tmp/exps/tmp1"  # as DVC copies the project for an experiment
    elsewhere.mkdir(parents=True)
    shutil.copy(project / "params.yaml", elsewhere)
    os.symlink(project / "stages", elsewhere / "stages")
    os.symlink(project / "captioning", elsewhere / "captioning")
    run(elsewhere, "python", "-m", "stages.inputs")
    assert (elsewhere / "inputs/data.root").resolve() == pictures


def test_data_are_looked_at_before_weights(project, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(project))
    lay_settings(project, clip={"weights": "no-such-file.pt"}, data={"root": "pictuers"})
    for main in (inputs.main, prepare.main):
        with pytest.raises(SystemExit, match=r"data.root = pictuers is not a folder"):
            main()
    lay_settings(project, data={"root": "pictures"})
    shutil.rmtree(project / "pictures")
    add(project / "pictures", 0, 6)
    (project / "pictures/004.jpg").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match=r"1 of 6 images .* cannot be used"):
        prepare.main()
    add(project / "pictures", 0, 6)
    assert "warning" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"no-such-file\.pt"):
        prepare.main()
    assert "warning: 3 training images" in capsys.readouterr().out, "said before what else is missing"
    assert not Path("data/images.csv").exists()
    lay_settings(project, clip={"weights": "scratch"})
    prepare.main()
    assert found_doubts()[0].startswith("3 training images")


def test_a_folder_that_holds_the_project_is_not_watched(project):
    lay_settings(project, data={"root": ".."})
    inputs.main()
    assert (
        Path("inputs/data.root").read_text() == "nothing\n" and Path("inputs/data.annotations").is_symlink()
    )


def test_names_without_an_ending_are_told_which_files_there_are(tmp_path):
    photos(tmp_path, ["beach/1.jpg", "2.jpg"])
    (tmp_path / "2.jpg").rename(tmp_path / "2.JPG")
    write(tmp_path / "captions.csv", ["image,caption", "beach/1,a dog", "2,a cat", "3,a bird"])
    reading = folder.read(data_settings("folder", tmp_path), 0)
    assert [item.id for item in reading.items] == ["3"]
    assert [(one.image, one.reason) for one in reading.dropped] == [
        ("beach/1", "no such file, but there is one that ends in .jpg"),
        ("2", "no such file, but there is one that ends in .JPG"),
    ]


def told(captions: list[str], **images) -> str:
    return "\n".join(doubts(MANY | images, ptb_tokenize(captions)))


def test_numbers_too_small_to_mean_anything_are_named():
    assert told(ENGLISH) == ""
    few = told(ENGLISH, train=48, dev=3, test=4)
    assert "48 training images" in few and "3 dev images" in few
    assert "4 test images: CIDEr is uncertain by about 0.56" in few


def test_what_english_tables_and_blanks_between_words_do_not_fit():
    cases = [
        ("犬が草の上を走っている。", True),
        ("男の人が、赤い帽子をかぶって、立っている", True),
        ("一只棕色的狗在草地上奔跑", True),
        ("สุนัขสีน้ำตาลกำลังวิ่งอยู่บนหญ้า", True),
        ("犬 が 草 の 上 を 走っ て いる 。", False),
        ("สุนัข สีน้ำตาล กำลัง วิ่ง อยู่ บน หญ้า", False),
        ("강아지가 풀밭에서 뛰고 있다", False),
        ("Ein brauner Hund läuft über die Wiese .", False),
        ("Un perro marrón corre por la hierba .", False),
        ("Een hond is in het park", False),
        ("Straßenbahnhaltestelle", False),
        ("Hund", False),
    ]
    tokens = ptb_tokenize([caption for caption, _ in cases])
    for (caption, uncut), of_one in zip(cases, tokens, strict=True):
        said = "\n".join(doubts(MANY, [of_one]))
        assert ("no blanks between words" in said) == uncut, caption
        assert "0 of 1 captions have one of the words" in said and "METEOR" in said
    assert "are one word" in "\n".join(doubts(MANY, tokens[-2:]))
