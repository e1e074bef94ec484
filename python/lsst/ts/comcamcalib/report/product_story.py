# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal says of a run's products, as sections of the report; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from ..enums import CalibType, StageKind
from ..findings import Finding
from ..plan.validity import tai_unix
from ..record import facts
from ..record.history import History
from ..record.things import Certification
from . import data

__all__ = ["drifts", "measurements", "products"]


def products(history: History) -> tuple[data.ProductSection, ...]:
    """Return a section for each type of calibration that the run makes or verifies."""
    types = dict.fromkeys(
        stage.calib_type for stage in history.plan.stages if stage.kind in (StageKind.GENERATE, StageKind.VERIFY)
    )
    return tuple(_product(calib_type, history) for calib_type in sorted(types))


def _product(calib_type: CalibType, history: History) -> data.ProductSection:
    product = history.product(calib_type)
    certifications = [one for one in history.certifications.values() if one.intent.calib_type is calib_type]
    datasets = product.datasets if product is not None else ()
    return data.ProductSection(
        calib_type=calib_type.name,
        dataset_type=history.plan.recipe(calib_type).dataset_type,
        made=product is not None,
        job_id=product.job_id if product is not None else "",
        run_collection=product.run_collection if product is not None else "",
        datasets=tuple(
            data.DatasetRow(
                dataset_id=one.dataset_id,
                detector=one.detector,
                physical_filter=one.physical_filter,
                exposure=one.exposure,
            )
            for one in datasets
        ),
        verdicts=tuple(_verdict(one, history) for one in history.verdicts_of(calib_type)),
        certifications=tuple(map(_certification, certifications)),
        fetch=_fetch(calib_type, history),
        undo=f"comcamcalib decertify {history.run_id} {calib_type.name} --reason …"
        if any(one.done and one.withdrawn is None for one in certifications)
        else "",
    )


def _fetch(calib_type: CalibType, history: History) -> tuple[str, ...]:
    """Return lines of Python that read a dataset of a product: as it is certified, if it is, and as it was made."""
    product = history.product(calib_type)
    if product is None or not product.datasets:
        return ()
    instrument = history.plan.config.instrument.name
    standing = [
        one
        for one in history.certifications.values()
        if one.intent.calib_type is calib_type and one.done and one.withdrawn is None
    ]
    lines = []
    shown = product.datasets[0]
    if standing:
        intent = standing[-1].intent
        # Detectors that were left out are not certified; in their place an older calibration would be found.
        shown = next((one for one in product.datasets if one.dataset_id in intent.dataset_ids), shown)
        if shown.dataset_id in intent.dataset_ids and (exposure := _covered_exposure(intent, history)):
            by_exposure = {"instrument": instrument, "detector": shown.detector, "exposure": exposure}
            lines.append(_get(product.dataset_type, by_exposure, intent.collection))
    by_itself = {
        "instrument": instrument,
        "detector": shown.detector,
        "physical_filter": shown.physical_filter,
        "exposure": shown.exposure,
    }
    return (*lines, _get(product.dataset_type, by_itself, product.run_collection))


def _covered_exposure(intent: facts.CertifyIntended, history: History) -> int:
    """Return the latest exposure of a product's own frames in its validity, by which it can be looked up; 0: none.

    For a flat, the exposure also gives the filter.
    """
    begin_s = tai_unix(intent.validity_begin) if intent.validity_begin else -math.inf
    end_s = tai_unix(intent.validity_end) if intent.validity_end else math.inf
    frames = history.plan.recipe(intent.calib_type).frames
    covered = [
        frame.exposure_id
        for name in frames
        for frame in history.used(CalibType[name])
        if begin_s <= frame.taken_s and frame.taken_s + frame.exposure_time_s < end_s
    ]
    return covered[-1] if covered else 0


def _get(dataset_type: str, data_id: Mapping[str, object], collection: str) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in data_id.items() if value is not None)
    return f"butler.get({dataset_type!r}, {arguments}, collections={collection!r})"


