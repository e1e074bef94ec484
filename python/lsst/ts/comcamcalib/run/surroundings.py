# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other components during a run: if one that the run still needs fails, it is named at once."""

from __future__ import annotations

import asyncio
import logging

from ..enums import StageKind
from ..instrument import Instrument
from ..record.history import STAGE_ENDED
from ..services.components import Components
from .recorder import Recorder

__all__ = ["watch_components"]

# Only the clock shows that heartbeats are missing, so all components are checked this often (seconds).
LOOK_INTERVAL_S = 1.0


async def watch_components(record: Recorder, components: Components, instrument: Instrument) -> None:
    """Note failed components in the run's record and in the log, until this is cancelled.

    Parameters
    ----------
    record
        The run's record.
    components
        States of the components.
    instrument
        The instrument, which names its components.
    """
    try:
        while True:
            try:
                _look(record, components, instrument)
            except Exception:
                logging.getLogger(__name__).exception("Bug: the components could not be checked")
            await asyncio.sleep(LOOK_INTERVAL_S)
    finally:
        record.unwell = ()


def _needed(kind: StageKind, instrument: Instrument) -> tuple[str, ...]:
    """Return the components that a stage needs; INGEST needs the camera, too, because it takes lost frames again."""
    if kind in (StageKind.ACQUIRE, StageKind.INGEST):
        return instrument.frame_components
    return (instrument.ocps,) if kind in (StageKind.GENERATE, StageKind.VERIFY) else ()


def _look(record: Recorder, components: Components, instrument: Instrument) -> None:
    logger = logging.getLogger(__name__)
    run_id = record.history.run_id
    unwell = components.unwell()
    if not unwell and not record.unwell:
        return
    kinds = {stage.kind for stage in record.history.stages.values() if stage.state not in STAGE_ENDED}
    needed = {name for kind in kinds for name in _needed(kind, instrument)}
    found = tuple(one for one in unwell if one.component in needed)
    for one in found:
        if one not in record.unwell:
            logger.warning("Run %s: %s The run needs it, and waits within its limits.", run_id, one)
    for name in {one.component for one in record.unwell} - {one.component for one in unwell}:
        logger.warning("Run %s: %s has recovered.", run_id, name)
    record.unwell = found
