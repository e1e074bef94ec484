# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stages of one run share: the record with its history, the services, and what is only of the moment."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

from ..clock import Clock
from ..config import CscConfig
from ..enums import CalibType
from ..options import flat_pairs
from ..plan.estimate import urgency
from ..plan.plan import RunPlan
from ..record.history import History
from ..record.record import Record
from ..services.butler import ButlerService
from ..services.camera import Camera
from ..services.components import Components
from ..services.jobs import Jobs
from ..services.oods import Oods
from ..services.reporter import Reporter
from ..services.uws import Uws
from .ledger import IngestLedger
from .places import Places

__all__ = ["RunContext", "Services"]


@dataclasses.dataclass(frozen=True)
class Services:
    """The connections to the outside that a run uses."""

    camera: Camera
    components: Components
    oods: Oods
    jobs: Jobs
    uws: Uws
    repository: ButlerService
    reporter: Reporter


class RunContext:
    """What the stages of one run share. What must outlive the process is not here, but a fact in the record.

    Parameters
    ----------
    record
        The record of the run, with its plan.
    services
        The connections to the outside.
    clock
        The clock.
    """

    def __init__(self, record: Record, services: Services, clock: Clock) -> None:
        self.record = record
        self.services = services
        self.clock = clock
        self.ledger = IngestLedger(self.plan.options.detectors)
        self.never_delivered: set[int] = set()
        """Detectors of which no file arrives any more, so that taking frames again does not help."""
        self.camera_lock = asyncio.Lock()
        """Held while a frame is taken, so that stages take frames one at a time."""
        self.certify_lock = asyncio.Lock()
        """Held while something is certified, because one certification may follow from another."""
        self.places = Places(self.config.max_jobs)
        """Places for the run's jobs at the UWS."""
        self.urgency = urgency(self.plan)
        """How urgent each job is, by label: the time from its begin to the end of the run (seconds)."""
        self.finish_exposure = True
        """Whether a stage that is cancelled waits until the exposure in progress is read out."""
        # Collections that are known to exist, so that the repository is asked for each only once.
        self._collections_seen: set[str] = set()

    @property
    def history(self) -> History:
        """What has happened in the run so far."""
        return self.record.history

    @property
    def plan(self) -> RunPlan:
        """What the run does."""
        return self.record.history.plan

    @property
    def run_id(self) -> str:
        """Identifier of the run."""
        return self.plan.run_id

    @property
    def config(self) -> CscConfig:
        """The configuration with which the run was accepted."""
        return self.plan.config

    def unwell(self, *components: str) -> str:
        """Return sentences about those of the components that have failed, to be added to another; "" if none has."""
        unwell = self.services.components.unwell()
        return "".join(f". {str(one).removesuffix('.')}" for one in unwell if one.component in components)

    async def existing(self, collections: Sequence[str]) -> list[str]:
        """Return those of some collections that exist, in the same order.

        Raises
        ------
        ServiceError
            If the repository does not answer.
        """
        if unknown := [name for name in collections if name not in self._collections_seen]:
            missing = await self.services.repository.missing_collections(unknown)
            self._collections_seen |= set(unknown) - set(missing)
        return [name for name in collections if name in self._collections_seen]

    @property
    def flat_pairs(self) -> int:
        """Number of pairs that cp_pipe will make from the flats that count."""
        return len(flat_pairs([frame.exposure_time_s for frame in self.history.used(CalibType.FLAT)]))
