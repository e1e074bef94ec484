# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the image with buildah on a base made by debootstrap, and run it without a container engine.

buildah needs no daemon, but without one it can't run a container on a read-only root filesystem, in a PID namespace of
its own, as Kubernetes does. So the image's files are mounted, and ``unshare`` and ``chroot`` do that: what runs is the
image's entry point with the image's environment, as its user, as process 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

BASE = "localhost/comcamcalib-test-base:bookworm"
IMAGE = "localhost/comcamcalib:test"
OBSERVATORY_BASE = "localhost/comcamcalib-test-base:observatory"
OBSERVATORY_IMAGE = "localhost/comcamcalib:test-observatory"

CANARY = "a-secret-that-is-in-no-image-4f1c9a"
"""Stands where an image is built, and must not be in it."""

PROGRAMS = ("buildah", "debootstrap", "unshare", "chroot", "setpriv")
BUILD_LIMIT_S = 1500.0
TERMINATED = 128 + signal.SIGTERM
STOP_LIMIT_S = 15.0
"""Kubernetes kills after terminationGracePeriodSeconds, which the chart sets to more than the CSC's own 10 s."""


def missing() -> str:
    """Return why no image can be built here; "" if one can."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"needs {', '.join(lacking)}"
    return "" if os.geteuid() == 0 else "needs root, for debootstrap and chroot"


def run(*arguments: str | Path, **environment: str) -> str:
    """Run a program and return its output; if it fails, all that it said is shown."""
    done = subprocess.run(
        arguments,
        env={**os.environ, "BUILDAH_ISOLATION": "chroot", **environment},
        capture_output=True,
        text=True,
        timeout=BUILD_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, arguments))}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def debian_mirror() -> str:
    """Return where this machine gets Debian's packages from."""
    for file in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("debian*")]:
        for line in file.read_text().splitlines() if file.exists() else []:
            words = line.split()
            if words[:1] == ["URIs:"] or words[:1] == ["deb"]:
                return next(word for word in words[1:] if "://" in word)
    return "http://deb.debian.org/debian"


def make_base(folder: Path) -> None:
    """Make an image with Debian and Python, in place of one that a laptop gets from a registry of images."""
    if BASE in run("buildah", "images", "--format", "{{.Name}}:{{.Tag}}").split():
        return
    packages = "python3,python3-venv,python3-pip,ca-certificates"
    run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", folder, debian_mirror())
    container = run("buildah", "from", "scratch").strip()
    run("buildah", "add", "--quiet", container, folder, "/")
    run("buildah", "commit", "--quiet", container, BASE)
    run("buildah", "rm", container)
    shutil.rmtree(folder)


def fetch_packages(folder: Path) -> None:
    """Fetch the Python packages that the builds need, because the way to them is this machine's own, and must not be in
    an image.
    """
    wanted = ("setuptools>=77", "setuptools-scm>=8", "psycopg2-binary>=2.9.5")
    index = folder / "index"
    run(sys.executable, "-m", "pip", "download", "--quiet", "--dest", index, ROOT, ROOT / "standins", *wanted)
    (folder / "pip.conf").write_text(f"# {CANARY}\n[global]\nno-index = true\nfind-links = /index\n")


@contextlib.contextmanager
def secrets_lying_about() -> Iterator[None]:
    """Have files in the folders that an image is built from, as a developer may have them, each with the canary."""
    files = [
        ROOT / "python" / ".env",
        ROOT / "standins" / ".env.local",
        ROOT / "config" / "ComCamCalib" / "v1" / "uws.pem",
        ROOT / "python" / "lsst" / "ts" / "comcamcalib" / "journal.sqlite3",
        ROOT / "python" / "lsst" / "ts" / "comcamcalib" / "web" / "static" / "aws-credentials.ini",
    ]
    try:
        for file in files:
            with file.open("x") as stream:
                stream.write(CANARY)
        yield
    finally:
        for file in files:
            if file.exists() and file.read_text() == CANARY:
                file.unlink()


