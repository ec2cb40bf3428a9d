"""Our scores equal pycocoevalcap's to the last digit; our tokens are its tokens and stay aligned where it
slips."""

import json
import math
import random

import numpy as np
import pytest
from example_captions import CANDIDATES, REFERENCES
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor as TheirMeteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from pycocotools.coco import COCO

from captioning.core import java
from captioning.core.errors import UserError
from captioning.data.ptb import ptb_tokenize
from captioning.metrics.coco import METRICS, score, score_many
from captioning.metrics.meteor import Meteor, from_sums, summands
from commands.score import main


def more_captions(count: int = 60) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The written captions and seeded random ones of the same words, so that sums and averages cover many
    images."""
    draw = random.Random(0)
    words = [word for texts in REFERENCES.values() for text in texts for word in text.split()]
    text = lambda: " ".join(draw.choices(words, k=draw.randint(1, 14)))  # noqa: E731
    references, candidates = dict(REFERENCES), dict(CANDIDATES)
    for i in range(count):
        references[str(100 + i)] = [text() for _ in range(5)]
        candidates[str(100 + i)] = draw.choice(references[str(100 + i)]) if i % 7 == 0 else text()
    return references, candidates


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The captions as a COCO annotations file and a COCO results file."""
    folder = tmp_path_factory.mktemp("coco")
    references, candidates = more_captions()
    annotations = [{"image_id": int(i), "caption": text} for i, texts in references.items() for text in texts]
    annotations = [{"id": number, **entry} for number, entry in enumerate(annotations)]
    coco = {
        "images": [{"id": int(i)} for i in references],
        "annotations": annotations,
        "info": {},
        "licenses": [],
    }
    (folder / "references.json").write_text(json.dumps(coco))
    results = [{"image_id": int(i), "caption": text} for i, text in candidates.items()]
    (folder / "candidates.json").write_text(json.dumps(results))
    return folder


@pytest.fixture(scope="module")
def theirs(files):
    """Scores (corpus, per image) as pycocoevalcap's `COCOEvalCap.evaluate` computes them, line by line,
    without SPICE."""
    coco = COCO(str(files / "references.json"))
    results = coco.loadRes(str(files / "candidates.json"))
    with java.on_path():
        gts = PTBTokenizer().tokenize({i: coco.imgToAnns[i] for i in coco.getImgIds()})
        res = PTBTokenizer().tokenize({i: results.imgToAnns[i] for i in coco.getImgIds()})
        scorers = [
            (Bleu(4), METRICS[:4]),
            (TheirMeteor(), "meteor"),
            (Rouge(), "rouge_l"),
            (Cider(), "cider"),
        ]
        corpus, images = {}, {}
        for scorer, names in scorers:
            value, values = scorer.compute_score(gts, res)
            if isinstance(names, str):
                value, values, names = [value], [values], [names]
            corpus.update(zip(names, value, strict=True))
            images.update(zip(names, values, strict=True))
    return corpus, images


@pytest.fixture(scope="module")
def meteor():
    with Meteor() as running:
        yield running


@pytest.fixture(scope="module")
def ours(files, tmp_path_factory):
    """JSON and CSV that the program writes for the same two files."""
    table = tmp_path_factory.mktemp("out") / "images.csv"
    arguments = [str(files / "references.json"), str(files / "candidates.json"), "--per-image", str(table)]
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *parts, **_: lines.extend(map(str, parts)))
        main(arguments)
    return json.loads("\n".join(lines)), table.read_text(encoding="utf-8")


def test_corpus_scores_equal_pycocoevalcaps_to_the_last_digit(ours, theirs):
    printed, _ = ours
    assert printed == {**{name: float(theirs[0][name]) for name in METRICS}, "images": 66}
    assert 0.1 < printed["cider"] < 5 and 0.05 < printed["meteor"] < 0.9


def test_image_scores_equal_pycocoevalcaps(ours, theirs):
    header, *rows = ours[1].splitlines()
    assert header == "image_id,caption," + ",".join(METRICS)
    assert len(rows) == 66
    for position, name in enumerate(METRICS):
        written = [row.split(",")[-7 + position] for row in rows]
        assert written == [repr(float(value)) for value in theirs[1][name]]


def test_one_image_summed_alone_gives_that_images_meteor(meteor):
    references, candidates = tokenized(*more_captions())
    scores = score(references, candidates, meteor)
    alone = [
        float(from_sums(summands(scores.meteor_statistics[i : i + 1])[0])) for i in range(len(scores.ids))
    ]
    np.testing.assert_allclose(alone, scores.per_image["meteor"], rtol=0, atol=1e-12)
    whole = float(from_sums(summands(scores.meteor_statistics).sum(0)))
    assert math.isclose(whole, scores.corpus["meteor"], rel_tol=1e-12)
    assert not math.isclose(whole, scores.per_image["meteor"].mean(), rel_tol=1e-3), "METEOR is not a mean"


