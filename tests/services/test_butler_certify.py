# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certifying in a real, small repository."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from lsst.daf.butler import Butler, CollectionType, DatasetRef, Timespan
from lsst.ts.comcamcalib.butler_data import CertifiedRange, Withdrawal
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.services.butler import ButlerService
from support.permission import LOST, refused
from support.small_repository import (
    BIASES,
    CHAIN,
    DAILY,
    FLATS_R,
    INSTRUMENT,
    NEXT_NOON,
    NOON,
    RAWS,
    bias_job,
    certify_request,
    found_bias,
    image,
    run_job,
)


async def test_certified_datasets_are_found_within_the_range_and_not_outside(
    service: ButlerService, butler: Butler
) -> None:
    ids = bias_job(butler, "b")
    outcome = await service.certify(certify_request("b", ids))
    assert {one.dataset_id for one in outcome.certified} == set(ids)
    assert {one.detector for one in outcome.certified} == set(range(9)) and outcome.replaced == ()
    assert await service.read_back("bias", DAILY, NOON, NEXT_NOON, ids) == []
    butler.registry.refresh()
    assert found_bias(butler, 4, "22T12:00:00") == found_bias(butler, 4, "23T11:59:59") == ids[4]
    assert found_bias(butler, 4, "22T11:59:59") is None and found_bias(butler, 4, "23T12:00:00") is None


async def test_a_process_that_has_lost_its_journal_certifies_and_withdraws_nothing(
    service: ButlerService, repo: Path, butler: Butler, limits: Limits
) -> None:
    ids = bias_job(butler, "b")
    stale = ButlerService(str(repo), INSTRUMENT, RAWS, limits, refused)
    await stale.start()
    with pytest.raises(ServiceError, match=LOST):
        await stale.certify(certify_request("b", ids))
    with pytest.raises(ServiceError, match=LOST):
        await stale.withdraw(Withdrawal(DAILY, ()))
    await stale.close()
    assert await service.certified_ranges("bias", DAILY, ids) == []


async def test_the_same_call_twice_changes_nothing(service: ButlerService, butler: Butler) -> None:
    ids = bias_job(butler, "b")
    first = await service.certify(certify_request("b", ids))
    assert not first.found
    assert await service.certify(certify_request("b", ids)) == dataclasses.replace(first, found=True)
    assert len(list(butler.registry.queryDatasetAssociations("bias", collections=DAILY))) == 9


async def test_what_was_certified_before_makes_room_and_stays_outside_the_range(
    service: ButlerService, butler: Butler
) -> None:
    old = bias_job(butler, "old", [0, 1])
    new = bias_job(butler, "new", [0])
    await service.certify(certify_request("old", old, "2026-11-20T00:00:00.5", ""))
    outcome = await service.certify(certify_request("new", new))
    (replaced,) = outcome.replaced
    assert (replaced.dataset_id, replaced.detector, replaced.physical_filter) == (old[0], 0, None)
    assert (replaced.begin_iso_tai, replaced.end_iso_tai) == ("2026-11-20T00:00:00.5", "")
    butler.registry.refresh()
    assert found_bias(butler, 0, "22T13:00:00") == new[0]
    assert found_bias(butler, 0, "22T11:00:00") == found_bias(butler, 0, "23T13:00:00") == old[0]
    assert found_bias(butler, 1, "22T13:00:00") == old[1]  # another detector is left alone
    assert await service.read_back("bias", DAILY, NOON, NEXT_NOON, new) == []
    (problem,) = await service.read_back("bias", DAILY, NOON, NEXT_NOON, [old[0]])
    assert problem.startswith("bias of detector 0") and "not certified" in problem
    # And the old one back in place: the new one makes room in turn.
    again = await service.certify(certify_request("old", old))
    assert [(one.dataset_id, one.begin_iso_tai, one.end_iso_tai) for one in again.replaced] == [
        (new[0], NOON, NEXT_NOON)
    ]


# What would make room; it is written down before anything is certified


