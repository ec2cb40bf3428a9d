"""The app's page in a real browser, with real, small, untrained captioners: all ways in and out of it."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from browser import chromium
from test_web import DOUBT, ROOT, Server, project  # noqa: F401

from app import load_captioner

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium: `apt install chromium`")
SHOTS = os.environ.get("REPORT_SCREENSHOTS")  # a folder to keep the screenshots in
BUSY = "document.querySelectorAll('figure[aria-busy=true]').length"
TEXTS = (
    "[...document.querySelectorAll('figure')].map((f) => "
    "[...f.querySelectorAll('.text')].map((t) => t.textContent))"
)


@pytest.fixture(scope="module")
def served(project):  # noqa: F811
    server = Server(project)
    yield server
    server.end()


@pytest.fixture
def page(browser, served):
    """The page, freshly opened on a desktop. Fails if anything in it writes an error."""
    with browser.opened(f"http://127.0.0.1:{served.port}/") as page:
        yield page


def captioned(page, count: int) -> list[list[str]]:
    """The captions of each picture, after all have arrived."""
    page.wait(f"document.querySelectorAll('figure').length === {count} && {BUSY} === 0")
    return page.value(TEXTS)


def names(page) -> list[str]:
    return page.value("[...document.querySelectorAll('figcaption span')].map((name) => name.textContent)")


def choose(page, field: str, value: str) -> None:
    page.value(
        f"(() => {{ const e = document.getElementById('{field}'); e.value = '{value}';"
        "for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind, {bubbles: true})); })()"
    )


def test_pictures_come_by_choice_drop_paste_and_sample_the_newest_last(page, project, tmp_path):  # noqa: F811
    pictures = project / "pictures"
    page.choose("#pictures", pictures / "0.png", pictures / "1.png")
    captioned(page, 2)
    (tmp_path / "folder/inner").mkdir(parents=True)
    for name in ("folder/notes.txt", "folder/inner/2.png"):
        (tmp_path / name).write_bytes((pictures / "2.png").read_bytes())
    page.drop("#drop", pictures / "3.png", tmp_path / "folder")
    captioned(page, 4)
    page.value(
        "(async () => { const picture = await (await fetch('samples/0')).blob(); const data = new "
        "DataTransfer();data.items.add(new File([picture], 'pasted.png', {type: 'image/png'}));"
        "document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true})); })()"
    )
    captioned(page, 5)
    page.click("#samples button:nth-of-type(2)")
    found = captioned(page, 6)
    assert names(page) == ["0.png", "1.png", "3.png", "2.png", "pasted.png", "7.png"]
    assert [len(texts) for texts in found] == [2] * 6, "by both captioners, side by side"
    assert page.value(
        "[...document.querySelectorAll('figure:first-child h2')].map((h) => h.textContent)"
    ) == [
        "ClipCap",
        "LSTM",
    ]
    assert page.value("document.getElementById('status').textContent") == "6 pictures"
    assert page.value("document.getElementById('learned').textContent").startswith(
        "The captioners learned from scenes: 6 drawings, 21 words; for photographs see"
    )
    assert page.value("document.getElementById('doubts').innerText") == f"Warning: {DOUBT}."
    assert page.value("document.querySelector('figure img').alt").startswith(f"0.png: {found[0][0]}")


def test_settings_caption_the_same_pictures_anew(page, project):  # noqa: F811
    page.choose("#pictures", project / "pictures/0.png", project / "pictures/1.png")
    first = captioned(page, 2)
    choose(page, "count", "3")
    found = captioned(page, 2)
    [wanted] = load_captioner(project / "checkpoints/lstm").several([project / "pictures/0.png"], 3)
    assert found[0][3:] == [caption.caption for caption in wanted], "as the command line does"
    choose(page, "method", "beams")
    found = captioned(page, 2)
    assert [len(texts) for texts in found] == [6, 6] and found[0][3] == first[0][1], (
        "the LSTM's best comes first"
    )
    choose(page, "captioner", "lstm")
    assert captioned(page, 2) == [texts[3:] for texts in found]
    assert page.value("document.getElementById('again').hidden")
    choose(page, "method", "nucleus")
    choose(page, "temperature", "1.5")
    drawn = captioned(page, 2)
    page.click("#again")
    assert captioned(page, 2) != drawn
    choose(page, "count", "0")
    assert page.value(BUSY) == 0, "what cannot be asked is not"
    choose(page, "count", "1")
    assert [len(texts) for texts in captioned(page, 2)] == [1, 1]


def test_words_are_shaded_by_their_probability(page, project, served):  # noqa: F811
    page.choose("#pictures", project / "pictures/0.png")
    choose(page, "captioner", "lstm")
    captioned(page, 1)
    body = (project / "pictures/0.png").read_bytes()
    _, answer = served.asked(
        "/captions?captioner=lstm", {"Content-Type": "application/octet-stream"}, body=body
    )
    [row] = json.loads(answer)["captions"]
    shown = page.value(
        "[...document.querySelectorAll('.token')].map((t) => [t.textContent, "
        "t.style.getPropertyValue('--doubt')])"
    )
    assert shown == [[text.strip(), f"{1 - chance:.2f}"] for text, chance in row["words"]]
    colours = page.value(
        "[...document.querySelectorAll('.token')].map((t) => getComputedStyle(t).backgroundColor)"
    )
    assert len(set(colours)) > 1


def test_captions_are_copied_and_downloaded(page, project, tmp_path):  # noqa: F811
    odd = tmp_path / 'a, "b".png'
    odd.write_bytes((project / "pictures/0.png").read_bytes())
    page.choose("#pictures", odd, project / "pictures/1.png")
    captioned(page, 2)
    page.send("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.click(".of-lstm .copy")
    page.wait("document.querySelector('.of-lstm .copy').textContent === 'Copied'")
    copied = page.value("navigator.clipboard.readText()")
    assert copied == page.value("document.querySelector('.of-lstm .text').textContent")
    page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "downloads"))
    for ending in ("csv", "json"):
        page.click(f"#{ending}")
        while not (tmp_path / f"downloads/captions.{ending}").exists():
            page.value("new Promise((done) => setTimeout(done, 50))")
    rows = json.loads((tmp_path / "downloads/captions.json").read_text())
    assert [row["file"] for row in rows] == [odd.name] * 2 + ["1.png"] * 2
    assert [row["model"] for row in rows] == ["clipcap", "lstm"] * 2 and rows[1]["caption"] == copied
    with open(tmp_path / "downloads/captions.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [list(row) for row in table] == [["file", "model", "caption", "score", "mean", "lowest"]] * 4
    assert [row | {key: float(row[key]) for key in ("score", "mean", "lowest")} for row in table] == rows


def test_everything_is_done_by_keyboard(page):
    def tab_to(expression: str) -> None:
        for _ in range(40):
            page.press("Tab", 9)
            if page.value(f"document.activeElement.matches({expression!r})"):
                return
        raise AssertionError(f"Tab does not reach {expression}")

    tab_to("#pictures")
    ring = page.value("getComputedStyle(document.getElementById('drop')).outlineStyle")
    assert ring == "solid", "the focus can be seen"
    for _ in range(2):
        tab_to("#samples button")
        page.press("Enter", 13)
    captioned(page, 2)
    for selector in (
        "#captioner", "#count", "#method", "#csv", "#json", "#clear", ".copy", "figcaption button",
    ):  # fmt: skip
        tab_to(selector)
    page.press("Enter", 13)
    assert len(names(page)) == 1
    assert page.value("document.activeElement.matches('figcaption button')"), "at the next picture's"
    page.press("Enter", 13)
    assert names(page) == [] and page.value("document.activeElement.id") == "pictures"
    assert page.value("document.getElementById('tools').hidden")


def test_clear_and_what_is_no_picture(browser, page, project):  # noqa: F811
    page.choose("#pictures", ROOT / "README.md", project / "pictures/1.png")
    page.wait(f"document.querySelectorAll('figure').length === 2 && {BUSY} === 0")
    assert "not an image" in page.value("document.querySelector('.fault').textContent")
    assert page.value("document.querySelector('.absent').textContent") == "no preview"
    assert len(page.value(TEXTS)[1]) == 2, "the others are captioned"
    assert len(browser.errors) == 1 and "422" in browser.errors.pop()
    page.click("#clear")
    assert names(page) == [] and page.value("document.getElementById('tools').hidden")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits(browser, page, tmp_path, width, dark):
    browser.device(width, 900, dark, mobile=width < 500)
    page.click("#samples button")
    choose(page, "method", "nucleus")
    choose(page, "count", "3")
    captioned(page, 1)
    assert page.value("document.documentElement.scrollWidth") <= width
    columns = page.value(
        "[...document.querySelectorAll('.captions section')].map((s) => s.getBoundingClientRect().x)"
    )
    assert (columns[0] < columns[1]) == (width > 500), "side by side where there is room"
    browser.screenshot(Path(SHOTS or tmp_path) / f"page-{width}-{'dark' if dark else 'light'}.png")
