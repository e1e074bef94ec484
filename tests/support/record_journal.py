# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a journal to be kept, of one of `STORIES`: ``python -m support.record_journal STORY FILE`` in ``tests``.

Later releases must read it, so a file that is in ``data/journals`` is never made anew.
Facts that are new, or have new fields, get a file of their own beside it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from pathlib import Path

from lsst.ts.comcamcalib.enums import CalibType, CertificationState
from lsst.ts.comcamcalib.record import facts
from lsst.ts.comcamcalib.record.events import Certification
from lsst.ts.comcamcalib.record.facts import Fact
from lsst.ts.comcamcalib.run.acceptance import AcceptRequest
from lsst.ts.comcamcalib.run.decertification import DecertifyRequest

from support.gate import Gate
from support.house import House
from support.plans import make_config
from support.services import Observatory

BIAS = CalibType.BIAS


def rare_facts() -> list[Fact]:
    """Return a fact of each kind that a run without trouble or decisions does not have."""
    return [
        facts.Decision(what="resume", who="op@console", why="the disk was full"),
        facts.FrameIntended(calib_type=BIAS, index=3, exposure_time_s=0.0, replaces=2),
        facts.FrameAbsent(calib_type=BIAS, index=3, reason="neither the camera nor the repository has it"),
        facts.FrameGivenUp(calib_type=BIAS, index=2, reason="lost"),
        facts.FrameStray(calib_type=BIAS, exposure_id=2026112200099, obs_id="CC_O_20261122_000099", reason="too many"),
        facts.FramesBlamed(calib_type=CalibType.FLAT, reason="the lamp is off"),
        facts.JobAbsent(label="cpBias", attempt=2, reason="the UWS has no job with its mark"),
        facts.JobDistrusted(label="cpDark", attempt=1, reason="an older bias came first"),
        facts.JobStray(
            job_id="job-99",
            stage_name="BIAS.GENERATE",
            calib_type=BIAS,
            phase="aborted",
            exit_code=255,
            message="one too many",
            submitted_s=1.8e9,
            ended_s=1.8e9 + 1,
        ),
        facts.CertifyIntended(
            number=9,
            stage_name="BIAS.CERTIFY",
            calib_type=BIAS,
            verdict=None,
            dataset_type="bias",
            collection="LSSTComCam/calib/daily",
            output_collection="u/ocps/job-01/run",
            validity_begin="2026-11-22T12:00:00",
            validity_end="",
            dataset_ids=("6b7e1d6e-0000-4000-8000-000000000001",),
            replaces=(
                facts.CertifiedBefore(
                    dataset_id="6b7e1d6e-0000-4000-8000-000000000002",
                    detector=4,
                    physical_filter=None,
                    validity_begin="",
                    validity_end="2026-11-23T12:00:00",
                ),
            ),
            remarks=("certified without verification, as certify_unverified asks",),
        ),
        facts.CertifyAbsent(number=9, reason="nothing of it is in the collection"),
    ]


async def everything(path: Path) -> None:
    """Have a small run with everything done, and add the rare facts."""
    house = await House(make_config(), path).open()
    await house.start(do_defects=True, do_ptc=True, do_gain_from_flat_pairs=True)
    await house.ended()
    assert house.runner.run is not None
    for fact in rare_facts():
        await house.runner.run.record.note(fact)
    await house.close()


async def decisions(path: Path) -> None:
    """Have the verdict on a second run's biases accepted, and what that run certified withdrawn in two attempts.

    The CSC is killed before the first attempt has changed anything; the next process sees that, and finishes it.
    """
    house = await House(make_config(report={"directory": "/reports", "s3_instance": ""}), path).open()
    await house.start(script_mode="BIAS")
    await house.ended()
    house.observatory.world.bad_amplifiers["BIAS", 0] = 12
    run_id = await house.start(script_mode="BIAS")
    await house.ended()
    await house.runner.decisions.accept(AcceptRequest(run_id, BIAS, "", 0, "the noise is known", "op@console"))
    await house.ended()

    gate = house.observatory.repository.gates["withdraw"] = Gate()
    request = DecertifyRequest(run_id, BIAS, "a light leak", "op@console")
    killed = asyncio.create_task(house.runner.decisions.decertify(request))
    await gate.until_reached()
    world = house.observatory.world
    await house.die()
    await asyncio.gather(killed, return_exceptions=True)

    house = await House(house.config, path, Observatory.of(world)).open()
    await house.until(lambda: any(one.state is CertificationState.DECERTIFIED for one in house.of(Certification)))
    await house.close()


STORIES = {"everything": everything, "decisions": decisions}


def main() -> None:
    """Write the journal as SQL text."""
    story, file = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        asyncio.run(STORIES[story](path))
        with sqlite3.connect(path) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            lines = [*connection.iterdump(), f"PRAGMA user_version = {version};"]
    Path(file).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
