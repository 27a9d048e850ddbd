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

from xpose.demo.answers import RunCandidates

# Gradio's own use of pandas, in the server's thread.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

SIZE = (300, 220)  # of pictures to click on: smaller than they are shown, so that a pixel can be hit
EVIL = "<img src=x onerror='window.hacked=1'>"


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


def upload(page: Page, *pictures: Path) -> None:
    page.give("pictures", *pictures)
    page.says("#pictures", pictures[-1].name)


def find_by_words(page: Page, words: str) -> str:
    page.type("#words", words)
    page.press("#run")
    return page.says("#status", "Found:")


def answer_of(page: Page, site: Site) -> RunCandidates:
    answer = site.controller.sessions[page.key].answer
    assert answer is not None
    return answer


def test_words_thresholds_names_and_downloads(page: Page, site: Site, files: Path, tmp_path: Path):
    page.unfold("#keypoints", "#names textarea, #names input")
    page.type("#words", "dog")
    page.says("#skeleton_drawing", "animal")
    upload(page, files / "0.png")
    assert "Found: 6 dogs." in find_by_words(page, "dog")
    page.says("#table", "dog 1")

    before, limit = site.forwards.count, 0.3
    kept = int((answer_of(page, site).candidates[0].scores > limit).sum())
    assert 0 < kept < 6
    page.slide("score-0", limit)
    page.says("#status", f"Found: {kept} dog")
    page.slide("score-0", 0)
    page.says("#status", "Found: 6 dogs.")
    assert site.forwards.count == before

    pose = next(iter(answer_of(page, site).candidates[0]))
    page.click_pixel("picture", *next(point[:2] for point in pose.points.values()), SIZE[0])
    assert "(dog 0." in page.says("#named", ")")
    content = json.loads(page.download("poses-json", tmp_path, "poses.json"))
    assert len(content["annotations"]) == 6
    assert page.download("poses-csv", tmp_path, "poses.csv").startswith(b"picture,")
    assert page.download("drawings", tmp_path, "0_xpose.png").startswith(b"\x89PNG")


def stored(site: Site, page: Page) -> dict[str, Any]:
    return dict(site.controller.sessions[page.key].examples.shot.points)


def start_clicking(page: Page, picture: Path, names: str) -> None:
    page.choose("way", "Example pictures")
    page.until(lambda: any(element.is_displayed() for element in page.all("#example")), "for the place of the example")
    page.unfold("#keypoints", "#names textarea, #names input")
    page.type("#names", names)
    page.give("example", picture)
    page.until(lambda: page.all("#example img") and page.all("#undo"), "for the example")


SPOTS = {"a": (20.0, 30.0), "b": (151.0, 111.0), "c": (280.0, 199.0), "d": (61.0, 160.0)}


def click_all(page: Page, site: Site, names: str) -> None:
    for name in names:
        page.click_pixel("example", *SPOTS[name], SIZE[0])
        page.until(lambda name=name: name in stored(site, page), f"for {name}")
        assert stored(site, page)[name] == pytest.approx(SPOTS[name], abs=1), name
        page.until(lambda name=name: f"✓ {name}" in page.labels("points"), f"for {name} to be shown")


def test_clicks_are_stored_where_they_were_at_every_zoom(page: Page, site: Site, files: Path):
    start_clicking(page, files / "0.png", "a, b, c, d")
    click_all(page, site, "ab")
    page.press("#example button[aria-label=Fullscreen]")
    page.until(lambda: page.js("return document.querySelector('#example img').width") > 900, "for a larger picture")
    click_all(page, site, "c")
    page.press("#example button[aria-label='Exit fullscreen mode']")
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
    page.into_view("example", 150, 110, SIZE[0])
    page.clicks(*(page.at("example", *spot, SIZE[0]) for spot in SPOTS.values()))
    page.until(lambda: page.labels("points") == ["✓ a", "✓ b", "✓ c", "✓ d"], "for all points")
    for name, spot in stored(site, page).items():
        assert spot == pytest.approx(SPOTS[name], abs=1)


