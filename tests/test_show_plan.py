# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator reads about a run before it is started."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from lsst.ts.comcamcalib.butler_data import ReplacedDataset
from lsst.ts.comcamcalib.plan.request import job_request, pipetask_line
from lsst.ts.comcamcalib.show_plan import Replacements, certified_types, make_plan, replacements_of, show_plan
from rich.console import Console
from support.plans import RUN_ID, SMALL, make_config
from support.plans import make_plan as small_plan

ESTIMATES = {"readout_s": 2.0, "ingest_s": 10.0, "job_s": 100.0}


def shown(replacements: Replacements | None = None, **options: Any) -> str:
    """Return what is printed about a small run."""
    stream = io.StringIO()
    plan = small_plan(make_config(estimates=ESTIMATES), **options)
    show_plan(plan, replacements or Replacements(), Console(file=stream, width=160, highlight=False))
    return stream.getvalue()


def cells(text: str, first: str) -> list[str]:
    """Return the cells of a table's line that begins with some word."""
    line = next(line for line in text.splitlines() if line.startswith("│") and line[1:].split()[:1] == [first])
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_exposures_are_counted_by_type() -> None:
    text = shown(n_discard_bias=1, filter="r_03", wait_between_exposures=1)
    assert cells(text, "BIAS") == ["BIAS", "2", "1", "3 x 0 s", "8 s"]
    assert cells(text, "DARK") == ["DARK", "2", "0", "2 x 30 s", "1 min 05 s"]
    assert cells(text, "FLAT") == ["FLAT (r_03)", "4", "0", "2 x 1 s, 2 x 2 s", "17 s"]
    assert cells(text, "total") == ["total", "8", "1", "", "1 min 30 s"]
    assert "This run would take 9 exposures, run 6 jobs and last about" in text


def test_jobs_stand_in_the_order_in_which_they_begin_with_what_they_wait_for() -> None:
    text = shown(do_defects=True)
    assert cells(text, "cpDarkBootstrap") == [
        "cpDarkBootstrap",
        "cpBiasBootstrap, DARK.INGEST",
        "1 min 54 s",
        "3 min 34 s",
    ]
    begins = [text.index(f"│ {label} ") for label in ("cpBias", "verifyBias", "cpFlat", "verifyFlat")]
    assert begins == sorted(begins)
    assert "At most 4 jobs run at once" in text


def test_each_job_has_the_line_that_the_stage_would_have_run() -> None:
    plan = small_plan(make_config(estimates=ESTIMATES), do_defects=True)
    lines = [line.strip() for line in shown(do_defects=True).splitlines() if "pipetask" in line]
    jobs = {job.label: job for stage in plan.stages for job in stage.jobs}
    for label, job in jobs.items():
        request = job_request(
            job,
            plan,
            exposures=[f"<exposures of {frames.name}>" for frames in job.frames],
            job_ids=[f"<job {other}>" for other in job.inputs],
            collections=job.collections,
            mark="",
        )
        inputs = "<inputs of the OCPS's own configuration>"
        expected = pipetask_line(request, repo="LSSTComCam", ocps_inputs=inputs, job_id=f"<job {label}>")
        assert lines.count(expected) == 1, label
    assert len(lines) == len(jobs)
    assert RUN_ID not in "".join(lines)


def test_certifications_stand_with_collection_validity_and_conditions() -> None:
    text = shown()
    assert (
        "Would be certified in LSSTComCam/calib/daily, from 2026-11-22T12:00:00 to 2026-11-23T12:00:00 (TAI), if all "
        "frames are of day_obs 20261122:"
    ) in text
    assert cells(text, "flat") == ["flat", "FLAT.VERIFY, BIAS.VERIFY, DARK.VERIFY", "nothing"]
    given = shown(certify_calib_begin_date="2026-11-01", certify_calib_end_date="open")
    assert "from 2026-11-01T00:00:00 without an end (TAI):" in given


def test_nothing_to_certify_and_nothing_to_run_are_said() -> None:
    text = shown(generate_calibrations=False, do_verify=False)
    assert "Nothing would be certified." in text
    assert "pipetask" not in text and "At most" not in text
    assert "run 0 jobs" in text


REPLACED = [
    ReplacedDataset("id-r", 0, "r_03", "2026-11-01T12:00:00", ""),
    ReplacedDataset("id-i", 0, "i_06", "", "2026-12-01T12:00:00"),
]


