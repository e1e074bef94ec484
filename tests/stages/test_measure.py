# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A product is measured beside its verification, and compared with what was certified before the run."""

from __future__ import annotations

import math

import pytest
from lsst.ts.comcamcalib.enums import CalibType, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.errors import ServiceError, StageError
from lsst.ts.comcamcalib.findings import Outcome
from lsst.ts.comcamcalib.measurements import Trend
from lsst.ts.comcamcalib.record.events import DetectorMeasurement
from lsst.ts.comcamcalib.record.facts import CertifyIntended, Measured, StageMoved, VerdictGiven
from lsst.ts.comcamcalib.stages.verify import verify
from support.gate import Gate


@pytest.fixture
def made(make_bench, expose_all):
    """Return what makes a bench on which products have been made."""

    async def make(*names: str, **options):
        bench = make_bench(**options)
        expose_all(bench)
        for stage in bench.context.plan.stages:
            if stage.kind is StageKind.INGEST:
                bench.record.move(stage.name, StageState.SUCCEEDED)
        for name in names:
            await bench.generate(name)
        return bench

    return make


async def test_values_are_noted_and_published_before_the_verdict(made) -> None:
    bench = await made("BIAS")
    bench.observatory.world.values_before["bias"] = {"level": 0.5}
    assert (await verify(bench.stage("BIAS.VERIFY"), bench.context)).startswith("PASSED: ")
    kinds = [type(entry.fact) for entry in bench.record.entries]
    assert kinds.index(Measured) < kinds.index(VerdictGiven)
    (fact,) = bench.record.of(Measured)
    assert (fact.calib_type, fact.physical_filter, fact.attempt) == (CalibType.BIAS, "", 1)
    assert {one.detector for one in fact.values} == {0, 1, 4}
    assert {one.drift for one in fact.drifts} == {0.5}  # half of the limit of one electron
    assert fact.drifts[0].by_quantity == {"level": 0.5, "noise": 0.0, "changed_fraction": 0.0}
    events = bench.record.published(DetectorMeasurement)
    assert [(one.detector, one.level, one.drift) for one in events] == [(one, 1.0, 0.5) for one in (0, 1, 4)]
    assert events[0].compared_with == "LSSTComCam/calib/initial before-bias-0"


async def test_flats_are_measured_by_filter(made) -> None:
    bench = await made("BIAS", "DARK", "FLAT")
    await verify(bench.stage("FLAT.VERIFY"), bench.context)
    assert [one.physical_filter for one in bench.record.of(Measured)] == ["r_03"]


async def test_detector_that_drifted_fails_the_product_and_is_named(made) -> None:
    bench = await made("BIAS")
    bench.observatory.world.values_before["bias"] = {}
    bench.observatory.world.levels["BIAS", 4] = 7.0
    bench.observatory.world.values_before["bias"] = {"level": 1.0}
    with pytest.raises(StageError, match=r"^BIAS is FAILED: Level changed against what is certified: R22_S11"):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)
    (verdict,) = bench.record.of(VerdictGiven)
    assert verdict.verdict is Verdict.FAILED
    assert verdict.findings[0].outcome is Outcome.FAILED, "the worst comes first"
    assert {one.detector for one in verdict.findings if one.rule == "drift"} == {4}


async def test_without_a_predecessor_the_product_passes_and_that_is_said(made) -> None:
    bench = await made("BIAS")
    reason = await verify(bench.stage("BIAS.VERIFY"), bench.context)
    assert "Not compared with what is certified: R22_S00, R22_S01, R22_S11 (nothing is certified)." in reason
    assert all(math.isnan(one.drift) and one.compared_with == "" for one in bench.record.of(Measured)[0].drifts)


@pytest.mark.parametrize("method", ["product_values", "predecessors"])
async def test_values_that_the_verdict_needs_and_that_can_not_be_read_are_unknown(made, method: str) -> None:
    bench = await made("BIAS")
    bench.observatory.repository.errors[method] = "the disk is gone"
    with pytest.raises(
        StageError, match=r"BIAS is UNKNOWN: The verification is not complete: .*R22_S00 \(.*the disk is gone"
    ):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)


@pytest.mark.parametrize("name", ["BIAS", "PTC"])
async def test_predecessor_that_can_not_be_read_is_unknown_and_named_as_the_cause(made, name: str) -> None:
    bench = await made("BIAS", "DARK", "PTC", do_ptc=True)
    await bench.record.note(StageMoved(stage_name="FLAT.VERIFY", attempt=1, state=StageState.SUCCEEDED, reason=""))
    world = bench.observatory.world
    world.values_before = {"bias": {}, "ptc": {}}
    read = world.product_values

    def broken_for_one(calib_type, dataset_ids, predecessor_id=""):
        if predecessor_id.endswith("-4"):
            raise ServiceError("The file is torn.")
        return read(calib_type, dataset_ids, predecessor_id)

    world.product_values = broken_for_one
    old = f"LSSTComCam/calib/initial before-{name.lower()}-4"
    with pytest.raises(
        StageError,
        match=rf"^{name} is UNKNOWN: .*usable: R22_S11 \(what is certified, {old}, could not be read: The file is "
        r"torn\. Repair its file and resume the run, or accept this verdict to replace it\)",
    ):
        await verify(bench.stage(f"{name}.VERIFY"), bench.context)
    (verdict,) = bench.record.of(VerdictGiven)
    unknown = [(one.rule, one.detector) for one in verdict.findings if one.outcome is Outcome.UNKNOWN]
    assert unknown == [("drift", 4)], "the product itself could be measured"
    (fact,) = bench.record.of(Measured)
    assert {one.detector for one in fact.values} == {0, 1, 4}
    (torn,) = [one for one in fact.drifts if one.detector == 4]
    assert math.isnan(torn.drift) and torn.compared_with == old


