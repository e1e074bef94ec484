# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The threads of the Butler service, on a real, small repository."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ServiceError, UnreachableError
from lsst.ts.comcamcalib.services import butler_certify
from lsst.ts.comcamcalib.services.butler import ButlerService
from support.permission import allowed
from support.small_repository import (
    DAILY,
    INSTRUMENT,
    NEXT_NOON,
    NOON,
    RAWS,
    bias_job,
    certify_request,
)


async def test_a_repository_that_is_not_there_is_told_in_a_sentence(tmp_path: Path, limits: Limits) -> None:
    service = ButlerService(str(tmp_path / "none"), INSTRUMENT, RAWS, limits, allowed)
    await service.start()
    with pytest.raises(ServiceError, match=r"Butler \(.*none\) could not look for collections: FileNotFoundError"):
        await service.missing_collections([RAWS])
    await service.close()
    with pytest.raises(ServiceError, match="it is closed"):
        await service.missing_collections([RAWS])


def block_lookups(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let look-ups of collections begin and not end before the second event."""
    from lsst.ts.comcamcalib.services import butler_queries

    begun, released = threading.Event(), threading.Event()

    def wait(_butler: Butler, names: Sequence[str]) -> list[str]:
        begun.set()
        assert released.wait(20)
        return list(names)

    monkeypatch.setattr(butler_queries, "missing_collections", wait)
    return begun, released


async def test_a_question_that_hangs_hits_its_limit_and_others_are_answered_beside_it(
    repo: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, released = block_lookups(monkeypatch)
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits.model_copy(update={"butler_query": 0.2}), allowed)
    await service.start()
    hanging = asyncio.create_task(service.missing_collections(["a"]))
    await asyncio.to_thread(begun.wait, 20)
    with pytest.raises(
        UnreachableError, match=r"could not look for collections within 0.2 s: the call goes on and can't be"
    ):
        await hanging
    await service.close()
    released.set()


async def test_a_slow_certification_delays_no_look_up_and_the_look_after_it_sees_it(
    service: ButlerService, butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certification that waits for the database's lock is not the fault of those who only want to look."""

    ids = bias_job(butler, "b")
    begun, released = threading.Event(), threading.Event()
    real = butler_certify.certify

    def slow(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        assert released.wait(20)
        return real(*args, **kwargs)

    monkeypatch.setattr(butler_certify, "certify", slow)
    certifying = asyncio.create_task(service.certify(certify_request("b", ids)))
    await asyncio.to_thread(begun.wait, 20)
    reading_back = asyncio.create_task(service.read_back("bias", DAILY, NOON, NEXT_NOON, ids))
    assert await service.missing_collections(["no/such"]) == ["no/such"]
    assert len(await service.datasets("u/ocps/b/run", "bias")) == 9
    assert not certifying.done() and not reading_back.done()
    released.set()
    assert len((await certifying).certified) == 9
    assert await reading_back == [], "it was asked after the certification, and so has to see it"


async def test_closing_does_not_wait_for_ever(
    repo: Path,
    limits: Limits,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from lsst.ts.comcamcalib.services import butler_threads

    begun, released = block_lookups(monkeypatch)
    monkeypatch.setattr(butler_threads, "CLOSE_LIMIT_S", 0.05)
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits, allowed)
    await service.start()
    hanging = asyncio.create_task(service.missing_collections(["a"]))
    await asyncio.to_thread(begun.wait, 20)
    begin = time.monotonic()
    await service.close()
    assert time.monotonic() - begin < 5
    assert "is left behind: it still tries to look for collections" in caplog.text
    released.set()
    assert await hanging == ["a"]


async def test_a_cancelled_question_does_not_block_the_next(
    service: ButlerService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, released = block_lookups(monkeypatch)
    hanging = asyncio.create_task(service.missing_collections(["a"]))
    await asyncio.to_thread(begun.wait, 20)
    queued = asyncio.create_task(service.missing_collections(["never"]))
    await asyncio.sleep(0)
    for task in (hanging, queued):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert "nothing waits for it any more" in caplog.text
    released.set()
    assert await service.missing_collections(["b"]) == ["b"]


def test_nothing_heavy_is_imported_before_the_first_question() -> None:
    heavy: Callable[[str], bool] = lambda name: name in ("numpy", "astropy") or name.startswith("lsst.daf")  # noqa: E731
    code = "import sys, lsst.ts.comcamcalib.services.butler; print('\\n'.join(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "lsst.ts.comcamcalib.services.butler" in modules
    assert [name for name in modules if heavy(name)] == []


class Moods:
    """A look-up that fails with some errors before it succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked = 0

    def __call__(self, _butler: Butler, _names: Sequence[str]) -> list[str]:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return ["answer"]


def locked() -> Exception:
    """What Butler raises when another program is in the middle of a transaction."""
    from sqlalchemy.exc import OperationalError

    with sqlite3.connect("file:held?mode=memory&cache=shared", uri=True, isolation_level=None) as one:
        one.execute("CREATE TABLE IF NOT EXISTS held (x)")
        one.execute("BEGIN EXCLUSIVE")
        with sqlite3.connect("file:held?mode=memory&cache=shared", uri=True, timeout=0) as other:
            try:
                other.execute("SELECT * FROM held")
            except sqlite3.OperationalError as error:
                return OperationalError("SELECT 1", {}, error)
    raise AssertionError("it is not locked")


@pytest.fixture
def moods(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Moods]:
    """Return what makes the look-up of collections moody."""
    from lsst.ts.comcamcalib.services import butler_queries, butler_threads

    monkeypatch.setattr(butler_threads, "PAUSES_S", (0.01,))

    def make(*errors: Exception) -> Moods:
        look_up = Moods(*errors)
        monkeypatch.setattr(butler_queries, "missing_collections", look_up)
        return look_up

    return make


async def test_a_look_up_is_repeated_when_the_database_was_locked_or_the_connection_lost(
    service: ButlerService, moods: Callable[..., Moods]
) -> None:
    look_up = moods(locked(), ConnectionResetError("by peer"))
    assert await service.missing_collections(["a"]) == ["answer"]
    assert look_up.asked == 3


async def test_a_database_that_stays_locked_is_an_error_after_three_tries(
    service: ButlerService, moods: Callable[..., Moods]
) -> None:
    look_up = moods(*(locked() for _ in range(9)))
    with pytest.raises(ServiceError, match=r"in use by somebody else \(.*is locked.*\)\. Find out who holds"):
        await service.missing_collections(["a"])
    assert look_up.asked == 3


async def test_what_another_try_can_not_mend_is_not_repeated(
    service: ButlerService, moods: Callable[..., Moods]
) -> None:
    look_up = moods(ValueError("no such dimension"))
    with pytest.raises(ServiceError, match="no such dimension"):
        await service.missing_collections(["a"])
    assert look_up.asked == 1