def _verdict(given: facts.VerdictGiven, history: History) -> data.VerdictSection:
    names = history.plan.detector_names
    accepted = history.accepted_verdicts.get((given.calib_type, given.physical_filter))
    return data.VerdictSection(
        physical_filter=given.physical_filter,
        attempt=given.attempt,
        verdict=given.verdict.name,
        reason=given.reason,
        job_id=given.job_id,
        accepted_by=accepted.who if accepted is not None else "",
        accepted_because=accepted.why if accepted is not None else "",
        exposures_expected=given.exposures_expected,
        exposures_verified=given.exposures_verified,
        detectors_expected=given.detectors_expected,
        detectors_verified=given.detectors_verified,
        tests_failed=given.tests_failed,
        failures_by_test=given.failures_by_test,
        detectors=tuple(
            data.DetectorRow(
                detector=one.detector,
                name=one.detector_name,
                tests_failed=one.tests_failed,
                exposures_failed=one.exposures_failed,
                amplifiers_failed=one.amplifiers_failed,
                failures_by_test=one.failures_by_test,
                signal=one.signal,
                noise=one.noise,
                left_out=one.detector in given.left_out,
            )
            for one in given.detectors
        ),
        left_out=tuple(names.get(one, str(one)) for one in given.left_out),
        findings=tuple(_finding(one, history) for one in given.findings),
        findings_dropped=given.findings_dropped,
    )


def _finding(finding: Finding, history: History) -> data.FindingRow:
    names = history.plan.detector_names
    return data.FindingRow(
        rule=finding.rule,
        outcome=finding.outcome.name,
        quantity=finding.quantity,
        detector="" if finding.detector is None else names.get(finding.detector, str(finding.detector)),
        amplifier=finding.amplifier,
        exposure=finding.exposure,
        value=finding.value,
        limit=finding.limit,
        unit=finding.unit,
        detail=finding.detail,
        kind=finding.kind,
    )


def _certification(one: Certification) -> data.Certification:
    intent, outcome = one.intent, one.outcome
    return data.Certification(
        number=intent.number,
        stage_name=intent.stage_name,
        outcome=_outcome(one),
        verdict=intent.verdict.name if intent.verdict is not None else "",
        dataset_type=intent.dataset_type,
        collection=intent.collection,
        output_collection=intent.output_collection,
        validity_begin=intent.validity_begin,
        validity_end=intent.validity_end,
        dataset_ids=intent.dataset_ids,
        replaces=tuple(
            data.RangeRow(
                dataset_id=one.dataset_id,
                run_collection=one.run_collection,
                detector=one.detector,
                physical_filter=one.physical_filter,
                validity_begin=one.validity_begin,
                validity_end=one.validity_end,
            )
            for one in intent.replaces
        ),
        remarks=intent.remarks,
        reason=outcome.reason if outcome is not None else "whether it was done is not known",
        withdrawn=one.withdrawn.words if one.withdrawn is not None else "",
    )


def _outcome(one: Certification) -> Literal["certified", "not certified", "unknown", "withdrawn"]:
    if one.withdrawn is not None:
        return "withdrawn"
    if one.outcome is None:
        return "unknown"
    return "certified" if one.done else "not certified"


def measurements(history: History) -> data.Measurements:
    """Return what was measured in the products."""
    rows = [(measured, one) for measured in history.measured.values() for one in measured.values]
    return data.Measurements(
        calib_type=tuple(measured.calib_type.name for measured, _ in rows),
        physical_filter=tuple(measured.physical_filter for measured, _ in rows),
        detector=tuple(one.detector for _, one in rows),
        amplifier=tuple(one.amplifier for _, one in rows),
        quantity=tuple(one.quantity for _, one in rows),
        value=tuple(one.value for _, one in rows),
        unit=tuple(one.unit for _, one in rows),
    )


def drifts(history: History) -> tuple[data.DriftRow, ...]:
    """Return how the products differ from those that were certified before."""
    names = history.plan.detector_names
    return tuple(
        data.DriftRow(
            calib_type=measured.calib_type.name,
            physical_filter=measured.physical_filter,
            detector=one.detector,
            name=names.get(one.detector, str(one.detector)),
            drift=one.drift,
            by_quantity=dict(sorted(one.by_quantity.items(), key=lambda item: -item[1])),
            compared_with=one.compared_with,
        )
        for measured in history.measured.values()
        for one in measured.drifts
    )
