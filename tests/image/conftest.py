# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images, built once for all tests of this folder; skipped where it can't be built, unless ``IMAGE_TEST`` is set.

``make image-test`` sets it, so that a missing program fails there instead of hiding that nothing was tested.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.containers import (
    IMAGE,
    OBSERVATORY_BASE,
    OBSERVATORY_IMAGE,
    Image,
    build,
    fetch_packages,
    make_base,
    make_observatory_base,
    missing,
    mounted,
    secrets_lying_about,
)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what the builds need from outside."""
    if reason := missing():
        if os.environ.get("IMAGE_TEST"):
            pytest.fail(f"The image can't be built here: it {reason}.")
        pytest.skip(f"The image can't be built here: it {reason}.")
    if not os.environ.get("IMAGE_TEST"):
        pytest.skip("The image is built and tested by make image-test only, because that takes minutes.")
    folder = tmp_path_factory.mktemp("image")
    make_base(folder / "root")
    fetch_packages(folder)
    return folder


@pytest.fixture(scope="session")
def image(packages: Path) -> Iterator[Image]:
    """The image for a test stand, with its files."""
    with secrets_lying_about():
        build(packages)
    with mounted(IMAGE) as image:
        yield image


@pytest.fixture(scope="session")
def observatory_image(packages: Path, image: Image) -> Iterator[Image]:
    """The observatory's image, on what its base looks like to it, with its files."""
    make_observatory_base()
    with secrets_lying_about():
        build(packages, "observatory", OBSERVATORY_BASE, OBSERVATORY_IMAGE)
    with mounted(OBSERVATORY_IMAGE) as image:
        yield image
