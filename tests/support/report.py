# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a repository may have for a report, without a repository."""

from __future__ import annotations

from lsst.ts.comcamcalib.report import data
from lsst.ts.comcamcalib.report.repository import Readings
from lsst.ts.comcamcalib.services.butler_pictures import CurveFound

__all__ = ["AMPLIFIERS", "NOTHING", "curve", "table"]

AMPLIFIERS = (*(f"C1{column}" for column in range(8)), *(f"C0{column}" for column in reversed(range(8))))
NOTHING = Readings({}, {}, {}, (), {}, ())


def curve(gain: float = 1.5, dead: str = "") -> CurveFound:
    """Return the curves of a detector, of whose amplifiers one may have nothing."""
    means = (500.0, 1000.0, 2000.0, 4000.0)
    good = {name: name != dead for name in AMPLIFIERS}
    return CurveFound(
        amplifiers=AMPLIFIERS,
        fit_type="POLYNOMIAL",
        means={name: means if good[name] else (float("nan"),) * 4 for name in AMPLIFIERS},
        variances={name: tuple(mean / gain for mean in means) for name in AMPLIFIERS},
        model={name: tuple(mean / gain + 1 for mean in means) if good[name] else () for name in AMPLIFIERS},
        used=dict.fromkeys(AMPLIFIERS, (True, True, True, False)),
        gain={name: gain if good[name] else float("nan") for name in AMPLIFIERS},
        noise=dict.fromkeys(AMPLIFIERS, 6.0),
        turnoff=dict.fromkeys(AMPLIFIERS, 95000.0),
    )


def table(calib_type: str, noise: float = 6.0, failing: tuple[int, str] | None = None) -> data.StatisticsTable:
    """Return statistics of two exposures of the detectors 0 and 1, of which one amplifier may fail in both."""
    rows = [(exposure, one, name) for exposure in (1, 2) for one in (0, 1) for name in AMPLIFIERS]
    return data.StatisticsTable(
        calib_type=calib_type,
        physical_filter="",
        collection="u/ocps/job-09/run",
        exposure=tuple(row[0] for row in rows),
        detector=tuple(row[1] for row in rows),
        amplifier=tuple(row[2] for row in rows),
        statistics={"NOISE": tuple(noise + row[0] for row in rows), "MEAN": (float("nan"),) * len(rows)},
        tests={"NOISE": tuple((row[1], row[2]) != failing for row in rows), "OTHER": (False,) * len(rows)},
        problems=(),
    )
