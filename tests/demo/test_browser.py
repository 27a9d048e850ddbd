"""The demo in a real browser: what is clicked is what is stored, mistakes are messages, nobody sees the other."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.demo.browser import Page, foreign_requests, need_browser, open_browser
from tests.demo.conftest import png
from tests.demo.site import Site, served

# Gradio's own use of pandas, in the server's thread.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

SIZE = (300, 220)  # of pictures to click on: smaller than they are shown, so that a pixel can be hit
EVIL = "<img src=x onerror='window.hacked=1'>"
PAD = "#visual-pad svg.xp-click"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    need_browser()
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def browser(site: Site) -> Iterator[Any]:
    with open_browser() as found:
        yield found


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Page]:
    """A page of its own for each test; neither it nor the server asks another host for anything."""
    found = Page(browser, site.address)
    yield found
    assert foreign_requests(browser) == []
    assert site.tried == []
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert [message for message in said if "Content Security Policy" in message] == []  # nor would it have liked to


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Pictures and what only claims to be one."""
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(png(number, SIZE))
    (tmp_path / "notes.png").write_bytes(b"these are notes")
    return tmp_path


def find_by_words(page: Page, picture: Path, words: str) -> None:
    page.give("text", picture)
    page.says("#text-view figcaption", picture.name)
    page.type("#text-words", words)
    page.press("#text-run")
    page.says("#text-note", "Found:")


def test_words_sliders_names_and_downloads(page: Page, site: Site, files: Path):
    page.type("#text-words", "dog")
    page.wait("#text-drawing img[alt='Skeleton animal']")
    find_by_words(page, files / "0.png", "dog")
    assert len(page.all("#text-view .xp-pose")) == 6
    assert page.text("#text-table").count("dog") == 6

    before = site.forwards.count
    limit = 0.3
    kept = int((site.desk.sessions.get(page.key).results["text"].answer.found[0].scores > limit).sum())
    assert 0 < kept < 6
    page.slide("text-score", limit)
    page.until(lambda: len(page.all("#text-view .xp-pose")) == kept, f"for {kept} objects")
    assert page.text("#text-table").count("dog") == kept
    page.slide("text-confidence", 1)
    page.until(lambda: not page.all("#text-view circle"), "for the points to go")
    page.slide("text-confidence", 0)
    page.slide("text-score", 0)
    page.until(lambda: len(page.all("#text-view .xp-pose")) == 6 and page.all("#text-view circle"), "for all of it")
    assert site.forwards.count == before

    name = page.attribute("#text-view circle", "data-tip")
    assert page.hover("#text-view g:last-of-type circle:last-of-type").endswith(")")
    assert "(dog 0." in name
    for link in page.all("#text-links a"):
        status, body, _ = site.get(link.get_attribute("href").removeprefix(site.address))
        assert (status, len(body) > 50) == (200, True)
        if link.get_attribute("href").endswith("json"):
            assert len(json.loads(body)["annotations"]) == 6


def stored(site: Site, page: Page) -> dict[str, tuple[float, float]]:
    marks = site.desk.sessions.get(page.key).sketch.board.shot.marks
    return {name: (mark.x, mark.y) for name, mark in marks.items()}  # type: ignore[misc]


def start_clicking(page: Page, picture: Path, names: str) -> None:
    page.tab("Visual")
    page.type("#visual-point-names", names)
    page.press("#visual-use-names")
    page.give("visual-example", picture)
    page.wait(PAD)


SPOTS = {"a": (20.0, 30.0), "b": (151.0, 111.0), "c": (280.0, 199.0), "d": (61.0, 160.0)}


def click_all(page: Page, site: Site, names: str) -> None:
    for name in names:
        page.click_pixel(PAD, *SPOTS[name])
        page.wait(f"#visual-pad .xp-mark[data-name={name}]")
        x, y = stored(site, page)[name]
        assert abs(x - SPOTS[name][0]) <= 1, (name, x)
        assert abs(y - SPOTS[name][1]) <= 1, (name, y)


