# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a run: ``python -m lsst.ts.comcamcalib.report 20261122-001 --journal FILE --directory DIR``.

The CSC starts this at the end of each run; ``comcamcalib report`` does the same for people. It only reads the journal
and the repository. On success it prints a JSON object with the files and with what is missing; otherwise the last line
of its error output says why.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path

from ..enums import RunState
from ..run.owner import JournalError
from ..run.reading import read_entries
from .write import Ending, ReportError, make_report

__all__ = ["main"]

NICENESS = 10
"""The report must not slow down the CSC or the camera's other programs on the same machine."""


def main() -> int:
    """Write a report as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lsst.ts.comcamcalib.report", description="Write a run's report.")
    parser.add_argument("run_id", help="the run, such as 20261122-001")
    parser.add_argument("--journal", required=True, type=Path, help="file with the journal")
    parser.add_argument("--directory", required=True, type=Path, help="folder for the files")
    parser.add_argument("--repo", default="", help="the Butler repository; the run's own if left out")
    parser.add_argument("--attempt", type=int, default=1, help="attempt of the stage REPORT")
    parser.add_argument("--state", choices=[state.name for state in RunState], help="how the run is about to end")
    parser.add_argument("--reason", default="", help="why")
    arguments = parser.parse_args()
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    ending = Ending(RunState[arguments.state], arguments.reason) if arguments.state else None
    try:
        entries = read_entries(arguments.journal, arguments.run_id)
        files, problems = make_report(
            entries, arguments.directory, attempt=arguments.attempt, ending=ending, repo=arguments.repo
        )
    except (ReportError, JournalError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"files": [str(path.absolute()) for path in files], "remarks": list(problems)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
