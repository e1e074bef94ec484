# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One event of each kind, for tests that only need some."""

from __future__ import annotations

from lsst.ts.comcamcalib.enums import CalibType, CertificationState, RunState, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.record.events import (
    Alarms,
    Certification,
    DetectorMeasurement,
    DetectorVerification,
    Event,
    GainEstimate,
    ImageIngested,
    ImageTaken,
    JobState,
    LargeFile,
    RunConfiguration,
    RunStatus,
    StageStatus,
    VerificationResult,
)

from support.plans import RUN_ID

__all__ = ["one_of_each", "run_status"]

NAN = float("nan")


def run_status(state: RunState = RunState.RUNNING, **fields: object) -> RunStatus:
    """Return the state of a run."""
    values: dict[str, object] = {
        "run_id": RUN_ID,
        "script_mode": "BIAS",
        "requested_by": "op@console",
        "reason": "The run is in progress",
        "calib_collection": "LSSTComCam/calib/daily",
        "repo": "/repo/LSSTComCam",
        "images_expected": 2,
        "estimated_duration": 634.5,
        "timestamp_accepted": 1.8e9,
        "timestamp_started": 1.8e9 + 1,
    }
    return RunStatus(state=state, **{**values, **fields})  # type: ignore[arg-type]


def one_of_each() -> list[Event]:
    """Return an event of each kind, with a value of its own in each field."""
    product = {"run_id": RUN_ID, "calib_type": CalibType.FLAT, "physical_filter": "r_03"}
    return [
        run_status(),
        RunConfiguration(run_id=RUN_ID, config='{"script_mode": "BIAS"}'),
        StageStatus(
            run_id=RUN_ID,
            stage_name="BIAS.VERIFY",
            calib_type=CalibType.BIAS,
            stage_kind=StageKind.VERIFY,
            state=StageState.FAILED,
            attempt=2,
            job_id="job-02",
            reason="BIAS is FAILED: …",
            timestamp_started=1.8e9,
            timestamp_ended=1.8e9 + 60.25,
        ),
        ImageTaken(
            run_id=RUN_ID,
            image_type=CalibType.DARK,
            exposure_id=2026112200001,
            obs_id="CC_O_20261122_000001",
            exposure_time=30.0,
            image_index=3,
            images_in_sequence=20,
            discarded=True,
            timestamp_taken=1.8e9,
        ),
        ImageIngested(
            run_id=RUN_ID,
            exposure_id=2026112200001,
            obs_id="CC_O_20261122_000001",
            detectors_expected=9,
            detectors_ingested=7,
            detectors_failed=1,
            missing="R22_S00,R22_S22",
            reason="the OODS says: no space",
        ),
        JobState(
            run_id=RUN_ID,
            stage_name="BIAS.GENERATE",
            calib_type=CalibType.BIAS,
            job_id="job-01",
            phase="error",
            exit_code=1,
            output_collection="u/ocps/job-01",
            log_url="http://uws/job/job-01/results",
            log_path="/scratch/uws/job-01/outs/ocps.log",
            message='RuntimeError: "quoted"',
            timestamp_submitted=1.8e9,
            timestamp_ended=1.8e9 + 7,
        ),
        VerificationResult(
            **product,  # type: ignore[arg-type]
            attempt=2,
            verdict=Verdict.PASSED_WITH_FAILURES,
            job_id="job-02",
            output_collection="u/ocps/job-02",
            exposures_expected=20,
            exposures_verified=19,
            detectors_expected=9,
            detectors_verified=8,
            tests_failed=7,
            exposures_failed=6,
            exposures_failed_threshold=11,
            tests_failed_threshold=40,
            failures_by_test='{"NOISE": 7}',
            reason="…",
        ),
        DetectorVerification(
            **product,  # type: ignore[arg-type]
            detector=4,
            detector_name="R22_S11",
            tests_failed=7,
            exposures_failed=6,
            amplifiers_failed=5,
            failures_by_test='{"NOISE": 7}',
            signal=1234.5,
            noise=NAN,
        ),
        DetectorMeasurement(
            **product,  # type: ignore[arg-type]
            detector=4,
            detector_name="R22_S11",
            level=1234.5,
            noise=6.25,
            dark_rate=0.02,
            gain=1.5,
            turnoff=NAN,
            defect_fraction=0.001,
            drift=0.4,
            compared_with="LSSTComCam/calib/daily 0199",
        ),
        GainEstimate(
            run_id=RUN_ID,
            exposure_id=2026112200041,
            detector=4,
            detector_name="R22_S11",
            gain=(NAN, *(1.5 + number / 100 for number in range(15))),
            noise=(*(6.0 + number / 100 for number in range(15)), NAN),
        ),
        Certification(
            run_id=RUN_ID,
            calib_type=CalibType.BIAS,
            state=CertificationState.CERTIFIED,
            dataset_type="bias",
            collection="LSSTComCam/calib/daily",
            output_collection="u/ocps/job-01/run",
            validity_begin="2026-11-22T12:00:00",
            validity_end="",
            dataset_count=9,
            reason="",
        ),
        LargeFile(
            url="file:///reports/ComCamCalib-20261122-001.html",
            generator="ComCamCalib:report",
            version=1.0,
            byte_size=1_500_000,
            check_sum="0123456789abcdef0123456789abcdef",
            mime_type="text/html",
            id=RUN_ID,
        ),
        Alarms(
            run_id=RUN_ID,
            run_failed=True,
            verification_failed=True,
            certification_failed=False,
            backend_unreachable=True,
            operator_decision_needed=True,
            journal_degraded=False,
            reason="…",
        ),
    ]
