# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process in which the simulated UWS server's jobs run: it imports the pipelines' code once and forks per job.

It does what the real worker's script does in a container of its own (``pipetask run``, then ``butler
retrieve-artifacts``, all output in ``ocps.log``), with the same command lines, but saves each of them the start of a
Python with all its imports. A fork copies only the thread that forks, so this process must have no other: no aiohttp,
no Kafka client, no executor and no open Butler. It reads what to do as lines of JSON from its standard input, and
writes what happens as lines of JSON to its standard output; `PipetaskWorker` holds the other ends.

``{"run": {"job_id", "environment", "fault"}}`` starts a job, ``{"kill": job_id}`` ends it; ``{"ready": true}``,
``{"started": job_id, "pid"}`` and ``{"ended": job_id, "status"}`` come back. When its input ends, it kills all jobs and
ends.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
import os
import pkgutil
import select
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .worker_faults import strike_in_quanta

__all__ = ["commands", "main"]

# What a job imports in the end, found by comparing sys.modules before and after one. What is missing here, or not there
# in another version of the packages, only costs each job its import.
PRELOAD = (
    "astropy.io.fits",
    "astropy.time",
    "lsst.ctrl.mpexec.cli.cmd",
    "lsst.ctrl.mpexec.cli.pipetask",
    "lsst.ctrl.mpexec.cli.script",
    "lsst.daf.butler.cli.butler",
    "lsst.daf.butler.cli.cmd",
    "lsst.daf.butler.datastores.fileDatastore",
    "lsst.daf.butler.direct_butler",
    "lsst.daf.butler.formatters.json",
    "lsst.daf.butler.formatters.logs",
    "lsst.daf.butler.formatters.packages",
    "lsst.daf.butler.formatters.yaml",
    "lsst.daf.butler.registry.attributes",
    "lsst.daf.butler.registry.collections.synthIntKey",
    "lsst.daf.butler.registry.databases.postgresql",
    "lsst.daf.butler.registry.databases.sqlite",
    "lsst.daf.butler.registry.datasets.byDimensions",
    "lsst.daf.butler.registry.dimensions.static",
    "lsst.daf.butler.registry.sql_registry",
    "lsst.daf.butler.script",
    "lsst.pipe.base.all_dimensions_quantum_graph_builder",
    "lsst.pipe.base.cli.cmd",
    "lsst.pipe.base.formatters.pexConfig",
    "lsst.pipe.base.mp_graph_executor",
    "lsst.pipe.base.single_quantum_executor",
    "lsst.pipe.base.tests.mocks",
    "lsst.resources.eups",
    "lsst.resources.proxied",
    "psycopg2",
)

_FAILED = 1


