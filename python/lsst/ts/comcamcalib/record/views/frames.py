# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames and their files, as events."""

from __future__ import annotations

from collections.abc import Iterator

from .. import events, facts
from ..events import Event
from ..history import History
from ..things import Frame
from .dispatch import published

__all__ = ["frame_events"]


def frame_events(frame: Frame, history: History) -> Iterator[Event]:
    """Yield the events about a frame: that it was taken, and what became of its files once that is known."""
    if frame.exposure_id:
        yield _image_taken(frame, history)
        if frame.settled is not None:
            yield _image_ingested(frame, frame.settled, history)


def _image_taken(frame: Frame, history: History) -> events.ImageTaken:
    planned = len(history.plan.sequences[frame.calib_type].frames) if frame.calib_type in history.plan.sequences else 0
    return events.ImageTaken(
        run_id=history.run_id,
        image_type=frame.calib_type,
        exposure_id=frame.exposure_id,
        obs_id=frame.obs_id,
        exposure_time=frame.exposure_time_s,
        image_index=frame.index,
        images_in_sequence=max(planned, frame.index),
        discarded=frame.discarded,
        timestamp_taken=frame.taken_s,
    )


def _image_ingested(frame: Frame, settled: facts.FrameSettled, history: History) -> events.ImageIngested:
    names = history.plan.detector_names
    return events.ImageIngested(
        run_id=history.run_id,
        exposure_id=frame.exposure_id,
        obs_id=frame.obs_id,
        detectors_expected=len(names),
        detectors_ingested=settled.detectors_ingested,
        detectors_failed=settled.detectors_failed,
        missing=",".join(names.get(detector, str(detector)) for detector in settled.missing),
        reason=settled.reason or frame.given_up,
    )


@published.register
def _(fact: facts.FrameTaken, history: History) -> Iterator[Event]:
    yield _image_taken(history.frames[fact.calib_type, fact.index], history)


@published.register
def _(fact: facts.FrameSettled, history: History) -> Iterator[Event]:
    yield from _settled_event(history.frames[fact.calib_type, fact.index], history)


@published.register
def _(fact: facts.FrameGivenUp, history: History) -> Iterator[Event]:
    frame = history.frames[fact.calib_type, fact.index]
    if frame.settled is not None and not frame.settled.reason:  # with a reason of its own, the event is the same
        yield from _settled_event(frame, history)


def _settled_event(frame: Frame, history: History) -> Iterator[Event]:
    if frame.settled is not None and frame.exposure_id:
        yield _image_ingested(frame, frame.settled, history)
