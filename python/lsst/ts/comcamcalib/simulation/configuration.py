# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files by which the observatory configures its CSCs and its clients."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .camera import CLEAR_S, READOUT_S, TELEMETRY_S
from .layout import AMPLIFIER_ROWS, INSTRUMENT, RAW_COLLECTION
from .ocps import OCPS_INDEX
from .oods import MAX_LATENCY_S

__all__ = [
    "SITE",
    "csc_settings",
    "write_consumer_configuration",
    "write_csc_configuration",
    "write_environment",
    "write_ocps_configuration",
]

SITE = "test"
CHECKOUT_CONFIG = Path(__file__).parents[5] / "config" / "ComCamCalib" / "v1"
OCPS_POLL_INTERVAL_S = 0.5


def write_csc_configuration(directory: Path, settings: Mapping[str, Any]) -> Path:
    """Write the configuration of ComCamCalib: the checkout's ``_init.yaml``, and ``_test.yaml`` for this observatory.

    Parameters
    ----------
    directory
        What TS_CONFIG_OCS_DIR will be; made if missing.
    settings
        What differs from ``_init.yaml``, by its keys.

    Returns
    -------
    directory
        The configuration's own directory.

    Raises
    ------
    FileNotFoundError
        If this package does not come from a checkout with the configuration.
    """
    own = directory / "ComCamCalib" / "v1"
    own.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(CHECKOUT_CONFIG / "_init.yaml", own / "_init.yaml")
    (own / f"_{SITE}.yaml").write_text(yaml.safe_dump(dict(settings), sort_keys=False))
    _make_git_checkout(directory)
    return own


def csc_settings(*, uws_url: str, repo: Path, work_directory: Path, speed: float) -> dict[str, Any]:
    """Return what ComCamCalib's configuration for this observatory has to say that ``_init.yaml`` does not."""
    return {
        "uws_url": uws_url,
        "uws_poll_interval_s": OCPS_POLL_INTERVAL_S,
        "repo": str(repo),
        "journal_path": str(work_directory / "journal.sqlite3"),
        # The simulated detectors have C00 to C07 below, the real ones above.
        "instrument": {**_shipped("instrument"), "amplifier_rows": [list(row) for row in AMPLIFIER_ROWS]},
        # The simulated pipelines know neither crosstalk nor linearity nor charge transfer.
        "prerequisites": ["ptc"],
        "log_path_pattern": str(work_directory / "uws" / "jobs" / "{job_id}" / "out" / "ocps.log"),
        "estimates": {
            "readout_s": (CLEAR_S + READOUT_S + TELEMETRY_S) / speed,
            "ingest_s": MAX_LATENCY_S / speed + 1.0,
            "job_s": 15.0,
            "report_s": 20.0,
        },
        "report": {"directory": str(work_directory / "reports"), "s3_instance": ""},
        "page": {"address": "", "port": 8080, "frame_ancestors": []},
    }


def _shipped(section: str) -> Any:
    return yaml.safe_load((CHECKOUT_CONFIG / "_init.yaml").read_text())[section]


def write_ocps_configuration(directory: Path, uws_url: str, repo: Path) -> Path:
    """Write the configuration of the OCPS for LSSTComCam; return its own directory."""
    own = directory / "OCPS" / "v4"
    own.mkdir(parents=True, exist_ok=True)
    instance = {
        "sal_index": OCPS_INDEX,
        "instance": INSTRUMENT,
        "url": uws_url,
        "poll_interval": OCPS_POLL_INTERVAL_S,
        "butler": str(repo),
        "input_collection": RAW_COLLECTION,
        "output_glob": "*_metricvalue",
    }
    (own / "_init.yaml").write_text(yaml.safe_dump({"instances": [instance]}, sort_keys=False))
    _make_git_checkout(directory)
    return own


def write_consumer_configuration(file: Path) -> None:
    """Write the settings for Kafka consumers: by default each message would be up to half a second late."""
    file.write_text(yaml.safe_dump({"fetch.wait.max.ms": 10}))


def write_environment(file: Path, variables: Mapping[str, str]) -> None:
    """Write the file by which clients join, all at once: who sees it may come. Only its owner may read it.

    Each line is ``export NAME=value``; the values need no quoting in a shell.

    Raises
    ------
    ValueError
        If a value does need quoting, because a path has a blank or a quote in it.
    """
    awkward = [name for name, value in variables.items() if set(value) & set(" \t\n\"'\\$`;&|<>()*?#~")]
    if awkward:
        raise ValueError(f"{', '.join(awkward)} would need quotes in {file}; use paths without blanks and quotes.")
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.touch(mode=0o600)  # the address of a registry that is not our own may have a password in it
    temporary.write_text("".join(f"export {name}={value}\n" for name, value in variables.items()))
    temporary.replace(file)


def _make_git_checkout(directory: Path) -> None:
    """Make a directory a git repository, since salobj asks git for the version of a configuration."""
    if shutil.which("git") is None:
        return
    git = ["git", "-C", str(directory)]
    # Git must not use the settings of whoever runs this: neither the name in the commit nor the hooks.
    for setting in ("user.name=observatory", "user.email=observatory@localhost", f"core.hooksPath={os.devnull}"):
        git += ["-c", setting]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--allow-empty", "-mConfigure"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True, timeout=60)
