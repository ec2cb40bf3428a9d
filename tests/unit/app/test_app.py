"""The app's error messages. test_pipeline checks that it captions as the pipeline does, with trained
decoders."""

import io
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_project import SETTINGS, edit_params, photos, project

from app import load_captioner
from app.__main__ import main
from app.captioner import Caption, Readable
from app.folder import DEFAULTS
from app.pictures import Pictures
from app.results import Results
from captioning.core.errors import UserError
from captioning.core.pictures import ImageFault
from captioning.decoders.checkpoint import save_decoder
from captioning.decoders.ensemble import Ensemble
from captioning.decoders.kinds import load
from captioning.decoders.vocabulary import word_vocabulary
from captioning.features.images import clip_preprocess
from captioning.search.base import Hypothesis
from captioning.search.consensus import best_captions


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    return project(tmp_path_factory.mktemp("house"))


@pytest.mark.parametrize("kind", ["lstm", "clipcap"])
def test_a_captioner_of_imported_features_has_no_encoder_here(house, tmp_path, kind):
    shutil.copytree(house / "checkpoints", tmp_path / "checkpoints")
    config = tmp_path / "checkpoints" / kind / "config.json"
    values = json.loads(config.read_text())
    values["features"] = {"encoder": "imported from features.npz", "normalization": "as imported"}
    config.write_text(json.dumps(values))
    with pytest.raises(
        UserError, match=rf"checkpoints/{kind} learned from features imported from features\.npz"
    ):
        load_captioner(config.parent)
    values["features"] = {"encoder": "vgg16 width 1"}
    config.write_text(json.dumps(values))
    with pytest.raises(
        UserError, match="learned from features whose encoder is 'vgg16 width 1'; the encoder in"
    ):
        load_captioner(config.parent)


@pytest.mark.parametrize("kind", ["lstm", "clipcap"])
def test_pictures_come_as_paths_bytes_and_images_and_captions_with_their_probabilities(house, tmp_path, kind):
    captioner = load_captioner(house / "checkpoints" / kind)
    paths = photos(tmp_path, 4)
    found = captioner([str(paths[0]), paths[1], paths[2].read_bytes(), Image.open(paths[3])])
    assert found == captioner(paths) and len({one.caption for one in found}) > 1
    assert captioner([]) == []
    for one in found:
        chances = [token.probability for token in one.tokens]
        assert " ".join("".join(token.text for token in one.tokens).split()) == one.caption.rstrip("\ufffd")
        assert one.mean == pytest.approx(sum(chances) / len(chances)) and one.lowest == min(chances)
        assert one.score == pytest.approx(sum(map(math.log, chances)) / len(chances), rel=1e-5)
    [several] = captioner.several(paths[:1], 3)
    assert len({one.caption for one in several}) == 3
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(ImageFault, match=r"text\.jpg is not an image"):
        captioner([paths[0], tmp_path / "text.jpg"])


def test_a_transparent_image_is_the_same_opened_or_not(house, tmp_path):
    captioner = load_captioner(house / "checkpoints/lstm")
    Image.open(photos(tmp_path, 1)[0]).convert("RGBA").save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        image.putalpha(40)
        image.save(tmp_path / "b.png")
        assert captioner([image]) == captioner([tmp_path / "b.png"]) != captioner([tmp_path / "a.png"])
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "a.png").read_bytes()[:1000])
    with pytest.raises(ImageFault, match="picture 1 is not a usable image"):
        captioner([tmp_path / "a.png", Image.open(cut)])


def test_captions_are_searched_for_as_the_projects_params_say_or_by_their_defaults(house, tmp_path):
    assert SETTINGS.generate.model_dump() == DEFAULTS
    captioner = load_captioner(house / "checkpoints/lstm")
    assert captioner.how.generate == SETTINGS.generate and captioner.consensus is None
    shutil.copytree(house, tmp_path / "other")
    edits = {"  max_tokens: 40 ": "  max_tokens: 3 ", "  consensus: 0.0 ": "  consensus: 8.0 "}
    edit_params(tmp_path / "other", edits)
    other = load_captioner(tmp_path / "other/checkpoints/lstm")
    assert other.consensus.weight == 8
    assert all(len(one.tokens) <= 3 for one in other(photos(tmp_path, 2)))


def test_warnings_are_those_of_the_captioners_own_project(house, tmp_path, monkeypatch, capsys):
    for name in ("few", "many"):
        shutil.copytree(house, tmp_path / name)
        about = {
            "source": name,
            "splits": {"train": {"images": 9}},
            "vocabulary": 9,
            "doubts": [f"{name} pictures"],
        }
        (tmp_path / name / "data/statistics.json").write_text(json.dumps(about))
    monkeypatch.chdir(tmp_path / "many")
    given = "--model", tmp_path / "few/checkpoints/lstm", tmp_path / "few/pictures/0.png"
    monkeypatch.setattr(sys, "argv", ["app", *map(str, given)])
    main()
    assert capsys.readouterr().err.splitlines()[-1] == "warning: few pictures"


