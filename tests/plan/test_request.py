# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the OCPS gets for a job, and the line that its worker makes of it."""

from __future__ import annotations

import shlex

from lsst.ts.comcamcalib.plan.plan import JobPlan
from lsst.ts.comcamcalib.plan.request import job_collection, job_request, pipetask_line, run_collection
from lsst.ts.comcamcalib.simulation.worker_process import commands
from support.plans import make_plan

MARK = "20261122-001_DARK.GENERATE_cpDark_1*"
PLAN = make_plan(config_options_dark="-c cpDarkIsr:doDefect=False", n_processes=3)


def job(label: str) -> JobPlan:
    return next(job for stage in PLAN.stages for job in stage.jobs if job.label == label)


def test_fields_of_a_job_with_frames_own_inputs_and_more_options() -> None:
    request = job_request(
        job("cpDark"),
        PLAN,
        exposures=[2026112200003, 2026112200004],
        job_ids=["b1"],
        collections=["a/b", "c"],
        mark=MARK,
    )
    assert request.pipeline == "${CP_PIPE_DIR}/pipelines/LSSTComCam/cpDark.yaml"
    assert request.data_query == (
        "instrument='LSSTComCam' AND detector IN (0, 1, 4) AND exposure IN (2026112200003, 2026112200004)"
    )
    assert request.config == "-j 3 -i u/ocps/b1,a/b,c --register-dataset-types -c cpDarkIsr:doDefect=False"
    assert request.output_dataset_types == f"dark,{MARK}"


def test_job_without_frames_and_inputs_names_none() -> None:
    request = job_request(job("cpBias"), PLAN, exposures=[], job_ids=[], collections=[], mark=MARK)
    assert request.data_query == "instrument='LSSTComCam' AND detector IN (0, 1, 4)"
    assert request.config == "-j 3 --register-dataset-types"


def test_line_is_what_the_worker_runs() -> None:
    """The simulated worker, written from the real one's script, makes the same words of the same request."""
    request = job_request(
        job("cpDark"),
        PLAN,
        exposures=[2026112200003],
        job_ids=["b1", "b2"],
        collections=["LSSTComCam/calib"],
        mark=MARK,
    )
    for inputs in ("LSSTComCam/defaults,LSSTComCam/raw/all", ""):
        environment = {
            "JOB_ID": "d1",
            "JOB_OUTPUT_DIR": "out",
            "PIPELINE_URL": request.pipeline,
            "BUTLER_REPO": "/repo/LSSTComCam",
            "RUN_OPTIONS": (f"-i {inputs} " if inputs else "") + request.config,
            "DATA_QUERY": request.data_query,
        }
        line = pipetask_line(request, repo="/repo/LSSTComCam", ocps_inputs=inputs, job_id="d1")
        assert shlex.split(line) == commands(environment)[0]
        assert "\n" not in line


def test_collections_of_a_job() -> None:
    assert (job_collection("d1"), run_collection("d1")) == ("u/ocps/d1", "u/ocps/d1/run")
