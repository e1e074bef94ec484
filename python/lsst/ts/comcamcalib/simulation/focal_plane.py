# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated focal plane: what its nine detectors are like, and the images that they give.

Everything follows from one seed, so a test knows the truth that a pipeline has to find.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .frame_faults import IMAGE_TYPES, Fault, Light, add_hot_columns, pickup_pattern
from .layout import AMPLIFIER_NAMES, DETECTOR_NAMES, PHYSICAL_FILTERS, DetectorLayout

__all__ = ["DetectorTruth", "Fault", "FocalPlane", "Light"]

FloatImage = npt.NDArray[np.float32]
RawImage = npt.NDArray[np.uint16]

# Spread of the detectors' properties. Gain, read noise and full well are of the size of an ITL 3800C's. The gain is
# LSSTCam's (1.67): with ComCam's (1.38) a full well would not fit into the 16 bits of the simulated raws.
_GAIN_RANGE = (1.65, 1.85)  # electron/adu
_READ_NOISE_RANGE = (6.0, 8.0)  # electron
_FULL_WELL_RANGE = (92_000.0, 100_000.0)  # electron
_BIAS_LEVEL_RANGE = (900.0, 1500.0)  # adu; low, so that a full well fits into 16 bits
_AMPLIFIER_RANGES = {
    "gain": _GAIN_RANGE,
    "read_noise": _READ_NOISE_RANGE,
    "full_well": _FULL_WELL_RANGE,
    "bias_level": _BIAS_LEVEL_RANGE,
}
_BIAS_COLUMN_SIGMA = 1.5  # adu, from column to column
_BIAS_PIXEL_SIGMA = 0.7  # adu, from pixel to pixel
_BIAS_DRIFT_SIGMA = 2.0  # adu, of an amplifier's level from exposure to exposure
_GLOW_PEAK = 1.0  # electron/s, of the amplifier glow in one corner
_GLOW_SCALE = 5.0  # pixel
_HOT_PIXEL_RANGE = (10.0, 60.0)  # electron/s
_LOW_PIXEL_RANGE = (0.2, 0.6)  # relative response
_RESPONSE_PIXEL_SIGMA = 0.008  # relative, from pixel to pixel
_RESPONSE_DETECTOR_SIGMA = 0.015  # relative, from detector to detector
_LEAK_SLOPE = 0.2  # relative, from the middle of the focal plane to its edge: stray light comes from one side
_LAMP_SIGMA = 0.003  # relative, of the flat lamp from exposure to exposure
_COSMIC_RAY_RATE = 5e-7  # tracks per pixel and second
_COSMIC_RAY_LENGTH = (3, 12)  # pixel
_COSMIC_RAY_CHARGE = (300.0, 3000.0)  # electron per pixel
_ADC_MAXIMUM = 65_535  # adu


