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
from project_copy import ENV, commit, copy_project, ran, run
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
    """The first run as it was committed, without the changes of earlier tests."""
    run(first_run, "git", "checkout", "--quiet", "HEAD", "--", ".")
    run(first_run, "dvc", "checkout", "--force")
    return first_run


@pytest.fixture(scope="module")
def page(first_run):
    """The address of the app's page."""
    command = [sys.executable, "-u", "-m", "app", "--web", "--port", "0"]
    server = subprocess.Popen(
        command, cwd=first_run, env=ENV, stdout=subprocess.PIPE, text=True,
        # Children of a background shell ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        line = server.stdout.readline()
        assert "http://127.0.0.1:" in line
        yield next(word for word in line.split() if word.startswith("http"))
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0  # as a user ends it


def asked(address: str, content: bytes, **headers: str) -> tuple[int, dict]:
    headers = {"Content-Type": "application/octet-stream"} | {
        name.replace("_", "-"): headers[name] for name in headers
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(address, content, headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_metrics_has_the_seven_scores_of_both_captioners(first_run):
    metrics = json.loads((first_run / "metrics.json").read_text())
    scores = {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider"}
    assert set(metrics["lstm"]) == set(metrics["clipcap"]) == scores
    assert all(0 <= value <= 10 for model in ("lstm", "clipcap") for value in metrics[model].values())


@pytest.mark.parametrize("decoder", ["lstm", "clipcap"])
def test_the_app_captions_a_picture_as_the_pipeline_does(first_run, decoder):
    images = pd.read_csv(first_run / "data/images.csv", dtype=str, index_col="id")
    entries = json.loads((first_run / f"captions/{decoder}.json").read_text())[:3]
    pictures = [images.path[entry["image_id"]] for entry in entries]
    *output, learned = run(
        first_run, sys.executable, "-m", "app", "--captioner", decoder, *pictures
    ).splitlines()
    wanted = [f"{picture}: {entry['caption']}" for picture, entry in zip(pictures, entries, strict=True)]
    assert output == wanted and learned.startswith("learned from scenes: ")
    several = run(
        first_run, sys.executable, "-m", "app", "--captioner", decoder, "--captions", "4", pictures[0]
    )
    assert len(several.splitlines()) == 4 + 1


def test_the_app_captions_what_it_can_read_and_names_the_rest(first_run):
    picture = pd.read_csv(first_run / "data/images.csv", dtype=str).path[0]
    output = run(first_run, sys.executable, "-m", "app", "README.md", picture, "absent.jpg", fails=True)
    assert f"{picture}: " in output
    assert "error: README.md is not an image" in output and "error: absent.jpg does not exist" in output
    assert "error: 2 of 3 pictures cannot be read" in output


def test_the_page_answers_with_the_pipelines_captions_and_refuses_the_rest(first_run, page):
    images = pd.read_csv(first_run / "data/images.csv", dtype=str, index_col="id")
    for decoder in ("lstm", "clipcap"):
        entry = json.loads((first_run / f"captions/{decoder}.json").read_text())[0]
        picture = (first_run / images.path[entry["image_id"]]).read_bytes()
        status, answer = asked(f"{page}/captions?captioner={decoder}", picture)
        assert status == 200 and [row["caption"] for row in answer["captions"]] == [entry["caption"]]
    assert len(asked(f"{page}/captions?captioner=lstm&captions=4", picture)[1]["captions"]) == 4
    for address, content, headers, status, told in [
        ("captions", b"no picture", {}, 422, "not an image of a known format"),
        ("captions", b"", {}, 422, "is empty"),
        ("captions?captioner=gpt", picture, {}, 400, "one of clipcap, lstm"),
        ("captions?captions=0", picture, {}, 400, "from 1 to 20"),
        ("captions?captions=x", picture, {}, 400, "from 1 to 20"),
        # As any web site may.
        ("captions", picture, {"Content_Type": "text/plain"}, 415, "application/octet-stream"),
        ("captions", picture, {"Host": "example.org"}, 403, "open this page at"),  # by another name
        ("captions", bytes(65 * 2**20), {}, 413, "more than 64 MB"),
    ]:
        found, answer = asked(f"{page}/{address}", content, **headers)
        assert found == status and told in answer["error"]


@pytest.mark.skipif(chromium() is None, reason="no chromium: `apt install chromium`")
def test_the_page_shows_pictures_with_their_captions(first_run, page, tmp_path):
    images = pd.read_csv(first_run / "data/images.csv", dtype=str, index_col="id")
    entry = json.loads((first_run / "captions/clipcap.json").read_text())[0]
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(page)
        assert browser.value("document.querySelectorAll('#samples img').length") > 0
        browser.choose("#pictures", first_run / images.path[entry["image_id"]])
        browser.wait("document.querySelectorAll('figure[aria-busy=false]').length === 1")
        assert browser.value("document.querySelector('.of-clipcap .text').textContent") == entry["caption"]
        assert browser.value("document.getElementById('learned').textContent").startswith(
            "The captioners learned from"
        )
        assert browser.value("document.querySelector('figure img').naturalWidth") == 64
        assert browser.errors == []
    finally:
        browser.close()


def test_git_sees_nothing_but_metrics_and_lock(first_run):
    tracked = run(first_run, "git", "ls-files").split()
    assert "metrics.json" in tracked and "dvc.lock" in tracked
    assert not [
        name
        for name in tracked
        if name.split("/")[0] in ("data", "features", "checkpoints", "captions", "live")
    ]


def test_a_second_repro_has_nothing_to_do(first_run):
    assert ran(run(first_run, "dvc", "repro")) == []
    assert run(first_run, "git", "status", "--porcelain") == ""


@pytest.mark.parametrize("decoder, features", [("lstm", "vgg16"), ("clipcap", "clip")])
def test_decoders_know_mean_and_deviation_of_the_training_features(first_run, decoder, features):
    images = pd.read_csv(first_run / "data/images.csv", dtype=str)
    with h5py.File(first_run / f"features/{features}.h5") as file:
        rows = dict(zip(file["ids"].asstr()[:], file["features"][:].astype("float64"), strict=True))
    train = np.stack([rows[i] for i in images.id[images.split == "train"]])
    weights = load_file(first_run / f"checkpoints/{decoder}/model.safetensors")
    np.testing.assert_allclose(weights["standardize.mean"], train.mean(0), rtol=1e-4, atol=1e-6)
    varies = train.std(0) > 0.2 * train.std(0).mean()
    assert varies.sum() > 10
    np.testing.assert_allclose(weights["standardize.std"][varies], train.std(0)[varies], rtol=1e-4)


def test_a_misspelt_setting_stops_before_any_work(project):
    output = run(project, "dvc", "exp", "run", "-S", "+model.prefx_len=20", "-S", "data.seed=1", fails=True)
    assert "model.prefx_len = 20: no such setting; did you mean model.prefix_len?" in output
    assert ran(output) == ["prepare"]


def test_a_changed_prefix_length_trains_clipcap_alone(project):
    output = run(project, "dvc", "exp", "run", "--name", "longer", "-S", "model.prefix_len=6")
    assert [name for name in ran(output) if not name.startswith(("report", "cards"))] == [
        "train_clipcap",
        "generate@clipcap",
        "evaluate",
    ]
    config = json.loads((project / "checkpoints/clipcap/config.json").read_text())
    assert config["sizes"]["prefix_len"] == 6
    diff = json.loads(run(project, "dvc", "metrics", "diff", "HEAD", "longer", "--all", "--json"))[
        "metrics.json"
    ]
    assert {"lstm.cider", "clipcap.cider"} <= set(diff)
    assert all(change["diff"] == 0 for key, change in diff.items() if key.startswith("lstm."))


def test_dev_and_consensus_are_settings_of_generate_and_the_app_follows_them(project):
    settings = ("evaluate.split=dev", "generate.consensus=8", "generate.beam_size=4")
    output = run(
        project, "dvc", "exp", "run", "--name", "by-dev", *(word for one in settings for word in ("-S", one))
    )
    again = {"filter_paraphrases", "evaluate", "cards", "report"}
    assert sorted(set(ran(output)) - again) == ["generate@clipcap", "generate@lstm"]
    images = pd.read_csv(project / "data/images.csv", dtype=str, index_col="id")
    captions = {
        name: json.loads((project / f"captions/{name}.json").read_text()) for name in ("lstm", "clipcap")
    }
    for entries in captions.values():
        assert [one["image_id"] for one in entries] == list(images.index[images.split == "dev"])
    assert json.loads((project / "results/scores.json").read_text())["split"] == "dev"
    assert (
        "dataset_split" not in (card := (project / "results/cards/lstm.md").read_text())
        and "split: dev" in card
    )
    assert " dev images" in card
    refusal = run(project, "python", "-m", "commands.compare", "HEAD", "by-dev", fails=True)
    assert "both have 0 of them" in " ".join(refusal.split())
    pictures = [images.path[entry["image_id"]] for entry in captions["clipcap"]]
    *output, _ = run(project, sys.executable, "-m", "app", *pictures).splitlines()
    wanted = [
        f"{picture}: {entry['caption']}" for picture, entry in zip(pictures, captions["clipcap"], strict=True)
    ]
    assert output == wanted