def test_what_would_be_replaced_is_named_with_its_whole_range() -> None:
    old = ReplacedDataset("id-b", 4, None, "2026-11-22T12:00:00", "2026-11-23T12:00:00")
    text = shown(Replacements({"bias": [old], "flat": REPLACED}))
    assert cells(text, "bias")[-1] == "1 dataset"
    assert cells(text, "flat")[-1] == "2 datasets"
    assert cells(text, "dark")[-1] == "nothing"
    assert "bias of detector 4, valid from 2026-11-22T12:00:00 to 2026-11-23T12:00:00 (TAI): id-b" in text
    assert "flat i_06 of detector 0, valid without a begin to 2026-12-01T12:00:00 (TAI): id-i" in text
    assert "only in the filter in which the new frames are taken" in text


def test_what_was_not_looked_at_is_not_called_nothing() -> None:
    text = shown(Replacements(not_looked="the repository /repo/LSSTComCam is not on this machine"))
    assert {cells(text, name)[-1] for name in ("bias", "dark", "flat")} == {"not known"}
    assert "What they would replace was not looked at: the repository /repo/LSSTComCam is not on this machine." in text


def test_duration_stands_with_what_determines_it() -> None:
    assert (
        "Expected duration: 6 min 55 s, determined by BIAS.ACQUIRE 4 s > BIAS.INGEST 10 s > cpBias 1 min 40 s > cpDark "
        "1 min 40 s > cpFlat 1 min 40 s > verifyFlat 1 min 40 s > FLAT.CERTIFY 1 s."
    ) in " ".join(shown().split())


def test_notices_come_first() -> None:
    text = shown(certify_calib_begin_date="2026-11-01", certify_calib_end_date="2026-11-02")
    assert text.index("Notice: The validity from 2026-11-01") < text.index("Exposures")


@pytest.mark.parametrize(
    ("options", "types"),
    [
        ({"do_defects": True}, ["bias", "dark", "flat", "defects"]),
        ({"do_gain_from_flat_pairs": True}, ["bias", "dark", "flat"]),
        ({"do_verify": False}, []),
        ({"do_verify": False, "certify_unverified": True, "script_mode": "BIAS"}, ["bias"]),
    ],
)
def test_types_that_would_be_certified(options: dict[str, Any], types: list[str]) -> None:
    assert sorted(certified_types(small_plan(**options))) == sorted(types)


# Planned as the CSC would plan it

ELEVEN_TAI_S = 1795345200.0
"""2026-11-22T11:00:00 TAI, an hour before the day of observation changes (TAI unix seconds)."""


def test_plan_is_that_of_the_csc_at_that_time() -> None:
    config = make_config()
    plan = make_plan(json.dumps(SMALL), config, ELEVEN_TAI_S)
    assert plan.run_id.startswith("20261121-")
    assert plan.stages == small_plan(config, plan.run_id).stages
    assert plan.notices == ()
    (notice,) = make_plan(json.dumps({**SMALL, "exp_times_dark": 3600}), config, ELEVEN_TAI_S).notices
    assert "after the noon TAI" in notice


def test_repository_is_left_alone_if_there_is_nothing_to_certify_or_nobody_wants_to_look() -> None:
    nothing = replacements_of(small_plan(do_verify=False), "/nosuch")
    assert (nothing.by_type, nothing.not_looked) == ({}, "")
    assert replacements_of(small_plan(), "/nosuch", look=False).not_looked == "--no-look was given"
    assert replacements_of(small_plan(), "/nosuch").not_looked == "the repository /nosuch is not on this machine"


def test_validity_that_would_be_empty_is_said_in_place_of_what_would_be_replaced() -> None:
    """The begin is after all frames of the day on which the run begins, so it would need frames of the next."""
    text = json.dumps({**SMALL, "certify_calib_begin_date": "2026-11-22T13:00:00"})
    plan = make_plan(text, make_config(), ELEVEN_TAI_S)
    assert "the validity would be empty" in replacements_of(plan, "/nosuch").not_looked
    stream = io.StringIO()
    show_plan(plan, Replacements(), Console(file=stream, width=160, highlight=False))
    assert "not known: the validity would be empty" in stream.getvalue()
