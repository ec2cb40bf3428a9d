"""The report in a real browser without a network: sorting, filtering, viewer, hostile texts, phone, dark
mode."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import report_data
from browser import chromium
from PIL import Image

from captioning.evaluation.report.page import render

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium: `apt install chromium`")
SHOTS = os.environ.get("REPORT_SCREENSHOTS")  # a folder to keep the screenshots in


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Three reports: small, hostile and of 1,000 images."""
    folder = tmp_path_factory.mktemp("pages")
    for name, data in {
        "small": report_data.report(60),
        "hostile": report_data.report(12, hostile=True),
        "large": report_data.report(1000),
    }.items():
        (folder / f"{name}.html").write_text(render(data), encoding="utf-8")
    return folder


@pytest.fixture
def page(browser, pages):
    """The small report, freshly opened on a desktop. Fails if anything in it writes an error."""
    with browser.opened(pages / "small.html") as page:
        yield page


def ids(browser) -> list[str]:
    return browser.value("[...document.querySelectorAll('.card')].map((card) => card.dataset.id)")


def choose(browser, name: str, value: str) -> None:
    browser.value(
        f"(() => {{ const e = document.querySelector('[name={name}]'); e.value = {json.dumps(value)};"
        "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def shown(browser) -> str:
    return browser.value("document.querySelector('.count').textContent")


def test_the_headline_tells_what_one_run_measured(browser, tmp_path):
    data = report_data.report(60)
    data["weights"]["lstm"].popitem()
    (tmp_path / "seeds.html").write_text(render(data), encoding="utf-8")
    browser.open(tmp_path / "seeds.html")
    assert browser.value("document.querySelector('h1').textContent") == (
        "In this run, one seed each, ClipCap's CIDEr is 0.190 higher than the LSTM's."
    )
    told = browser.value("document.querySelector('.top .lead').textContent")
    assert "over 60 images gives p\u00a0=\u00a00.001" in told and told.endswith(
        "The test does not cover other seeds."
    )
    assert "better" not in browser.value("document.querySelector('.top').textContent")
    data = report_data.report(4)
    data["scores"]["clipcap_minus_lstm"]["cider"] |= {"difference": -0.02, "low": -0.1, "p": 0.4}
    (tmp_path / "level.html").write_text(render(data), encoding="utf-8")
    browser.open(tmp_path / "level.html")
    assert browser.value("document.querySelector('h1').textContent") == (
        "In this run, ClipCap of 1 seed, LSTM of 2 seeds, ClipCap's CIDEr is 0.020 lower than the LSTM's."
    )
    assert "could reverse it" in browser.value("document.querySelector('.top .lead').textContent")


def test_the_gallery_is_second_and_in_the_order_of_the_data(page):
    sections = page.value("[...document.querySelectorAll('main > *')].map((part) => part.id).filter(Boolean)")
    assert sections == ["top", "gallery", "scores", "training", "data", "run"]
    assert page.value(
        "[...document.querySelectorAll('.top table, details.folded table')].length"
    ) == page.value("document.querySelectorAll('main table').length"), "tables beneath the first are folded"
    assert page.value("document.querySelectorAll('details.folded[open]').length") == 0
    assert ids(page) == [f"im{n:04}" for n in range(12)]
    assert shown(page) == "60 images"
    page.click("#scores .choices button:nth-child(2)")  # ROUGE-L redraws only the chart
    page.value(
        "[...document.querySelectorAll('button')].find((b) => b.textContent === 'Best ClipCap').click()"
    )
    assert ids(page)[:3] == ["im0059", "im0058", "im0057"]
    page.value(
        "[...document.querySelectorAll('button')].find((b) => b.textContent === 'Worst ClipCap').click()"
    )
    assert ids(page)[:3] == ["im0000", "im0001", "im0002"]


def test_diversity_and_mistakes_have_their_tables(page):
    rows = page.value(
        "Object.fromEntries([...document.querySelectorAll('table')].map((t) => [t.caption.textContent, "
        "[...t.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent))]))"
    )
    captions = rows["Several captions per image"]
    assert [row[0] for row in captions] == ["ClipCap", "People"] and captions[1][-2:] == ["–", "–"]
    assert captions[0][1:6] == ["5.0", "90%", "0.400", "0.600", "0.300"] and captions[0][-1].startswith(
        "0.950"
    )
    decoders = rows["Decoders that wrote the captions (probabilities of several are averaged)"]
    assert [row[:2] for row in decoders][1:] == [["LSTM", "checkpoints/lstm"], ["LSTM", "seeds/scenes"]]
    wrong = rows["Colours, numbers and gender against what people say"]
    assert [row[0] for row in wrong] == [f"{who}, {kind}" for kind in ("colour", "gender") for who in
                                         ("ClipCap", "LSTM", "People")]  # fmt: skip
    assert wrong[0][1] == "40" and wrong[-1][1:] == ["0", "–", "–", "–"]


def test_the_order_by_difference_is_that_of_the_scores(page):
    choose(page, "of", "difference")  # even images: ClipCap is 0.05 ahead; odd ones: 0.05 behind
    choose(page, "order", "high")
    assert ids(page)[:2] == ["im0000", "im0002"]
    choose(page, "order", "low")
    assert ids(page)[0] == "im0001"
    choose(page, "only", "clipcap")
    assert ids(page)[0] == "im0000"
    assert shown(page) == "30 of 60 images"


def test_words_and_scores_filter(page):
    page.click("[name=words]")
    page.type("bird")
    assert shown(page) == "12 of 60 images"
    assert all(int(image[2:]) % 5 == 4 for image in ids(page))
    page.type("s")
    assert ids(page) == [], "whole words are sought"
    choose(page, "words", "bi* beach")
    assert ids(page) == ["im0004", "im0024", "im0044"]
    choose(page, "from", "0.2")
    assert ids(page) == ["im0024", "im0044"]
    choose(page, "to", "0.3")
    assert ids(page) == ["im0024"]
    assert page.value("location.hash").startswith("#gallery?words=bi*")
    page.value("document.querySelector('[type=reset]').click()")
    assert shown(page) == "60 images"


def test_phrases_are_sought_in_captions_or_references_and_marked(page):
    marks = "[...document.querySelector('.card').querySelectorAll('mark')].map((mark) => mark.textContent)"
    choose(page, "words", '"Bird is at"')
    assert shown(page) == "12 of 60 images" and page.value(marks) == ["bird is at"]
    assert page.value("document.querySelector('.card details').open"), "the references have it"
    choose(page, "where", "captions")
    assert ids(page) == []
    choose(page, "words", '"bird on the')  # while it is being typed
    assert shown(page) == "12 of 60 images"
    assert page.value(marks) == ["bird", "on", "the", "bird", "on", "the"], (
        "words of their own, in both captions"
    )
    assert not page.value("document.querySelector('.card details').open")
    choose(page, "words", '"on bird"')
    assert ids(page) == [], "in this order alone"
    page.value("document.querySelector('.finer').open = true")
    page.click("[type=reset]")
    assert page.value("document.querySelectorAll('mark').length") == 0


def test_an_image_has_an_address(browser, pages):
    title = "document.querySelector('dialog[open] h3')?.textContent"
    browser.errors.clear()
    browser.open(pages / "small.html", "#image=im0041")
    assert browser.value(title) == "im0041"
    browser.press("Escape", 27)
    browser.wait(
        "location.hash === '#gallery' && document.activeElement.getAttribute('href') === '#image=im0041'"
    )
    browser.click(".picture")
    browser.wait(f"location.hash === '#image=im0000' && {title} === 'im0000'")
    browser.press("ArrowRight", 39)
    assert browser.value("location.hash") == "#image=im0001"
    browser.value("history.back()")
    browser.wait("!document.querySelector('dialog').open")
    browser.value("location.hash = '#image=%zz'")
    browser.wait("document.querySelector('.count').textContent.startsWith('This report has no image %zz;')")
    browser.open(pages / "hostile.html")
    browser.value("document.querySelectorAll('.picture')[1].click()")
    browser.wait(f"{title} === {json.dumps(report_data.HOSTILE[1])}")
    assert browser.errors == []


def test_an_address_that_leaves_the_open_image_out_closes_the_viewer(page):
    for words, left in (("cat", "12 of 60 images"), ("unicorn", "0 of 60 images")):
        page.value("location.hash = '#image=im0050'")
        page.wait("document.querySelector('dialog').open")
        page.value(f"location.hash = '#gallery?words={words}'")
        page.wait("!document.querySelector('dialog').open")
        page.wait(f"document.querySelector('.count').textContent === '{left}'")


def test_an_address_with_an_unknown_choice_is_read_while_that_field_has_the_focus(page):
    page.value("document.querySelector('.finer').open = true; document.querySelector('[name=only]').focus()")
    page.value("location.hash = '#gallery?only=none&words=cat'")
    page.wait("document.querySelector('.count').textContent === '12 of 60 images'")


def test_a_view_is_kept_in_the_address(browser, pages):
    browser.open(pages / "small.html", "#gallery?words=cat&order=low&nonsense=1&only=none")
    assert ids(browser)[:2] == ["im0001", "im0006"]
    assert browser.value("document.querySelector('[name=words]').value") == "cat"


def test_copied_captions_are_told_at_the_top(browser, tmp_path):
    data = report_data.report(4)
    data["scores"]["more"]["notes"]["lstm"] = (
        "100% of the captions by lstm are a reference of their own image"
    )
    (tmp_path / "copied.html").write_text(render(data), encoding="utf-8")
    browser.open(tmp_path / "copied.html")
    assert browser.value("document.querySelector('.top .warning').textContent").startswith(
        "100% of the captions"
    )


def test_all_cards_come_by_a_button(page):
    assert page.value("document.querySelector('.more').textContent") == "Show 48 more of 48"
    page.click(".more")
    assert len(set(ids(page))) == 60
    assert page.value("document.querySelector('.more').hidden")


def test_images_tell_what_they_show(page):
    assert page.value("document.querySelector('.card img').alt") == "im0000: A dog is at the beach."
    assert page.value(
        "[...document.querySelectorAll('img, svg')].every((e) => e.alt || e.getAttribute('aria-label'))"
    )


def test_the_viewer_works_by_keyboard(page):
    page.value("document.querySelector('.picture').focus({preventScroll: true})")
    page.press("Enter", 13)
    assert page.value("document.querySelector('dialog').open")
    assert page.value("document.querySelector('dialog h3').textContent") == "im0000"
    page.press("ArrowRight", 39)
    assert page.value("document.querySelector('dialog h3').textContent") == "im0001"
    tokens = page.value(
        "[...document.querySelectorAll('.answer.of-clipcap .token')].map((t) => t.textContent)"
    )
    assert tokens == ["a83%", "cat45%", "on31%", "the24%", "beach19%"]
    assert page.value("[...document.querySelectorAll('.prefix code')].map((c) => c.textContent)") == [
        "dog",
        "on",
        "the",
    ]
    page.value("document.querySelector('.answer.of-lstm .token').focus()")
    assert page.value("document.querySelector('.look canvas').classList.contains('on')")
    pixels = "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 14, 14).data]"
    alpha = page.value(f"{pixels}.filter((_, i) => i % 4 === 3)")
    assert len(alpha) == 196 and alpha[0] == 0 and min(alpha[1:]) > 100, (
        "light where it looked, dark elsewhere"
    )
    assert page.value("document.querySelector('.looked').textContent") == (
        "“the”: the lightest part had 6.0 times an even share"
    )
    page.press("Escape", 27)
    assert not page.value("document.querySelector('dialog').open")


def test_nothing_in_a_text_becomes_markup_or_script(browser, pages):
    browser.errors.clear()
    browser.open(pages / "hostile.html", "#gallery?words=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E")
    browser.open(pages / "hostile.html")
    shown = browser.value("[...document.querySelectorAll('.card .text')].map((p) => p.textContent)")
    assert [text.split() for text in shown[:6:2]] == [text.split() for text in report_data.HOSTILE]
    browser.value("document.querySelector('.picture').click()")
    assert browser.value("document.querySelector('dialog h3').textContent") == report_data.HOSTILE[0]
    assert browser.value("document.body.dataset.hacked") is None
    assert browser.value("document.querySelectorAll('script').length") == 2
    assert browser.value("document.querySelectorAll('img[onerror], img[src=x]').length") == 0
    assert browser.errors == []


def test_the_policy_stops_what_would_get_in_regardless(page):
    for attack in (
        "const s = document.createElement('script'); s.textContent = 'document.body.dataset.hacked = 1';"
        "document.body.append(s)",
        (
            "document.body.insertAdjacentHTML('beforeend', "
            "'<img src=x onerror=\"document.body.dataset.hacked = 1\">')"
        ),
        "fetch('https://example.com/').catch(() => 0)",
    ):
        page.value(f"(() => {{ {attack} }})()")
    page.value("new Promise((done) => setTimeout(done, 300))")
    assert page.value("document.body.dataset.hacked") is None
    assert len(page.errors) >= 3 and all("Content Security Policy" in error for error in page.errors)
    page.errors.clear()


def test_a_thousand_images_open_at_once(browser, pages):
    browser.device(1280, 900)
    browser.open(pages / "large.html")
    ready = browser.value("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert browser.value("document.querySelector('.count').textContent") == "1,000 images"
    assert browser.value("document.querySelectorAll('.card').length") < 200, "drawn as they are needed"
    print(f"1,000 images: {ready / 1000:.2f} s")
    assert ready < 20_000, "2 s on a machine of its own; this one may be busy"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read(browser, pages, tmp_path, width, dark):
    browser.device(width, 900, dark, mobile=width < 500)
    browser.open(pages / "small.html")
    assert browser.value("document.documentElement.scrollWidth") <= width
    shot = browser.screenshot(Path(SHOTS or tmp_path) / f"report-{width}-{'dark' if dark else 'light'}.png")
    colours = Image.open(shot).convert("L").getcolors()
    background = max(colours)[1]
    assert (background < 60) == dark
    ink, paper = (
        browser.value(f"getComputedStyle(document.body).{key}") for key in ("color", "backgroundColor")
    )
    assert contrast(ink, paper) > 7


def test_a_wide_table_says_on_a_phone_that_it_scrolls(browser, pages):
    browser.device(390, 900, mobile=True)
    browser.open(pages / "small.html")
    browser.value("document.querySelector('#scores .folded').open = true")
    told = "getComputedStyle(document.querySelector('#scores .folded .sideways')).display"
    browser.wait(f"{told} === 'block'")
    assert browser.value("getComputedStyle(document.querySelector('.top .sideways')).display") == "none", (
        "it fits"
    )
    browser.device(1280, 900)
    browser.wait(f"{told} === 'none'")


def test_a_word_of_several_tokens_is_one_chip(browser, tmp_path):
    data = report_data.report(1)
    said = data["images"][0]["said"]["lstm"]
    said |= report_data.detailed(["a", " t", "-", "shirt"], [-0.11, -0.2, -0.3, -0.4, -0.5], ended=True)
    (tmp_path / "words.html").write_text(render(data), encoding="utf-8")
    browser.device(390, 900, mobile=True)
    browser.open(tmp_path / "words.html", "#image=im0000")
    chips = "[...document.querySelectorAll('dialog .of-lstm .token')].map((t) => t.textContent)"
    assert browser.value(chips) == ["a90%", "t-shirt41%"]
    heights = "[...document.querySelectorAll('.card .of-lstm .token')].map((t) => t.getClientRects().length)"
    assert browser.value(heights) == [1, 1]


def contrast(a: str, b: str) -> float:
    """WCAG's contrast ratio of two `rgb(...)` colours."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)
