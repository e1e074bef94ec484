# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of the frames of a run, and what shows that they are bad, for all products made from them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from ..enums import CalibType, StageKind
from ..errors import ServiceError
from ..record.facts import FramesBlamed
from ..verification import FrameFacts
from .context import RunContext

__all__ = ["blame_frames", "frame_facts", "known_to_be_bad", "verify_attempt"]


async def frame_facts(calib_type: CalibType, collections: Sequence[str], context: RunContext) -> FrameFacts:
    """Return the facts about the frames of a type that cp_verify does not measure.

    If the ptc can't be read, that is logged and stands among the facts: a verdict that needs it is UNKNOWN.

    Parameters
    ----------
    calib_type
        Type of the frames.
    collections
        Collections in which the ptc is looked up, in order.
    context
        What the stages share.
    """
    frames = context.history.used(calib_type)
    facts = FrameFacts(
        limits=context.config.frames,
        exposure_times={frame.exposure_id: frame.exposure_time_s for frame in frames},
        in_product=context.history.product(calib_type) is not None,
        threshold=context.plan.options.number_verification_tests_threshold(calib_type),
        quiet_noise=context.config.plausible.noise_min,
    )
    if not frames:
        return facts
    try:
        known = await context.services.repository.certified_ptc(
            collections, frames[0].exposure_id, context.plan.options.detectors
        )
    except ServiceError as error:
        logging.getLogger(__name__).warning(
            "Run %s: the certified ptc, by which the %s frames are judged, could not be read: %s",
            *(context.run_id, calib_type.name, error),
        )
        return dataclasses.replace(facts, ptc_unread=str(error))
    return dataclasses.replace(
        facts,
        gains={detector: one.gain for detector, one in known.items()},
        read_noises={detector: one.noise for detector, one in known.items()},
        turnoffs={detector: one.turnoff for detector, one in known.items()},
    )


async def blame_frames(calib_type: CalibType, sentence: str, context: RunContext) -> None:
    """Note why no product made from the frames of a type can be good; the first reason is kept."""
    if sentence and calib_type in context.plan.sequences and calib_type not in context.history.blamed:
        await context.record.note(FramesBlamed(calib_type=calib_type, reason=sentence))


def verify_attempt(calib_type: CalibType, context: RunContext) -> int:
    """Return the attempt of the verification to which a verdict on a product belongs."""
    stage = context.history.stage(calib_type, StageKind.VERIFY)
    return stage.attempt if stage is not None else 1


def known_to_be_bad(calib_type: CalibType, context: RunContext) -> str:
    """Return why frames from which a product is made are known to be bad; "" if none are."""
    frames = [CalibType[name] for name in context.plan.recipe(calib_type).frames]
    return " ".join(
        f"The {one.name} frames are bad: {context.history.blamed[one]}"
        for one in frames
        if one in context.history.blamed
    )
