"""The report's HTML and its data, without a browser (tests/process/test_report_browser.py uses one)."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import report_data
from PIL import Image

from captioning.core.errors import UserError
from captioning.evaluation.report.data import collect, plain
from captioning.evaluation.report.page import escape, render
from captioning.metrics.coco import TITLES

ROOT = Path(__file__).parents[3]
CAPTIONS = {"a": "a dog runs", "b": "two red birds"}


def test_data_cannot_leave_its_script_element():
    html = render(report_data.report(4, hostile=True))
    assert html.count("<script") == html.count("</script>") == 2
    assert "<!--" not in html and "\u2028" not in html and "\u2029" not in html
    [text] = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.S)
    assert json.loads(text)["images"][0]["id"] == report_data.HOSTILE[0]
    assert json.loads(text)["images"][2]["references"][0] == report_data.HOSTILE[2], (
        "a slot's name in a text stays text"
    )


def test_the_policy_names_the_page_s_own_script_and_style_alone():
    html = render(report_data.report(2))
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for tag in ("script", "style"):
        inline = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
        assert len(inline) == 1 and f"{tag}-src 'sha256-{digest}'" in policy


def test_the_page_asks_fkeep_start_from_outside():
    html = render(report_data.report(2))
    page = re.sub(r'<script type="application/json".*?</script>', "", html, flags=re.S)
    addresses = set(re.findall(r"""(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s"')]*""", page))
    assert addresses == {"http://www.w3.org/2000/svg"}, "the name of SVG, which is not fetched"
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", page
    )


@pytest.mark.parametrize("text", ["\ud800", "\x00", "é😀", "</ScRiPt", "]]>"])
def test_odd_texts_survive(text):
    again = json.loads(escape([text]))[0]
    assert again == text.encode("utf-8", "replace").decode()


@pytest.fixture
def project(tmp_path):
    """A folder as the earlier stages leave it: two test images, one of them a file that was damaged later."""
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (600, 300), "red").save(tmp_path / "photos/a.jpg")
    (tmp_path / "photos/b.jpg").write_bytes(b"no image")
    images = [[i, f"photos/{i}.jpg", "test", f"{n:064x}"] for n, i in enumerate(CAPTIONS)]
    table(tmp_path / "data/images.csv", ["id", "path", "split", "sha256"], images)
    spoken = [[i, f"{text}, {n}", text] for i, text in CAPTIONS.items() for n in range(2)]
    table(tmp_path / "data/captions.csv", ["image_id", "caption", "tokens"], spoken)
    made_up = report_data.report(2)
    write(tmp_path / "data/statistics.json", made_up["statistics"])
    write(tmp_path / "results/scores.json", made_up["scores"])
    for name in ("lstm", "clipcap"):
        write(
            tmp_path / f"captions/{name}.json",
            [{"image_id": i, "caption": text} for i, text in CAPTIONS.items()],
        )
        spelt = {"tokens": ["a d", "og", " runs"], "log_probs": [-0.5, -0.225, -0.1, -0.4], "ended": True}
        details = [{"image_id": i, **spelt} for i in CAPTIONS]
        write(tmp_path / f"captions/{name}_details.json", details)
        write(tmp_path / f"captions/{name}_weights.json", {f"checkpoints/{name}": "ab" * 32})
        rows = [[i, text, *["0.5"] * len(TITLES)] for i, text in CAPTIONS.items()]
        table(tmp_path / f"results/{name}.csv", ["image_id", "caption", *TITLES], rows)
    curve = tmp_path / "live/train_lstm/plots/metrics/dev_loss.tsv"
    curve.parent.mkdir(parents=True)
    curve.write_text("step\tdev_loss\n1\t3.5\n2\t2.25\n")
    write(tmp_path / "live/times/generate@lstm.json", {"seconds": 1.5, "ended": "2026-01-01 00:00:00 UTC"})
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  generate@lstm:\n    cmd: python -m stages.generate lstm\n    deps: []\n"
        "    outs:\n    - {path: captions/lstm.json, hash: md5, md5: 0123456789abcdef, size: 99}\n"
    )
    return tmp_path


def table(path: Path, header: list[str], rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def write(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def test_everything_is_collected(project):
    data = collect(project)
    first, second = data["images"]
    assert (first["width"], first["height"]) == (208, 104) and first["src"].startswith(
        "data:image/webp;base64,UklGR"
    )
    assert "src" not in second, "a damaged file has no picture, and the report its other images"
    assert first["references"] == ["a dog runs, 0", "a dog runs, 1"]
    lstm = first["said"]["lstm"]
    assert lstm["words"] == [("a dog", 0.4843, 2), (" runs", 0.9048, 1)] and lstm["scores"]["cider"] == 0.5
    assert (lstm["mean"], lstm["end"]) == (0.7451, 0.6703), "tokens of .607, .799 and .905, and the end"
    assert data["curves"] == {"train_lstm": {"dev_loss": [3.5, 2.25]}}
    [lstm] = [stage for stage in data["stages"] if stage["name"] == "generate@lstm"]
    assert lstm["seconds"] == 1.5 and lstm["outputs"][0]["hash"] == "0123456789abcdef"
    assert lstm["description"] == "captions of the test (or dev) images by lstm"
    assert "report" not in [stage["name"] for stage in data["stages"]]
    assert data["weights"]["lstm"] == {"checkpoints/lstm": "ab" * 32}
    assert data["settings"] == (ROOT / "params.yaml").read_text()
    assert data["versions"]["torch"] and data["commit"] == ""
    assert "a dog runs" in render(data)


@pytest.mark.parametrize(
    ("label", "english"),
    [("two bird", "two birds"), ("many person", "many people"), ("three man", "three men"),
     ("one bird", "one bird"), ("run", "running"), ("red clothes", "red clothes"),
     ("hot air balloon", "hot air balloon")],
)  # fmt: skip
def test_what_is_wrong_is_told_in_english(label, english):
    assert plain(label) == english


def test_a_missing_result_is_told(project):
    (project / "results/scores.json").unlink()
    with pytest.raises(UserError, match=r"scores\.json cannot be read"):
        collect(project)
