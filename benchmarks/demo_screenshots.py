"""Screenshots of the web demo and the labelling page: python benchmarks/demo_screenshots.py --weights FOLDER.

They are written to docs/images/demo. Chromium, its driver and the extras demo and dev must be installed. The sample
pictures are those of the demo.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import skimage
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "demo"
SIZES = {"desktop": (1280, 900, 1), "phone": (390, 844, 1)}  # width, minimum height, device pixels per CSS pixel
PATIENCE = 120
MOST_HEIGHT = 2600


@contextmanager
def page_of(*command: str) -> Iterator[str]:
    """Run a command that serves a page in a subprocess; yield its address."""
    words = [sys.executable, "-m", "xpose", *command, "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as run:
        try:
            assert run.stdout is not None
            yield next(filter(None, (re.search(r"http://\S+/", line) for line in run.stdout)))[0]
        finally:
            run.send_signal(signal.SIGINT)


@contextmanager
def browser_of(width: int, height: int) -> Iterator[Any]:
    """A fresh browser."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        flags = "headless=new no-sandbox disable-gpu disable-dev-shm-usage no-first-run disable-background-networking"
        flags += " disable-component-update disable-sync hide-scrollbars no-proxy-server"
        for flag in (*flags.split(), f"window-size={width},{height}", f"user-data-dir={folder}"):
            options.add_argument(f"--{flag}")
        browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            yield browser
        finally:
            browser.quit()


def wait(browser: Any, css: str) -> Any:
    """Wait for the first element that matches."""
    return WebDriverWait(browser, PATIENCE).until(lambda found: found.find_elements("css selector", css))[0]


def press(browser: Any, css: str) -> None:
    """Click on an element."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", wait(browser, css))


def words(browser: Any) -> None:
    """Show a sample with words."""
    press(browser, "#samples .gallery-item:nth-of-type(1)")


def example(browser: Any) -> None:
    """Show a sample with points in an example picture, one selected."""
    press(browser, "#samples .gallery-item:nth-of-type(3)")
    wait(browser, "#picture img")
    press(browser, "#points label")
    WebDriverWait(browser, PATIENCE).until(lambda _: "is selected" in wait(browser, "#example_status").text)


def several(browser: Any) -> None:
    """Show several pictures and words."""
    press(browser, "#samples .gallery-item:nth-of-type(5)")
    wait(browser, "#gallery img")


def label(browser: Any) -> None:
    """Place keypoints in the sample picture."""
    for x, y in ((173, 110), (314, 132), (265, 238), (52, 10), (388, 14)):
        place = "const point = new DOMPoint(arguments[0], arguments[1]); const { x, y } = point.matrixTransform("
        place += "document.querySelector('#picture svg').getScreenCTM()); return [Math.round(x), Math.round(y)]"
        chain = ActionChains(browser, duration=0)
        chain.w3c_actions.pointer_action.move_to_location(*browser.execute_script(place, x, y)).click()
        chain.perform()
        time.sleep(1)


SCENES: dict[str, Callable[[Any], None]] = {"words": words, "example": example, "several": several}


def shoot(browser: Any, target: Path, width: int, height: int, scale: int) -> None:
    """Save the whole page as a JPEG."""
    full = browser.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": min(max(full, height), MOST_HEIGHT), "scale": scale}
    options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    data = browser.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
    Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").save(target, quality=75, optimize=True)
    print(f"{target.name}: {width * scale} x {round(clip['height'] * scale)}, {target.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    """Take all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="weights to show; a name, a folder or a file")
    parser.add_argument("--out", type=Path, default=FOLDER)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    width, height, scale = SIZES["desktop"]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(Path(skimage.__file__).parent / "data" / "chelsea.png", folder)
        names = "right eye,left eye,nose,right ear,left ear,chin"
        command = ("label", folder, "-t", "cat", "--keypoints", names, "-p", asked.weights)
        with page_of(*command) as address, browser_of(width, 760) as browser:
            browser.get(address)
            wait(browser, "#picture image")
            press(browser, "#propose input")
            time.sleep(2)
            label(browser)
            shoot(browser, asked.out / "label-desktop.jpg", width, 640, scale)
    with page_of("demo", "-p", asked.weights) as address:
        for size, (width, height, scale) in SIZES.items():
            with browser_of(width, height) as browser:
                metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": size == "phone"}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
                for name, act in SCENES.items():
                    browser.get(address)
                    wait(browser, "#samples")
                    act(browser)
                    WebDriverWait(browser, PATIENCE).until(lambda _: "Found" in wait(browser, "#status").text)
                    time.sleep(2)  # for the last pictures to load
                    shoot(browser, asked.out / f"{name}-{size}.jpg", width, height, scale)


if __name__ == "__main__":
    main()
