"""A real browser for the tests: headless Chromium, driven through its own driver, with its network log kept."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.demo.site import PATIENCE, is_here

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *(
        "--disable-breakpad",
        "--disable-software-rasterizer",
        "--disable-features=MediaRouter,OptimizationHints,Translate",
    ),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),  # a camera
    *("--no-proxy-server", "--hide-scrollbars", "--force-device-scale-factor=1", "--lang=en"),
)
KEYS = r"\b(?:blocks|common|dataframe|errors|file|gallery|image|upload_text)[.](?!png|jpe?g)[a-z]+(?:_[a-z]+)*\b"
MISSING = (
    "No Chromium with its driver is installed, so the demo is NOT tested in a browser. On Debian and Ubuntu: "
    "apt-get install chromium chromium-driver"
)


def programs() -> tuple[str, str] | None:
    """Paths of the browser and its driver, or None where one is missing."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def need_browser() -> tuple[str, str]:
    """The programs; without them the tests are skipped loudly, and in CI they fail."""
    found = programs()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING, pytrace=False)
        warnings.warn(MISSING, stacklevel=2)
        pytest.skip(MISSING)
    return found


@contextmanager
def open_browser(width: int = 1200, height: int = 1000) -> Iterator[Any]:
    """A browser that knows nothing yet; it and its folder are gone afterwards."""
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service

    program, driver = need_browser()
    folder = tempfile.mkdtemp(prefix="xpose-browser-")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.page_load_strategy = "none"  # the tests wait for what they need
    for flag in (*FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    options.add_experimental_option("perfLoggingPrefs", {"enableNetwork": True, "enablePage": False})

    def start() -> Any:
        return webdriver.Chrome(options=options, service=Service(driver, env={**os.environ, "NO_PROXY": "*"}))

    try:
        browser = start()
    except WebDriverException:  # a busy machine may be too slow for the driver's own patience
        browser = start()
    try:
        browser.set_page_load_timeout(PATIENCE)
        browser.set_script_timeout(PATIENCE)
        yield browser
    finally:
        browser.quit()
        shutil.rmtree(folder, ignore_errors=True)


def foreign_requests(browser: Any) -> list[str]:
    """Addresses beyond this machine that the browser has asked for since the last call."""
    foreign = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        url = message["params"].get("request", {}).get("url", "") or message["params"].get("url", "")
        if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated", "Network.preconnect"):
            parts = urlsplit(url)
            if parts.scheme in ("http", "https", "ws", "wss", "ftp") and not is_here(parts.hostname):
                foreign.append(url)
    return foreign


def raw_keys(browser: Any) -> list[str]:
    """Gradio's keys of missing translations, such as common.complete, in what is shown or told screen readers."""
    script = """const names = ['aria-label', 'title', 'placeholder', 'alt'];
        return [...document.body.querySelectorAll(':not(script, style)')].flatMap((part) =>
          [...names.map((name) => part.getAttribute(name)), ...[...part.childNodes].map((node) => node.nodeValue)])"""
    return re.findall(KEYS, "\n".join(filter(None, browser.execute_script(script))))


class Page:
    """The demo in a window of a browser, in the words of the tests."""

    def __init__(self, browser: Any, address: str, ready: str = "#run") -> None:
        self.browser = browser
        browser.get(address)
        self.wait(ready)
        self.key = str(self.until(lambda: self.js("return window.__gradio_session_hash__"), "for the session"))

    def until(self, what: Any, why: str) -> Any:
        """Wait until `what()` gives something; what is replaced meanwhile is looked for again."""
        from selenium.common.exceptions import (
            NoSuchElementException,
            StaleElementReferenceException,
            TimeoutException,
        )
        from selenium.webdriver.support.ui import WebDriverWait

        ignored = (NoSuchElementException, StaleElementReferenceException)
        try:
            return WebDriverWait(self.browser, PATIENCE, 0.05, ignored).until(lambda _: what())
        except TimeoutException:
            notes = [self.text(f"#{part}") for part in ("status", "example_status", "bank_status")]
            raise AssertionError(f"waited in vain: {why}; notes: {notes}") from None

    def wait(self, css: str) -> Any:
        """The first element that fits, once there is one."""
        return self.until(lambda: self.all(css), f"for {css}")[0]

    def all(self, css: str) -> list[Any]:
        """All elements that fit now."""
        found: list[Any] = self.browser.find_elements("css selector", css)
        return found

    def js(self, script: str, *values: Any) -> Any:
        """What a script returns."""
        return self.browser.execute_script(script, *values)

    def text(self, css: str) -> str:
        """The text of the first element that fits, also where it is out of sight."""
        return str(self.js("return document.querySelector(arguments[0])?.textContent ?? ''", css))

    def attribute(self, css: str, name: str) -> str:
        """An attribute of the first element that fits."""
        return str(self.js("return document.querySelector(arguments[0])?.getAttribute(arguments[1])", css, name))

    def says(self, css: str, words: str) -> str:
        """Wait until an element says these words."""
        self.until(lambda: words in self.text(css), f"for {words!r} in {css}")
        return self.text(css)

    def choose(self, part: str, label: str) -> None:
        """Choose what a radio button says."""
        self.until(lambda: label in self.labels(part), f"for {label!r} in {part}")
        self.press(f"#{part} label:nth-of-type({self.labels(part).index(label) + 1})")

    def labels(self, part: str) -> list[str]:
        """What the radio buttons of a part say."""
        script = "return [...document.querySelectorAll(arguments[0])].map(label => label.textContent.trim())"
        return [str(label) for label in self.js(script, f"#{part} label")]

    def press(self, css: str) -> None:
        """Click on something, wherever it is on the page, as soon as it lets itself be clicked."""
        from selenium.common.exceptions import ElementClickInterceptedException, ElementNotInteractableException

        def pressed() -> bool:
            element = self.wait(css)
            self.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
            try:
                if element.is_enabled():
                    element.click()
                    return True
            except (ElementClickInterceptedException, ElementNotInteractableException):
                pass
            return False

        self.until(pressed, f"to press {css}")

    def unfold(self, accordion: str, css: str) -> None:
        """Open an accordion. A redraw of the page may lose the click, so it is repeated until the content is there."""
        pressed = -math.inf

        def is_open() -> bool:
            nonlocal pressed
            if any(element.is_displayed() for element in self.all(css)):
                return True
            if time.monotonic() > pressed + 3:
                self.press(f"{accordion} button")
                pressed = time.monotonic()
            return False

        self.until(is_open, f"for {css} in {accordion}")

    def type(self, css: str, words: str) -> None:
        """Replace what stands in a field."""
        from selenium.webdriver.common.keys import Keys

        field = self.wait(f"{css} textarea, {css} input")
        self.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", field)
        field.click()
        field.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE, words, Keys.TAB)
        self.until(lambda: field.get_attribute("value") == words, f"for {words!r} in {css}")

    def give(self, part: str, *files: Any) -> None:
        """Choose files to upload."""
        self.wait(f"#{part} input[type=file]").send_keys("\n".join(map(str, files)))

    def slide(self, name: str, value: float) -> None:
        """Set a slider through its field for numbers."""
        from selenium.webdriver.common.keys import Keys

        field = self.wait(f"#{name} input[type=number]")
        self.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", field)
        field.click()
        field.send_keys(Keys.CONTROL, "a", Keys.NULL, str(value), Keys.TAB)

    def at(self, part: str, x: float, y: float, width: int) -> tuple[int, int]:
        """Where in the window a pixel of a picture is, which is `width` pixels wide, in whole pixels of the window."""
        place = self.js(
            """const image = document.querySelector(arguments[0]), frame = image.getBoundingClientRect();
            const scale = Math.min(frame.width / image.naturalWidth, frame.height / image.naturalHeight, 1);
            const pixel = scale * image.naturalWidth / arguments[3];
            return [frame.left + (frame.width - image.naturalWidth * scale) / 2 + arguments[1] * pixel,
                    frame.top + (frame.height - image.naturalHeight * scale) / 2 + arguments[2] * pixel]""",
            *(f"#{part} img", x, y, width),
        )
        return round(place[0]), round(place[1])

    def into_view(self, part: str, x: float, y: float, width: int) -> tuple[int, int]:
        """Scroll to a pixel of a picture; where it then is, once the page has come to rest."""
        self.until(
            lambda: self.js("return document.querySelector(arguments[0])?.complete", f"#{part} img"), "a picture"
        )
        last: list[tuple[int, int]] = []

        def at_rest() -> bool:
            self.js("window.scrollBy(0, arguments[0] - innerHeight / 2)", self.at(part, x, y, width)[1])
            self.browser.execute_async_script(
                "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
            )
            last.append(self.at(part, x, y, width))
            return len(last) > 1 and last[-1] == last[-2]

        self.until(at_rest, "for the picture to stay where it is")
        return last[-1]

    def clicks(self, *places: tuple[int, int]) -> None:
        """Click at places of the window, as quickly as the browser takes it."""
        from selenium.webdriver.common.action_chains import ActionChains

        chain = ActionChains(self.browser, duration=0)
        for place in places:
            chain.w3c_actions.pointer_action.move_to_location(*place)
            chain.w3c_actions.pointer_action.pointer_down()
            chain.w3c_actions.pointer_action.pointer_up()
        chain.perform()

    def click_pixel(self, part: str, x: float, y: float, width: int) -> None:
        """A real click on a pixel of a picture."""
        self.clicks(self.into_view(part, x, y, width))

    def download(self, part: str, folder: Path, name: str) -> bytes:
        """Press a button that gives a file; what is in it."""
        settings = {"behavior": "allow", "downloadPath": str(folder)}
        self.browser.execute_cdp_cmd("Browser.setDownloadBehavior", settings)
        self.press(f"#{part}")
        self.until((folder / name).is_file, f"for {name}")
        return (folder / name).read_bytes()
