"""Chromium without a window, driven over its DevTools protocol through a pair of pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field

from tests.interop.failing import Failed
from tests.interop.requirements import require
from tests.interop.services import with_us

DEADLINE_S = 60.0
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--ignore-certificate-errors", "--disable-extensions", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-default-browser-check", "--hide-scrollbars"),
)


@define(eq=False)
class Browser:
    """One browser with one page and a profile of its own.

    :ivar errors: what the console of the page complained of.
    """

    _process: subprocess.Popen[bytes]
    _output: int
    _input: int
    _profile: tempfile.TemporaryDirectory[str]
    errors: list[str] = field(factory=list)
    _number: int = 0
    _session: str = ""
    _buffer: bytes = b""
    _loads: int = 0

    @classmethod
    def start(cls) -> Browser:
        """A page with nothing on it."""
        program = require("chromium", "chromium")
        profile = tempfile.TemporaryDirectory(prefix="teleport-conch-browser-", ignore_cleanup_errors=True)
        theirs_in, to = os.pipe()
        from_, theirs_out = os.pipe()
        words = [program, *_FLAGS, f"--user-data-dir={profile.name}", "--remote-debugging-pipe", "about:blank"]
        # The program looks for its ends of the pipes at the descriptors 3 and 4.
        line = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        process = subprocess.Popen(
            [*with_us(), "/bin/bash", "-c", line, "bash", *words],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        browser = cls(process, to, from_, profile)
        browser._attach()
        return browser

    def stop(self) -> None:
        """Ends it with all its processes, and removes its profile."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._output)
        os.close(self._input)
        self._profile.cleanup()

    def _attach(self) -> None:
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        found = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        assert isinstance(found, str), found
        self._session = found
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    # The protocol.

    def command(self, method: str, /, **parameters: object) -> Mapping[str, object]:
        """What the browser answers."""
        self._number += 1
        number = self._number
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._output, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']}")
                found = answer["result"]
                assert isinstance(found, dict), found
                return found

    def _next(self, what: str) -> Mapping[str, object]:
        """The next message. What it says that happened is noted."""
        until = time.monotonic() + DEADLINE_S
        while b"\0" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._input], [], [], left)[0]:
                raise Failed(f"The browser did not do this within {DEADLINE_S:.0f} s: {what}")
            data = os.read(self._input, 1 << 16)
            if not data:
                raise Failed(f"The browser has ended instead of this: {what}")
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        assert isinstance(message, dict), message
        self._note(message)
        return message

    def _note(self, message: Mapping[str, object]) -> None:
        if message.get("method") == "Page.loadEventFired":
            self._loads += 1
        said = json.dumps(message.get("params"))
        if message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown") and '"level": "verbose"' not in said:
            self.errors.append(said)

    # What a person does.

    def go(self, url: str) -> None:
        """Opens a page, and waits until it is there."""
        loads = self._loads
        self.command("Page.navigate", url=url)
        self._loaded(loads, url)

    def _loaded(self, before: int, what: str) -> None:
        while self._loads == before:
            self._next(f"load {what}")

    def look(self, expression: str) -> object:
        """What an expression of JavaScript gives in the page."""
        answer = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        result = answer["result"]
        assert isinstance(result, dict) and "exceptionDetails" not in answer, answer
        return result.get("value")

    def text(self, selector: str) -> str:
        """The text that a person sees there."""
        found = self.look(f"document.querySelector({json.dumps(selector)})?.innerText ?? null")
        if found is None:
            raise Failed(f"There is no {selector} on the page: {self.look('document.body.innerText')}")
        return str(found)

    @property
    def title(self) -> str:
        return self.text("h1")

    @property
    def path(self) -> str:
        return str(self.look("location.pathname"))

    def type(self, selector: str, text: str) -> None:
        """Types into a field, in place of what it holds."""
        self.text(selector)
        self.look(f"document.querySelector({json.dumps(selector)}).select()")
        self.command("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Clicks what leads to another page, and waits until that is there."""
        self.text(selector)
        loads = self._loads
        self.look(f"document.querySelector({json.dumps(selector)}).click()")
        self._loaded(loads, f"what {selector} leads to")

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """A window of this size, on a light or dark desktop."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        answer = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(str(answer["data"])))
