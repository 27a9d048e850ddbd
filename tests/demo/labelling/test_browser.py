"""The labelling page in a real browser: from the first picture to the file that fine-tuning takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.demo.browser import Page, foreign_requests, need_browser, open_browser
from tests.demo.labelling.conftest import LEAF, NAMES, SIZE
from tests.demo.site import hosted

from xpose.demo.labelling.controller import LabelController
from xpose.demo.labelling.folder import LabelFolder
from xpose.demo.labelling.label_file import LabelFile
from xpose.demo.labelling.objects import Mark
from xpose.demo.labelling.server import make_label_app

PLACE = """const point = new DOMPoint(arguments[0], arguments[1]);
const { x, y } = point.matrixTransform(document.querySelector('#picture svg').getScreenCTM()); return [x, y]"""


NUMBERS = """return [...document.querySelectorAll('#picture .mark text, #picture .mark tspan')]
  .filter((text) => text.checkVisibility()).map((text) => text.firstChild.data)"""


class LabelPage(Page):
    """The labelling page in the words of the test; places are pixels of the picture."""

    def __init__(self, browser: Any, address: str) -> None:
        super().__init__(browser, address, "#picture image")

    def place(self, x: float, y: float) -> tuple[int, int]:
        left, top = self.js(PLACE, x, y)
        return round(left), round(top)

    def click(self, x: float, y: float, name: str) -> None:
        """Click, and wait until the keypoint has a mark there."""
        self.clicks(self.place(x, y))
        self.until(lambda: self.mark(name) == pytest.approx((x, y), abs=0.5), f"for {name} at {x}, {y}")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        chain = ActionChains(self.browser, duration=0)
        pointer = chain.w3c_actions.pointer_action
        pointer.move_to_location(*self.place(*start)).pointer_down()
        pointer.move_to_location(*self.place(*end)).pointer_up()
        chain.perform()

    def send(self, key: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(key).perform()

    def mark(self, name: str) -> tuple[float, ...]:
        """Where the last mark of this name is."""
        marks = self.js(
            "return [...document.querySelectorAll(arguments[0])].map(m => m.getAttribute('transform'))",
            f"#picture .mark[data-name='{name}']",
        )
        return tuple(map(float, marks[-1][len("translate(") : -1].split())) if marks else ()


def test_a_folder_is_labelled(start: Callable[[], LabelFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from selenium.webdriver.common.keys import Keys

    need_browser()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    labelling, tried = start(), []
    controller = LabelController(labelling, "xpose finetune")
    with hosted(lambda: make_label_app(controller), tried) as address, open_browser() as browser:
        page = LabelPage(browser, address)
        page.says("#status", "This leaf is proposed")
        page.until(lambda: page.mark("tip") == (30, 20), "for the proposal")
        assert page.js(NUMBERS) == ["1", "2"], "of the keypoints in the list, without their names"
        page.drag((30, 20), (40, 25))
        page.until(lambda: page.mark("tip") == pytest.approx((40, 25), abs=0.5), "for the mark to move")
        page.clicks(page.place(60, 70))
        page.says("#status", "stalk is selected")
        page.click(65, 75, "stalk")
        page.send("v")
        page.until(lambda: "✗ 3 left edge" in page.labels("points"), "for the sign")
        page.send(Keys.ENTER)
        page.says("#status", "Saved a.png: 1 leaf.")
        assert "1 of 3 labelled" in page.text("#progress")

        page.send(Keys.DELETE)
        page.says("#status", "Click on: tip")
        whole = page.attribute("#picture svg", "viewBox")
        page.js(
            """const svg = document.querySelector('#picture svg'), [clientX, clientY] = arguments;
            svg.dispatchEvent(new WheelEvent('wheel', { deltaY: -400, clientX, clientY, bubbles: true }))""",
            *page.place(60, 45),
        )
        zoomed = page.attribute("#picture svg", "viewBox")
        assert zoomed != whole
        page.click(60, 45, "tip")
        page.send("h")
        page.says("#status", "which is hidden")
        page.click(70, 50, "stalk")
        assert page.attribute("#picture svg", "viewBox") == zoomed, "a click does not change the zoom"
        page.click(50, 40, "left edge")
        page.send("z")
        page.until(lambda: page.mark("left edge") == (), "for the mark to go")
        page.send("n")
        page.click(55, 52, "tip")
        page.send(Keys.ARROW_LEFT)
        page.says("#status", "Saved below/b.png: 2 leaves.")

        again = LabelPage(browser, address)  # goes on at the picture that is left
        again.says("#status", "no proposals for this picture")
        again.click(80, 100, "tip")
        again.send(Keys.ENTER)
        again.says("#status", "All pictures are labelled")
        assert again.js("return document.querySelector('#picture image').getBoundingClientRect().width") > 500
        assert foreign_requests(browser) == []
        messages = [entry["message"] for entry in browser.get_log("browser")]
        assert [text for text in messages if "Content Security Policy" in text or "Uncaught" in text] == []
    labelling.close()
    pictures = LabelFile.read(labelling.file.path).pictures
    assert [*pictures] == NAMES
    points = [[item.points for item in pictures[name].objects] for name in NAMES]
    assert points[0][0]["left edge"] is None
    assert points[0][0]["tip"] == Mark(*(pytest.approx(value, abs=0.5) for value in (40, 25)))  # type: ignore[arg-type]
    assert [set(item) for item in points[1]] == [{"tip", "stalk"}, {"tip"}]
    assert not points[1][0]["stalk"].visible
    assert (pictures[NAMES[2]].width, pictures[NAMES[2]].height) == SIZE[::-1]
    assert set(points[2][0]) <= set(LEAF.keypoints)
