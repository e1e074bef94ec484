# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a failed job's log says, on logs that pipetask wrote when it was made to fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.services.joblog import CHAINED, MAX_LENGTH, TRACEBACK, explain_failure

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("log", "explanation"),
    [
        # One detector's task raised; the log ends with "One or more tasks failed during execution."
        ("failed_quantum", "cpBias, detector 7: RuntimeError: simulated failure"),
        (
            "chained_cause",
            "cpBias, detector 3: RuntimeError: ISR could not be applied "
            "(cause: OSError: [Errno 28] No space left on device: '/scratch/isr_3.fits')",
        ),
        (
            "killed_j2",
            "Task <cpBias dataId={instrument: 'LSSTComCam', detector: 2}> failed, killed by signal 9 (Killed); "
            "processing will continue for remaining tasks.",
        ),
        ("bad_option", "LookupError: There are no tasks labeled 'isr' in the pipeline"),
        (
            "bad_query2",
            "InvalidQueryError: Failed to parse expression 'instrument='LSSTComCam' AND (exposure IN (1)' "
            "(cause: ParserEOFError: End of input reached while expecting further input)",
        ),
        ("no_collection", "MissingCollectionError: No collection with name 'LSSTComCam/calib' found."),
        # The last line is "Error: QuantumGraph was empty; ERROR logs above should provide details."
        ("empty_graph", "Initial data ID query returned no rows, so QuantumGraph will be empty."),
        ("run_exists", "ValueError: Output run 'u/ocps/good/run' already exists, but --extend-run was not given."),
        ("command_not_found", "bin/pipetask.sh: line 26: no_such_pipetask: command not found"),
        ("glob_nothing", "No error in the log, which ends: No datasets matched query."),
    ],
)
def test_the_line_that_explains_a_failure_is_found(log: str, explanation: str) -> None:
    assert explain_failure((DATA / f"{log}.log").read_text()) == explanation


@pytest.mark.parametrize(
    ("log", "begin", "within"),
    [
        ("killed_j1", "bin/pipetask.sh: line 5: ", "Killed"),
        ("no_pipeline", "FileNotFoundError: [Errno 2] No such file or directory: ", "cpNothing.yaml"),
        ("no_prerequisite", "FileNotFoundError: Not enough datasets (0) found ", "cpDarkIsr.bias"),
    ],
)
def test_long_lines_begin_with_what_matters(log: str, begin: str, within: str) -> None:
    explanation = explain_failure((DATA / f"{log}.log").read_text())
    assert explanation.startswith(begin) and within in explanation and len(explanation) <= MAX_LENGTH


def test_a_log_cut_at_its_beginning_still_tells_the_cause() -> None:
    lines = (DATA / "chained_cause.log").read_text().splitlines()
    cut = next(i for i, line in enumerate(lines) if line.startswith("RuntimeError"))
    explanation = explain_failure("\n".join(lines[cut + 1 :]))  # detector 7 comes after detector 3
    assert explanation.startswith("cpBias, detector 7: RuntimeError: ISR could not be applied (cause: OSError")


def test_a_caught_exception_does_not_hide_the_real_one() -> None:
    log = f"""\
WARNING 2026-11-22T07:41:11.304+00:00 lsst.resources ()(s3.py:1) - Retrying
{TRACEBACK}
  File "s3.py", line 1, in get
TimeoutError: slow
INFO 2026-11-22T07:41:12.304+00:00 lsst.ctrl ()(x.py:1) - Goes on; 0 failed
lsst.daf.butler ERROR: Could not put dataset
{TRACEBACK}
  File "put.py", line 1, in put
ValueError:
bad dataset
"""
    assert explain_failure(log) == "ValueError: bad dataset"


def test_out_of_memory_counts_in_whatever_form_it_is_told() -> None:
    assert explain_failure("Loading\nKilled\n") == "Killed"
    assert "MemoryError" in explain_failure(f"{TRACEBACK}\n  File 'x', line 1\nMemoryError\n")
    line = "tee: /uws/jobs/1/out/ocps.log: No space left on device"
    assert explain_failure(f"Loading\n{line}\nError: exit status 1: tee\n") == line


def test_a_long_exception_does_not_displace_its_cause() -> None:
    sql = ", ".join(f"dataset_{number}.column_{number}" for number in range(100))
    log = f"""\
{TRACEBACK}
  File "x.py", line 1, in run
psycopg2.errors.DiskFull: could not extend file "base/16384/2608": No space left on device

{CHAINED[0]}

{TRACEBACK}
  File "y.py", line 1, in run
sqlalchemy.exc.OperationalError: (psycopg2.errors.DiskFull) [SQL: SELECT {sql}] (Background: https://sqlalche.me/e/20/e3q8)
"""
    explanation = explain_failure(log)
    assert explanation.startswith("OperationalError: (psycopg2.errors.DiskFull) [SQL: SELECT dataset_0.column_0")
    assert explanation.endswith('(cause: DiskFull: could not extend file "base/16384/2608": No space left on device)')
    assert len(explanation) <= MAX_LENGTH


def test_the_end_of_a_long_message_is_kept() -> None:
    log = f"{TRACEBACK}\n  File 'x.py', line 1\nRuntimeError: {'detector 4, ' * 100}the gains are not finite\n"
    assert explain_failure(log).startswith("RuntimeError: detector 4, detector 4,")
    assert explain_failure(log).endswith("the gains are not finite")


def test_an_exception_of_kubernetes_is_told_by_its_message() -> None:
    log = f"""\
{TRACEBACK}
  File "x.py", line 1, in run
kubernetes.client.exceptions.ApiException: (403)
Reason: Forbidden
HTTP response headers: HTTPHeaderDict({{'Audit-Id': '{"0" * 400}', 'Content-Type': 'application/json'}})
HTTP response body: {{"kind":"Status","message":"pods \\"x\\" is forbidden: exceeded quota: compute"}}

"""
    assert explain_failure(log) == (
        'ApiException: Kubernetes answered 403 Forbidden: pods "x" is forbidden: exceeded quota: compute'
    )


def test_an_empty_log_is_called_empty() -> None:
    assert explain_failure("") == explain_failure(" \n\n") == "The log is empty."


log_lines = st.one_of(
    st.sampled_from(
        [
            TRACEBACK,
            *CHAINED,
            "",
            "  File 'x.py', line 1, in f",
            "ValueError: x",
            "INFO 2026-11-22T07:41:12.304+00:00 lsst.ctrl ()(x.py:1) - fine",
            "ERROR 2026-11-22T07:41:12.304+00:00 lsst.ctrl (a:{detector: 3})(x.py:1) - not fine",
            "lsst.mpexec.MPGraphExecutorError: One or more tasks failed",
            "Killed",
        ]
    ),
    st.text(max_size=600),
)


@given(st.lists(log_lines, max_size=30))
def test_any_log_gives_one_bounded_line(lines: list[str]) -> None:
    explanation = explain_failure("\n".join(lines))
    assert 0 < len(explanation) <= MAX_LENGTH
    assert len(explanation.splitlines()) == 1
