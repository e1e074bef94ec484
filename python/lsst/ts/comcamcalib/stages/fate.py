# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Products share the fate of the frames that they are made from; pure functions of a run's history."""

from __future__ import annotations

import dataclasses

from ..enums import CalibType, StageKind, StageState, Verdict
from ..findings import Finding, Outcome
from ..record.facts import VerdictGiven
from ..record.history import STAGE_ENDED, History
from ..verification import Judgement
from ..verification.value_sentences import VALUE_RULES

__all__ = ["SHARED", "frames_of", "judged_meanwhile", "share_fate", "unjudged"]

SHARED = "shared_frames"
"""Rule of the finding that nobody has judged the frames from which a product is made."""


def share_fate(calib_type: CalibType, judgement: Judgement, history: History) -> Judgement:
    """Return the judgement of a product, with what is known of the frames from which it is made.

    It is FAILED if they were found bad, and no better than UNKNOWN if their own verification could not judge them:
    nothing in the product itself shows that the lamp drifted, or that a detector was dark.

    Parameters
    ----------
    calib_type
        The product.
    judgement
        Its own judgement.
    history
        The run, in which the verifications of the frames have ended.
    """
    bad = [(one, history.blamed[one]) for one in frames_of(calib_type, history) if one in history.blamed]
    if bad:
        reasons = " ".join(f"The {one.name} frames that it is made from are bad: {sentence}" for one, sentence in bad)
        return _with_reasons(judgement, Verdict.FAILED, reasons)
    unknown = unjudged(calib_type, history)
    if not unknown:
        return judgement
    reasons = " ".join(
        f"Nobody knows whether the {one.name} frames that it is made from are good: {why.rstrip('.')}."
        for one, why in unknown.items()
    )
    verdict = Verdict.FAILED if judgement.verdict is Verdict.FAILED else Verdict.UNKNOWN
    found = [Finding(SHARED, Outcome.UNKNOWN, one.name, detail=why) for one, why in unknown.items()]
    findings = tuple(sorted([*found, *judgement.findings], key=lambda one: -one.outcome))
    return dataclasses.replace(_with_reasons(judgement, verdict, reasons), findings=findings)


def unjudged(calib_type: CalibType, history: History) -> dict[CalibType, str]:
    """Return the types of frames from which a product is made and of which nobody knows if they are good, with why.

    Their verification has ended, but without a verdict, or with one that is UNKNOWN for another reason than the values
    of its own product. If somebody has accepted it, or the run does not verify them, they are not among these.
    """
    found: dict[CalibType, str] = {}
    for one in frames_of(calib_type, history):
        stage = history.stage(one, StageKind.VERIFY)
        if stage is None or stage.state not in STAGE_ENDED or stage.state is StageState.SUCCEEDED:
            continue
        verdicts = [verdict for verdict in history.verdicts_of(one) if verdict.attempt == stage.attempt]
        unknown = [verdict for verdict in verdicts if _says_nothing(verdict)]
        if unknown:
            found[one] = f"{one.name} is {unknown[0].verdict.name}: {unknown[0].reason}"
        elif not verdicts:
            found[one] = f"{stage.name} is {stage.state.name}" + (f": {stage.reason}" if stage.reason else "")
    return found


def judged_meanwhile(history: History) -> list[str]:
    """Name the VERIFY stages that failed because nobody had judged the frames, and can be done again.

    That is: somebody has accepted the verdict on these frames since, or they are about to be judged.
    """
    found = []
    for stage in history.stages.values():
        if stage.kind is not StageKind.VERIFY or stage.state is not StageState.FAILED or stage.calib_type is None:
            continue
        waited = any(
            finding.rule == SHARED
            for verdict in history.verdicts_of(stage.calib_type)
            if verdict.attempt == stage.attempt
            for finding in verdict.findings
        )
        if waited and not unjudged(stage.calib_type, history):
            found.append(stage.name)
    return found


def frames_of(calib_type: CalibType, history: History) -> list[CalibType]:
    """Return the types of frames from which a product is made, but for those of its own type."""
    names = history.plan.recipe(calib_type).frames
    return [CalibType[name] for name in names if CalibType[name] is not calib_type]


def _says_nothing(verdict: VerdictGiven) -> bool:
    """Whether a verdict leaves open if the frames are good.

    A product that can't be compared with its predecessor is UNKNOWN, too, but its frames were judged.
    """
    rules = {one.rule for one in verdict.findings if one.outcome is Outcome.UNKNOWN}
    return verdict.verdict is Verdict.UNKNOWN and not (rules and rules <= VALUE_RULES)


def _with_reasons(judgement: Judgement, verdict: Verdict, reasons: str) -> Judgement:
    return dataclasses.replace(judgement, verdict=verdict, reason=f"{reasons} Its own result: {judgement.reason}")
