# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check the light of the first flats, as soon as they are in the repository, for faults that spoil the whole set."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Mapping

from ..enums import CalibType, StageKind, Verdict
from ..errors import ServiceError
from ..plan.plan import StagePlan
from ..record.facts import VerdictGiven
from ..record.things import Frame
from ..verification import FrameFacts, certainly_in_vain, is_suspicious
from ..verification.first_look import FEWEST_FLATS
from .context import RunContext
from .frames import blame_frames, frame_facts, verify_attempt

__all__ = ["watch_light"]


async def watch_light(stage: StagePlan, arrivals: asyncio.Queue[Frame | None], context: RunContext) -> str:
    """Check flats until their light is good, or until it is certain that no good product can be made from the set.

    If a raw can't be read, nothing is certain: that is logged, and the verification judges later.

    Parameters
    ----------
    stage
        The stage that waits for the files of the flats.
    arrivals
        Flats that are in the repository; None: no more will come.
    context
        What the stages share. A set that is certainly bad is recorded there and published as a FAILED
        verificationResult.

    Returns
    -------
    sentence
        Why no good product can be made; "" if that is not certain.
    """
    options, repository = context.plan.options, context.services.repository
    planned = [
        frame.exposure_time_s for frame in context.plan.sequences[stage.calib_type].frames if not frame.discarded
    ]
    levels: dict[int, dict[int, dict[str, float]]] = {}
    facts: FrameFacts | None = None
    while (image := await arrivals.get()) is not None:
        try:
            adu = {detector: await repository.raw_levels(image.exposure_id, detector) for detector in options.detectors}
        except ServiceError as error:
            logging.getLogger(__name__).warning(
                "Run %s: the light of %s could not be checked before its verification: %s",
                *(context.run_id, image.obs_id, error),
            )
            return ""
        if not all(adu.values()):
            logging.getLogger(__name__).warning(
                "Run %s: the raws of %s have no amplifiers", context.run_id, image.obs_id
            )
            return ""
        if facts is None:
            facts = await _facts(stage.calib_type, context)
        times = {**facts.exposure_times, image.exposure_id: image.exposure_time_s}
        facts = dataclasses.replace(facts, exposure_times=times)
        levels[image.exposure_id] = _in_electrons(adu, facts)
        if sentence := certainly_in_vain(levels, planned, facts):
            await _announce(stage.calib_type, image, sentence, context)
            return sentence
        if len(levels) >= FEWEST_FLATS and not is_suspicious(levels, facts):
            return ""
    return ""


async def _facts(calib_type: CalibType, context: RunContext) -> FrameFacts:
    """Return the facts about the amplifiers from the ptc that the verification will use."""
    verify = context.plan.stage(calib_type, StageKind.VERIFY)
    return await frame_facts(calib_type, verify.jobs[0].collections if verify else (), context)


def _in_electrons(adu: Mapping[int, Mapping[str, float]], facts: FrameFacts) -> dict[int, dict[str, float]]:
    nominal = facts.limits.nominal_gain

    def gain(detector: int, name: str) -> float:
        known = facts.gains.get(detector, {}).get(name, nominal)
        return known if known > 0 else nominal

    return {
        detector: {name: level * gain(detector, name) for name, level in amplifiers.items()}
        for detector, amplifiers in adu.items()
    }


async def _announce(calib_type: CalibType, image: Frame, sentence: str, context: RunContext) -> None:
    """Record and publish, once, a verdict that is already certain; a later verification gives the details."""
    logging.getLogger(__name__).warning("Run %s: %s", context.run_id, sentence)
    await blame_frames(calib_type, f"{sentence}.", context)
    physical_filter = ""
    with contextlib.suppress(ServiceError):
        found = await context.services.repository.physical_filters([image.exposure_id])
        physical_filter = found.get(image.exposure_id, "")
    wanted = [frame for frame in context.plan.sequences[calib_type].frames if not frame.discarded]
    verdict = VerdictGiven(
        calib_type=calib_type,
        physical_filter=physical_filter,
        attempt=verify_attempt(calib_type, context),
        verdict=Verdict.FAILED,
        job_id="",
        reason=f"{sentence}.",
        exposures_expected=len(wanted),
        detectors_expected=len(context.plan.options.detectors),
    )
    if not any(_says_all(one, verdict) for one in context.history.verdicts_of(calib_type)):
        await context.record.note(verdict)


def _says_all(standing: VerdictGiven, verdict: VerdictGiven) -> bool:
    """Return whether a verdict that stands leaves nothing to add: a resumed INGEST looks at the same flats again."""
    return standing.attempt == verdict.attempt or standing == verdict.model_copy(update={"attempt": standing.attempt})