@dataclasses.dataclass(frozen=True, eq=False)
class DetectorTruth:
    """What a detector really is like. Amplifiers are named; images have the shape of the assembled detector.

    Attributes
    ----------
    gain
        By amplifier, electron/adu.
    read_noise
        By amplifier, electron.
    full_well
        By amplifier, electron: no pixel holds more.
    bias_level
        By amplifier, adu; also the level of the overscan.
    bias_pattern
        What is added to the bias level, the same in each exposure, adu.
    dark_rate
        Dark current with glow and hot pixels, electron/s.
    response
        Electrons that a pixel makes of the lamp's light, relative to the focal plane's average: pixel response,
        illumination and the detector's efficiency.
    hot_pixels, low_pixels
        (x, y) of the pixels with a high dark current, and of those with a low response.
    """

    gain: Mapping[str, float]
    read_noise: Mapping[str, float]
    full_well: Mapping[str, float]
    bias_level: Mapping[str, float]
    bias_pattern: FloatImage
    dark_rate: FloatImage
    response: FloatImage
    hot_pixels: tuple[tuple[int, int], ...]
    low_pixels: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class FocalPlane:
    """Nine detectors of sixteen amplifiers, and a lamp in front of them.

    Attributes
    ----------
    seed
        All of the truth, and with the exposure id all of each image, follows from it.
    amplifier_shape
        Rows and columns of an amplifier's imaging part. A gain to 0.6 % from seven pairs of flats needs 8,000 pixels.
    overscan_columns
        Serial overscan of an amplifier, pixel.
    flat_rate
        Charge that the lamp makes, electron/s. The default fills 1.5 % of a pixel in 0.1 s, a quarter in 1.6 s and
        three quarters in 5 s: the shortest and longest flats of the procedure and of a daily run.
    dark_rate
        Dark current outside glow and hot pixels, electron/s.
    hot_pixels, low_pixels
        How many of them a detector has.
    faults
        What is wrong with the detectors.
    light
        What is wrong with the light.
    pickup_electrons
        Standard deviation of a wave that all readouts pick up from a source nearby, electron.
    """

    seed: int = 1
    amplifier_shape: tuple[int, int] = (128, 64)
    overscan_columns: int = 32
    flat_rate: float = 15_000.0
    dark_rate: float = 0.1
    hot_pixels: int = 20
    low_pixels: int = 10
    faults: tuple[Fault, ...] = ()
    light: Light = dataclasses.field(default_factory=Light)
    pickup_electrons: float = 0.0

    @property
    def layout(self) -> DetectorLayout:
        """Where the amplifiers are in the images."""
        return DetectorLayout(*self.amplifier_shape, self.overscan_columns)

    def truth(self, detector: int) -> DetectorTruth:
        """Return what this detector really is like; the faults are not part of it."""
        return _make_truth(dataclasses.replace(self, faults=(), light=Light(), pickup_electrons=0.0), detector)

    def read_noise(self, detector: int, amplifier: str, image_type: str) -> float:
        """Return the read noise (electron) that the images of this type have, with the faults."""
        noise = self.truth(detector).read_noise[amplifier]
        for fault in self._faults_of(detector, amplifier, image_type):
            noise *= 0.0 if fault.is_dead else fault.read_noise_factor
        return noise

    def gain(self, detector: int, amplifier: str, image_type: str) -> float:
        """Return the gain (electron/adu) that the images of this type have, with the faults."""
        factors = [fault.gain_factor for fault in self._faults_of(detector, amplifier, image_type)]
        return float(np.prod([self.truth(detector).gain[amplifier], *factors]))

    def _faults_of(self, detector: int, amplifier: str, image_type: str) -> list[Fault]:
        return [fault for fault in self.faults if fault.concerns(detector, amplifier, image_type)]

    def expose(
        self,
        image_type: str,
        exposure_time_s: float,
        exposure_id: int,
        physical_filter: str,
        detector: int,
        dark_time_s: float | None = None,
    ) -> tuple[RawImage, dict[str, int | float | str]]:
        """Expose one detector and read it out.

        Parameters
        ----------
        image_type
            BIAS, DARK or FLAT. The lamp is on in a FLAT only, and as bright in one filter as in another.
        exposure_time_s
            Seconds of light.
        exposure_id
            With the seed and the detector it determines noise, cosmic rays and the lamp's brightness.
        physical_filter
            The filter in the beam.
        detector
            Number of the detector.
        dark_time_s
            Seconds in which dark current and cosmic rays gather; the exposure time if None.

        Returns
        -------
        array
            Raw image, adu, shape ``layout.raw_shape``.
        header
            Keywords that describe exposure, detector and layout.

        Raises
        ------
        ValueError
            There is no such image type, filter or detector.
        """
        if image_type not in IMAGE_TYPES:
            raise ValueError(f"image type {image_type!r} can't be simulated, only {', '.join(IMAGE_TYPES)}")
        if physical_filter not in PHYSICAL_FILTERS:
            raise ValueError(f"LSSTComCam has no filter {physical_filter!r}; it has {', '.join(PHYSICAL_FILTERS)}")
        truth = self.truth(detector)
        dark_time = exposure_time_s if dark_time_s is None else dark_time_s
        rng = np.random.default_rng((self.seed, exposure_id, detector))
        charge = self._dark_rate(detector, image_type) * np.float32(dark_time)
        if image_type == "FLAT":
            charge += truth.response * np.float32(self._lamp_rate(exposure_id) * exposure_time_s)
        if self.light.leak_electrons:
            charge += np.float32(self.light.leak_electrons) * _leak_pattern(charge.shape, detector)
        electrons = rng.poisson(charge).astype(np.float32)
        _add_cosmic_rays(electrons, dark_time, rng)
        header: dict[str, int | float | str] = {
            "IMGTYPE": image_type,
            "EXPTIME": exposure_time_s,
            "DARKTIME": dark_time,
            "FILTER": physical_filter,
            "DETNAME": DETECTOR_NAMES[detector],
            "DETNUM": detector,
            **self.layout.to_header(),
        }
        return self._read_out(electrons, truth, detector, image_type, rng), header

    def _dark_rate(self, detector: int, image_type: str) -> FloatImage:
        """Return the dark current (electron/s) that the images of this type have, with the faults."""
        hot = [
            (name, fault)
            for name in AMPLIFIER_NAMES
            for fault in self._faults_of(detector, name, image_type)
            if fault.hot_column_rate
        ]
        return add_hot_columns(self.truth(detector).dark_rate, self.layout, hot)

    def _lamp_rate(self, exposure_id: int) -> float:
        lamp = np.random.default_rng((self.seed, exposure_id)).normal(1.0, _LAMP_SIGMA)
        return self.flat_rate * self.light.lamp * float(lamp)

    def _read_out(
        self, electrons: FloatImage, truth: DetectorTruth, detector: int, image_type: str, rng: np.random.Generator
    ) -> RawImage:
        layout = self.layout
        raw = np.empty(layout.raw_shape, np.float32)
        for name in AMPLIFIER_NAMES:
            section = layout.image_section(name)
            gain = self.gain(detector, name, image_type)
            level = truth.bias_level[name] + rng.normal(0.0, _BIAS_DRIFT_SIGMA)
            raw[layout.overscan_section(name)] = level
            charge = np.minimum(electrons[section], truth.full_well[name])
            raw[layout.raw_section(name)] = charge / gain + truth.bias_pattern[section] + level
            segment = raw[layout.segment_section(name)]
            noise = self.read_noise(detector, name, image_type) / gain
            segment += rng.standard_normal(segment.shape, np.float32) * np.float32(noise)
            if self.pickup_electrons:
                segment += pickup_pattern(segment.shape, self.pickup_electrons, rng) / np.float32(gain)
            if any(fault.is_dead for fault in self._faults_of(detector, name, image_type)):
                segment[:] = truth.bias_level[name]
        return np.clip(np.rint(raw), 0, _ADC_MAXIMUM).astype(np.uint16)


