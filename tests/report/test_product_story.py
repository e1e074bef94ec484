# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the report says that a product is fetched: with what is really found there."""

from __future__ import annotations

import dataclasses

import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.record.history import History
from lsst.ts.comcamcalib.report.product_story import products


def certification_of_biases(history: History) -> int:
    return next(one.intent.number for one in history.certifications.values() if one.intent.calib_type is CalibType.BIAS)


def changed(history: History, **changes: object) -> History:
    """Return the history with another intent of the certification of the biases."""
    number = certification_of_biases(history)
    old = history.certifications[number]
    new = dataclasses.replace(old, intent=old.intent.model_copy(update=changes))
    return dataclasses.replace(history, certifications={**history.certifications, number: new})


def fetch(history: History) -> tuple[str, ...]:
    return products(history)[0].fetch


@pytest.fixture
def covered(history: History) -> History:
    """The recorded run, valid for the day on which its clock stood."""
    return changed(history, validity_begin="2027-01-14T12:00:00", validity_end="2027-01-15T12:00:00")


def test_product_is_fetched_as_it_is_certified_and_as_it_was_made(covered: History) -> None:
    history = covered
    certified, made = fetch(history)
    exposure = history.exposure_ids(CalibType.BIAS)[-1]
    assert certified.startswith(f"butler.get('bias', instrument='LSSTComCam', detector=0, exposure={exposure}, ")
    product = history.product(CalibType.BIAS)
    assert product is not None
    assert made == (f"butler.get('bias', instrument='LSSTComCam', detector=0, collections='{product.run_collection}')")


def test_detector_that_was_left_out_is_not_the_example(covered: History) -> None:
    ids = covered.certifications[certification_of_biases(covered)].intent.dataset_ids
    lines = fetch(changed(covered, dataset_ids=ids[1:]))
    assert len(lines) == 2 and all("detector=1, " in line for line in lines)


def test_exposure_is_one_that_the_validity_covers(history: History, covered: History) -> None:
    (made,) = fetch(history)
    assert "exposure" not in made, "no frame was taken in the validity, so none can look it up"
    last = history.used(CalibType.BIAS)[-1]
    certified, _ = fetch(changed(covered, validity_end=""))
    assert f"exposure={last.exposure_id}," in certified, "a validity without an end"
    certified, _ = fetch(changed(covered, validity_begin=""))
    assert f"exposure={last.exposure_id}," in certified, "a validity without a beginning"
