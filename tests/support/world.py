# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small observatory in memory: exposures, their raws, the datasets of jobs, and what is certified."""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
import uuid
from collections.abc import Mapping, Sequence

from lsst.ts.comcamcalib.butler_data import (
    AmplifierValues,
    CertifiedDataset,
    CertifiedRange,
    DatasetFound,
    DetectorValues,
    Predecessor,
    ProductValue,
    ReplacedDataset,
    VerificationStatistics,
    Withdrawal,
)
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.options import flat_pairs
from lsst.ts.comcamcalib.plan.request import JobRequest
from lsst.ts.comcamcalib.services.curve_values import curve_values, pair_values
from lsst.ts.comcamcalib.simulation.containers import PhotonTransferCurve

from support.curve_statistics import merged, statistics_of_curve
from support.withdrawing import Row, after, planned

__all__ = ["AMPLIFIERS", "Exposure", "FakeJob", "World"]

AMPLIFIERS = tuple(f"C{row}{column}" for row in (1, 0) for column in range(8))
FIRST_EXPOSURE = 2026112200001
VISITED = "r_03"
ELECTRONS_PER_SECOND = 15_000.0
FULL_WELL = 96_000.0
NO_PIXEL = tuple(ProductValue(name, "changed_fraction", 0.0, "") for name in AMPLIFIERS)
UNCHANGED = {
    **dict.fromkeys((CalibType.BIAS, CalibType.DARK, CalibType.FLAT), NO_PIXEL),
    CalibType.DEFECTS: (
        *(ProductValue("", name, 0.0, "") for name in ("new_fraction", "vanished_fraction", "new_columns")),
        ProductValue("", "overlap", 1.0, ""),
    ),
}
"""What a comparison gives of a product that is as its predecessor."""


@dataclasses.dataclass(frozen=True)
class Exposure:
    """One exposure that the camera took."""

    exposure_id: int
    kind: str
    exposure_time_s: float
    group_id: str
    begin: datetime.datetime = datetime.datetime(2026, 11, 22, 20)
    """When it was begun (TAI)."""

    @property
    def day_obs(self) -> int:
        """The day of observing, which changes at noon TAI."""
        return int(f"{self.begin - datetime.timedelta(hours=12):%Y%m%d}")

    @property
    def end(self) -> datetime.datetime:
        """When it ended (TAI)."""
        return self.begin + datetime.timedelta(seconds=self.exposure_time_s)

    @property
    def obs_id(self) -> str:
        """The camera's name of it."""
        return f"CC_O_20261122_{self.exposure_id % 100000:06d}"


