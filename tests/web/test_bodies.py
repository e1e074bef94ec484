# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers as bytes: each is made once, they are bounded, and JSON is that of the model."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.web import bodies as bodies_module
from lsst.ts.comcamcalib.web.bodies import SLICE, Bodies, json_of, slices
from support.web import Site


async def test_json_is_that_of_the_model(old_site: Site) -> None:
    now = old_site.page.parts.live.now
    if now is None:
        await old_site.page.parts.live.refresh()
        now = old_site.page.parts.live.now
    assert now is not None and now.run is not None and now.run.stages and now.run.jobs
    for model in (now, now.run, now.csc, old_site.page.parts.board.board, await old_site.page.parts.past.runs()):
        assert json_of(model).decode() == model.model_dump_json()


async def test_those_who_ask_for_the_same_share_one_answer() -> None:
    bodies, released, made = Bodies(2, 60.0), asyncio.Event(), []

    async def make() -> bytes:
        await released.wait()
        made.append(None)
        return b"x" * 10

    asking = [asyncio.create_task(bodies.get("a", make)) for _ in range(5)]
    released.set()
    answers = [await one for one in asking]
    assert len({id(one) for one in answers}) == len(made) == 1
    assert await bodies.get("a", make) is answers[0]
    # Another document is another answer, though it is at the same address.
    assert await bodies.get("a", make, object()) is not answers[0]
    await bodies.close()


async def test_what_slow_readers_hold_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies_module, "MAX_BYTES", 100)
    bodies = Bodies(8, 60.0)

    async def make() -> bytes:
        return b"x" * 60

    held = [await bodies.get(number, make) for number in range(2)]
    assert bodies.total == 120
    with pytest.raises(ServiceError, match="slow readers have not taken earlier answers yet"):
        await bodies.get(2, make)
    held.pop()
    assert len((await bodies.get(2, make)).content) == 60
    assert bodies.total == 120
    # What nobody reads gives way to what somebody wants.
    held.clear()
    for number in range(3, 9):
        await bodies.get(number, make)
        assert bodies.total <= 120
    await bodies.close()


async def test_too_much_for_slow_readers_is_a_sentence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies_module, "MAX_BYTES", 0)
    answer = await site.ask("/api/board")
    assert answer.status == 503
    assert re.match(r"This can't be shown now: slow readers .* Try again in a minute\.$", answer.json["error"])
    assert (await site.ask("/healthz")).status == 200


def test_slices_are_the_whole() -> None:
    content = bytes(range(256)) * 1000
    found = list(slices(content))
    assert b"".join(found) == content and max(map(len, found)) == SLICE
    assert list(slices(b"")) == []


async def test_each_address_says_how_long_its_answer_is(old_site: Site) -> None:
    for path in ("/", "/runs", "/board", "/trends", "/api/now", "/api/runs", "/api/board", "/api/trends"):
        answer = await old_site.ask(path)
        assert int(answer.headers["Content-Length"]) == len(answer.text.encode()), path
        assert int((await old_site.ask(path, "HEAD")).headers["Content-Length"]) > 0, path
        if path.startswith("/api/"):
            assert answer.headers["Content-Type"].startswith("application/json") and json.loads(answer.text)
