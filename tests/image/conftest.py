# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image, built once for all tests of this folder; skipped where it can't be built, unless ``IMAGE_TEST`` is set.

``make image-test`` sets it, so that a missing program fails there instead of hiding that nothing was tested.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.containers import Image, build, make_base, missing, mounted


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image with its files."""
    if reason := missing():
        if os.environ.get("IMAGE_TEST"):
            pytest.fail(f"The image can't be built here: it {reason}.")
        pytest.skip(f"The image can't be built here: it {reason}.")
    if not os.environ.get("IMAGE_TEST"):
        pytest.skip("The image is built and tested by make image-test only, because that takes minutes.")
    folder = tmp_path_factory.mktemp("image")
    make_base(folder / "root")
    build(folder)
    with mounted() as image:
        yield image
