"""Chromium without a window, driven through its debugging pipe: real clicks and keys in a page that is left as it is.

`--dump-dom` with `--virtual-time-budget`, as for the report, sometimes waits for ever on pages that draw with WebGL.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
         "--no-first-run", "--hide-scrollbars", "--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND",
         "--remote-debugging-pipe")  # fmt: skip
# WebGL 2 without a GPU; the browser asks for the flag.
SOFTWARE_WEBGL = "--enable-unsafe-swiftshader"
# What the software renderer says about its own speed.
NOISE = "GL Driver Message"
TIMEOUT = 240
# The browser reads commands from descriptor 3 and writes answers to 4; Popen alone cannot choose their numbers.
LAUNCHER = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(word), fcntl.F_DUPFD, 10) for word in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """A tab: what it said and asked for, and the mouse and keyboard in it."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self.browser, self.session = browser, session
        self.said: list[str] = []
        self.requests: list[str] = []

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Run a command of the debugging protocol in this tab."""
        return self.browser.send(method, self.session, **params)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, or of the promise that it is."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + TIMEOUT
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"still not so: {expression}; the page said {self.said}"
            time.sleep(0.05)

    def click(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        """Click into an element, at parts of its width and height."""
        x, y = self._point(selector, across, down)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def wheel(self, selector: str, across: float, down: float, amount: float) -> None:
        """Turn the mouse wheel over an element."""
        x, y = self._point(selector, across, down)
        self.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=amount)

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        text = "\r" if key == "Enter" else ""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text, windowsVirtualKeyCode=code)

    def screenshot(self) -> bytes:
        """Return what is visible as a PNG file."""
        return base64.b64decode(self.send("Page.captureScreenshot")["data"])

    def _point(self, selector: str, across: float, down: float) -> tuple[float, float]:
        element = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{element}.scrollIntoView({{block: 'center'}})")
        box = self.evaluate(f"{element}.getBoundingClientRect().toJSON()")
        return box["x"] + across * box["width"], box["y"] + down * box["height"]


class Browser:
    """A running browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = commands, answers
        self.number, self.buffer = 0, b""
        self.pages: dict[str, Page] = {}

    def open(self, path: Path, width: int = 1280, height: int = 900) -> Page:
        """Open a page in a tab of its own."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        page.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        page.send("Page.navigate", url=path.as_uri())
        page.wait_for(f"location.href === {json.dumps(path.as_uri())} && document.readyState === 'complete'")
        return page

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Run a command and return its answer."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + TIMEOUT
        while True:
            answer = self._receive(end)
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _receive(self, end: float) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answers], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self.answers, 1 << 20)
            assert part, "the browser has ended"
            self.buffer += part
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def _note(self, event: dict[str, Any]) -> None:
        page, params = self.pages.get(event.get("sessionId", "")), event.get("params", {})
        if page is None:
            return
        if event["method"] == "Network.requestWillBeSent":
            page.requests.append(params["request"]["url"])
        elif event["method"] in {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}:
            said = json.dumps(params)
            if NOISE not in said:
                page.said.append(said)


@contextlib.contextmanager
def run_chromium(profile: Path, *flags: str) -> Iterator[Browser]:
    """Run the browser.

    Args:
        profile: Empty folder for its profile.
        flags: Flags beside those that every test needs.
    """
    assert CHROMIUM is not None
    commands_read, commands = os.pipe()
    answers, answers_write = os.pipe()
    words = [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={profile}"]
    launcher = [sys.executable, "-c", LAUNCHER, str(commands_read), str(answers_write), *words]
    with (profile / "log.txt").open("wb") as log:
        process = subprocess.Popen(launcher, pass_fds=(commands_read, answers_write), stdout=log, stderr=log)
    os.close(commands_read)
    os.close(answers_write)
    browser = Browser(commands, answers)
    try:
        yield browser
        browser.send("Browser.close")
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(commands)
        os.close(answers)
