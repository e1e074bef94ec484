# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a job is for the OCPS: the fields of its command, and the command line that its worker makes of them; pure.

The stage that submits a job and ``comcamcalib plan``, which only shows it, both use these functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from .plan import JobPlan, RunPlan

__all__ = ["JobRequest", "job_collection", "job_request", "pipetask_line", "run_collection"]


@dataclasses.dataclass(frozen=True)
class JobRequest:
    """One pipeline job, as the OCPS's ``execute`` takes it.

    Parameters
    ----------
    pipeline
        Pipeline file, may begin with ``${CP_PIPE_DIR}``, which is expanded where the job runs.
    data_query
        Butler expression that selects the data.
    config
        Further pipetask options, such as ``-i …`` and ``-j 8``.
    output_dataset_types
        Comma-separated globs for datasets to copy out of the repository; the last one is the mark that identifies
        the job at the UWS.
    """

    pipeline: str
    data_query: str
    config: str
    output_dataset_types: str


def job_collection(job_id: str) -> str:
    """Return the CHAINED collection of a job's outputs and inputs, as the OCPS's worker names it."""
    return f"u/ocps/{job_id}"


def run_collection(job_id: str) -> str:
    """Return the RUN collection that a job writes to."""
    return f"{job_collection(job_id)}/run"


def job_request(
    job: JobPlan,
    plan: RunPlan,
    *,
    exposures: Sequence[int | str],
    job_ids: Iterable[str],
    collections: Iterable[str],
    mark: str,
) -> JobRequest:
    """Return the OCPS's command for a job.

    Parameters
    ----------
    job
        The job's plan.
    plan
        The plan that it belongs to.
    exposures
        Ids of the exposures that it processes, or words that stand for them.
    job_ids
        Ids of the run's own jobs whose outputs it builds on, those of ``job.inputs`` in their order, or words that
        stand for them.
    collections
        Those of ``job.collections`` that exist, in their order.
    mark
        Output glob that matches no dataset and identifies the job at the UWS.
    """
    detectors = ", ".join(str(detector) for detector in plan.options.detectors)
    query = f"instrument='{plan.config.instrument.name}' AND detector IN ({detectors})"
    if exposures:
        query += f" AND exposure IN ({', '.join(str(exposure) for exposure in exposures)})"
    inputs = ",".join([*map(job_collection, job_ids), *collections])
    parts = [f"-j {job.n_processes}", f"-i {inputs}" if inputs else "", "--register-dataset-types", job.config_options]
    return JobRequest(
        pipeline=job.pipeline,
        data_query=query,
        config=" ".join(part for part in parts if part),
        output_dataset_types=f"{job.dataset_type},{mark}",
    )


def pipetask_line(request: JobRequest, *, repo: str, ocps_inputs: str, job_id: str) -> str:
    """Return the command line of ``pipetask`` that the OCPS's worker makes of a request.

    Parameters
    ----------
    request
        The job.
    repo
        The OCPS's Butler repository.
    ocps_inputs
        Input collections of the OCPS's own configuration, which come before all others; "" if it has none.
    job_id
        The job's id, or words that stand for it.

    Returns
    -------
    line
        One line; variables in the name of the pipeline are expanded by pipetask.
    """
    first = f"-i {ocps_inputs} " if ocps_inputs else ""
    return (
        f"pipetask --long-log run -p {request.pipeline} -b {repo} -o {job_collection(job_id)} {first}{request.config} "
        f'--output-run {run_collection(job_id)} -d "{request.data_query}"'
    )