def build(folder: Path, target: str = "stand", base: str = BASE, tag: str = IMAGE) -> str:
    """Build a target of the Dockerfile with the packages that were fetched, and return what the engine said."""
    volumes = ("--volume", f"{folder}/index:/index:ro", "--volume", f"{folder}/pip.conf:/etc/pip.conf:ro")
    script = ROOT / "deploy" / "image" / "build.sh"
    return run(script, *volumes, ENGINE="buildah", TARGET=target, BASE=base, TAG=tag)


def make_observatory_base() -> None:
    """Make what our target "observatory" takes the observatory's base to be, from the image for a test stand."""
    context = ROOT / "tests" / "image" / "observatory_base"
    run("buildah", "bud", "--quiet", "--tag", OBSERVATORY_BASE, "--build-arg", f"STAND={IMAGE}", context)


@dataclasses.dataclass(frozen=True)
class Image:
    """An image whose files are mounted.

    Parameters
    ----------
    files
        Where they are.
    config
        The image's configuration, by OCI's names: Env, Entrypoint, User, Labels and others.
    history
        All that the engine keeps about the image, with the commands that made its layers.
    """

    files: Path
    config: Mapping[str, Any]
    history: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its processes."""
        return dict(one.split("=", 1) for one in self.config["Env"])


@contextlib.contextmanager
def mounted(tag: str) -> Iterator[Image]:
    """Mount the files of an image."""
    history = run("buildah", "inspect", "--type", "image", tag)
    config = json.loads(history)["OCIv1"]["config"]
    container = run("buildah", "from", "--pull-never", tag).strip()
    try:
        yield Image(Path(run("buildah", "mount", container).strip()), config, history)
    finally:
        run("buildah", "umount", container)
        run("buildah", "rm", container)


SCRIPT = """
set -e
mount --bind "$ROOTFS" "$ROOTFS"
mount -t tmpfs -o mode=1777 tmpfs "$ROOTFS/tmp"
mount --bind "$JOURNAL" "$ROOTFS/var/lib/comcamcalib"
for folder in $FOLDERS; do
    mkdir -p "$ROOTFS$folder"
    mount --bind "$folder" "$ROOTFS$folder"
done
mount -t proc proc "$ROOTFS/proc"
mount --rbind /dev "$ROOTFS/dev"
mount -o remount,ro,bind "$ROOTFS"
cd /
exec chroot "$ROOTFS" setpriv --reuid 73006 --regid 73006 --clear-groups --no-new-privs --bounding-set=-all \
    env --ignore-environment --chdir="$WORKDIR" "$@"
"""


@contextlib.asynccontextmanager
async def running(
    image: Image, journal: Path, folders: list[Path], environment: Mapping[str, str], log: Path, *arguments: str
) -> AsyncIterator[int]:
    """Run the image's entry point as Kubernetes does: process 1, its user, no rights, a read-only root filesystem.

    Parameters
    ----------
    journal
        Folder that is mounted as the journal's volume.
    folders
        Folders that the container sees under the same name.
    environment
        What is set beside the image's own environment.
    log
        File for its output.
    *arguments
        For the entry point.

    Yields
    ------
    pid
        Of its process 1, as seen from outside.
    """
    variables = {**image.environment, **environment, "HOME": "/home/saluser"}
    command = [*(f"{name}={value}" for name, value in variables.items()), *image.config["Entrypoint"], *arguments]
    places = {
        "ROOTFS": str(image.files),
        "JOURNAL": str(journal),
        "FOLDERS": " ".join(map(str, folders)),
        "WORKDIR": image.config["WorkingDir"],
    }
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
            *("bash", "-c", SCRIPT, "container", *command),
            stdout=stream,
            stderr=stream,
            env={"PATH": os.environ["PATH"], **places},
        )
    try:
        yield await _child_of(process.pid)
        async with asyncio.timeout(STOP_LIMIT_S):
            status = await process.wait()
        assert status == TERMINATED, f"Kubernetes would take a pod that ended with {status} for something else"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for _ in range(int(STOP_LIMIT_S / 0.05)):
        if found := children.read_text().split():
            return int(found[0])
        await asyncio.sleep(0.05)
    raise AssertionError(f"process {pid} has started nothing within {STOP_LIMIT_S:g} s")


async def stop(pid: int) -> None:
    """Do what Kubernetes does first to end a container."""
    os.kill(pid, signal.SIGTERM)
