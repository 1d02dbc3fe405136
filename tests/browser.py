"""The system's Chromium without a window, driven by Playwright: real clicks and keys in pages as they are."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType, Page

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
         "--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND")  # fmt: skip
# WebGL 2 without a GPU; the browser asks for the flag.
SOFTWARE_WEBGL = "--enable-unsafe-swiftshader"
# What the software renderer says about its own speed.
NOISE = "GL Driver Message"
TIMEOUT_MS = 240_000


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One browser for all tests of a file: it takes longer to start than a page to load."""
    if shutil.which("chromium") is None:
        pytest.skip("needs the browser chromium, which is not installed")
    from playwright.sync_api import sync_playwright

    # No wider than a file: what of Playwright runs beside the tests lets no test start an event loop of its own.
    with sync_playwright() as playwright, launch(playwright.chromium, SOFTWARE_WEBGL) as running:
        yield running


def launch(chromium: "BrowserType", *flags: str) -> "Browser":
    """Start the browser, with a profile of its own that is thrown away.

    Args:
        chromium: What Playwright knows of browsers of this kind.
        flags: Flags beside those that every test needs.
    """
    return chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, *flags], timeout=TIMEOUT_MS)


def open_page(browser: "Browser", path: Path, width: int = 1280, height: int = 900) -> "Page":
    """Open a file in a tab of its own."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(path.as_uri())
    return page


def wait_for(page: "Page", expression: str) -> None:
    """Wait until an expression is true.

    `wait_for_function` would evaluate it from a script in the page, which the pages' own policy forbids.
    """
    end = time.monotonic() + TIMEOUT_MS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"still not so: {expression}; the page said {complaints(page)}"
        page.wait_for_timeout(50)


def complaints(page: "Page") -> list[str]:
    """Return all that a page has written to the console, and its errors that nothing caught."""
    said = [message.text for message in page.console_messages()] + [str(error) for error in page.page_errors()]
    return [one for one in said if NOISE not in one]


def requests(page: "Page") -> list[str]:
    """Return the addresses that a page has asked for, its own among them; what it holds as data is none."""
    return [request.url for request in page.requests() if not request.url.startswith("data:")]