@pytest.mark.parametrize("kind", ["lstm", "clipcap"])
def test_an_ensemble_captions_as_in_the_pipeline(house, tmp_path, kind):
    shutil.copytree(house, tmp_path / "house")
    checkpoints, pictures = tmp_path / "house/checkpoints", photos(tmp_path / "pictures", 8)
    alone = load_captioner(checkpoints / kind)
    torch.manual_seed(1)
    other = load(checkpoints / kind)
    for weights in other.model.parameters():
        weights.data += 0.3 * torch.randn_like(weights)
    save_decoder(checkpoints / f"{kind}-1", other)
    edit_params(tmp_path / "house", {f"    {kind}: []": f"    {kind}: [checkpoints/{kind}-1]"})
    joined = load_captioner(checkpoints / kind)  # from another working folder
    features = torch.randn(8, *np.atleast_1d(joined.decoder.model.standardize.mean.shape))
    both, read = Ensemble([alone.model, other.model]).eval(), alone.decoder.text.decode
    wanted = best_captions(both, features, SETTINGS.generate, alone.decoder.text, None)
    assert [found.caption for [found] in joined._captions(features, 1)] == [
        read(one.tokens) for one in wanted
    ]
    member = load_captioner(checkpoints / f"{kind}-1")
    found = [[one.caption for one in captioner(pictures)] for captioner in (joined, alone, member)]
    assert found[0] != found[1] != found[2], "a member by itself captions alone"
    assert member.model is member.decoder.model
    shutil.rmtree(checkpoints / f"{kind}-1")
    with pytest.raises(
        UserError, match=rf"generate\.ensemble: .*checkpoints/{kind}-1 is not a checkpoint folder"
    ):
        load_captioner(checkpoints / kind)


def ended(folder, *words: str, content: str = "") -> tuple[int, str]:
    """The exit status and the output of `python -m app`, run where torch cannot be imported."""
    (folder / "torch.py").write_text("raise SystemExit('torch was imported')\n")
    env = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parents[3]}"}
    done = subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=folder,
        env=env,
        input=content,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_help_names_defaults_and_examples_without_waiting_for_torch(tmp_path):
    status, told = ended(tmp_path, "--help")
    assert status == 0
    assert told.count("default: ") == 4 and "python -m app - --out captions.csv" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["https://example.org/a.jpg"], "https://example.org/a.jpg is a URL; download"),
        (["file:///a.jpg"], "file:///a.jpg is a URL"),
        (["*.jpg"], r"*.jpg matches no file"),
        (["empty"], "no picture among empty"),
        (["-"], "no picture among -"),
        (["--captions", "0", "a"], "--captions must be from 1 to 100"),
        (["--out", "captions.txt", "a"], "--out must end in .csv or .jsonl"),
        (["--out", "empty/captions.csv/", "a"], "--out must end in"),
        (["--out", "folder.csv", "a"], "folder.csv cannot be written: Is a directory"),
        (["--out", "foreign.csv", "a"], "foreign.csv does not have the columns file, model"),
        (["--out", "foreign.jsonl", "a"], "foreign.jsonl does not have the columns file, model"),
        (["--web", "a"], "give pictures, or --web"),
        (["--model", "a", "--captioner", "lstm", "a.jpg"], "--captioner: not allowed with argument --model"),
        ([], "give pictures, or --web"),
        (["--web", "--out", "a.csv"], "--out and --captions cannot be used with --web"),
        (["--web", "--captions", "3"], "--out and --captions cannot be used with --web"),
    ],
)
def test_what_cannot_be_captioned_is_refused_at_once(tmp_path, words, told):
    for folder in ("empty", "folder.csv"):
        (tmp_path / folder).mkdir()
    (tmp_path / "foreign.csv").write_text("image,caption\n1,a\n")
    (tmp_path / "foreign.jsonl").write_text("[" * 100_000)
    status, said = ended(tmp_path, *words)
    assert status != 0 and told in said and "Traceback" not in said
    assert (tmp_path / "foreign.csv").read_text() == "image,caption\n1,a\n"


def test_files_folders_globs_and_lists_give_each_picture_once(tmp_path, monkeypatch):
    for name in (
        "b/2.jpg", "b/1.jpg", "b/c/3", "b/.hidden/4.jpg", "b/.5.jpg", "x1.png", "x2.png", "[1].jpg", "é.jpg",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b/out.csv").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO("é.jpg\r\n\nb/1.jpg\nhttp://a/b\n".encode()))
    )
    found = Pictures(["b", "x*.png", "[1].jpg", "-", "./x1.png", "absent.jpg"], without="b/out.csv")
    listed = ["b/1.jpg", "b/2.jpg", "b/c/3", "x1.png", "x2.png", "[1].jpg", "é.jpg", "absent.jpg"]
    assert found.paths == listed
    assert found.named == {"[1].jpg", "é.jpg", "b/1.jpg", "./x1.png", "absent.jpg"}
    assert len(found.faults) == 1 and "http://a/b is a URL" in found.faults[0]