async def test_predecessor_that_can_not_be_read_is_only_told_where_nothing_follows_from_it(make_bench, made) -> None:
    values = make_bench().context.config.model_dump(mode="json")["values"]
    values["drift"]["BIAS"] = [{**one, "outcome": "note"} for one in values["drift"]["BIAS"]]
    bench = await made("BIAS", config={"values": values})
    world = bench.observatory.world
    world.values_before["bias"] = {}
    read = world.product_values

    def broken(calib_type, dataset_ids, predecessor_id=""):
        if predecessor_id:
            raise ServiceError("The file is torn.")
        return read(calib_type, dataset_ids)

    world.product_values = broken
    reason = await verify(bench.stage("BIAS.VERIFY"), bench.context)
    assert reason.startswith("PASSED: ") and "could not be read: The file is torn." in reason


async def test_values_that_nobody_needs_are_only_told_to_be_missing(make_bench, made) -> None:
    values = make_bench().context.config.model_dump(mode="json")["values"]
    values["limits"]["BIAS"], values["drift"]["BIAS"] = [], []
    bench = await made("BIAS", config={"values": values})
    bench.observatory.repository.errors["product_values"] = "the disk is gone"
    assert (await verify(bench.stage("BIAS.VERIFY"), bench.context)).startswith("PASSED: ")


async def test_values_are_read_while_the_job_runs(made) -> None:
    bench = await made("BIAS")
    measuring = bench.observatory.repository.gates["product_values"] = Gate()
    judging = bench.start(verify(bench.stage("BIAS.VERIFY"), bench.context))
    await measuring.until_reached()
    assert bench.record.of(VerdictGiven) == []
    measuring.open()
    assert (await bench.done(judging)).startswith("PASSED: ")


async def test_verification_without_a_product_of_its_own_measures_nothing(made) -> None:
    bench = await made(generate_calibrations=False)
    await verify(bench.stage("BIAS.VERIFY"), bench.context)
    assert bench.record.of(Measured) == []
    assert "product_values" not in bench.observatory.repository.asked


async def test_job_that_fails_does_not_leave_the_measuring_behind(made) -> None:
    bench = await made("BIAS")
    bench.observatory.repository.gates["product_values"] = Gate()
    bench.observatory.jobs.failing["verifyBias"] = "KeyError"
    with pytest.raises(StageError, match="BIAS is UNKNOWN"):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)


async def test_own_datasets_are_no_predecessors_even_if_they_are_certified_already(made, monkeypatch) -> None:
    bench = await made("BIAS", "DARK", "FLAT", do_ptc=True)
    asked = []
    original = bench.observatory.repository.predecessors

    async def predecessors(dataset_type, collections, exposure_id, physical_filter, own):
        asked.append((dataset_type, list(collections), exposure_id, set(own)))
        return await original(dataset_type, collections, exposure_id, physical_filter, own)

    monkeypatch.setattr(bench.observatory.repository, "predecessors", predecessors)
    earlier = "6b7e1d6e-0000-4000-8000-000000000007"
    bench.record.put(
        CertifyIntended(
            number=1,
            calib_type=CalibType.BIAS,
            stage_name="BIAS.CERTIFY",
            dataset_type="bias",
            verdict=Verdict.PASSED,
            output_collection="u/ocps/job-00",
            collection="LSSTComCam/calib/daily",
            validity_begin="",
            validity_end="",
            dataset_ids=(earlier,),
        )
    )
    await verify(bench.stage("BIAS.VERIFY"), bench.context)
    ((dataset_type, collections, exposure, own),) = asked
    assert (dataset_type, exposure) == ("bias", bench.context.history.exposure_ids(CalibType.BIAS)[0])
    assert collections == ["LSSTComCam/calib/daily", "LSSTComCam/calib"]
    assert own >= {earlier, *bench.context.history.product(CalibType.BIAS).ids}


async def test_gains_from_pairs_are_compared_with_the_ptc(made) -> None:
    bench = await made("BIAS", "DARK", "GAIN", do_gain_from_flat_pairs=True)
    bench.observatory.world.values_before["ptc"] = {"gain": 1.6}
    with pytest.raises(StageError, match=r"GAIN is FAILED: Gain changed against what is certified: R22_S0. 0\.0625"):
        await verify(bench.stage("GAIN.VERIFY"), bench.context)


async def test_value_that_stands_out_from_earlier_runs_is_noted(made) -> None:
    bench = await made("BIAS")
    bench.record.past = {(4, "C12", "level"): Trend(20, 0.2, 0.01, 0.2, "")}
    reason = await verify(bench.stage("BIAS.VERIFY"), bench.context)
    assert reason.startswith("PASSED: ")
    assert "Noted: level stands out from earlier runs: R22_S11 C12 1 (limit 0.26)." in reason


async def test_journal_that_can_not_be_read_does_not_fail_the_product(made) -> None:
    bench = await made("BIAS")
    bench.record.past = "Could not read the measurements of the journal: disk I/O error."
    assert (await verify(bench.stage("BIAS.VERIFY"), bench.context)).startswith("PASSED: ")
    (verdict,) = bench.record.of(VerdictGiven)
    assert [one.detail for one in verdict.findings if one.rule == "trend"] == [bench.record.past]
