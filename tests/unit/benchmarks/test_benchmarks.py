"""On tiny networks the benchmarks' published loops compute the same as ours, so their times are
comparable."""

import json
import sys
import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu, gpu_rows, networks, published
from benchmarks.gpu_steps import flops_of
from benchmarks.material import captions, photographs
from benchmarks.networks import NEVER
from captioning.features.images import clip_preprocess, decode, vgg16_preprocess
from captioning.search.base import Rules
from captioning.search.beam import beam_search
from models.clipcap import ClipCap
from models.losses import PAD

VOCABULARY = 60
TOKENS = [[[5, 6, 7, 1], [8, 1]], [[9, 10, 1], [11, 12, 13, 14, 1]]]  # two images, two captions each


def tiny(mapping: str, freeze: bool = False) -> ClipCap:
    return networks.clipcap(mapping, 4, freeze, VOCABULARY, tiny=True).eval()


def test_padded_rows_give_our_loss_and_gradients():
    features, ours = networks.features(2, networks.CLIP_SIZE), torch.full((2, 2, 5), PAD)
    for i, of_image in enumerate(TOKENS):
        for j, caption in enumerate(of_image):
            ours[i, j, : len(caption)] = torch.tensor(caption)
    dataset = published.PaddedCaptions(TOKENS, features, 4)
    assert dataset.longest == 5
    batch = [torch.stack(column) for column in zip(*(dataset[i] for i in range(4)), strict=True)]
    for mapping, freeze in (("mlp", False), ("transformer", True)):
        model, theirs = tiny(mapping, freeze), published.as_published(tiny(mapping, freeze))
        loss, expected = model.loss(features, ours).mean, published.training_loss(theirs, batch)
        torch.testing.assert_close(loss, expected)
        loss.backward()
        expected.backward()
        for one, other in zip(model.clip_project.parameters(), theirs.clip_project.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)
        weight = theirs.gpt.transformer.h[0].mlp.c_fc.weight.grad
        assert weight is not None  # computed although frozen: wasted work


def test_searches_image_by_image_find_our_captions():
    gpt, lstm = tiny("mlp"), networks.lstm(VOCABULARY, tiny=True).eval()
    library = networks.library_gpt2(gpt.gpt)
    pooled, fc7 = networks.features(3, networks.CLIP_SIZE), networks.features(3, networks.FC7_SIZE)
    for model, features in ((gpt, pooled), (lstm, fc7)):
        found = beam_search(model, features, Rules(beam_size=3, max_tokens=6, eos_id=NEVER))
        for image, hypotheses in zip(features, found, strict=True):
            if model is gpt:
                tokens, score = published.beam_search(library, gpt.prefix(image[None]).detach(), 3, 6, NEVER)
            else:
                tokens, score = published.lstm_beam_search(lstm, image[None], 3, 6, NEVER)
                score /= len(tokens)
            assert tokens == hypotheses[0].tokens and len(tokens) == 6
            assert abs(score - hypotheses[0].score) < 1e-4


def test_published_extraction_sees_our_pixels(tmp_path):
    (path, *_) = photographs(1, tmp_path)
    for ours in (clip_preprocess(64), vgg16_preprocess(64)):
        transform = published.preprocess(
            ours.image_size, ours.resize, ours.interpolation, ours.mean, ours.std
        )
        theirs = published.extract(lambda pixels: pixels, transform, [path, path], "cpu")
        pixels = torch.tensor(decode(path, ours)).permute(2, 0, 1)[None]  # (1, 3, S, S)
        assert len(theirs) == 2
        # Draft mode: see captioning.features.images.
        assert (theirs[:1] - ours.normalize(pixels)).abs().mean() < 0.02


@pytest.mark.parametrize(("mapping", "freeze"), [("mlp", False), ("transformer", True)])
def test_a_step_s_operations_are_those_that_torch_counts(mapping, freeze):
    model = networks.clipcap(mapping, 4, freeze, 512, tiny=True)
    captions = torch.randint(2, 512, (16, 5, 12), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        model.loss(networks.features(16, networks.CLIP_SIZE), captions).total.backward()
    counted = counter.get_flop_counts()["Global"]
    # Attention is bmm.
    products = sum(count for operation, count in counted.items() if "bmm" not in str(operation))
    assert 0.9 < flops_of(model, captions) / products < 1.02


def test_captions_repeat_when_there_are_not_enough():
    found = captions(8000)
    assert len(found) == 8000 and all(len(of_image) == 5 for of_image in found)


def test_a_row_that_fails_or_lasts_is_told_and_stops_no_other(monkeypatch, tmp_path, capsys):
    def fails(scale):
        yield gpu_rows.Row("one", "1 ms")
        raise RuntimeError("out of memory")

    def lasts(scale):
        while True:
            time.sleep(0.01)

    rows = {"fails": fails, "works": lambda scale: [gpu_rows.Row("two", "2 ms")], "lasts": lasts}
    monkeypatch.setattr(gpu, "ROWS", rows)
    path = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu", "--tiny", "--minutes", str(10 / 60), "--json", str(path)])
    with pytest.raises(SystemExit):
        gpu.main()
    found = json.loads(path.read_text())
    assert "out of memory" in found["failed"]["fails"] and found["out_of_time"] == "lasts"
    assert [line["ours"] for lines in found["rows"].values() for line in lines] == ["1 ms", "2 ms"]
    assert "| two |  | 2 ms |  |" in capsys.readouterr().out


def test_rows_after_a_fault_of_the_gpu_run_in_a_new_process(monkeypatch, tmp_path, capsys):
    """It adds to the file, in which the figures before the fault are, and has the rest of the time."""
    started, path = [], tmp_path / "gpu.json"
    rows = {name: lambda scale, name=name: [gpu_rows.Row(name, "1 ms")] for name in ("one", "two", "three")}
    rows["two"] = lambda scale: [gpu_rows.Row("two", "", figures={"rate": float("nan")})]

    def replaced(program, words):
        started.append(words)
        raise SystemExit  # `execv` does not return

    monkeypatch.setattr(gpu, "ROWS", rows)
    monkeypatch.setattr(gpu, "answers", lambda device: bool(started))
    monkeypatch.setattr(gpu.os, "execv", replaced)
    monkeypatch.setattr(sys, "argv", ["gpu", "--tiny", "--images", "7", "--json", str(path)])
    with pytest.raises(SystemExit):
        gpu.main()
    assert list(json.loads(path.read_text())["rows"]) == ["one"]
    monkeypatch.setattr(sys, "argv", started[0][2:])
    with pytest.raises(SystemExit, match="not measured: two"):
        gpu.main()
    found = json.loads(path.read_text())
    assert list(found["rows"]) == ["one", "two", "three"] and "NaN" not in path.read_text()
    assert "| three |  | 1 ms |  |" in capsys.readouterr().out
    words = started[0]
    assert words[words.index("--images") + 1] == "7" and 7.9 < float(words[words.index("--minutes") + 1]) < 8
