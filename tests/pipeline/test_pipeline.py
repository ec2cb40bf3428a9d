"""The whole pipeline under real `dvc`, in a copy of the project with tiny networks and 60 scenes."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from browser import Browser, chromium
from project_copy import ENV, ROOT, commit, copy_project, ran, run
from safetensors.numpy import load_file


@pytest.fixture(scope="module")
def first_run(tmp_path_factory) -> Path:
    """A committed copy of the project after a first `dvc repro`."""
    folder = copy_project(tmp_path_factory.mktemp("project"), "dvc.lock")
    output = run(folder, "dvc", "repro")
    assert len(ran(output)) == len(set(ran(output))) >= 10
    commit(folder, "a first run")
    return folder


@pytest.fixture
def project(first_run) -> Path:
    """The first run as it was committed, whatever the test before left behind."""
    run(first_run, "git", "checkout", "--quiet", "HEAD", "--", ".")
    run(first_run, "dvc", "checkout", "--force")
    return first_run


def test_metrics_has_the_seven_scores_of_both_captioners(project):
    metrics = json.loads((project / "metrics.json").read_text())
    scores = {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider"}
    assert set(metrics["lstm"]) == set(metrics["clipcap"]) == scores
    assert all(0 <= value <= 10 for model in ("lstm", "clipcap") for value in metrics[model].values())


@pytest.mark.parametrize("decoder", ["lstm", "clipcap"])
def test_the_app_captions_a_picture_as_the_pipeline_does(project, decoder):
    images = pd.read_csv(project / "data/images.csv", dtype=str, index_col="id")
    entries = json.loads((project / f"captions/{decoder}.json").read_text())[:3]
    pictures = [images.path[entry["image_id"]] for entry in entries]
    *output, learned = run(project, sys.executable, "-m", "app", "--captioner", decoder, *pictures).splitlines()
    wanted = [f"{picture}: {entry['caption']}" for picture, entry in zip(pictures, entries, strict=True)]
    assert output == wanted and learned.startswith("learned from scenes: ")
    several = run(project, sys.executable, "-m", "app", "--captioner", decoder, "--captions", "4", pictures[0])
    assert len(several.splitlines()) == 4 + 1


def test_consensus_is_a_setting_of_generate_alone_and_the_app_follows_it(project):
    beams = json.loads((project / "captions/clipcap.json").read_text())
    settings = ("-S", "generate.consensus=8", "-S", "generate.beam_size=4")
    output = run(project, "dvc", "exp", "run", "--name", "agreed", *settings)
    run(project, "dvc", "exp", "remove", "agreed")  # its files stay; later tests count experiments
    assert sorted(set(ran(output)) - {"evaluate", "cards", "report"}) == ["generate@clipcap", "generate@lstm"]
    images = pd.read_csv(project / "data/images.csv", dtype=str, index_col="id")
    entries = json.loads((project / "captions/clipcap.json").read_text())
    assert entries != beams
    pictures = [images.path[entry["image_id"]] for entry in entries]
    *output, _ = run(project, sys.executable, "-m", "app", *pictures).splitlines()
    wanted = [f"{picture}: {entry['caption']}" for picture, entry in zip(pictures, entries, strict=True)]
    assert output == wanted


def test_the_app_captions_what_it_can_read_and_names_the_rest(project):
    picture = pd.read_csv(project / "data/images.csv", dtype=str).path[0]
    output = run(project, sys.executable, "-m", "app", "README.md", picture, "absent.jpg", fails=True)
    assert f"{picture}: " in output
    assert "error: README.md is not an image" in output and "error: absent.jpg does not exist" in output
    assert "error: 2 of 3 pictures cannot be read" in output


@pytest.fixture
def page(project):
    """The address of the app's page."""
    command = [sys.executable, "-u", "-m", "app", "--web", "--port", "0"]
    server = subprocess.Popen(
        command, cwd=project, env=ENV, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell's children ignore it
    )  # fmt: skip
    try:
        line = server.stdout.readline()
        assert "http://127.0.0.1:" in line
        yield next(word for word in line.split() if word.startswith("http"))
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0  # as a user ends it


