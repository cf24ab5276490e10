"""A real browser, driven over Chromium's own protocol through a pair of pipes.

Tests that use it are skipped where no Chromium is installed.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """Return the program, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One window.

    Args:
        profile: folder of cookies; the same again is the same person coming back.
        width: of the page.
        height: of the page.
        dark: whether dark colours are preferred.
        phone: whether it is a phone.
    """

    def __init__(self, profile: Path, *, width=1280, height=800, dark=False, phone=False):
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        options = (
            "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-dev-shm-usage "
            "--disable-background-networking --remote-debugging-pipe --mute-audio"
        )
        command = f'exec "$0" {options} "--user-data-dir=$1" about:blank'
        command += f" 3<&{to_browser} 4>&{from_browser}"
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, find(), str(profile)],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._numbers = itertools.count(1)
        self._buffer = b""
        self._session = None
        self.errors: list[str] = []
        (page,) = [t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._session = None
        self._call("Browser.close")  # a kill would lose the cookies of the last half minute
        self._process.wait(timeout=30)
        os.close(self._in)
        os.close(self._out)

    def _call(self, method, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _read(self):
        while b"\0" not in self._buffer:
            data = os.read(self._in, 1 << 16)
            assert data, "the browser has gone"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def _note(self, event):
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(event["params"]["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded":
            self.errors.append(event["params"]["entry"]["text"])

    def open(self, url):
        self._call("Page.navigate", url=url)

    def hold(self, pattern):
        """Let requests for addresses like a pattern hang from now on."""
        self._call("Fetch.enable", patterns=[{"urlPattern": pattern}])

    def run(self, script):
        """Return the value of an expression in the page; a promise is waited for."""
        answer = self._call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script, seconds=30):
        """Wait until an expression is true, also across pages."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
            if value := answer["result"].get("value"):
                return value
            time.sleep(0.02)
        raise AssertionError(f"never true: {script}; {self.errors}")

    def key(self, key):
        codes = {"ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27}
        text = {"text": key} if len(key) == 1 else {}
        code = codes.get(key, ord(key[0].upper()))
        for kind in ("keyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code,
                **(text if kind == "keyDown" else {}),
            )  # fmt: skip

    def click(self, selector):
        """Click the middle of an element, as a mouse does."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y = self.run(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path, *, whole=False):
        data = self._call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        Path(path).write_bytes(base64.b64decode(data))
