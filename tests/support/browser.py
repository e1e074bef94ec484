# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real browser, headless Chromium, driven by its own DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

__all__ = ["Browser", "running_browser"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
START_LIMIT_S = 60.0
ANSWER_LIMIT_S = 60.0

GONE = ("Inspected target navigated or closed", "Execution context was destroyed.")
"""What Chromium says if another page took the place of the one that was asked."""


class PageGoneError(AssertionError):
    """Another page took the place of the one that was asked before it answered."""


class Browser:
    """One tab of a browser.

    Attributes
    ----------
    complaints : list [str]
        Messages of the console that are errors, and exceptions of scripts: also what the page's own policy forbids.
    requests : list [str]
        What pages asked for, by its URL.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.complaints: list[str] = []
        self.requests: list[str] = []

    async def listen(self) -> None:
        """Hear what the browser says, until it ends."""
        async for message in self._socket:
            heard = json.loads(message.data)
            if "id" in heard:
                answer = self._answers.pop(heard["id"], None)
                if answer is not None and not answer.done():
                    answer.set_result(heard)
            elif heard["method"] == "Log.entryAdded" and heard["params"]["entry"]["level"] == "error":
                self.complaints.append(heard["params"]["entry"]["text"])
            elif heard["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(heard["params"]["exceptionDetails"]))
            elif heard["method"] == "Network.requestWillBeSent":
                self.requests.append(heard["params"]["request"]["url"])

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        heard = await asyncio.wait_for(answer, ANSWER_LIMIT_S)
        if heard.get("error", {}).get("message") in GONE:
            raise PageGoneError(heard["error"])
        assert "error" not in heard, heard
        result: dict[str, Any] = heard["result"]
        return result

    async def look_at(self, url: str, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Open a page in a window of some size."""
        narrow = width < 600
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=narrow
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def use_scripts(self, wanted: bool) -> None:
        """Let pages run scripts, or not, from the next page on."""
        await self.call("Emulation.setScriptExecutionDisabled", value=not wanted)

    async def value(self, expression: str, context: int | None = None) -> Any:
        """Return the value of an expression in the page, or in another context, such as that of a frame."""
        where = {} if context is None else {"contextId": context}
        result = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, **where
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str, limit_s: float = 60.0, context: int | None = None) -> Any:
        """Wait until an expression in the page holds; return its value.

        A page that another takes the place of meanwhile says nothing of it, so the other is asked.
        """
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    with contextlib.suppress(PageGoneError):
                        if value := await self.value(expression, context):
                            return value
                    await asyncio.sleep(0.1)  # the protocol has no event for it
        except TimeoutError:
            text = str(await self.value("document.body && document.body.innerText"))
            raise AssertionError(f"{expression} did not hold within {limit_s:g} s. The page: {text[:2000]}") from None

    async def printed(self) -> bytes:
        """Return the page as it is printed, as PDF."""
        answer = await self.call("Page.printToPDF", preferCSSPageSize=True)
        return base64.b64decode(answer["data"])

    async def press(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            code = {"Tab": 9, "Enter": 13}[key]
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    async def screenshot(self, file: Path) -> bytes:
        """Write a picture of the whole page."""
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        content = base64.b64decode(shot["data"])
        await asyncio.to_thread(file.write_bytes, content)
        return content


@contextlib.asynccontextmanager
async def running_browser(folder: Path) -> AsyncIterator[Browser]:
    """Run a browser; where there is none the test is skipped, but not in continuous integration.

    Parameters
    ----------
    folder
        Where it may put its profile.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("There is no Chromium; install Debian's package chromium")
        pytest.skip("there is no Chromium; install Debian's package chromium")
    profile = folder / "profile"
    process = await asyncio.create_subprocess_exec(
        *(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
        *("--no-first-run", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port = await _port(profile / "DevToolsActivePort", process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                tab = next(one for one in await response.json() if one["type"] == "page")
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                browser = Browser(socket)
                listening = asyncio.create_task(browser.listen(), name="browser")
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await browser.call(f"{domain}.enable")
                try:
                    yield browser
                finally:
                    await socket.close()
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _port(file: Path, process: asyncio.subprocess.Process) -> int:
    """Wait for the port of the DevTools protocol."""
    async with asyncio.timeout(START_LIMIT_S):
        while not (file.exists() and file.read_text().strip()):
            assert process.returncode is None, "Chromium ended at once"
            await asyncio.sleep(0.1)  # there is no other way to hear of it
    return int(file.read_text().split()[0])