async def test_what_would_make_room_is_what_makes_room_and_looking_changes_nothing(
    service: ButlerService, butler: Butler
) -> None:
    old, between, new = (bias_job(butler, name, [0, 1]) for name in ("old", "between", "new"))
    await service.certify(certify_request("old", old, "2026-11-20T12:00:00.5", ""))
    await service.certify(certify_request("between", between[:1]))
    request = certify_request("new", new, "2026-11-21T12:00:00", "2026-11-24T12:00:00")
    before = await service.certified_before(request)
    assert sorted((one.dataset_id, one.detector, one.begin_iso_tai, one.end_iso_tai) for one in before) == sorted(
        [
            (old[0], 0, "2026-11-20T12:00:00.5", NOON),
            (old[0], 0, NEXT_NOON, ""),
            (between[0], 0, NOON, NEXT_NOON),
            (old[1], 1, "2026-11-20T12:00:00.5", ""),
        ]
    )
    butler.registry.refresh()
    assert found_bias(butler, 0, "22T13:00:00") == between[0] and found_bias(butler, 1, "22T13:00:00") == old[1]
    assert await service.certified_ranges("bias", DAILY, new) == []
    outcome = await service.certify(request)
    assert sorted(outcome.replaced, key=str) == sorted(before, key=str)
    # A repetition, as after a kill, replaces nothing more: what was replaced is known from before only.
    assert await service.certified_before(request) == []
    assert (await service.certify(request)).replaced == ()


async def test_what_would_make_room_is_what_was_there_for_the_same_filter(
    service: ButlerService, butler: Butler
) -> None:
    in_r = run_job(butler, "r", [], [("flat", {"detector": 0, "physical_filter": "r_03"}, image())])
    in_i = run_job(butler, "i", [], [("flat", {"detector": 0, "physical_filter": "i_06"}, image())])
    newer = run_job(butler, "n", [], [("flat", {"detector": 0, "physical_filter": "i_06"}, image())])
    await service.certify(certify_request("r", in_r, dataset_type="flat"))
    await service.certify(certify_request("i", in_i, dataset_type="flat"))
    (replaced,) = await service.certified_before(certify_request("n", newer, dataset_type="flat"))
    assert (replaced.dataset_id, replaced.physical_filter) == (in_i[0], "i_06")


async def test_in_a_new_collection_nothing_would_make_room_and_it_is_not_made(
    service: ButlerService, butler: Butler
) -> None:
    ids = bias_job(butler, "b", [0])
    assert await service.certified_before(certify_request("b", ids, collection="u/new")) == []
    assert await service.missing_collections(["u/new"]) == ["u/new"]
    with pytest.raises(ServiceError, match="u/ocps/b/run has no bias with the ids none"):
        await service.certified_before(certify_request("b", ["none"], collection="u/new"))
    with pytest.raises(ServiceError, match="range"):
        await service.certified_before(certify_request("b", ids, NEXT_NOON, NOON))


async def test_a_dataset_whose_range_grows_is_certified_for_all_of_it(service: ButlerService, butler: Butler) -> None:
    ids = bias_job(butler, "b", [0])
    await service.certify(certify_request("b", ids))
    outcome = await service.certify(certify_request("b", ids, NOON, "2026-11-25T12:00:00"))
    assert outcome.replaced == ()
    assert await service.read_back("bias", DAILY, NOON, "2026-11-25T12:00:00", ids) == []


async def test_unbounded_ranges_are_allowed_and_a_new_collection_is_made(
    service: ButlerService, butler: Butler
) -> None:
    ids = bias_job(butler, "b", [0])
    for begin, end in (("", NOON), (NOON, ""), ("", "")):
        await service.certify(certify_request("b", ids, begin, end, collection="u/new"))
        assert await service.read_back("bias", "u/new", begin, end, ids) == []
    assert butler.collections.get_info("u/new").type is CollectionType.CALIBRATION


async def test_the_old_way_of_saying_for_ever_is_understood(service: ButlerService, butler: Butler) -> None:
    ids = bias_job(butler, "b", [0])
    await service.certify(certify_request("b", ids, "1950-01-01", "2050-01-01"))
    assert await service.read_back("bias", DAILY, "1950-01-01", "2050-01-01", ids) == []
    butler.registry.refresh()
    assert found_bias(butler, 0, "22T12:00:00") == ids[0]