@dataclasses.dataclass
class FakeJob:
    """A job, and what of it the request says."""

    job_id: str
    request: JobRequest
    label: str
    phase: str = "pending"
    ended: bool = False

    @property
    def inputs(self) -> list[str]:
        """Input collections, in order."""
        found = re.search(r"-i (\S+)", self.request.config)
        return found[1].split(",") if found else []

    @property
    def detectors(self) -> list[int]:
        """Detectors that it works on."""
        found = re.search(r"detector IN \(([^)]*)\)", self.request.data_query)
        assert found, self.request.data_query
        return [int(number) for number in found[1].split(",")]

    @property
    def exposures(self) -> list[int]:
        """Exposures that it works on."""
        found = re.search(r"exposure IN \(([^)]*)\)", self.request.data_query)
        return [int(number) for number in found[1].split(",")] if found else []

    @property
    def run_collection(self) -> str:
        """RUN collection of what it makes."""
        return f"u/ocps/{self.job_id}/run"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A dataset in a calibration collection."""

    collection: str
    dataset_type: str
    validity: tuple[str, str]
    dataset: DatasetFound


class World:
    """What there is; the fakes of the services read and change it."""

    def __init__(self, config: CscConfig) -> None:
        self.config = config
        self.exposures: dict[int, Exposure] = {}
        self.raws: set[tuple[int, int]] = set()
        self.filters: dict[int, str] = {}
        self.jobs: dict[str, FakeJob] = {}
        self.chains: dict[str, list[str]] = {}
        self.datasets: dict[tuple[str, str], list[DatasetFound]] = {}
        self.certificates: list[Certificate] = []
        self.ever_certified: list[Certificate] = []
        """What was in a collection and was replaced."""
        self.collections = {"LSSTComCam/raw/all", "LSSTComCam/calib"}
        self.filter = VISITED
        self.now = datetime.datetime(2026, 11, 22, 20)
        """When the next exposure begins (TAI)."""
        self.bad_amplifiers: dict[tuple[str, int], int] = {}
        """How many amplifiers of (type, detector) fail their verification."""
        self.missing: set[tuple[str, int]] = set()
        """Datasets (job label, detector) that jobs do not make although they complete."""
        self.missing_filters: set[str] = set()
        """Physical filters for which no datasets are made."""
        self.not_calibrated: set[tuple[str, int]] = set()
        """(dataset type, detector) of which the input collections have no calibration."""
        self.gain = 1.7
        self.defect_pixels = 30
        self.levels: dict[tuple[str, int], float] = {}
        """Level of a combined frame by product and detector, if it is not 1."""
        self.values_before: dict[str, dict[str, float]] = {}
        """What was certified before the run: values that differ, by dataset type and quantity."""
        self.lamp = 1.0
        """Brightness of the flat lamp, relative to its usual one; 0 is off."""
        self.lamp_of: dict[int, float] = {}
        """The same for single exposures, by id."""
        self.leaks: dict[int, float] = {}
        """Electrons that should not be in a bias or dark, by exposure id."""
        self.read_noise = 6.5

    def expose(self, kind: str, exposure_time_s: float, group_id: str) -> Exposure:
        """Take an exposure; its files are not in the repository yet."""
        exposure = Exposure(FIRST_EXPOSURE + len(self.exposures), kind, exposure_time_s, group_id, self.now)
        self.now = exposure.end + datetime.timedelta(seconds=2)
        self.exposures[exposure.exposure_id] = exposure
        self.filters[exposure.exposure_id] = self.filter
        return exposure

    def of_kind(self, kind: str) -> list[Exposure]:
        """Return the exposures of a type."""
        return [exposure for exposure in self.exposures.values() if exposure.kind == kind]

    def submit(self, request: JobRequest) -> FakeJob:
        """Make a job."""
        mark = request.output_dataset_types.split(",")[-1].removesuffix("*")
        job = FakeJob(f"job-{len(self.jobs) + 1:02d}", request, mark.rsplit("_", 2)[-2])
        self.jobs[job.job_id] = job
        return job

    def job(self, label: str) -> FakeJob:
        """Return the last job with a label."""
        return [job for job in self.jobs.values() if job.label == label][-1]

    def complete(self, job: FakeJob) -> None:
        """Do the work of a job."""
        inputs = [link for name in job.inputs for link in (name, *self.chains.get(name, ()))]
        chain = [job.run_collection, *inputs]
        self.chains[f"u/ocps/{job.job_id}"] = list(dict.fromkeys(chain))
        self.collections |= {f"u/ocps/{job.job_id}", job.run_collection}
        for recipe in self.config.recipes.values():
            for one in recipe.jobs:
                if one.label == job.label:
                    self.datasets[job.run_collection, one.dataset_type] = list(self._made(job, one.dimensions))

    def _made(self, job: FakeJob, dimensions: str) -> list[DatasetFound]:
        kinds: list[str | None] = [None]
        pairs: list[int | None] = [None]
        flats = sorted(exposure.exposure_id for exposure in self.of_kind("FLAT"))
        if dimensions == "detector+physical_filter":
            kinds = [*sorted({self.filters[exposure] for exposure in flats} - self.missing_filters)]
        if dimensions == "detector+exposure_pair":
            times = [self.exposures[exposure].exposure_time_s for exposure in sorted(job.exposures)]
            pairs = [sorted(job.exposures)[first] for first, _ in flat_pairs(times)]
        return [
            DatasetFound(str(uuid.uuid4()), detector, kind, pair, job.run_collection)
            for detector in job.detectors
            if (job.label, detector) not in self.missing
            for kind in kinds
            for pair in pairs
        ]

    def used_by(self, job_collection: str, dataset_type: str, detector: int) -> str | None:
        """Return the RUN collection of the dataset that a job with this chain has used; None: there was none."""
        for name in self.chains.get(job_collection, []):
            for one in self.datasets.get((name, dataset_type), []):
                if one.detector == detector:
                    return one.run
            for certificate in self.certificates:
                found = certificate.dataset
                if (certificate.collection, certificate.dataset_type) == (name, dataset_type) and (
                    found.detector == detector
                ):
                    return found.run
        return None

    def certify(
        self, run: str, dataset_type: str, collection: str, validity: tuple[str, str], ids: Sequence[str]
    ) -> tuple[list[CertifiedDataset], list[ReplacedDataset]]:
        """Put datasets in a calibration collection."""
        chosen = [one for one in self.datasets.get((run, dataset_type), []) if one.dataset_id in ids]
        replaced = self.replaced_by(run, dataset_type, collection, validity, ids)
        gone = {one.dataset_id for one in replaced} | set(ids)
        self.ever_certified += self.certificates
        self.certificates = [
            old
            for old in self.certificates
            if old.dataset.dataset_id not in gone or (old.collection, old.validity) != (collection, validity)
        ]
        self.certificates += [Certificate(collection, dataset_type, validity, one) for one in chosen]
        self.collections.add(collection)
        return [CertifiedDataset(one.dataset_id, one.detector, one.physical_filter) for one in chosen], replaced

    def replaced_by(
        self, run: str, dataset_type: str, collection: str, validity: tuple[str, str], ids: Sequence[str]
    ) -> list[ReplacedDataset]:
        """Return what such a certification would replace."""
        chosen = [one for one in self.datasets.get((run, dataset_type), []) if one.dataset_id in ids]
        places = {(one.detector, one.physical_filter) for one in chosen}
        return [
            ReplacedDataset(
                old.dataset.dataset_id,
                old.dataset.detector,
                old.dataset.physical_filter,
                *old.validity,
                old.dataset.run,
            )
            for old in self.certificates
            if (old.collection, old.dataset_type, old.validity) == (collection, dataset_type, validity)
            and (old.dataset.detector, old.dataset.physical_filter) in places
            and old.dataset.dataset_id not in ids
        ]

    def _rows(self) -> list[Row]:
        return [Row(one.collection, one.dataset_type, *one.validity, one.dataset) for one in self.certificates]

    def _known(self) -> list[DatasetFound]:
        replaced = (one.dataset for one in self.ever_certified)
        return [*(one for some in self.datasets.values() for one in some), *replaced]

    def withdrawal(self, wanted: Withdrawal) -> Withdrawal:
        """Return what must change to undo certifications."""
        return planned(self._rows(), self._known(), wanted)

    def withdraw(self, done: Withdrawal) -> None:
        """Undo certifications."""
        self.certificates = [
            Certificate(row.collection, row.dataset_type, (row.begin, row.end), row.dataset)
            for row in after(self._rows(), self._known(), done)
        ]

    def certificates_of(self, dataset_ids: Sequence[str], collection: str) -> list[CertifiedRange]:
        """Return what datasets are certified for."""
        return [
            CertifiedRange(one.dataset.dataset_id, *one.validity)
            for one in self.certificates
            if one.dataset.dataset_id in dataset_ids and one.collection == collection
        ]

    def certified(self, dataset_type: str) -> list[DatasetFound]:
        """Return what is certified of a type, in whatever collection."""
        return [one.dataset for one in self.certificates if one.dataset_type == dataset_type]

    def statistics(self, run_collection: str, physical_filter: str | None) -> VerificationStatistics:
        """Return what cp_verify would have written, in its shapes."""
        job = next(job for job in self.jobs.values() if job.run_collection == run_collection)
        product = next(
            name
            for name, recipe in self.config.recipes.items()
            if recipe.verification is not None and recipe.verification.label == job.label
        )
        if product == "PTC":
            return self._statistics_of_curves(job)
        exposures = [one for one in job.exposures if physical_filter in (None, self.filters[one])]
        details: dict[tuple[int | None, int], Mapping[object, object]] = {}
        run_level: dict[object, object] = {}
        exposure_level: dict[int, dict[object, object]] = {}
        for exposure in exposures:
            failures: list[str] = []
            success = True
            exposure_level[exposure] = {}
            for detector in job.detectors:
                if (job.label, detector) in self.missing:
                    continue
                bad = self.bad_amplifiers.get((product, detector), 0)
                details[exposure, detector] = self._detector_statistics(product, bad, exposure, len(exposures))
                success = success and not bad
                full_name = self.config.instrument.detector_names[detector]
                failed = [f"{name} NOISE" for name in AMPLIFIERS[:bad]]
                exposure_level[exposure][full_name] = {"SUCCESS": not bad, **({"FAILURES": failed} if bad else {})}
                # The run's statistics of flats show that amplifiers failed, but not which.
                if product != "FLAT":
                    failures += [f"{full_name} {one}" for one in failed]
            exposure_level[exposure]["SUCCESS"] = success
            run_level[exposure] = {"SUCCESS": success, **({} if success else {"FAILURES": failures})}
        run_level["SUCCESS"] = all(entry["SUCCESS"] for entry in run_level.values())  # type: ignore[index]
        return VerificationStatistics(run_level, details, exposure_level)

    def _statistics_of_curves(self, job: FakeJob) -> VerificationStatistics:
        bad = {one: AMPLIFIERS[: self.bad_amplifiers.get(("PTC", one), 0)] for one in job.detectors}
        curves = {
            detector: statistics_of_curve(AMPLIFIERS, failed, noise=self.read_noise)
            for detector, failed in bad.items()
            if (job.label, detector) not in self.missing
        }
        names = self.config.instrument.detector_names
        of_run = merged({names[detector]: one for detector, one in curves.items()})
        return VerificationStatistics(of_run, {(None, detector): one for detector, one in curves.items()})

    def light(self, exposure_id: int) -> float:
        """Return the electrons that a flat has in each pixel."""
        exposure = self.exposures[exposure_id]
        lamp = self.lamp_of.get(exposure_id, self.lamp)
        return min(ELECTRONS_PER_SECOND * exposure.exposure_time_s * lamp, FULL_WELL)

    def _detector_statistics(self, product: str, bad: int, exposure_id: int, exposures: int) -> Mapping[object, object]:
        tests = ("NOISE",) if product == "FLAT" else ("MEAN", "NOISE", "CR_NOISE")
        verify = {
            name: {**{test: test != "NOISE" or index >= bad for test in tests}, "SUCCESS": index >= bad}
            for index, name in enumerate(AMPLIFIERS)
        }
        whole = {"DET": {"SCATTER": True, "SUCCESS": True}} if product == "FLAT" else {}
        mean, noise = 0.1 + self.leaks.get(exposure_id, 0.0), self.read_noise
        if product == "FLAT":
            mean = self.light(exposure_id)
            noise = 6.0 if mean >= FULL_WELL else math.sqrt(mean)
        # What is made of these very frames has its part of their noise.
        if any(job.label == self.config.recipes[product].jobs[-1].label for job in self.jobs.values()):
            noise *= math.sqrt(1 - 1 / exposures)
        return {
            "AMP": {name: {"MEAN": mean, "NOISE": noise} for name in AMPLIFIERS},
            "VERIFY": {"AMP": verify, **whole},
            "SUCCESS": bad == 0,
        }

    def raw_levels(self, exposure_id: int) -> dict[str, float]:
        """Return the levels (adu) of a raw."""
        return dict.fromkeys(AMPLIFIERS, self.light(exposure_id) / self.gain)

    def predecessors(self, dataset_type: str, detectors: Sequence[int]) -> dict[int, Predecessor]:
        """Return what is certified before the run: one for each detector, if the test says what its values are."""
        if dataset_type not in self.values_before:
            return {}
        return {one: Predecessor(f"before-{dataset_type}-{one}", "LSSTComCam/calib/initial") for one in detectors}

    def product_values(
        self, calib_type: CalibType, dataset_ids: Sequence[str], predecessor_id: str = ""
    ) -> DetectorValues:
        """Return what is measured in the product of a detector."""
        own = [
            (run, name, one)
            for (run, name), some in self.datasets.items()
            for one in some
            if one.dataset_id in dataset_ids
        ]
        assert len(own) == len(dataset_ids), "only what is there can be measured"
        if calib_type in (CalibType.PTC, CalibType.GAIN):
            curves = [
                PhotonTransferCurve(list(found.gain), "POLYNOMIAL", gain=dict(found.gain), noise=dict(found.noise))
                for run, name, one in own
                for found in [self.amplifiers(run, name)[one.exposure or 0, one.detector or 0]]
            ]
            values = list(pair_values(curves)) if calib_type is CalibType.GAIN else list(curve_values(curves[0]))
        elif calib_type is CalibType.DEFECTS:
            values = [ProductValue("", "defect_fraction", self.defect_pixels / 10_000, "")]
        else:
            detector = own[0][2].detector or 0
            measured = {CalibType.BIAS: "level", CalibType.DARK: "dark_rate", CalibType.FLAT: "response"}[calib_type]
            usual = 0.02 if calib_type is CalibType.DARK else 1.0
            level = self.levels.get((calib_type.name, detector), usual)
            values = [ProductValue(name, measured, level, "") for name in AMPLIFIERS]
            if calib_type is CalibType.BIAS:
                values += [ProductValue(name, "noise", self.read_noise, "electron") for name in AMPLIFIERS]
        if not predecessor_id:
            return DetectorValues(tuple(values))
        before = self.values_before[predecessor_id.split("-")[1]]
        return DetectorValues(
            tuple(values),
            before=tuple(dataclasses.replace(one, value=before.get(one.quantity, one.value)) for one in values),
            changes=UNCHANGED.get(calib_type, ()),
        )

    def amplifiers(self, run_collection: str, dataset_type: str) -> dict[tuple[int, int], AmplifierValues]:
        """Return gains and noises by (exposure id or 0, detector)."""
        values = AmplifierValues(dict.fromkeys(AMPLIFIERS, self.gain), dict.fromkeys(AMPLIFIERS, 6.5))
        found = self.datasets.get((run_collection, dataset_type), [])
        return {(one.exposure or 0, one.detector): values for one in found if one.detector is not None}
