"""A headless Chromium that is there, driven by selenium, and what a page did in it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no chromium and chromedriver here: the page is not tried in a browser "
    "(on Debian: apt-get install chromium chromium-driver)",
)

# Surfaces need WebGL, which the processor draws here.
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)
_SECONDS = 60
"""However busy the machine is."""


class Page:
    """A page in a browser."""

    def __init__(self, driver: webdriver.Chrome):
        self.driver = driver
        self._messages: list[dict[str, Any]] = []

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def open(self, path: Path) -> None:
        """Open a page and wait until it has drawn everything."""
        self.driver.get(path.as_uri())
        drawn = "return document.documentElement.dataset.drawn"
        WebDriverWait(self.driver, _SECONDS).until(lambda _: self.run(drawn))

    def until(self, script: str) -> Any:
        """Wait until a script returns something true; return it."""
        return WebDriverWait(self.driver, _SECONDS).until(lambda _: self.run(script))

    def errors(self) -> list[str]:
        """What the console has said since the last call, but for warnings of the drawing."""
        found = self.driver.get_log("browser")
        return [one["message"] for one in found if one["level"] == "SEVERE"]

    def requested(self) -> set[str]:
        """What the page itself has asked for, but for data within it."""
        for entry in self.driver.get_log("performance"):
            self._messages.append(json.loads(entry["message"])["message"])
        return {
            message["params"]["request"]["url"]
            for message in self._messages
            if message["method"] == "Network.requestWillBeSent"
            and message["params"].get("documentURL", "").startswith("file:")
            and not message["params"]["request"]["url"].startswith(("data:", "blob:"))
        }

    def traces(self, plot: str) -> list[dict[str, Any]]:
        """The data of a plot as it stands."""
        keep = "({x, y, z, customdata, name, type, mode, xaxis}) => "
        keep += "({x, y, z, customdata, name, type, mode, xaxis})"
        return self.run(f"return document.getElementById('{plot}').data.map({keep})")


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Start a browser of its own with an empty profile."""
    options = Options()
    options.binary_location = str(CHROMIUM)
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # The path is given, so that selenium looks for no driver anywhere.
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield Page(driver)
    finally:
        driver.quit()