def test_a_picture_behind_links_to_folders_counts_once(tmp_path, monkeypatch):
    for name in ("b/1.jpg", "b/c/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b/a").symlink_to(tmp_path / "b")  # a circle
    (tmp_path / "0").symlink_to(tmp_path / "b/c")
    (tmp_path / "3.jpg").symlink_to(tmp_path / "b/1.jpg")
    monkeypatch.chdir(tmp_path)
    assert Pictures(["**/*.jpg"]).paths == ["3.jpg", "b/1.jpg", "b/c/2.jpg"]
    assert Pictures(["0/2.jpg", "b"]).paths == ["0/2.jpg", "b/1.jpg"], "as the user wrote it"


def rows_of(file: str, count: int = 2) -> list[dict]:
    return [
        {
            "file": file,
            "model": "lstm",
            "caption": f'a "dog", {i}\n',
            "score": -1 / 3,
            "mean": 0.5,
            "lowest": 1e-9,
        }
        for i in range(count)
    ]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_results_go_on_wherever_a_kill_ended_them(tmp_path, ending):
    files = ["a.jpg", "b,\n.jpg", os.fsdecode(b"\xff.jpg")]
    whole = tmp_path / f"whole.{ending}"
    results = Results(str(whole), 2)
    for file in files:
        results.add(rows_of(file))
    content = whole.read_bytes()
    header = len("file,model,caption,score,mean,lowest\n") if ending == "csv" else 0
    for length in [0, *range(header, len(content) + 1)]:
        path = tmp_path / f"cut.{ending}"
        path.write_bytes(content[:length])
        results = Results(str(path), 2)
        for file in files:
            if (os.path.abspath(file), "lstm") not in results.done:
                results.add(rows_of(file))
        results.file.close()
        assert path.read_bytes() == content, length


def test_results_have_as_many_captions_of_each_picture(tmp_path):
    path = str(tmp_path / "a.jsonl")
    results = Results(path, 2)
    for file in ("a", "b"):
        results.add(rows_of(file))
    results.file.close()
    for count in (1, 3):
        with pytest.raises(UserError, match="has 2 captions of each picture"):
            Results(path, count)


def test_results_have_one_writer(tmp_path):
    path = str(tmp_path / "a.csv")
    results = Results(path, 1)
    results.add(rows_of("a", 1))
    code = "import sys; from app.results import Results; Results(sys.argv[1], 1)"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, path], cwd=root, capture_output=True, text=True)
    assert "is being written by another process" in done.stderr


def test_what_was_written_is_counted_in_pictures(house, tmp_path, monkeypatch, capsys):
    photos(tmp_path / "house/more", 2)
    (tmp_path / "house/more/notes.txt").write_text("no picture")
    shutil.copytree(house / "checkpoints", tmp_path / "house/checkpoints")
    monkeypatch.chdir(tmp_path / "house")
    told = []
    for captioner, pictures in (("lstm", "more/0.png"), ("both", "more"), ("both", "more")):
        words = [pictures, "--captioner", captioner, "--out", "captions.csv"]
        monkeypatch.setattr(sys, "argv", ["app", *words])
        main()
        told.append(capsys.readouterr().out.removeprefix("captions.csv: captions of ").strip())
    assert told == [
        "1 pictures written, 0 were there already, 0 skipped",
        "2 pictures written, 0 were there already, 1 skipped",  # the first had one captioner's
        "0 pictures written, 2 were there already, 1 skipped",
    ]
    assert len(Path("captions.csv").read_text().splitlines()) == 1 + 2 * 2


def test_a_captions_probabilities_are_its_tokens():
    text = word_vocabulary(["dog"], 1)
    [tokens] = text.encode(["dog"])
    caption = Caption.of(Hypothesis(tokens[:-1], -9.0, [math.log(0.5), math.log(0.25)], True), text, 0.0)
    assert caption.tokens == (("dog", pytest.approx(0.5)), ("", pytest.approx(0.25)))
    assert caption.row() == {
        "caption": "dog", "score": pytest.approx(math.log(0.125)), "mean": pytest.approx(0.375),
        "lowest": pytest.approx(0.25),
    }  # fmt: skip


def test_files_that_are_no_pictures_are_black_and_listed(tmp_path):
    Image.new("RGB", (8, 8), "white").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    files = Readable([tmp_path / "b.png", tmp_path / "a.png", tmp_path / "c.png"], clip_preprocess(4))
    pixels = np.ones((3, 4, 4, 3), np.uint8)
    assert files.read(range(3), pixels) == (3, None)
    assert pixels.mean(axis=(1, 2, 3)).tolist() == [0, 255, 0]
    assert sorted(files.faults) == [0, 2] and "c.png does not exist" in files.faults[2]