def asked(address: str, content: bytes, **headers: str) -> tuple[int, dict]:
    headers = {"Content-Type": "application/octet-stream"} | {name.replace("_", "-"): headers[name] for name in headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, content, headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_page_answers_with_the_pipelines_captions_and_refuses_the_rest(project, page):
    images = pd.read_csv(project / "data/images.csv", dtype=str, index_col="id")
    for decoder in ("lstm", "clipcap"):
        entry = json.loads((project / f"captions/{decoder}.json").read_text())[0]
        picture = (project / images.path[entry["image_id"]]).read_bytes()
        status, answer = asked(f"{page}/captions?captioner={decoder}", picture)
        assert status == 200 and [row["caption"] for row in answer["captions"]] == [entry["caption"]]
    assert len(asked(f"{page}/captions?captioner=lstm&captions=4", picture)[1]["captions"]) == 4
    for address, content, headers, status, told in [
        ("captions", b"no picture", {}, 422, "not an image of a known format"),
        ("captions", b"", {}, 422, "is empty"),
        ("captions?captioner=gpt", picture, {}, 400, "one of clipcap, lstm"),
        ("captions?captions=0", picture, {}, 400, "from 1 to 20"),
        ("captions?captions=x", picture, {}, 400, "from 1 to 20"),
        ("captions", picture, {"Content_Type": "text/plain"}, 415, "application/octet-stream"),  # as any site may
        ("captions", picture, {"Host": "example.org"}, 403, "open this page at"),  # by another name
        ("captions", bytes(65 * 2**20), {}, 413, "more than 64 MB"),
    ]:
        found, answer = asked(f"{page}/{address}", content, **headers)
        assert found == status and told in answer["error"]


@pytest.mark.skipif(chromium() is None, reason="no chromium: `apt install chromium`")
def test_the_page_shows_pictures_with_their_captions(project, page, tmp_path):
    images = pd.read_csv(project / "data/images.csv", dtype=str, index_col="id")
    entry = json.loads((project / "captions/clipcap.json").read_text())[0]
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(page)
        assert browser.value("document.querySelectorAll('#samples img').length") > 0
        browser.choose("#pictures", project / images.path[entry["image_id"]])
        browser.wait("document.querySelectorAll('figure[aria-busy=false]').length === 1")
        assert browser.value("document.querySelector('.of-clipcap .text').textContent") == entry["caption"]
        assert browser.value("document.getElementById('learned').textContent").startswith("The captioners learned from")
        assert browser.value("document.querySelector('figure img').naturalWidth") == 64
        assert browser.errors == []
    finally:
        browser.close()


def test_git_sees_nothing_but_metrics_and_lock(project):
    tracked = run(project, "git", "ls-files").split()
    assert "metrics.json" in tracked and "dvc.lock" in tracked
    assert not [
        name for name in tracked if name.split("/")[0] in ("data", "features", "checkpoints", "captions", "live")
    ]


def test_a_second_repro_has_nothing_to_do(project):
    assert ran(run(project, "dvc", "repro")) == []
    assert run(project, "git", "status", "--porcelain") == ""


def test_a_misspelt_setting_stops_before_any_work(project):
    output = run(project, "dvc", "exp", "run", "-S", "+model.prefx_len=20", "-S", "data.seed=1", fails=True)
    assert "model.prefx_len = 20: no such setting; did you mean model.prefix_len?" in output
    assert ran(output) == ["prepare"]


@pytest.mark.parametrize("decoder, features", [("lstm", "vgg16"), ("clipcap", "clip")])
def test_decoders_know_mean_and_deviation_of_the_training_features(project, decoder, features):
    images = pd.read_csv(project / "data/images.csv", dtype=str)
    with h5py.File(project / f"features/{features}.h5") as file:
        rows = dict(zip(file["ids"].asstr()[:], file["features"][:].astype("float64"), strict=True))
    train = np.stack([rows[i] for i in images.id[images.split == "train"]])
    weights = load_file(project / f"checkpoints/{decoder}/model.safetensors")
    np.testing.assert_allclose(weights["standardize.mean"], train.mean(0), rtol=1e-4, atol=1e-6)
    varies = train.std(0) > 0.2 * train.std(0).mean()
    assert varies.sum() > 10
    np.testing.assert_allclose(weights["standardize.std"][varies], train.std(0)[varies], rtol=1e-4)


def test_a_changed_prefix_length_trains_clipcap_alone(project):
    output = run(project, "dvc", "exp", "run", "--name", "longer", "-S", "model.prefix_len=6")
    assert [name for name in ran(output) if not name.startswith(("report", "cards"))] == [
        "train_clipcap",
        "generate@clipcap",
        "evaluate",
    ]
    config = json.loads((project / "checkpoints/clipcap/config.json").read_text())
    assert config["sizes"]["prefix_len"] == 6
    diff = json.loads(run(project, "dvc", "metrics", "diff", "HEAD", "longer", "--all", "--json"))["metrics.json"]
    assert {"lstm.cider", "clipcap.cider"} <= set(diff)
    assert all(change["diff"] == 0 for key, change in diff.items() if key.startswith("lstm."))


def test_experiments_are_told_apart_in_80_columns(project):
    recipe = (ROOT / "Makefile").read_text().partition("\nexperiments:")[2].partition("\n\n")[0]
    [shown] = [line.lstrip("\t@").replace("$$", "$") for line in recipe.splitlines() if "dvc exp show" in line]
    output = run(project, "env", "COLUMNS=80", "sh", "-c", shown).splitlines()
    assert max(map(len, output)) <= 80
    [heads] = [line.split() for line in output if "Experiment" in line]
    assert heads[0] == "Experiment" and heads[-1] == "model.prefix_len"
    assert set(heads[1:-1]) <= {"clipcap.cider"}, "what changed, and nothing else"
    [longer] = [line.split() for line in output if "[longer]" in line]
    assert longer[-1] == "6"


def test_a_wrong_value_stops_before_training(project):
    output = run(project, "dvc", "exp", "run", "-S", "model.prefix_len=ten", fails=True)
    assert "model.prefix_len = 'ten': expected a whole number" in output and ran(output) == ["train_clipcap"]


def test_a_recipe_can_be_chosen_by_dev(project):
    output = run(project, "dvc", "exp", "run", "--name", "by-dev", "-S", "evaluate.split=dev", "-S", "seed=0")
    assert not [name for name in ran(output) if name.startswith(("train", "extract", "finetune"))]
    images = pd.read_csv(project / "data/images.csv", dtype=str)
    for name in ("lstm", "clipcap"):
        captions = json.loads((project / f"captions/{name}.json").read_text())
        assert [one["image_id"] for one in captions] == list(images.id[images.split == "dev"])
    assert json.loads((project / "results/scores.json").read_text())["split"] == "dev"
    assert "dataset_split" not in (card := (project / "results/cards/lstm.md").read_text()) and "split: dev" in card
    assert " dev images" in card
    refusal = run(project, "python", "-m", "commands.compare", "HEAD", "by-dev", fails=True)
    assert "0 are the same" in " ".join(refusal.split())