def test_points_are_moved_hidden_boxed_undone_and_found(page: Page, site: Site, files: Path):
    start_clicking(page, files / "0.png", "a, b")
    click_all(page, site, "ab")
    page.click_pixel("example", *SPOTS["b"], SIZE[0])
    page.says("#example_status", "b is selected")
    page.click_pixel("example", 180, 90, SIZE[0])
    page.until(lambda: stored(site, page)["b"] == pytest.approx((180, 90), abs=1), "for the point to move")
    page.press("#undo")
    page.until(lambda: stored(site, page)["b"] == pytest.approx(SPOTS["b"], abs=1), "for the point to come back")
    page.choose("points", "✓ a")
    page.says("#example_status", "a is selected")
    page.press("#toggle_hidden")
    page.until(lambda: "hidden: a" in page.labels("points"), "for the point to be hidden")
    page.type("#rename", "snout")
    page.press("#rename button")
    page.until(lambda: "hidden: snout" in page.labels("points"), "for the new name")
    page.press("#draw_box")
    page.says("#example_status", "one corner")
    page.click_pixel("example", 10, 20, SIZE[0])
    page.says("#example_status", "opposite corner")
    page.click_pixel("example", 200, 180, SIZE[0])
    page.says("#draw_box", "Remove box")
    assert site.controller.sessions[page.key].examples.shot.box == pytest.approx((10, 20, 200, 180), abs=1)

    upload(page, files / "1.png", files / "2.png")
    before = site.forwards.count
    assert "thing" in find_by_words(page, "thing")
    assert site.forwards.count == before + 2
    page.press("#gallery .gallery-item:nth-of-type(2) button")
    page.says("#picture", "2.png")
    assert site.forwards.count == before + 2
    assert answer_of(page, site).candidates[0].keypoint_names[0] == ("snout", "b")


def test_a_prompt_bank_is_saved_and_loaded_and_joins_words(page: Page, site: Site, files: Path, tmp_path: Path):
    start_clicking(page, files / "0.png", "a, b")
    click_all(page, site, "ab")
    page.type("#words", "thing")
    page.download("save_bank", tmp_path, "prompts.safetensors")
    page.download("save_points", tmp_path, "0.json")
    page.press("#clear")
    page.until(lambda: page.labels("points") == ["a", "b"], "for the points to go")
    page.give("example_tools", tmp_path / "0.json")  # the only field for files there
    page.until(lambda: page.labels("points") == ["✓ a", "✓ b"], "for the points of the file")
    page.choose("way", "Words and examples")
    upload(page, files / "1.png")
    assert "wren" in find_by_words(page, "wren")
    page.press("#correct")
    page.until(lambda: page.js("return document.querySelector('#way input:checked').value") == "Example pictures", "")
    assert stored(site, page).keys() == {"a", "b"}

    again = Page(page.browser, site.address)
    again.choose("way", "Prompt bank")
    again.give("bank", tmp_path / "prompts.safetensors")
    again.says("#bank_status", "thing: a, b")
    upload(again, files / "1.png")
    again.press("#run")
    assert "thing" in again.says("#status", "Found:")


