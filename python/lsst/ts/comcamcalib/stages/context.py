# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stages of one run share: the plan, the services, the record, and results of earlier stages."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence

from ..config import CscConfig
from ..enums import CalibType
from ..options import flat_pairs
from ..plan.plan import RunPlan
from ..plan.record import ImageTaken, JobState, Record
from ..plan.request import job_collection
from ..plan.validity import Validity
from ..services.butler import DatasetFound, Repository
from ..services.camera import Camera
from ..services.components import Components
from ..services.jobs import Jobs, JobStatus
from ..services.oods import Oods
from ..services.uws import Uws
from .ledger import IngestLedger
from .news import News

__all__ = ["Frames", "Product", "RunContext", "Services", "job_state"]


@dataclasses.dataclass(frozen=True)
class Services:
    """The connections to the outside that a run uses."""

    camera: Camera
    components: Components
    oods: Oods
    jobs: Jobs
    uws: Uws
    repository: Repository


@dataclasses.dataclass
class Frames:
    """The exposures of one type taken so far."""

    taken: list[ImageTaken] = dataclasses.field(default_factory=list)
    lost: set[int] = dataclasses.field(default_factory=set)
    """Exposure ids of frames that were given up as lost."""
    news: News = dataclasses.field(default_factory=News)
    """Notified when a frame was taken or the acquisition ended."""
    acquisition_ended: bool = False

    @property
    def used(self) -> list[ImageTaken]:
        """Frames that count: neither discarded nor lost."""
        return [image for image in self.taken if not image.discarded and image.exposure_id not in self.lost]


@dataclasses.dataclass(frozen=True)
class Product:
    """The datasets that one generation made."""

    dataset_type: str
    job_id: str
    datasets: tuple[DatasetFound, ...]

    @property
    def run_collection(self) -> str:
        """RUN collection with the datasets."""
        return f"{job_collection(self.job_id)}/run"

    @property
    def ids(self) -> list[str]:
        """UUIDs of the datasets."""
        return [dataset.dataset_id for dataset in self.datasets]


class RunContext:
    """What the stages of one run share.

    Parameters
    ----------
    plan
        The plan of the run.
    services
        The connections to the outside.
    record
        Where everything that happens is recorded.
    """

    def __init__(self, plan: RunPlan, services: Services, record: Record) -> None:
        self.plan = plan
        self.services = services
        self.record = record
        self.ledger = IngestLedger(plan.options.detectors)
        self.frames: Mapping[CalibType, Frames] = {calib_type: Frames() for calib_type in plan.sequences}
        self.never_delivered: set[int] = set()
        """Detectors of which no file arrives any more, so that taking frames again does not help."""
        self.products: dict[CalibType, Product] = {}
        self.certified: dict[CalibType, Validity] = {}
        """Validity of each product that is certified."""
        self.job_ids: dict[str, str] = {}
        """Id of the job that was run for each label of the plan's jobs."""
        self.submitted_jobs: list[tuple[str, str]] = []
        """Stage name and job id of every job, failed ones too, in the order of submission."""
        # Collections that are known to exist, so that the repository is asked for each only once.
        self._collections_seen: set[str] = set()
        self.bad_frames: dict[CalibType, str] = {}
        """Why no product made from the frames of a type can be good; only types whose frames are bad have an entry."""
        self.camera_lock = asyncio.Lock()
        """Held while a frame is taken, so that stages take frames one at a time."""
        self.no_more_exposures = ""
        """Why no further exposure may be taken; empty if it may."""
        self.finish_exposure = True
        """Whether a stage that is cancelled waits until the exposure in progress is read out."""

    @property
    def run_id(self) -> str:
        """Identifier of the run."""
        return self.plan.run_id

    @property
    def config(self) -> CscConfig:
        """The CSC's configuration."""
        return self.plan.config

    def exposure_ids(self, calib_type: CalibType) -> tuple[int, ...]:
        """Return the exposures of a type that count, in the order in which they were taken."""
        return tuple(image.exposure_id for image in self.frames[calib_type].used)

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
        used = sorted(self.frames[CalibType.FLAT].used, key=lambda image: image.exposure_id)
        return len(flat_pairs([image.exposure_time for image in used]))


def job_state(status: JobStatus, run_id: str, stage_name: str, calib_type: CalibType, config: CscConfig) -> JobState:
    """Return the entry about a job of a stage for the record of a run."""
    return JobState(
        run_id=run_id,
        stage_name=stage_name,
        calib_type=calib_type,
        job_id=status.job_id,
        phase=str(status.phase),
        exit_code=status.exit_code,
        output_collection=job_collection(status.job_id),
        log_url=f"{config.uws_url.rstrip('/')}/job/{status.job_id}/results",
        log_path=config.log_path_pattern.format(job_id=status.job_id),
        message=status.message,
        timestamp_submitted=status.timestamp_submitted_s,
        timestamp_ended=status.timestamp_ended_s,
    )
