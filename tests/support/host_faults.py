# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of the machine on which the CSC runs, by the real mechanism: bad disks, signals, the clock.

Each name in `HOST_FAULTS` is the one that ``doc/failure_states.rst`` gives in a field ``:Host fault:``.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = [
    "CSC_WITH_A_CLOCK",
    "HOST_FAULTS",
    "certify_by_hand",
    "damage",
    "file_size_limit",
    "fill",
    "locked",
    "paused",
    "process_state",
    "read_only",
    "small_disk",
]

HOST_FAULTS = {
    "journal-disk-full": "small_disk and fill, or file_size_limit",
    "journal-read-only": "read_only",
    "journal-damaged": "damage",
    "journal-hangs": "locked",
    "repository-locked": "locked",
    "repository-read-only": "read_only",
    "repository-disk-full": "small_disk and fill, or file_size_limit",
    "conflict-in-mid-run": "certify_by_hand",
    "clock-set-back": "CSC_WITH_A_CLOCK",
    "noon-in-mid-run": "run_over_noon",
    "csc-terminated": "SIGTERM",
    "csc-killed": "SIGKILL",
    "csc-paused": "paused",
}
"""The faults of the host, and what of this module (or which signal) makes them."""

_PAGE_BYTES = 4096
_STOP_LIMIT_S = 10.0

# The program of a CSC whose clock SIGUSR1 sets back by two hours; its monotonic clock goes on, as on a real machine.
CSC_WITH_A_CLOCK = """
import signal, time
true_time, true_time_ns, back_s = time.time, time.time_ns, 0
def set_back(*signal_and_frame):
    global back_s
    back_s += 7200
time.time = lambda: true_time() - back_s
time.time_ns = lambda: true_time_ns() - back_s * 10**9
signal.signal(signal.SIGUSR1, set_back)
from lsst.ts.comcamcalib.csc import run_comcamcalib
run_comcamcalib()
"""


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Mount an empty disk of a size over a folder; skip the test where that is not allowed.

    When it is full, each write fails with ENOSPC, as on a real one; see `fill`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(folder))
    try:
        yield folder
    finally:
        _unmount(folder)


def fill(folder: Path) -> Path:
    """Fill the disk of a folder to the last byte; return the file that does it. For `small_disk` only."""
    file = folder / "filling"
    with file.open("wb", buffering=0) as stream:
        for size in (_PAGE_BYTES, 1):
            with contextlib.suppress(OSError):
                while stream.write(bytes(size)):
                    pass
    return file


@contextlib.contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: each write there fails with EFBIG. Needs no privilege."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder and all below it read-only for whoever opens a file there from now on; files that are open stay so.

    A superuser may write whatever the modes say; for them the folder is mounted over itself, or the test is skipped.
    """
    if os.geteuid() == 0:
        _mount("--bind", str(folder), str(folder))
        try:
            _mount("-o", "remount,ro,bind", str(folder))
            yield
        finally:
            _unmount(folder)
        return
    modes = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")]}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            if path.exists():
                path.chmod(mode)


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Lock an SQLite database as another program does that hangs in the middle of a transaction."""
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False, timeout=_STOP_LIMIT_S)
    with contextlib.closing(connection):
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def damage(database: Path) -> None:
    """Overwrite all pages of an SQLite database but the first, as a broken disk does. Nobody may have it open."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = database.stat().st_size
    assert size > _PAGE_BYTES, f"{database} has nothing in it that could be damaged"
    with database.open("r+b") as stream:
        stream.seek(_PAGE_BYTES)
        stream.write(b"\xa5" * (size - _PAGE_BYTES))


@contextlib.contextmanager
def paused(pid: int) -> Iterator[None]:
    """Stop a process (SIGSTOP), and let it go on at the end (SIGCONT); its threads have stopped when this begins."""
    os.kill(pid, signal.SIGSTOP)
    try:
        end = time.monotonic() + _STOP_LIMIT_S
        while process_state(pid) != "T":
            assert time.monotonic() < end, f"process {pid} does not stop"
            time.sleep(0.005)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def process_state(pid: int) -> str:
    """Return the letter by which the system names the state of a process: R, S, T (stopped), Z, …"""
    # The name before it is in parentheses and may hold anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def certify_by_hand(repo: Path, collection: str, source: str, dataset_type: str, begin: str, end: str) -> list[str]:
    """Certify what a collection has of a dataset type, as somebody at a terminal does; return the datasets' ids.

    Parameters
    ----------
    repo
        The repository.
    collection
        Calibration collection, which is made if it does not exist.
    source
        Collection with the datasets.
    dataset_type
        Such as ``bias``.
    begin, end
        Validity, ISO 8601 TAI.
    """
    from astropy.time import Time
    from lsst.daf.butler import Butler, CollectionType, Timespan

    with Butler.from_config(str(repo), writeable=True) as butler:
        butler.collections.register(collection, CollectionType.CALIBRATION)
        refs = butler.query_datasets(dataset_type, collections=source, find_first=False)
        butler.registry.certify(collection, refs, Timespan(Time(begin, scale="tai"), Time(end, scale="tai")))
        return [str(ref.id) for ref in refs]


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this user can't mount a disk here: {done.stderr.strip()}")


def _unmount(folder: Path) -> None:
    """Unmount a folder, or detach it if a file there is still open."""
    if subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