def test_clicks_are_stored_where_they_were_at_every_zoom(page: Page, site: Site, files: Path):
    start_clicking(page, files / "0.png", "a, b, c, d")
    click_all(page, site, "ab")
    page.press("#visual-pad [data-zoom='1']")  # the picture twice as large, in a frame that scrolls
    width = page.js("return document.querySelector(arguments[0]).getBoundingClientRect().width", PAD)
    assert width > 1.5 * page.js("return document.querySelector('#visual-pad .xp-scroll').clientWidth")
    click_all(page, site, "c")
    page.press("#visual-pad [data-zoom='-1']")
    # What a browser's own zoom of 200 % does: half as many pixels for the page, each twice as large.
    sizes = {"width": 600, "height": 500, "deviceScaleFactor": 2, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    try:
        click_all(page, site, "d")
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert set(stored(site, page)) == {"a", "b", "c", "d"}


def test_quick_clicks_stay_in_order(page: Page, site: Site, files: Path):
    start_clicking(page, files / "0.png", "a, b, c, d")
    page.found(PAD, 150, 110)
    page.clicks(*(page.at(PAD, *spot) for spot in SPOTS.values()))
    page.until(lambda: len(page.all("#visual-pad .xp-mark")) == 4, "for all points")
    for name, (x, y) in stored(site, page).items():
        assert (x, y) == pytest.approx(SPOTS[name], abs=1)


def test_points_are_moved_hidden_boxed_undone_and_found(page: Page, site: Site, files: Path):
    start_clicking(page, files / "0.png", "a, b")
    click_all(page, site, "ab")
    board = lambda: site.desk.sessions.get(page.key).sketch.board  # noqa: E731
    page.mouse(page.found(PAD, *SPOTS["b"]), page.at(PAD, 170, 120), page.at(PAD, 180, 90))
    page.until(lambda: abs(stored(site, page)["b"][0] - 180) <= 1, "for the point to move")
    assert abs(stored(site, page)["b"][1] - 90) <= 1
    page.press("#visual-pad [data-kind=undo]")
    page.until(lambda: abs(stored(site, page)["b"][0] - SPOTS["b"][0]) <= 1, "for the point to come back")
    page.press("#visual-pad .xp-names [data-name=a]")
    page.press("#visual-pad [data-kind=hide]")
    page.until(lambda: board().shot.marks["a"].hidden, "for the point to be hidden")
    page.press("#visual-pad [data-kind=tool]")
    page.wait("#visual-pad svg.xp-boxing")
    page.found(PAD, 150, 110)
    page.mouse(page.at(PAD, 10, 20), page.at(PAD, 100, 100), page.at(PAD, 200, 180))
    page.wait("#visual-pad .xp-mybox")
    assert [round(side) for side in board().shot.box or ()] == pytest.approx([10, 20, 200, 180], abs=1)
    page.type("#visual-new-name", "snout")
    page.press("#visual-rename")
    page.wait("#visual-pad .xp-names [data-name=snout]")

    page.give("visual", files / "1.png", files / "2.png")
    page.says("#visual-note", "2 pictures are here")
    before = site.forwards.count
    page.type("#visual-label", "thing")
    page.press("#visual-run")
    page.says("#visual-note", "Found:")
    assert site.forwards.count == before + 2
    page.press("#visual-chips [data-at='1']")
    page.says("#visual-view figcaption", "2.png")
    assert site.forwards.count == before + 2
    found = site.desk.sessions.get(page.key).results["visual"].answer.found
    assert found[0].keypoint_names[0] == ("snout", "b")


def test_a_prompt_bank_is_saved_and_loaded_and_joins_words(page: Page, site: Site, files: Path):
    start_clicking(page, files / "0.png", "a, b")
    click_all(page, site, "ab")
    page.type("#visual-label", "thing")
    page.press(".xp-bank-fold button")
    page.press("#visual-bank-make")
    link = page.wait("#visual-bank-links a").get_attribute("href")
    status, data, _ = site.get(link.removeprefix(site.address))
    assert status == 200
    (files / "mine.safetensors").write_bytes(data)

    page.tab("Combined")
    page.wait("#combined-pad .xp-mark[data-name=b]")  # the tabs share the examples
    page.give("combined", files / "1.png")
    page.says("#combined-note", "1 picture is here")
    page.type("#combined-words", "wren")
    page.press("#combined-run")
    assert "wren" in page.says("#combined-note", "Found:")

    again = Page(page.browser, site.address)
    again.tab("Visual")
    again.press(".xp-bank-fold button")
    again.give("visual-bank", files / "mine.safetensors")
    again.says("#visual-bank", "thing: a, b")
    again.give("visual", files / "1.png")
    again.says("#visual-note", "1 picture is here")
    again.press("#visual-run")
    assert "thing" in again.says("#visual-note", "Found:")


def test_a_batch_becomes_one_archive(page: Page, site: Site, files: Path):
    page.tab("Batch")
    page.give("batch", files / "0.png", files / "notes.png", files / "2.png")
    page.says("#batch-note", "2 pictures are here")
    assert "notes.png" in page.text("#batch-note")
    page.type("#batch-words", "dog, cat")
    page.press("#batch-run")
    page.says("#batch-note", "Done. 2 of 2")
    status, data, _ = site.get(page.wait("#batch-note a").get_attribute("href").removeprefix(site.address))
    assert status == 200
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["0_xpose.png", "2_xpose.png", "poses.csv", "poses.json"]
        assert len(json.loads(archive.read("poses.json"))["images"]) == 2


def test_mistakes_are_messages_and_the_page_goes_on(page: Page, site: Site, files: Path):
    page.press("#text-run")
    page.says("#text-note", "field for words is empty")
    page.give("text", files / "notes.png")
    page.says("#text-note", 'notes.png" is not a picture that can be read')
    (files / "large.png").write_bytes(b"x" * (site.desk.limits.file_bytes + 1))
    page.give("text", files / "large.png")
    page.says("#text-note", "larger than 0.3 MB")
    page.type("#text-skeleton", "humann")
    page.give("text", files / "0.png")
    page.says("#text-view figcaption", "0.png")
    page.type("#text-words", "dog")
    page.press("#text-run")
    page.says("#text-note", 'Unknown skeleton "humann"')
    assert "Did you mean" in page.text("#text-note")
    page.type("#text-skeleton", "person")
    page.press("#text-run")
    page.says("#text-note", "Found: 6 dog")
    assert not page.all(".toast-wrap .error")


def test_two_visitors_do_not_see_each_other(page: Page, site: Site, files: Path):
    start_clicking(page, files / "0.png", "mine")
    page.click_pixel(PAD, 50, 60)
    page.wait("#visual-pad .xp-mark[data-name=mine]")
    with open_browser() as second:
        other = Page(second, site.address)
        start_clicking(other, files / "1.png", "yours")
        other.click_pixel(PAD, 150, 160)
        other.wait("#visual-pad .xp-mark[data-name=yours]")
        page.click_pixel(PAD, 200, 100)
        page.wait("#visual-pad .xp-mark[data-name='point 2']")
        other.press("#visual-pad [data-kind=undo]")
        other.until(lambda: not other.all("#visual-pad .xp-mark"), "for the point to go")
        assert other.key != page.key
        assert "mine" not in other.text("#visual-pad")
        assert foreign_requests(second) == []
    assert "yours" not in page.text("#visual-pad")
    assert set(stored(site, page)) == {"mine", "point 2"}
    assert len(page.all("#visual-pad .xp-mark")) == 2


def test_names_stay_names(page: Page, files: Path):
    evil = files / f"{EVIL.replace('/', '')}.png"
    evil.write_bytes(png(1, SIZE))
    page.type("#text-skeleton", "my own list of names")
    page.type("#text-own", f"{EVIL}, ${{window.hacked=1}}, {{{{7*7}}}}")
    find_by_words(page, evil, EVIL)
    assert EVIL in page.text("#text-table")
    assert "{{7*7}}" in page.text("#text-table")
    assert EVIL in page.hover("#text-view g:last-of-type circle:last-of-type")
    page.type("#text-skeleton", EVIL)
    page.press("#text-run")
    page.says("#text-note", EVIL[:20])
    start_clicking(page, evil, f"{EVIL}, b")
    page.click_pixel(PAD, 50, 60)
    page.says("#visual-pad .xp-names", EVIL)
    assert page.js("return window.hacked") is None
    assert page.all("img[onerror], [onmouseover]") == []


def test_a_page_that_is_left_is_soon_forgotten(page: Page, site: Site):
    assert site.desk.sessions._open[page.key].closed is None
    page.browser.get("about:blank")
    page.until(lambda: site.desk.sessions._open[page.key].closed is not None, "for the page to say that it is left")


def test_the_network_log_would_show_a_request_to_another_host(browser: Any):
    browser.get("about:blank")
    foreign_requests(browser)
    browser.execute_script("new Image().src = 'http://192.0.2.1/spy.png'")
    assert foreign_requests(browser) == ["http://192.0.2.1/spy.png"]
