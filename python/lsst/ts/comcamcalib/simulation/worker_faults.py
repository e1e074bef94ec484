# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of the worker that runs real pipelines: they strike in the quanta of a job."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from .garbled import garble

__all__ = ["DEFAULT_ERROR", "EFFECTS", "strike_in_quanta"]

EFFECTS = ("error", "fail_quantum", "hang", "die", "slow", "no_work", "garble")
# Those that concern one detector's quanta, not some number of quanta.
_OF_A_DETECTOR = ("no_work", "garble")
DEFAULT_ERROR = "Simulated failure: the input images have no usable pixels."

_A_DAY_S = 24 * 3600.0


def strike_in_quanta(effect: str, value: float, text: str) -> None:
    """Let a fault strike in the pipeline that this process is about to run with one process (``-j 1``).

    ============ =========================================================================================
    error        each quantum after the first ``value`` raises a RuntimeError that says ``text``
    fail_quantum only the one quantum after the first ``value`` does so
    hang         the quantum after the first ``value`` never ends
    die          the job is killed in the quantum after the first ``value``, without a word in its log
    slow         each quantum takes ``value`` seconds more
    no_work      the quanta of detector ``value`` find no work: none of its datasets is made, and the job succeeds
    garble       statistics of detector ``value`` in single exposures are garbled (see `garbled`)
    ============ =========================================================================================

    Raises
    ------
    ValueError
        If there is no such effect.
    """
    if effect not in EFFECTS:
        raise ValueError(f"There is no fault {effect!r} of the worker; use one of {', '.join(EFFECTS)}.")
    from lsst.pipe.base import TaskFactory

    make_task = TaskFactory.makeTask
    done = 0

    def make_faulty_task(self: Any, *arguments: Any, **keywords: Any) -> Any:
        task = make_task(self, *arguments, **keywords)
        run_quantum = task.runQuantum

        def run_faulty_quantum(butlerQC: Any, *arguments: Any, **keywords: Any) -> Any:
            nonlocal done
            position, done = done, done + 1
            if effect not in _OF_A_DETECTOR:
                _strike(effect, value, text, position)
            elif butlerQC.quantum.dataId.get("detector") == int(value):
                _strike_detector(effect, task, butlerQC.quantum.dataId)
            return run_quantum(butlerQC, *arguments, **keywords)

        task.runQuantum = run_faulty_quantum  # type: ignore[method-assign]
        return task

    TaskFactory.makeTask = make_faulty_task  # type: ignore[method-assign]


def _strike(effect: str, value: float, text: str, position: int) -> None:
    """Do what a fault does in the quantum of this position, from 0."""
    if effect == "slow":
        time.sleep(value)
    if position < value:
        return
    if effect == "error" or (effect == "fail_quantum" and position == int(value)):
        raise RuntimeError(text or DEFAULT_ERROR)
    if effect == "hang":
        time.sleep(_A_DAY_S)
    elif effect == "die":
        os.killpg(0, signal.SIGKILL)


def _strike_detector(effect: str, task: Any, data_id: Any) -> None:
    """Do what a fault does to a detector's quantum that is about to run."""
    if effect == "no_work":
        from lsst.pipe.base import NoWorkFound

        raise NoWorkFound("There is nothing to work on: the exposure has no data of this detector.")
    run = type(task).run

    def run_garbled(*arguments: Any, **keywords: Any) -> Any:
        result = run(task, *arguments, **keywords)
        statistics = getattr(result, "outputStats", None)
        if statistics is not None and "exposure" in data_id and "VERIFY" in statistics:
            result.outputStats = garble(statistics, int(data_id["exposure"]))
        return result

    task.run = run_garbled