@functools.lru_cache(maxsize=64)
def _make_truth(focal_plane: FocalPlane, detector: int) -> DetectorTruth:
    """Draw what a detector is like.

    Raises
    ------
    ValueError
        There is no such detector.
    """
    if detector not in range(len(DETECTOR_NAMES)):
        raise ValueError(f"LSSTComCam has no detector {detector!r}; it has 0 to {len(DETECTOR_NAMES) - 1}")
    rng = np.random.default_rng((focal_plane.seed, 0, detector))
    shape = focal_plane.layout.image_shape
    special = _draw_pixels(shape, focal_plane.hot_pixels + focal_plane.low_pixels, rng)
    hot, low = special[: focal_plane.hot_pixels], special[focal_plane.hot_pixels :]
    rows, columns = np.indices(shape, np.float32)
    dark_rate = focal_plane.dark_rate * (1 + 0.2 * (columns / shape[1] - 0.5))
    dark_rate += _GLOW_PEAK * np.exp(-np.hypot(rows, columns) / _GLOW_SCALE)
    for x, y in hot:
        dark_rate[y, x] += rng.uniform(*_HOT_PIXEL_RANGE)
    response = _illumination(shape, detector) * rng.normal(1, _RESPONSE_DETECTOR_SIGMA)
    response *= rng.normal(1, _RESPONSE_PIXEL_SIGMA, shape)
    for x, y in low:
        response[y, x] *= rng.uniform(*_LOW_PIXEL_RANGE)

    amplifiers = _draw_amplifiers(focal_plane, detector, rng)
    return DetectorTruth(
        **amplifiers,
        bias_pattern=_draw_bias_pattern(shape, rng),
        dark_rate=dark_rate.astype(np.float32),
        response=response.astype(np.float32),
        hot_pixels=hot,
        low_pixels=low,
    )


