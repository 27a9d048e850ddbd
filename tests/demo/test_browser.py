"""The demo in a real browser: what is clicked is what is stored, mistakes are messages, nobody sees the other."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.demo.browser import Page, foreign_requests, need_browser, open_browser, raw_keys
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
    assert raw_keys(browser) == []


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


def test_words_thresholds_downloads_and_names_that_stay_names(page: Page, site: Site, files: Path, tmp_path: Path):
    page.unfold("#keypoints", "#names textarea, #names input")
    page.type("#words", "dog")
    page.says("#skeleton_drawing", "animal")
    upload(page, files / "0.png")
    assert "Found: 6 dogs." in find_by_words(page, "dog")
    page.says("#table", "dog 1")
    page.says("#named", "0.png: 6 dogs.")

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

    evil = files / f"{EVIL.replace('/', '')}.png"  # names stay names, whatever is in them
    evil.write_bytes(png(1, SIZE))
    page.type("#names", f"{EVIL}, ${{window.hacked=1}}, {{{{7*7}}}}")
    upload(page, evil)
    page.type("#words", EVIL)
    page.press("#run")
    page.says("#status", EVIL)
    page.says("#table", "{{7*7}}")
    assert EVIL in page.text("#table")
    assert evil.name in page.says("#gallery", EVIL)
    pose = next(iter(answer_of(page, site).candidates[0]))
    page.click_pixel("picture", *pose.points[EVIL][:2], SIZE[0])
    page.says("#named", EVIL)
    page.type("#names", "")
    page.type("#skeleton", EVIL)
    page.says("#status", f'Unknown skeleton "{EVIL}')
    assert_harmless(page)


def assert_harmless(page: Page) -> None:
    assert page.js("return window.hacked") is None
    assert page.all("img[onerror], [onmouseover]") == []


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


def click_on(page: Page, site: Site, name: str) -> None:
    page.click_pixel("example", *SPOTS[name], SIZE[0])
    page.until(lambda: f"✓ {name}" in page.labels("points"), f"for {name} to be shown")
    assert stored(site, page)[name] == pytest.approx(SPOTS[name], abs=1), name


# The first request is under way for longer than the others, as it can be on a busy machine.
SLOW_FIRST = """const send = window.fetch; let first = true;
window.fetch = async (...request) => {
  const slow = first && String(request[0]).includes('predict');
  if (slow) { first = false; await new Promise((go) => setTimeout(go, 700)); }
  return send(...request); }"""


def test_clicks_are_stored_in_order_and_where_they_were_at_every_zoom(page: Page, site: Site, files: Path):
    start_clicking(page, files / "0.png", "a, b, c, d")
    page.js(SLOW_FIRST)
    page.into_view("example", 150, 110, SIZE[0])
    page.clicks(*(page.at("example", *spot, SIZE[0]) for spot in SPOTS.values()))  # as quickly as can be
    page.until(lambda: page.labels("points") == ["✓ a", "✓ b", "✓ c", "✓ d"], "for all points")
    for name, spot in stored(site, page).items():
        assert spot == pytest.approx(SPOTS[name], abs=1)
    page.press("#clear")
    page.until(lambda: page.labels("points") == ["a", "b", "c", "d"], "for the points to go")
    page.press("#example button[aria-label=Fullscreen]")
    page.until(lambda: page.js("return document.querySelector('#example img').width") > 900, "for a larger picture")
    click_on(page, site, "a")
    page.press("#example button[aria-label='Exit fullscreen mode']")
    # What a browser's own zoom of 200 % does: half as many pixels for the page, each twice as large.
    sizes = {"width": 600, "height": 500, "deviceScaleFactor": 2, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    try:
        click_on(page, site, "b")
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert set(stored(site, page)) == {"a", "b"}
    page.type("#names", f"{EVIL}, b")
    page.until(lambda: page.labels("points") == [EVIL, "✓ b"], "for the name")
    page.click_pixel("example", 50, 60, SIZE[0])
    page.until(lambda: page.labels("points") == [f"✓ {EVIL}", "✓ b"], "for the point")
    assert_harmless(page)


def test_points_are_moved_hidden_boxed_undone_found_and_kept_in_a_prompt_bank(
    page: Page, site: Site, files: Path, tmp_path: Path
):
    start_clicking(page, files / "0.png", "a, b")
    click_on(page, site, "a")
    click_on(page, site, "b")
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
    first = site.controller.sessions[page.key]
    assert first.examples.shot.box == pytest.approx((10, 20, 200, 180), abs=1)

    upload(page, files / "1.png", files / "2.png")
    before = site.forwards.count
    assert "thing" in find_by_words(page, "thing")
    assert site.forwards.count == before + 2
    page.press("#gallery .gallery-item:nth-of-type(2) button")
    page.says("#named", "2.png: 6 things.")
    assert site.forwards.count == before + 2
    assert answer_of(page, site).candidates[0].keypoint_names[0] == ("snout", "b")
    page.download("save_bank", tmp_path, "prompts.safetensors")
    page.download("save_points", tmp_path, "0.json")
    page.press("#clear")
    page.until(lambda: page.labels("points") == ["snout", "b"], "for the points to go")
    page.give("example_tools", tmp_path / "0.json")  # the only field for files there
    page.until(lambda: page.labels("points") == ["hidden: snout", "✓ b"], "for the points of the file")
    page.choose("way", "Words and examples")
    page.type("#names", "snout, b")
    page.type("#words", "wren")
    page.press("#run")
    page.says("#status", "wrens")
    page.press("#correct")
    page.until(lambda: page.js("return document.querySelector('#way input:checked').value") == "Example pictures", "")
    assert stored(site, page).keys() == {"snout", "b"}

    again = Page(page.browser, site.address)
    again.until(lambda: first.closed is not None, "for the server to notice that the page is left")
    again.choose("way", "Prompt bank")
    again.give("bank", tmp_path / "prompts.safetensors")
    again.says("#bank_status", "thing: snout, b")
    upload(again, files / "1.png")
    again.press("#run")
    assert "thing" in again.says("#status", "Found:")


def test_mistakes_are_messages_that_stay_beside_the_results_of_a_batch(
    page: Page, site: Site, files: Path, tmp_path: Path
):
    page.press("#run")
    page.says("#status", '"Objects" is empty')
    page.give("pictures", files / "notes.png")
    page.says("#pictures_status", 'notes.png" is not a picture that can be read')
    (files / "large.png").write_bytes(b"x" * (site.controller.limits.file_bytes + 1))
    page.give("pictures", files / "large.png")
    page.says("#pictures_status", "larger than 0.9 MB")
    page.give("pictures", files / "0.png", files / "notes.png", files / "2.png")
    assert "notes.png" in page.says("#pictures_status", "2 of 3 files can be used")
    page.until(lambda: len(page.all("#pictures .thumbnail-item")) == 2, "for the pictures that are left")
    page.unfold("#keypoints", "#names textarea, #names input")
    page.type("#words", "dog, cat")
    page.type("#skeleton", "humann")
    assert "Did you mean" in page.says("#status", 'Unknown skeleton "humann"')
    page.type("#skeleton", "person")
    page.press("#run")
    said = page.says("#status", "in 2 pictures")
    assert re.search("Found: [0-9]+ (dogs|cats)", said)
    assert 'notes.png" is not a picture' in said
    assert not page.all("#pictures_status .note")
    page.until(lambda: len(page.all("#gallery img")) == 2, "for the drawings")
    data = page.download("drawings", tmp_path, "xpose.zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        drawings = ["0_xpose.png", "2_xpose.png"]
        assert sorted(archive.namelist()) == [*drawings, "failed.txt", "poses.csv", "poses.json"]
        assert len(json.loads(archive.read("poses.json"))["images"]) == 2
    assert not page.all(".toast-wrap .error")


def test_on_a_phone_a_sample_runs_at_once_and_the_page_goes_to_its_result_and_takes_pictures(page: Page, site: Site):
    sizes = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    try:
        page.press("#samples .gallery-item")
        page.says("#status", "Found:")
        top = "return document.querySelector('#status').getBoundingClientRect().top"
        page.until(lambda: -5 < page.js(top) < 100, "for the page to go to the result")
        assert page.js("return document.documentElement.scrollWidth") <= 390
        page.unfold("#camera_group", "#camera")
        page.press("#camera [title='grant webcam access'] button")
        page.until(lambda: page.js("return document.querySelector('#camera video')?.videoWidth"), "for the camera")
        assert "flip" not in page.attribute("#camera video", "class"), "a mirrored picture swaps left and right"
        page.press("#camera button[aria-label='capture photo']")
        page.says("#pictures", "camera-2.png")
        assert page.wait("#pictures img")
        page.press("#run")
        page.says("#status", "in 2 pictures")
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert [picture.name for picture in answer_of(page, site).pictures] == ["astronaut.png", "camera-2.png"]


def test_two_visitors_do_not_see_each_other_and_one_without_a_camera_is_not_offered_any(
    page: Page, site: Site, files: Path
):
    start_clicking(page, files / "0.png", "mine")
    page.click_pixel("example", 50, 60, SIZE[0])
    page.until(lambda: page.labels("points") == ["✓ mine"], "for the point")
    assert page.wait("#camera_group").is_displayed()
    first = page.browser.current_window_handle
    page.browser.switch_to.new_window("window")
    second = page.browser.current_window_handle
    try:
        without = "Object.defineProperty(navigator, 'mediaDevices', { value: undefined })"
        page.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": without})
        other = Page(page.browser, site.address)
        start_clicking(other, files / "1.png", "yours")
        other.click_pixel("example", 150, 160, SIZE[0])
        other.until(lambda: other.labels("points") == ["✓ yours"], "for the point")
        assert not any(part.is_displayed() for part in other.all("#camera_group, [aria-label='Capture from camera']"))
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


def test_the_guards_of_these_tests_see_a_request_to_another_host_and_a_raw_key(browser: Any):
    foreign_requests(browser)
    script = "const part = document.createElement('p'); part.title = arguments[0]; document.body.append(part)"
    browser.execute_script(script, "common.some_key")
    assert raw_keys(browser) == ["common.some_key"]
    browser.execute_script("location = 'about:blank'; new Image().src = 'http://192.0.2.1/spy.png'")
    assert foreign_requests(browser) == ["http://192.0.2.1/spy.png"]