async def test_flats_of_two_filters_live_side_by_side(service: ButlerService, butler: Butler) -> None:
    in_r = run_job(butler, "r", [], [("flat", {"detector": 0, "physical_filter": "r_03"}, image())])
    in_i = run_job(butler, "i", [], [("flat", {"detector": 0, "physical_filter": "i_06"}, image())])
    await service.certify(certify_request("r", in_r, dataset_type="flat"))
    outcome = await service.certify(certify_request("i", in_i, dataset_type="flat"))
    assert outcome.replaced == () and outcome.certified[0].physical_filter == "i_06"
    assert await service.read_back("flat", DAILY, NOON, NEXT_NOON, [*in_r, *in_i]) == []


def latiss_bias(butler: Butler, run: str) -> DatasetRef:
    """Return a bias of another instrument's detector 0, in the same repository."""
    with butler.transaction():
        butler.registry.syncDimensionData("instrument", {"name": "LATISS", "detector_max": 1, "class_name": "x.Latiss"})
        butler.registry.syncDimensionData(
            "detector", {"instrument": "LATISS", "id": 0, "full_name": "RXX_S00", "purpose": "SCIENCE"}
        )
    butler.collections.register(run, CollectionType.RUN)
    return butler.put(image(), "bias", {"instrument": "LATISS", "detector": 0}, run=run)


async def test_calibrations_of_another_instrument_are_left_alone_and_not_counted(
    service: ButlerService, butler: Butler
) -> None:
    other = latiss_bias(butler, "LATISS/run")
    butler.registry.certify(DAILY, [other], Timespan(None, None))
    ids = bias_job(butler, "b", [0])
    outcome = await service.certify(certify_request("b", ids))
    assert outcome.replaced == ()
    assert await service.read_back("bias", DAILY, NOON, NEXT_NOON, ids, BIASES) == []
    butler.registry.refresh()
    (still,) = butler.query_datasets("bias", DAILY, instrument="LATISS", find_first=False)
    assert still.id == other.id


async def test_a_job_did_not_use_what_another_instrument_has_for_the_same_number(
    service: ButlerService, butler: Butler
) -> None:
    """A LATISS bias comes first in the chain; pipetask never looks at it for LSSTComCam."""
    latiss_bias(butler, "LATISS/run")
    bias_job(butler, "b", [0])
    run_job(butler, "dark", ["LATISS/run", "u/ocps/b/run"], [])
    assert await service.foreign_inputs("u/ocps/dark", "bias", BIASES, [0], "u/ocps/b/run") == []


async def test_a_dataset_in_the_way_with_two_ranges_is_told_with_both(service: ButlerService, butler: Butler) -> None:
    old, between, new = (bias_job(butler, name, [0]) for name in ("old", "between", "new"))
    await service.certify(certify_request("old", old, "2026-11-20T12:00:00", "2026-11-25T12:00:00"))
    await service.certify(certify_request("between", between))
    outcome = await service.certify(certify_request("new", new, "2026-11-21T12:00:00", "2026-11-24T12:00:00"))
    assert sorted((one.dataset_id, one.begin_iso_tai, one.end_iso_tai) for one in outcome.replaced) == sorted(
        [
            (old[0], "2026-11-20T12:00:00", NOON),
            (old[0], NEXT_NOON, "2026-11-25T12:00:00"),
            (between[0], NOON, NEXT_NOON),
        ]
    )


async def test_the_ranges_of_datasets_are_told_as_they_are_stored(service: ButlerService, butler: Butler) -> None:
    ids = bias_job(butler, "b", [0, 1])
    assert await service.certified_ranges("bias", DAILY, ids) == []
    assert await service.certified_ranges("bias", "no/such", ids) == []
    assert await service.certified_ranges("no_such_type", DAILY, ids) == []
    await service.certify(certify_request("b", ids[:1], "1970-01-01T00:00:00", NOON))
    await service.certify(certify_request("b", ids[1:], "1970-01-01T00:00:01", ""))
    assert sorted(await service.certified_ranges("bias", DAILY, ids), key=lambda one: one.end_iso_tai) == [
        CertifiedRange(ids[1], "1970-01-01T00:00:01", ""),
        CertifiedRange(ids[0], "", NOON),
    ]


