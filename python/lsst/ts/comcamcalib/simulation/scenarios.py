# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scenarios of the simulated observatory: lists of faults with a name.

Each of them is something that the real observatory has seen or can see. Several may be in force at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .faults import Fault

__all__ = ["SCENARIOS", "scenario_faults"]

# What the OCPS sees ends its command; what the CSC sees must not end a good run.
_LOOKS_OF_THE_CSC = {"method": "GET", "resource": "job", "client": "Python"}
_VERIFICATIONS = ("verifyBias", "verifyDark", "verifyFlat")

SCENARIOS: Mapping[str, tuple[Fault, ...]] = {
    # The read noise of all amplifiers of one detector is twice what the ptc says: the bias fails its verification.
    "noisy-detector": (
        Fault("focal_plane", "noise", match={"detector": 4, "image_type": "BIAS"}, times=None, value=2.0),
    ),
    # The same in one amplifier only: it fails its tests, which is below the threshold for a detector.
    "noisy-amplifier": (
        Fault(
            "focal_plane",
            "noise",
            match={"detector": 4, "amplifier": "C12", "image_type": "BIAS"},
            times=None,
            value=2.0,
        ),
    ),
    # One detector is dead: it has neither signal nor noise, whatever is taken.
    "dead-detector": (Fault("focal_plane", "dead", match={"detector": 4}, times=None),),
    # The jobs of the verifications succeed, but have nothing of one detector: no images, no statistics.
    "detector-missing": tuple(
        Fault("worker", "no_work", match={"pipeline": pipeline}, times=None, value=4) for pipeline in _VERIFICATIONS
    ),
    # A pump next to the camera runs during the third bias: all readouts pick up a wave of six times their noise.
    "bad-exposure": (Fault("focal_plane", "pickup", match={"image_type": "BIAS"}, skip=2, value=40.0),),
    # The gain of one detector is 5 % below that of the certified ptc, as after a change of its bias voltages.
    "drifted-gain": (Fault("focal_plane", "gain", match={"detector": 4}, times=None, value=0.95),),
    # One column of one amplifier has a high dark current that it did not have when the defects were certified.
    "new-hot-column": (
        Fault("focal_plane", "hot_column", match={"detector": 4, "amplifier": "C12"}, times=None, value=40.0),
    ),
    # Statistics of one detector do not have the form that cp_verify's have: keys missing, or too many, NaN, text.
    "statistics-garbled": tuple(
        Fault("worker", "garble", match={"pipeline": pipeline}, times=None, value=4) for pipeline in _VERIFICATIONS
    ),
    # The file of one detector of the third bias never arrives, and no event says so. The next bias is complete again.
    "image-lost": (Fault("oods", "lose", match={"detector": 4, "image_type": "BIAS"}, skip=2),),
    # The job that makes the dark ends in error.
    "job-errors": (Fault("worker", "error", match={"pipeline": "cpDark"}),),
    # Nobody switched the flat lamp on: flats have dark current only.
    "lamp-off": (Fault("focal_plane", "lamp", match={"image_type": "FLAT"}, times=None, value=0.0),),
    # A filter wheel or a wrong setting takes all but 2 % of the lamp's light.
    "lamp-dim": (Fault("focal_plane", "lamp", match={"image_type": "FLAT"}, times=None, value=0.02),),
    # The lamp ages or warms up: each flat gets 5 % less light than the one before.
    "lamp-drifting": (Fault("focal_plane", "lamp_drift", match={"image_type": "FLAT"}, times=None, value=0.95),),
    # The lamp is so bright that every flat, even one of 0.1 s, is above the full well.
    "saturated": (Fault("focal_plane", "lamp", match={"image_type": "FLAT"}, times=None, value=100.0),),
    # Somebody opened the dome during the third bias: 2000 electrons in each of its pixels.
    "light-leak": (Fault("focal_plane", "leak", match={"image_type": "BIAS"}, skip=2, value=2000.0),),
    # One detector's files never arrive, however often frames are taken again, and no event says so.
    "detector-never-delivers": (Fault("oods", "lose", match={"detector": 4}, times=None),),
    # After its first job the OCPS goes to STANDBY, as after a restart, and stays there until somebody enables it.
    "ocps-standby": (Fault("ocps", "standby", match={"moment": "end"}),),
    # The UWS makes the second job, but Kubernetes is so slow to list it that the UWS reports an error.
    "ocps-500-job-exists": (
        Fault(
            "http",
            "status_reply",
            match={"method": "PUT", "resource": "submit"},
            skip=1,
            value=500,
            text="Job creation timed out.",
        ),
    ),
    # The UWS is down for a while. Meanwhile the ingress in front of it answers that it has no such page.
    "ingress-404": (
        Fault(
            "http",
            "status",
            match={"method": "GET", "resource": "job"},
            skip=2,
            times=8,
            value=404,
            text="default backend - 404",
        ),
    ),
    # Kafka's broker is away for five seconds, from the moment at which the scenario is chosen.
    "broker-down": (Fault("kafka", "down", value=5.0),),
    # The schema registry refuses connections until another scenario is chosen.
    "registry-down": (Fault("registry", "down"),),
    # The UWS server is restarted while a job runs: nobody listens for eight seconds. Jobs run on in Kubernetes.
    "uws-down": (Fault("http", "down", match={"resource": "job"}, skip=2, value=8.0),),
    # Kubernetes answers the UWS late, so that each look at a job takes three seconds.
    "uws-slow": (Fault("http", "delay", match={"resource": "job"}, times=None, value=3.0),),
    # The UWS can't ask Kubernetes for a while.
    "uws-500": (
        Fault("http", "status", match=_LOOKS_OF_THE_CSC, skip=2, times=6, value=500, text="Internal Server Error"),
    ),
    # A proxy's page of HTML comes with status 200 in the place of six job objects.
    "uws-html": (Fault("http", "garbage", match=_LOOKS_OF_THE_CSC, skip=2, times=6),),
    # A proxy loses the server in the middle of six answers.
    "uws-truncated": (Fault("http", "truncate", match=_LOOKS_OF_THE_CSC, skip=2, times=6),),
    # Somebody deletes the first job at the UWS while it runs.
    "job-deleted": (Fault("worker", "delete", value=2.0),),
    # No machine has room for the first job's pod.
    "job-stays-queued": (Fault("worker", "queue"),),
    # The first job hangs, until Kubernetes stops it.
    "job-reaches-deadline": (Fault("worker", "deadline", value=4.0),),
    # The job hangs.
    "job-hangs": (Fault("worker", "hang"),),
    # The container of the first job is killed, because it needs too much memory.
    "job-killed": (Fault("worker", "die"),),
    # The init container of the first job can't fetch the worker's script.
    "job-can-not-start": (Fault("worker", "init_error"),),
    # The first job is forgotten as soon as it ends: its time at the UWS is over before anybody looks.
    "job-expires": (Fault("worker", "expire"),),
    # The OCPS goes to FAULT while it follows the first job, which it does to its end.
    "ocps-fault": (Fault("ocps", "fault", match={"moment": "acceptance"}, text="No connection to the UWS"),),
    # The OCPS is restarted while the first job runs: nobody acknowledges it, and the OCPS is in STANDBY afterwards.
    "ocps-restarted": (
        Fault("ocps", "restart", match={"moment": "acceptance"}, value=3.0),
        Fault("worker", "slow", value=6.0),
    ),
    # The OCPS is restarted just after the first job: whoever sends it a command then gets no answer.
    "ocps-restarted-between-jobs": (Fault("ocps", "restart", match={"moment": "end"}, value=3.0),),
    # One failed look at the first job ends the OCPS's command, and the job runs on.
    "ocps-loses-job": (
        Fault("http", "status", match={"resource": "job", "client": "python-requests"}, value=500, text="timed out"),
        Fault("worker", "slow", value=3.0),
    ),
    # The event with the end of the first job is lost.
    "job-result-lost": (Fault("ocps", "no_result", match={"moment": "end"}),),
    # The event with the end of each job comes twice.
    "job-result-doubled": (Fault("ocps", "result_twice", match={"moment": "end"}, times=None),),
    # Somebody else's job fails at the same OCPS just before each job of the run ends.
    "job-result-of-a-stranger": (Fault("ocps", "strange_result", match={"moment": "end"}, times=None),),
    # The OCPS's own configuration names the certified calibrations, so they come before the products of the run.
    "older-product-first": (
        Fault("ocps", "inputs_first", match={"moment": "submission"}, times=None, text="LSSTComCam/calib"),
    ),
    # The camera goes to FAULT in the middle of the second dark.
    "camera-fault": (
        Fault("camera", "fault", match={"image_type": "DARK"}, skip=1, text="REB power lost while it was integrating"),
    ),
    # The camera refuses the second bias.
    "camera-refuses": (
        Fault("camera", "refuse", match={"image_type": "BIAS"}, skip=1, text="The focal plane is not ready."),
    ),
    # The second bias is taken and ingested, and the command that took it fails all the same.
    "camera-fails-late": (Fault("camera", "fail_late", match={"image_type": "BIAS"}, skip=1),),
    # The event with the end of the second bias's readout is lost.
    "end-of-readout-lost": (Fault("camera", "no_end_readout", match={"image_type": "BIAS"}, skip=1),),
    # The readout of the second bias does not end, until another scenario is chosen.
    "readout-never-ends": (Fault("camera", "stuck", match={"image_type": "BIAS"}, skip=1),),
    # Somebody else takes an image of ten seconds right after the first bias.
    "somebody-else-exposes": (Fault("camera", "stranger", match={"image_type": "BIAS"}, value=10.0),),
    # The OODS stands still for ten seconds when the second bias comes, as when its disk hangs: no heartbeat, no file.
    "oods-stands-still": (
        Fault("oods", "stand_still", match={"image_type": "BIAS", "detector": 0}, skip=1, value=10.0),
    ),
    # The repository refuses the second bias, and the OODS goes to FAULT.
    "oods-fault": (Fault("oods", "fault", match={"image_type": "BIAS", "detector": 0}, skip=1),),
    # All files are ingested, and no event says so.
    "oods-silent": (Fault("oods", "silent", times=None),),
    # One file of the first bias is ingested when the biases after it are.
    "file-out-of-order": (Fault("oods", "late", match={"image_type": "BIAS", "detector": 2}, value=30.0),),
    # The event of each file comes twice.
    "files-reported-twice": (Fault("oods", "twice", times=None),),
    # The OODS can't ingest a file of the second bias: status code 1, with the exposure's number instead of its name.
    "ingest-fails": (Fault("oods", "fail", match={"image_type": "BIAS", "detector": 7}, skip=1),),
    # The OODS can't read the header of a file of the second bias: status code 2, without any name.
    "header-unreadable": (Fault("oods", "metadata", match={"image_type": "BIAS", "detector": 7}, skip=1),),
    # The header service makes no header for the second bias, so the OODS can't read any of its files.
    "header-lost": (Fault("header", "lose", match={"image_type": "BIAS"}, skip=1),),
}
"""The faults of each scenario."""


def scenario_faults(names: Iterable[str]) -> list[Fault]:
    """Return the faults of the named scenarios, together.

    Raises
    ------
    ValueError
        If there is no scenario of a name.
    """
    wanted = list(names)
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        raise ValueError(f"There is no scenario {', '.join(unknown)}. There are: {', '.join(SCENARIOS)}.")
    return [fault for name in wanted for fault in SCENARIOS[name]]
