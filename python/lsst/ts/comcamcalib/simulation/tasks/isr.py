# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Instrument signature removal: from a raw file to an image in electron."""

from __future__ import annotations

from typing import Any

import lsst.pex.config as pex_config
import lsst.pipe.base as pipe_base
import numpy as np
from lsst.pipe.base import connectionTypes

from ..containers import Exposure
from ..layout import AMPLIFIER_NAMES, DetectorLayout
from .statistics import clip_statistics

__all__ = [
    "GAIN_KEY",
    "OVERSCAN_NOISE_KEY",
    "READ_NOISE_KEY",
    "IsrTaskLSST",
    "IsrTaskLSSTConfig",
    "values_by_amplifier",
]

# Keywords of ip_isr; the amplifier's name follows.
GAIN_KEY = "LSST ISR GAIN"
READ_NOISE_KEY = "LSST ISR READNOISE"
OVERSCAN_NOISE_KEY = "LSST ISR OVERSCAN RESIDUAL SERIAL STDEV"


def values_by_amplifier(metadata: dict[str, Any], keyword: str) -> dict[str, float]:
    """Return a keyword's value for each amplifier that has it."""
    keys = {name: f"{keyword} {name}" for name in AMPLIFIER_NAMES}
    return {name: float(metadata[key]) for name, key in keys.items() if key in metadata}


def _calibration(name: str, storage_class: str, *dimensions: str) -> Any:
    return connectionTypes.PrerequisiteInput(
        doc=f"The {name} that is valid at the time of the exposure.",
        name=name,
        storageClass=storage_class,
        dimensions=("instrument", "detector", *dimensions),
        isCalibration=True,
    )


class IsrTaskLSSTConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "exposure", "detector")):
    """One raw file, the calibrations that its configuration asks for, one image."""

    ccdExposure = connectionTypes.Input(
        doc="Raw image.",
        name="raw",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "exposure", "detector"),
    )
    ptc = _calibration("ptc", "SimulatedPhotonTransferCurve")
    bias = _calibration("bias", "SimulatedExposure")
    dark = _calibration("dark", "SimulatedExposure")
    flat = _calibration("flat", "SimulatedExposure", "physical_filter")
    defects = _calibration("defects", "SimulatedDefects")
    outputExposure = connectionTypes.Output(
        doc="Processed image.",
        name="postISRCCD",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "exposure", "detector"),
    )

    def __init__(self, *, config: Any = None) -> None:
        wanted = {
            "ptc": not config.doBootstrap,
            "bias": config.doBias,
            "dark": config.doDark,
            "flat": config.doFlat,
            "defects": config.doDefect,
        }
        for name, is_wanted in wanted.items():
            if not is_wanted:
                delattr(self, name)


class IsrTaskLSSTConfig(pipe_base.PipelineTaskConfig, pipelineConnections=IsrTaskLSSTConnections):
    """Which corrections to make."""

    doBootstrap = pex_config.Field[bool](doc="Work without a ptc: the image stays in adu.", default=False)
    doBias = pex_config.Field[bool](doc="Subtract the bias?", default=False)
    doDark = pex_config.Field[bool](doc="Subtract the dark?", default=False)
    doFlat = pex_config.Field[bool](doc="Divide by the flat?", default=False)
    doDefect = pex_config.Field[bool](doc="Make the pixels of the defects NaN?", default=False)


class IsrTaskLSST(pipe_base.PipelineTask):
    """Subtracts the overscan, applies the gains and the calibrations, and notes in the header which ones."""

    ConfigClass = IsrTaskLSSTConfig
    _DefaultName = "isr"

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:
        """Read, process, write."""
        inputs = butlerQC.get(inputRefs)
        result = self.run(**inputs)
        for name in ("ptc", "bias", "dark", "flat", "defects"):
            ref = getattr(inputRefs, name, None)
            if ref is not None:
                result.outputExposure.metadata[f"LSST CALIB UUID {name.upper()}"] = str(ref.id)
                result.outputExposure.metadata[f"LSST CALIB RUN {name.upper()}"] = ref.run
        butlerQC.put(result, outputRefs)

    def run(
        self,
        ccdExposure: Any,
        ptc: Any = None,
        bias: Any = None,
        dark: Any = None,
        flat: Any = None,
        defects: Any = None,
    ) -> Any:
        """Process one raw image.

        Returns
        -------
        result
            ``outputExposure``: electron, or adu if ``doBootstrap``; NaN in defects.
        """
        image = self._assemble(ccdExposure, ptc)
        array, metadata = image.image.array, image.metadata
        if bias is not None:
            array -= bias.image.array
        if dark is not None:
            array -= dark.image.array * np.float32(metadata["DARKTIME"])
        if flat is not None:
            array /= flat.image.array
        if defects is not None:
            array[defects.to_mask(array.shape)] = np.nan
        return pipe_base.Struct(outputExposure=image)

    def _assemble(self, raw: Any, ptc: Any) -> Exposure:
        """Subtract each amplifier's overscan, apply its gain, put the amplifiers together."""
        layout = DetectorLayout.from_header(raw.metadata)
        array = np.empty(layout.image_shape, np.float32)
        metadata = dict(raw.metadata)
        metadata["LSST ISR UNITS"] = "electron" if ptc is not None else "adu"
        pixels = raw.image.array.astype(np.float32)
        for name in AMPLIFIER_NAMES:
            overscan = clip_statistics(pixels[layout.overscan_section(name)])
            metadata[f"{OVERSCAN_NOISE_KEY} {name}"] = round(overscan.stdev, 5)
            amplifier = pixels[layout.raw_section(name)] - np.float32(overscan.mean)
            if ptc is not None:
                amplifier *= np.float32(ptc.gain[name])
                metadata[f"{GAIN_KEY} {name}"] = ptc.gain[name]
                metadata[f"{READ_NOISE_KEY} {name}"] = ptc.noise[name]
            array[layout.image_section(name)] = amplifier
        return Exposure.from_array(array, metadata)