def test_several_sets_in_one_process_score_as_each_alone(meteor):
    references, candidates = tokenized(REFERENCES, CANDIDATES)
    shifted = dict(zip(references, [*list(candidates.values())[1:], "a dog"], strict=True))
    together = score_many({"a": (references, candidates), "b": (references, shifted)}, meteor)
    assert together["a"].corpus == score(references, candidates, meteor).corpus
    assert together["b"].corpus == score(references, shifted, meteor).corpus
    assert together["a"].corpus != together["b"].corpus


def test_bad_captions_score_nothing_and_copies_score_most(meteor):
    references, candidates = tokenized(REFERENCES, CANDIDATES)
    scores = score(references, candidates, meteor)
    empty, copied = scores.ids.index("4"), scores.ids.index("3")
    for name in METRICS:
        assert scores.per_image[name][empty] < 1e-6
    assert scores.per_image["bleu_4"][copied] == pytest.approx(1)
    assert scores.per_image["meteor"][copied] == 1
    assert scores.per_image["rouge_l"][copied] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, c: c.pop("2"), "1 image(s) have no candidate, such as 2"),
        (lambda r, c: c.update({"9": "a cat"}), "1 image(s) have no references, such as 9"),
        (lambda r, c: r.update({"1": []}), "references of image 1 must be a list of one or more texts"),
        (lambda r, c: r.update({"1": "a dog"}), "references of image 1 must be a list of one or more texts"),
        (lambda r, c: c.update({"1": ["a dog"]}), "candidate of image 1 must be one text"),
        (lambda r, c: (r.clear(), c.clear()), "nothing to score"),
        (lambda r, c: r.update({i: ["", ""] for i in r}), "none of the references has a word"),
    ],
)
def test_sets_that_do_not_fit_together_are_told_before_java_starts(change, message):
    references, candidates = dict(REFERENCES), dict(CANDIDATES)
    change(references, candidates)
    with pytest.raises(UserError, match=message.replace("(", r"\(").replace(")", r"\)")):
        score(references, candidates)


def tokenized(references, candidates):
    tokens = iter(ptb_tokenize([text for texts in references.values() for text in texts]))
    references = {i: [next(tokens) for _ in texts] for i, texts in references.items()}
    return references, dict(zip(candidates, ptb_tokenize(list(candidates.values())), strict=True))


def their_tokens(captions: list[str]) -> list[str]:
    with java.on_path():
        result = PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(captions)})
    return [result[i][0] for i in range(len(captions))]


def test_tokens_equal_pycocoevalcaps():
    captions = [text for texts in REFERENCES.values() for text in texts]
    captions += [
        "A dog etc.", "The U.S.", "call (415) 555-1234", "", "emoji 😀 lost", "<a href=x> [b] {c}",
        "A", "...",
    ]  # fmt: skip
    tokens = ptb_tokenize(captions)
    assert tokens == their_tokens(captions)
    assert tokens[0] == "a brown dog runs on the beach"


SEPARATORS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def test_line_separators_inside_captions_do_not_shift_the_rest():
    captions = [f"a dog{separator}runs" for separator in SEPARATORS] + ["a cat sleeps"]
    assert ptb_tokenize(captions) == ["a dog runs"] * len(SEPARATORS) + ["a cat sleeps"]


def test_empty_captions_keep_their_places():
    assert ptb_tokenize([]) == []
    assert ptb_tokenize(["", " \r\n "]) == ["", ""]
    assert ptb_tokenize(["", "A cat", "", "...", "A dog!", "", ""]) == ["", "a cat", "", "", "a dog", "", ""]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=400))
def test_any_text_at_all_keeps_its_place(captions):
    marked = [text for caption in captions for text in (caption, "zebra")]  # a sentinel after every caption
    tokens = ptb_tokenize(marked)
    assert len(tokens) == len(marked)
    assert tokens[1::2] == ["zebra"] * len(captions)


def test_many_captions():
    captions = [f"A dog number {i} runs." for i in range(100_000)]
    tokens = ptb_tokenize(captions)
    assert tokens[::33_333] == [f"a dog number {i} runs" for i in range(0, 100_000, 33_333)]


def test_scores_are_printed_even_where_the_table_cannot_be_written(files, tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"--per-image .* cannot be written"):
        main([str(files / "references.json"), str(files / "candidates.json"), "--per-image", str(tmp_path)])
    assert json.loads(capsys.readouterr().out)["images"] == 66