async def test_each_frame_has_to_find_the_new_dataset_and_only_that(service: ButlerService, butler: Butler) -> None:
    """The range ends in the middle of the second bias, which an older one covers from there on."""
    old, new = bias_job(butler, "old", [0]), bias_job(butler, "new", [0])
    await service.certify(certify_request("old", old))
    end = "2026-11-22T20:02:37.5"
    await service.certify(certify_request("new", new, NOON, end))
    assert await service.read_back("bias", DAILY, NOON, end, new, BIASES[:1]) == []
    (problem,) = await service.read_back("bias", DAILY, NOON, end, new, BIASES)
    name = f"bias of detector 0 ({new[0]})"
    assert problem.startswith(f"Looking for {name} by exposure {BIASES[1]} finds datasets ")
    assert old[0] in problem and new[0] in problem
    # Later flats are not covered, so nothing is looked for; an unknown exposure is not passed over.
    assert await service.read_back("bias", DAILY, NOON, end, new, [BIASES[0], *FLATS_R]) == []
    (problem,) = await service.read_back("bias", DAILY, NOON, end, new, [BIASES[0], 4])
    assert problem == "The repository does not know exposure 4, so it can't be checked what is found for it."


@pytest.mark.parametrize(
    ("collection", "begin", "end", "sentence"),
    [
        (RAWS, NOON, NEXT_NOON, "it is a RUN collection"),
        (CHAIN, NOON, NEXT_NOON, "it is a CHAINED collection"),
        (DAILY, NEXT_NOON, NOON, "range"),
        (DAILY, NOON, NOON, "is empty"),
        (DAILY, "tomorrow", NOON, "is no validity range"),
        (DAILY, "", "1960-01-01", "range"),
    ],
)
async def test_a_certification_that_can_not_be_is_refused_with_a_sentence(
    service: ButlerService, butler: Butler, collection: str, begin: str, end: str, sentence: str
) -> None:
    ids = bias_job(butler, "b", [0])
    with pytest.raises(ServiceError, match=sentence):
        await service.certify(certify_request("b", ids, begin, end, collection=collection))
    assert not list(butler.registry.queryDatasetAssociations("bias", collections=DAILY))


async def test_ids_that_are_not_in_the_run_are_refused_and_nothing_is_certified(
    service: ButlerService, butler: Butler
) -> None:
    ids, others = bias_job(butler, "b", [0, 1]), bias_job(butler, "other", [2])
    with pytest.raises(ServiceError, match=f"u/ocps/b/run has no bias with the ids {others[0]}"):
        await service.certify(certify_request("b", [*ids, *others]))
    with pytest.raises(ServiceError, match="no bias to certify"):
        await service.certify(certify_request("b", []))
    assert not list(butler.registry.queryDatasetAssociations("bias", collections=DAILY))


async def test_what_is_no_calibration_is_not_certified(service: ButlerService, butler: Butler) -> None:
    data = {"exposure": FLATS_R[0], "detector": 0}
    ids = run_job(butler, "v", [], [("verifyFlatDetStats", data, {"SUCCESS": True})])
    with pytest.raises(ServiceError, match="is not registered as a calibration"):
        await service.certify(certify_request("v", ids, dataset_type="verifyFlatDetStats"))


async def test_a_certification_that_fails_half_way_changes_nothing(
    service: ButlerService, butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bias_job(butler, "old", [0]), bias_job(butler, "new", [0])
    await service.certify(certify_request("old", old))
    registry_type = type(butler.registry)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(registry_type, "certify", fail)
        with pytest.raises(ServiceError, match=r"could not certify bias .*RuntimeError: the database is gone"):
            await service.certify(certify_request("new", new))
    assert found_bias(butler, 0, "22T13:00:00") == old[0]
    # The service has opened the repository anew.
    assert await service.read_back("bias", DAILY, NOON, NEXT_NOON, old) == []


async def test_many_days_of_calibrations_are_read_back_by_exact_dataset(service: ButlerService, butler: Butler) -> None:
    first, second = bias_job(butler, "one", [0, 1]), bias_job(butler, "two", [0, 1])
    await service.certify(certify_request("one", first))
    await service.certify(certify_request("two", second, NEXT_NOON, "2026-11-24T12:00:00"))
    assert await service.read_back("bias", DAILY, NOON, NEXT_NOON, first) == []
    problems = await service.read_back("bias", DAILY, NEXT_NOON, "2026-11-24T12:00:00", first)
    assert any(f"dataset {second[0]} of u/ocps/two/run" in problem for problem in problems)
    (problem,) = await service.read_back("bias", DAILY, NOON, NEXT_NOON, ["00000000-0000-0000-0000-000000000000"])
    assert "has no dataset" in problem
