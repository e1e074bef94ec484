# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the facts about frames."""

from __future__ import annotations

import dataclasses

from ...enums import CalibType, StageKind
from .. import facts
from ..history import History
from ..things import Frame, Stray
from .dispatch import after, with_item


def _frame(history: History, calib_type: CalibType, index: int, **changes: object) -> History:
    key = (calib_type, index)
    old = history.frames.get(key)
    if old is None:
        old = Frame(facts.FrameIntended(calib_type=calib_type, index=index, exposure_time_s=0.0))
    new = dataclasses.replace(old, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(history, frames=with_item(history.frames, key, new))


@after.register
def _(fact: facts.FrameIntended, history: History, at: float) -> History:
    known = history.frames.get((fact.calib_type, fact.index))
    if known is not None and known.exposure_id:
        return history
    return _frame(history, fact.calib_type, fact.index, intent=fact, intended_s=at, absent="")


@after.register
def _(fact: facts.FrameTaken, history: History, _at: float) -> History:
    return _frame(
        history,
        fact.calib_type,
        fact.index,
        exposure_id=fact.exposure_id,
        obs_id=fact.obs_id,
        taken_s=fact.taken_s,
        found=fact.found,
        absent="",
    )


@after.register
def _(fact: facts.FrameAbsent, history: History, _at: float) -> History:
    return _frame(history, fact.calib_type, fact.index, absent=fact.reason or "it was not taken")


@after.register
def _(fact: facts.FrameSettled, history: History, _at: float) -> History:
    return _frame(history, fact.calib_type, fact.index, settled=fact)


@after.register
def _(fact: facts.FrameGivenUp, history: History, _at: float) -> History:
    stage = history.stage(fact.calib_type, StageKind.INGEST)
    attempt = stage.attempt if stage is not None else 1
    reason = fact.reason or "it was given up"
    return _frame(history, fact.calib_type, fact.index, given_up=reason, given_up_in=attempt)


@after.register
def _(fact: facts.FrameStray, history: History, _at: float) -> History:
    stray = Stray(fact.calib_type, fact.exposure_id, fact.obs_id, fact.reason)
    return dataclasses.replace(history, stray_frames=(*history.stray_frames, stray))


@after.register
def _(fact: facts.FramesBlamed, history: History, _at: float) -> History:
    blamed = {one: reason for one, reason in history.blamed.items() if one is not fact.calib_type}
    if fact.reason:
        blamed[fact.calib_type] = fact.reason
    return dataclasses.replace(history, blamed=blamed)
