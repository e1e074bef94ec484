# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CSC leaves ENABLED, and ends, in time, whatever hangs."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from pathlib import Path

import pytest
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib import csc as csc_module
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.run.journal import WRITE_LIMIT_S
from lsst.ts.comcamcalib.run.run import INTERRUPT_LIMIT_S
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.salobj.controller import SHUTDOWN_DELAY
from support.observatory import running_csc
from support.operator import Operator

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

LIMIT_S = 30.0
WITH_PAGE = "with_page.yaml"


async def test_disable_is_answered_though_a_connection_does_not_close(
    csc: ComCamCalibCsc,
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.csc.LEAVE_LIMIT_S", 0.2)
    monkeypatch.setattr("lsst.ts.comcamcalib.csc.CLOSE_LIMIT_S", 0.2)
    await operator.bring(start=salobj.State.DISABLED, enable=salobj.State.ENABLED)
    assert csc._connection is not None
    butler, released = csc._connection._butler, asyncio.Event()
    close = butler.close

    async def slow() -> None:
        await released.wait()
        await close()

    monkeypatch.setattr(butler, "close", slow)
    await operator.bring(disable=salobj.State.DISABLED)
    assert "ButlerService is not closed after 0.2 s; it is left to close by itself" in caplog.text
    (old,) = csc._closing
    # The next connection does not mind the old one.
    await operator.bring(enable=salobj.State.ENABLED)
    assert not old.closed
    released.set()
    async with asyncio.timeout(LIMIT_S):
        while not old.closed:  # noqa: ASYNC110  nobody waits for it any more
            await asyncio.sleep(0.01)
    await operator.bring(disable=salobj.State.DISABLED, standby=salobj.State.STANDBY)


async def test_all_that_leaving_enabled_waits_for_is_less_than_the_promised_ten_seconds() -> None:
    assert max(csc_module.LEAVE_LIMIT_S, INTERRUPT_LIMIT_S + WRITE_LIMIT_S + csc_module.CLOSE_LIMIT_S) < 10
    assert csc_module.END_LIMIT_S + SHUTDOWN_DELAY < 10


async def test_the_end_is_in_time_though_page_butler_and_journal_hang(
    observatory: Observatory, operator: Operator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(observatory.environment["TS_CONFIG_OCS_DIR"]) / "ComCamCalib" / "v1"
    page = {"address": "127.0.0.1", "port": 0, "frame_ancestors": []}
    (folder / WITH_PAGE).write_text(yaml.safe_dump({"page": page}))
    released = threading.Event()
    async with running_csc(initial_state=salobj.State.ENABLED, override=WITH_PAGE) as csc:
        assert csc._connection is not None and csc._claim._journal is not None
        parts = csc.status_page.parts
        journal, butler = csc._claim._journal, csc._connection._butler
        pools = (*csc.status_page._threads, parts.threads)
        begun = [threading.Event() for _ in pools]

        def hang(own: threading.Event) -> None:
            own.set()
            released.wait()

        hanging = [
            asyncio.create_task(threads.do("hang", LIMIT_S, functools.partial(hang, own), LIMIT_S))
            for threads, own in zip(pools, begun, strict=True)
        ]
        # A call that waits for a thread which still reads the history would be dropped at the end, and hang nothing.
        assert all(await asyncio.gather(*(asyncio.to_thread(own.wait, LIMIT_S) for own in begun)))
        close = journal._file.close

        def slow() -> None:
            released.wait()
            close()

        async def never() -> None:
            await asyncio.to_thread(released.wait, LIMIT_S)

        monkeypatch.setattr(journal._file, "close", slow)
        monkeypatch.setattr(butler, "close", never)
        began = time.monotonic()
        await csc.close()
        took_s = time.monotonic() - began
        released.set()
        await asyncio.gather(*hanging, return_exceptions=True)
    assert took_s < 10.0 and "left to the end of the process" not in caplog.text
    for words in (
        "ButlerService is not closed after",
        "history for the status page is left behind",
        "no answer within 2.5 s",
    ):
        assert words in caplog.text


async def test_what_can_not_be_closed_in_time_is_left_to_the_end_of_the_process(
    observatory: Observatory, operator: Operator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(csc_module, "END_LIMIT_S", 0.2)
    released = asyncio.Event()
    async with running_csc(initial_state=salobj.State.ENABLED) as csc:
        monkeypatch.setattr(csc.status_page, "close", released.wait)
        await csc.close()
    released.set()
    assert "The status page is not closed after 0.2 s; it is left to the end of the process" in caplog.text
