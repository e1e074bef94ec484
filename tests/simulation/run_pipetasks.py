# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs command lines of pipetask one after the other, for the tests: each in a fork of one process.

Standard input: JSON, a list of [command line, log file, fault of the worker or null]. Standard output: JSON, the list
of exit codes. The forks save each command the 2.5 s in which it would import everything anew.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback

from lsst.ctrl.mpexec.cli import pipetask
from lsst.ts.comcamcalib.simulation.worker_faults import strike_in_quanta

PRELOAD = (
    "lsst.ctrl.mpexec.cli.cmd",
    "lsst.pipe.base.all_dimensions_quantum_graph_builder",
    "lsst.pipe.base.mp_graph_executor",
    "lsst.pipe.base.single_quantum_executor",
    "lsst.ts.comcamcalib.simulation.repo",
)


def run(arguments: list[str], log: str, fault: tuple[str, float, str] | None) -> int:
    child = os.fork()
    if child == 0:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        status = 1
        try:
            if fault is not None:
                strike_in_quanta(*fault)
            pipetask.cli.main(args=arguments, prog_name="pipetask")
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for name in PRELOAD:
        importlib.import_module(name)
    print(json.dumps([run(*command) for command in json.load(sys.stdin)]))