def _draw_amplifiers(
    focal_plane: FocalPlane, detector: int, rng: np.random.Generator
) -> dict[str, Mapping[str, float]]:
    """Draw gain, read noise, full well and bias level of each amplifier.

    They do not depend on the amplifiers' size, so that products that were recorded of the default focal plane fit to
    the frames of a smaller one.
    """
    default = FocalPlane(seed=focal_plane.seed)
    if focal_plane != default:
        truth = default.truth(detector)
        return {field: getattr(truth, field) for field in _AMPLIFIER_RANGES}
    return {
        field: {name: float(rng.uniform(*limits)) for name in AMPLIFIER_NAMES}
        for field, limits in _AMPLIFIER_RANGES.items()
    }


def _draw_pixels(shape: tuple[int, int], number: int, rng: np.random.Generator) -> tuple[tuple[int, int], ...]:
    """Draw (x, y) of pixels, each once, none at the border."""
    rows, columns = shape[0] - 4, shape[1] - 4
    flat = rng.choice(rows * columns, number, replace=False)
    return tuple((int(index % columns) + 2, int(index // columns) + 2) for index in flat)


def _draw_bias_pattern(shape: tuple[int, int], rng: np.random.Generator) -> FloatImage:
    """Draw column structure, pixel structure and the bright first rows next to the serial registers (adu)."""
    rows = np.arange(shape[0], dtype=np.float32)
    from_register = np.minimum(rows, shape[0] - 1 - rows)
    pattern = 8.0 * np.exp(-from_register / 4.0)[:, np.newaxis]
    pattern = pattern + rng.normal(0, _BIAS_COLUMN_SIGMA, shape[1])[np.newaxis, :]
    return (pattern + rng.normal(0, _BIAS_PIXEL_SIGMA, shape)).astype(np.float32)


def _illumination(shape: tuple[int, int], detector: int) -> npt.NDArray[np.float64]:
    """Return the lamp's light on a detector: a gentle slope and fall-off over the focal plane, 1 in its middle."""
    x, y = _places(shape, detector)
    return np.asarray(1 + 0.02 * x - 0.01 * y - 0.015 * (x**2 + y**2))


def _leak_pattern(shape: tuple[int, ...], detector: int) -> FloatImage:
    """Return stray light on a detector, 1 in the middle of the focal plane."""
    x, y = _places(shape, detector)
    return np.asarray(1 + _LEAK_SLOPE * x + 0 * y, np.float32)


def _places(shape: tuple[int, ...], detector: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x (one row) and y (one column) of a detector's pixels in the focal plane, from -1 to 1."""
    row, column = divmod(detector, 3)
    y = ((np.arange(shape[0])[:, np.newaxis] + 0.5) / shape[0] + row) / 1.5 - 1
    x = ((np.arange(shape[1])[np.newaxis, :] + 0.5) / shape[1] + column) / 1.5 - 1
    return x, y


def _add_cosmic_rays(electrons: FloatImage, dark_time_s: float, rng: np.random.Generator) -> None:
    """Add straight tracks of charge; their number is Poisson with the area and the time."""
    rows, columns = electrons.shape
    for _ in range(rng.poisson(_COSMIC_RAY_RATE * electrons.size * dark_time_s)):
        steps = np.arange(rng.integers(*_COSMIC_RAY_LENGTH))
        angle = rng.uniform(0, 2 * np.pi)
        y = (rng.uniform(0, rows) + steps * np.sin(angle)).astype(int)
        x = (rng.uniform(0, columns) + steps * np.cos(angle)).astype(int)
        inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
        np.add.at(electrons, (y[inside], x[inside]), rng.uniform(*_COSMIC_RAY_CHARGE))
