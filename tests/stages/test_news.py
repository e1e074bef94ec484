# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""News can be waited for by many, and nobody takes them from another."""

from __future__ import annotations

import asyncio

from lsst.ts.comcamcalib.stages.news import News


async def test_everybody_who_waits_is_woken() -> None:
    news = News()
    waiting = [asyncio.create_task(news.since(news.count)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    news.wake()
    await asyncio.gather(*waiting)


async def test_news_that_came_before_the_waiting_began_count() -> None:
    news = News()
    seen = news.count
    news.wake()
    await news.since(seen)


async def test_one_who_was_woken_waits_for_the_next_news() -> None:
    news = News()
    news.wake()
    waiting = asyncio.create_task(news.since(news.count))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    news.wake()
    await waiting


async def test_one_who_gives_up_does_not_take_the_news_along() -> None:
    news = News()
    impatient, patient = (asyncio.create_task(news.since(news.count)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    news.wake()
    await patient
