# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page about the interface says what the interface is."""

from __future__ import annotations

from pathlib import Path

from lsst.ts.comcamcalib.sal_interfaces.document import document_interface


def test_the_committed_page_is_made_from_the_xml(repository_root: Path) -> None:
    page = (repository_root / "doc" / "interface.rst").read_text()
    assert page == document_interface(), "make it anew: comcamcalib interface document > doc/interface.rst"


def test_everything_of_a_topic_is_there() -> None:
    page = document_interface()
    assert (
        "   * - RunState\n     - ACCEPTED 1, RUNNING 2, ABORTING 3, COMPLETED 4, FAILED 5, ABORTED 6, INTERRUPTED 7\n"
        in page
    )
    assert "   * - ``gain``\n     - double[16]\n     - electron/adu\n" in page
    assert "\nprogress\n--------\n" in page