def test_a_batch_shows_its_pictures_and_becomes_one_archive(page: Page, site: Site, files: Path, tmp_path: Path):
    page.give("pictures", files / "0.png", files / "notes.png", files / "2.png")
    page.says("#status", "2 of 3 files can be used")
    assert "notes.png" in page.text("#status")
    page.until(lambda: len(page.all("#pictures .thumbnail-item")) == 2, "for the pictures that are left")
    find_by_words(page, "dog, cat")
    assert "in 2 pictures" in page.text("#status")
    page.until(lambda: len(page.all("#gallery img")) == 2, "for the drawings")
    data = page.download("drawings", tmp_path, "xpose.zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["0_xpose.png", "2_xpose.png", "poses.csv", "poses.json"]
        assert len(json.loads(archive.read("poses.json"))["images"]) == 2


def test_mistakes_are_messages_that_stay_and_the_page_goes_on(page: Page, site: Site, files: Path):
    page.press("#run")
    page.says("#status", '"Objects" is empty')
    page.give("pictures", files / "notes.png")
    page.says("#status", 'notes.png" is not a picture that can be read')
    (files / "large.png").write_bytes(b"x" * (site.controller.limits.file_bytes + 1))
    page.give("pictures", files / "large.png")
    page.says("#status", "larger than 0.9 MB")
    page.unfold("#keypoints", "#names textarea, #names input")
    page.type("#skeleton", "humann")
    upload(page, files / "0.png")
    page.type("#words", "dog")
    page.says("#status", 'Unknown skeleton "humann"')
    assert "Did you mean" in page.text("#status")
    page.type("#skeleton", "person")
    page.press("#run")
    page.says("#status", "Found: 6 dogs")
    assert not page.all(".toast-wrap .error")


def test_on_a_phone_a_sample_runs_at_once_and_the_page_goes_to_its_result(page: Page, site: Site):
    sizes = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    try:
        page.press("#samples .gallery-item")
        page.says("#status", "Found:")
        top = "return document.querySelector('#status').getBoundingClientRect().top"
        page.until(lambda: -5 < page.js(top) < 100, "for the page to go to the result")
        assert page.js("return document.documentElement.scrollWidth") <= 390
        assert "common." not in page.js("return document.body.innerText")
        said = "return [...document.querySelectorAll('[aria-live]')].map(part => part.textContent).join()"
        assert "common." not in page.js(said)
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_picture_comes_from_the_camera(page: Page, site: Site):
    page.press("#pictures button[aria-label='Capture from camera']")
    page.press("#pictures [title='grant webcam access'] button")
    page.until(lambda: page.js("return document.querySelector('#pictures video')?.videoWidth"), "for the camera")
    page.press("#pictures button[aria-label='capture photo']")
    page.until(lambda: page.all("#pictures img"), "for the picture")
    find_by_words(page, "dog")
    assert len(answer_of(page, site).pictures) == 1


def test_two_visitors_do_not_see_each_other(page: Page, site: Site, files: Path):
    start_clicking(page, files / "0.png", "mine")
    page.click_pixel("example", 50, 60, SIZE[0])
    page.until(lambda: page.labels("points") == ["✓ mine"], "for the point")
    first = page.browser.current_window_handle
    page.browser.switch_to.new_window("window")
    second = page.browser.current_window_handle
    try:
        other = Page(page.browser, site.address)
        start_clicking(other, files / "1.png", "yours")
        other.click_pixel("example", 150, 160, SIZE[0])
        other.until(lambda: other.labels("points") == ["✓ yours"], "for the point")
        page.browser.switch_to.window(first)
        page.click_pixel("example", 200, 100, SIZE[0])
        page.until(lambda: page.labels("points") == ["✓ mine", "✓ point 1"], "for another point")
        page.browser.switch_to.window(second)
        other.press("#undo")
        other.until(lambda: other.labels("points") == ["yours"], "for the point to go")
        assert other.key != page.key
    finally:
        page.browser.switch_to.window(second)
        page.browser.close()
        page.browser.switch_to.window(first)
    assert set(stored(site, page)) == {"mine", "point 1"}
    assert page.labels("points") == ["✓ mine", "✓ point 1"]


def test_names_stay_names(page: Page, site: Site, files: Path):
    evil = files / f"{EVIL.replace('/', '')}.png"
    evil.write_bytes(png(1, SIZE))
    page.unfold("#keypoints", "#names textarea, #names input")
    page.type("#names", f"{EVIL}, ${{window.hacked=1}}, {{{{7*7}}}}")
    upload(page, evil)
    find_by_words(page, EVIL)
    page.says("#table", EVIL)
    page.says("#table", "{{7*7}}")
    assert EVIL in page.text("#status")
    assert EVIL in page.text("#result")
    pose = next(iter(answer_of(page, site).candidates[0]))
    page.click_pixel("picture", *pose.points[EVIL][:2], SIZE[0])
    page.says("#named", EVIL)
    page.type("#names", "")
    page.type("#skeleton", EVIL)
    page.says("#status", "Unknown skeleton")
    page.type("#skeleton", "Automatic")
    start_clicking(page, evil, f"{EVIL}, b")
    page.click_pixel("example", 50, 60, SIZE[0])
    page.until(lambda: f"✓ {EVIL}" in page.labels("points"), "for the name")
    assert page.js("return window.hacked") is None
    assert page.all("img[onerror], [onmouseover]") == []


def test_a_page_that_is_left_is_soon_forgotten(page: Page, site: Site):
    page.press("#run")
    page.says("#status", "empty")
    session = site.controller.sessions[page.key]
    assert session.closed is None
    page.browser.get("about:blank")
    page.until(lambda: session.closed is not None, "for the server to notice that the page is left")


def test_the_network_log_would_show_a_request_to_another_host(browser: Any):
    browser.get("about:blank")
    foreign_requests(browser)
    browser.execute_script("new Image().src = 'http://192.0.2.1/spy.png'")
    assert foreign_requests(browser) == ["http://192.0.2.1/spy.png"]
