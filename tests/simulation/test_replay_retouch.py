# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recorded products of a detector with a fault: what the pipelines would have made of its frames."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.simulation.containers import Defects, Exposure, PhotonTransferCurve
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES, DETECTOR_NAMES
from lsst.ts.comcamcalib.simulation.recording import Recording, unpack
from lsst.ts.comcamcalib.simulation.replay_retouch import retouch
from lsst.ts.comcamcalib.simulation.scenarios import scenario_faults

LAYOUT = FocalPlane().layout


def recorded(pipeline: str, dataset_type: str) -> Iterator[tuple[int, Any]]:
    """Yield the recorded products of a type, by detector."""
    for dataset in Recording.load(pipeline).datasets:
        if dataset.dataset_type == dataset_type:
            yield int(dataset.data_id["detector"]), dataset


def make(content: Any) -> Any:
    if "image" in content:
        return Exposure.from_array(unpack(content["image"]), content["metadata"])
    return (Defects if "defects" in content else PhotonTransferCurve).from_dict(content)


def product_and_retouched(pipeline: str, dataset_type: str, scenario: str, detector: int = 4) -> tuple[Any, Any]:
    dataset = dict(recorded(pipeline, dataset_type))[detector]
    product = make(dataset.content)
    before = copy.deepcopy(product)
    retouched = retouch(dataset_type, detector, product, scenario_faults([scenario]))
    if isinstance(product, PhotonTransferCurve):
        assert product == before, "the recording is for the next job, too"
    return before, retouched


def test_drifted_gain_is_in_all_that_a_ptc_says() -> None:
    sound, drifted = product_and_retouched("cpPtc", "ptc", "drifted-gain")
    for name in AMPLIFIER_NAMES:
        assert drifted.gain[name] == pytest.approx(0.95 * sound.gain[name])
        assert drifted.noise[name] == pytest.approx(sound.noise[name])
        assert drifted.ptcTurnoff[name] * drifted.gain[name] == pytest.approx(sound.ptcTurnoff[name] * sound.gain[name])
        model = np.polyval(drifted.ptcFitPars[name][::-1], drifted.rawMeans[name])
        assert model == pytest.approx(drifted.rawVars[name], rel=0.1), "the fit fits its points"


def test_other_detectors_are_as_they_were_recorded() -> None:
    sound, same = product_and_retouched("cpPtc", "ptc", "drifted-gain", detector=5)
    assert sound == same


def test_flats_of_all_detectors_are_divided_by_their_mean_which_a_drifted_gain_moves() -> None:
    ratios = []
    for detector in range(len(DETECTOR_NAMES)):
        sound, now = product_and_retouched("cpFlat", "flat", "drifted-gain", detector)
        ratios.append(float(np.nanmedian(now.image.array / sound.image.array)))
    assert np.mean(np.log(ratios)) == pytest.approx(0.0, abs=1e-6)
    # As real pipelines have it: not all of the 5.3 %.
    assert ratios[4] == pytest.approx(1.0466, abs=1e-4)
    assert set(np.round(ratios[:4] + ratios[5:], 4)) == {0.9943}


def test_noise_of_biases_does_not_touch_what_is_made_of_flats() -> None:
    sound, same = product_and_retouched("cpPtc", "ptc", "noisy-detector")
    assert sound == same


def test_hot_column_is_taken_for_a_cosmic_ray_in_the_dark_and_is_in_the_defects() -> None:
    sound, hot = product_and_retouched("cpDark", "dark", "new-hot-column")
    assert np.isfinite(sound.image.array).all()
    rows, columns = np.nonzero(np.isnan(hot.image.array))
    column = LAYOUT.image_section("C12")[1].start + LAYOUT.amplifier_columns // 3
    assert set(columns) == set(range(column - 2, column + 3)), "widened, as cosmic rays are"
    assert len(rows) == 5 * (LAYOUT.amplifier_rows + 2)
    shape = LAYOUT.image_shape
    before, after = (one.to_mask(shape) for one in product_and_retouched("cpDefects", "defects", "new-hot-column"))
    assert np.argwhere(after & ~before)[:, 1].tolist() == [column] * (after & ~before).sum()
    assert (after & ~before).sum() >= LAYOUT.amplifier_rows - 2


def test_dead_detector_has_no_gain_no_structure_and_only_defects() -> None:
    _, curve = product_and_retouched("cpPtc", "ptc", "dead-detector")
    assert curve.badAmps == list(AMPLIFIER_NAMES)
    assert all(math.isnan(value) for field in (curve.gain, curve.noise, curve.ptcTurnoff) for value in field.values())
    assert not any(any(mask) for mask in curve.expIdMask.values())
    _, bias = product_and_retouched("cpBias", "bias", "dead-detector")
    assert not bias.image.array.any()
    _, defects = product_and_retouched("cpDefects", "defects", "dead-detector")
    assert defects.to_mask(LAYOUT.image_shape).all()
    assert sum(one.getBBox().getArea() for one in defects) == LAYOUT.image_shape[0] * LAYOUT.image_shape[1]
