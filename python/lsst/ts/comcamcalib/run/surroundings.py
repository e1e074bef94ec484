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
from ..record.history import STAGE_ENDED
from ..services.components import Components
from .recorder import Recorder

__all__ = ["watch_components"]

# Only the clock shows that heartbeats are missing, so all components are checked this often (seconds).
LOOK_INTERVAL_S = 1.0

# Components that a stage needs. INGEST also needs the camera, because it takes lost frames again. The OCPS has a
# configured index.
_NEEDED = {
    StageKind.ACQUIRE: ("CCCamera", "CCHeaderService", "CCOODS"),
    StageKind.INGEST: ("CCCamera", "CCHeaderService", "CCOODS"),
    StageKind.GENERATE: ("OCPS",),
    StageKind.VERIFY: ("OCPS",),
}


async def watch_components(record: Recorder, components: Components) -> None:
    """Note failed components in the run's record and in the log, until this is cancelled.

    Parameters
    ----------
    record
        The run's record.
    components
        States of the components.
    """
    try:
        while True:
            try:
                _look(record, components)
            except Exception:
                logging.getLogger(__name__).exception("Bug: the components could not be checked")
            await asyncio.sleep(LOOK_INTERVAL_S)
    finally:
        record.unwell = ()


def _look(record: Recorder, components: Components) -> None:
    logger = logging.getLogger(__name__)
    run_id = record.history.run_id
    unwell = components.unwell()
    kinds = {stage.kind for stage in record.history.stages.values() if stage.state not in STAGE_ENDED}
    needed = {name for kind in kinds for name in _NEEDED.get(kind, ())}
    found = tuple(one for one in unwell if one.component.split(":")[0] in needed)
    for one in found:
        if one not in record.unwell:
            logger.warning("Run %s: %s The run needs it, and waits within its limits.", run_id, one)
    for name in {one.component for one in record.unwell} - {one.component for one in unwell}:
        logger.warning("Run %s: %s has recovered.", run_id, name)
    record.unwell = found
