"""SPICE's own classes under this project's Java, without CoreNLP's models, which are 385 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from captioning.core.errors import UserError
from captioning.core.java import package_folder
from captioning.metrics import spice

ROOT = Path(__file__).parents[2]
# The tokenizer's CoreNLP has the classes that SPICE links with, but no models.
CLASSES = package_folder() / "tokenizer" / "stanford-corenlp-3.4.1.jar"
START = (
    "from pathlib import Path; from captioning.metrics.spice_java import start, score; "
    "start([Path({classes!r})])\n"
)
# Scene graphs of a candidate and a reference, as the parser would make them. SPICE scores and prints them.
GRAPHS = """
import jpype
spice, true = jpype.JPackage("edu").anu.spice, jpype.java.lang.Boolean(True)
parser = spice.SpiceParser(None, 1, true)
synonyms = parser.getClass().getDeclaredField("synonyms")
synonyms.setAccessible(True)

def graph(*tuples):
    made = spice.SceneGraph(synonyms.get(parser))
    for one in tuples:
        {1: made.addObject, 2: made.addAttribute, 3: made.addRelation}[len(one)](*one)
    return made

court = [("girl",), ("court",), ("girl", "young"), ("girl", "court", "on")]
stats = spice.SpiceStats(jpype.java.util.HashMap(), true)
stats.score("more.jpg", graph(*court), graph(*court, ("racket",), ("girl", "racket", "with")), True)
stats.score("synonym", graph(("kid",)), graph(("child",)), True)
stats.score("wrong", graph(("dog",)), graph(("house",)), True)
print(stats.toJSONString())
"""


def python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_its_answer_is_read_as_it_writes_it():
    done = python("-c", START.format(classes=str(CLASSES)) + GRAPHS)
    assert done.returncode == 0, done.stderr
    found = spice.read(done.stdout, ["synonym", "more.jpg", "wrong"])
    assert found.tolist() == pytest.approx([1, 0.8, 0])  # 4 of 4 tuples are right, 4 of 6 are found: F is 0.8


def test_its_scorer_runs_to_its_end_without_a_javascript_engine_and_a_data_base(tmp_path):
    (tmp_path / "none.json").write_text("[]")
    call = f"print('answer', score({str(tmp_path / 'none.json')!r}))"
    done = python("-c", START.format(classes=str(CLASSES)) + call)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "answer []"


def test_without_models_it_fails_in_javas_own_words(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps([{"image_id": "a", "test": "a dog", "refs": ["a cat"]}]))
    done = python("-c", START.format(classes=str(CLASSES)) + f"score({str(tmp_path / 'one.json')!r})")
    assert done.returncode != 0 and "edu/stanford/nlp/models" in done.stderr


@pytest.mark.skipif(spice.fault() is None, reason="SPICE's parts are all here: the next test runs it")
def test_absent_parts_are_an_error_that_names_what_is_missing():
    assert "stanford-corenlp-3.6.0-models.jar" in spice.fault() and "385 MB" in spice.fault()
    with pytest.raises(UserError, match=r"SPICE failed .*edu\.?/?stanford"):
        spice.spice({"a": ["a cat"]}, {"a": "a dog"})


@pytest.mark.skipif(spice.fault() is not None, reason="SPICE's Java parts (385 MB) are absent")
def test_captions_are_scored():
    found = spice.spice({"a": ["a red dog runs"], "b": ["a cat"]}, {"a": "a red dog runs", "b": "a house"})
    assert found[0] == 1 and found[1] == 0


@pytest.mark.parametrize(
    "answer", ["", "[]", '[{"image_id": "a"}]', '[{"image_id": "a", "scores": {"All": {}}}]']
)
def test_an_answer_that_is_none_is_an_error(answer):
    with pytest.raises(UserError, match="answer cannot be read"):
        spice.read(answer, ["a"])
