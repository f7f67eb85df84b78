"""A real browser without a screen: Debian's Chromium, which reaches this machine and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from ops.process import LOOPBACK, wait_until

_PATIENCE_S = 30.0
_OPTIONS = [
    "--headless",
    "--no-sandbox",  # Chromium refuses root otherwise; it sees our own pages only.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1600,1000",
    f"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE {LOOPBACK}",
]

T = TypeVar("T")


class Browser:
    """
    What a test does in a browser. Pages change by themselves, so everything is tried until it works.

    Attributes:
        driver: Selenium's, for what is not here.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> int:
        """Open a page; returns the HTTP status that it came with."""
        self.driver.get(url)
        return int(self.run("return performance.getEntriesByType('navigation')[0].responseStatus"))

    def run(self, script: str) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script)

    def find(self, css: str, text: str = "") -> WebElement:
        """The first visible element that matches, and has this text in it."""
        return self._until(f"{css} with {text!r}", lambda: self._visible(css, text))

    def click(self, css: str, text: str = "") -> None:
        """Click the first visible element that matches."""

        def click() -> bool:
            element = self._visible(css, text)
            if element:
                element.click()
            return element is not None

        self._until(f"a click on {css} with {text!r}", click)

    def type(self, css: str, text: str) -> None:
        """Put text into a field, instead of what is there."""
        field = self.find(css)
        field.clear()
        field.send_keys(text)

    def text(self, css: str = "body") -> str:
        """The visible text of an element."""
        return self.find(css).text

    def until(self, what: str, ask: Callable[[], bool]) -> None:
        """Wait until something holds in the page."""
        self._until(what, ask)

    def requested(self) -> list[str]:
        """Addresses of everything that the page has fetched, or tried to."""
        found: list[str] = self.run("return performance.getEntriesByType('resource').map(each => each.name)")
        return found

    def errors(self) -> list[str]:
        """What the page has complained of since the last time."""
        logged: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [str(each["message"]) for each in logged if each["level"] == "SEVERE"]

    def _visible(self, css: str, text: str) -> WebElement | None:
        found = self.driver.find_elements(By.CSS_SELECTOR, css)
        return next((each for each in found if each.is_displayed() and text in each.text), None)

    def _until(self, what: str, ask: Callable[[], T | None]) -> T:
        answers: list[T] = []

        def asked() -> bool:
            try:
                answer = ask()
            except WebDriverException:  # The page was just drawn anew.
                return False
            if answer:
                answers.append(answer)
            return bool(answer)

        assert wait_until(asked, _PATIENCE_S), f"not on {self.driver.current_url}: {what}\n{self._shown()}"
        return answers[0]

    def _shown(self) -> str:
        return "\n".join(each.text for each in self.driver.find_elements(By.TAG_NAME, "body"))


@contextmanager
def run_browser(folder: Path, *more: str) -> Iterator[Browser]:
    """
    A browser with an empty profile in `folder`, and further options; skips the test where there is none.

    Selenium would look for one on the internet, so both programs are named.
    """
    chromium, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if chromium is None or driver is None:
        pytest.skip("needs Debian's chromium and chromium-driver (.ci/prepare installs them), which are not here")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (*_OPTIONS, *more, f"--user-data-dir={folder}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options, Service(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()