def commands(environment: dict[str, str]) -> list[list[str]]:
    """Return the command lines of the real worker's script for a job's environment.

    RUN_OPTIONS are split at white space only, as the shell does with an unquoted variable: quotes stay in the words.
    """
    output = f"u/ocps/{environment['JOB_ID']}"
    return [
        [
            *("pipetask", "--long-log", "run"),
            *("-p", environment["PIPELINE_URL"], "-b", environment["BUTLER_REPO"], "-o", output),
            *environment.get("RUN_OPTIONS", "").split(),
            *("--output-run", f"{output}/run", "-d", environment.get("DATA_QUERY", "")),
        ],
        [
            *("butler", "retrieve-artifacts", "--collections", f"{output}/run"),
            *("--dataset-type", environment.get("OUTPUT_GLOB", ""), "--transfer", "auto", "--no-preserve-path"),
            *(environment["BUTLER_REPO"], environment["JOB_OUTPUT_DIR"]),
        ],
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Import what jobs need, then run jobs until the standard input ends."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("modules", nargs="*", help="modules, and packages with all their modules, to import beforehand")
    modules = parser.parse_args(arguments).modules
    # Whatever prints must not get between the lines of JSON.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for name in PRELOAD:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in modules:
        _import_with_submodules(name)
    JobProcesses(replies).serve()


def _import_with_submodules(name: str) -> None:
    module = importlib.import_module(name)
    if hasattr(module, "__path__"):
        for found in pkgutil.walk_packages(module.__path__, f"{name}."):
            importlib.import_module(found.name)


class JobProcesses:
    """The jobs that run, each in a process group of its own.

    Parameters
    ----------
    replies
        Where to write what happens.
    """

    def __init__(self, replies: Any) -> None:
        self._replies = replies
        self._pids: dict[str, int] = {}

    def serve(self) -> None:
        """Do what the standard input says until it ends; then kill what runs."""
        awake, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._notify(ready=True)
        unread = b""
        while True:
            readable, _, _ = select.select([0, awake], [], [])
            if awake in readable:
                os.read(awake, 4096)
                self._reap()
            if 0 in readable:
                data = os.read(0, 1 << 16)
                if not data:
                    break
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
        for job_id in list(self._pids):
            self._kill(job_id)

    def _notify(self, **what: object) -> None:
        self._replies.write(json.dumps(what) + "\n")

    def _obey(self, order: dict[str, Any]) -> None:
        if "run" in order:
            job_id = order["run"]["job_id"]
            self._pids[job_id] = self._fork(order["run"])
            self._notify(started=job_id, pid=self._pids[job_id])
        else:
            self._kill(order["kill"])

    def _fork(self, job: dict[str, Any]) -> int:
        """Start a job in a child that leads a process group of its own, and return the group's id."""
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._replies.fileno())  # its reader must see the end when this process dies before its jobs
            os.setpgid(0, 0)
            _become_child(lambda: _run_job(job))
        with contextlib.suppress(PermissionError, ProcessLookupError):  # the child has done it already, or is gone
            os.setpgid(pid, pid)
        return pid

    def _kill(self, job_id: str) -> None:
        """Kill a job with all its processes; its end is reported when it is reaped."""
        if job_id in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pids[job_id], signal.SIGKILL)

    def _reap(self) -> None:
        """Notify of the jobs that have ended."""
        for job_id, pid in list(self._pids.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._kill(job_id)  # processes that the job may have started and left running
                del self._pids[job_id]
                self._notify(ended=job_id, status=os.waitstatus_to_exitcode(status))


def _become_child(work: Callable[[], int]) -> NoReturn:
    """Do something in this freshly forked process and exit with what it returns; never come back."""
    status = _FAILED
    try:
        status = work()
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 0 if exc.code is None else _FAILED
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        # Not sys.exit, which would run the clean-up of the parent in this child.
        os._exit(status)


def _run_job(job: dict[str, Any]) -> int:
    """Run the command lines of a job one after the other until one fails, and return the last one's exit code."""
    environment = job["environment"]
    nowhere = os.open(os.devnull, os.O_RDONLY)
    log = os.open(
        os.path.join(environment["JOB_OUTPUT_DIR"], "ocps.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
    )
    for target, source in ((0, nowhere), (1, log), (2, log)):
        os.dup2(source, target)
    os.environ.update(environment)
    os.chdir(environment["JOB_SOURCE_DIR"])
    fault = job["fault"]
    for argv in commands(environment):
        if fault is not None and argv[0] == "pipetask":
            argv = [*argv, "-j", "1"]  # a fault strikes in the process that runs the quanta
        print("+", shlex.join(argv), flush=True)
        pid = os.fork()
        if pid == 0:
            _become_child(functools.partial(_run_command, argv, fault))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status < 0:  # as a shell reports a signal
            print(f"bin/pipetask.sh: {pid} {signal.strsignal(-status)}  {argv[0]}", flush=True)
            return 128 - status
        if status > 0:
            return status
    return 0


def _run_command(argv: list[str], fault: dict[str, Any] | None) -> int:
    """Run pipetask or butler as if from the shell, and return its exit code."""
    sys.argv = argv
    if argv[0] == "pipetask" and fault is not None:
        strike_in_quanta(**fault)
    module = {"pipetask": "lsst.ctrl.mpexec.cli.pipetask", "butler": "lsst.daf.butler.cli.butler"}[argv[0]]
    return importlib.import_module(module).cli.main(args=argv[1:], prog_name=argv[0]) or 0


if __name__ == "__main__":
    main()
