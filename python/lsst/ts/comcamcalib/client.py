# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drive the CSC from a notebook or a program, through a salobj Remote.

::

    async with CalibrationClient() as client:
        run_id = await client.start(Path("procedure.yaml").read_text())
        async for state in client.follow(run_id):
            print(state.reason)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsst.ts import salobj

from .calib_types import calib_type_named
from .clock import moment_utc
from .csc_remote import CONNECT_LIMIT_S, CscRemote, RefusedError
from .enums import CalibType, RunState
from .errors import BadInputError, ServiceError

if TYPE_CHECKING:
    from .run.reading import RunOverview

__all__ = ["CalibrationClient", "RefusedError"]

# Longest wait for an event that the CSC published before it answered (seconds).
NEWS_LIMIT_S = 3.0

# INTERRUPTED is among them because such a run does not continue by itself.
ENDED = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.ABORTED, RunState.INTERRUPTED})


class CalibrationClient(CscRemote):
    """A Remote to ComCamCalib, with methods that send each command and wait for its result.

    Parameters
    ----------
    domain
        Domain to use; None for one of its own.
    """

    def __init__(self, domain: salobj.Domain | None = None) -> None:
        super().__init__(domain)
        self._states: asyncio.Queue[Any] = asyncio.Queue()
        # Where the pages of reports are, by run.
        self._reports: dict[str, str] = {}
        self._report_heard = asyncio.Event()
        self.listen(self._note)

    def _note(self, name: str, message: Any) -> None:
        if name == "runState":
            self._states.put_nowait(message)
        elif name == "largeFileObjectAvailable" and message.mimeType == "text/html":
            self._reports[message.id] = message.url
            self._report_heard.set()

    async def enable(self, override: str = "") -> None:
        """Bring the CSC to ENABLED, whatever state it is in.

        Parameters
        ----------
        override
            Configuration override file; only for a CSC in STANDBY, because it reads its configuration when it leaves
            that.

        Raises
        ------
        RuntimeError
            If the CSC does not answer or can't be enabled, or has read its configuration already.
        """
        try:
            state = salobj.State((await self.remote.evt_summaryState.aget(timeout=CONNECT_LIMIT_S)).summaryState)
        except TimeoutError:
            raise RuntimeError(f"ComCamCalib sent no heartbeat within {CONNECT_LIMIT_S:g} s; is it running?") from None
        if override and state in (salobj.State.DISABLED, salobj.State.ENABLED):
            raise RuntimeError(
                f"ComCamCalib is {state.name} and has read its configuration, so {override} can't be used: send it to "
                "STANDBY first"
            )
        await salobj.set_summary_state(self.remote, salobj.State.ENABLED, override=override, timeout=60)

    async def start(self, config: str = "", reason: str = "", program: str = "", note: str = "") -> str:
        """Start a run.

        Parameters
        ----------
        config
            Run options, YAML or JSON; "" for the configured defaults.
        reason, program, note
            For the image headers and the observing log.

        Returns
        -------
        run_id
            Identifier of the run, which has begun.

        Raises
        ------
        RefusedError
            If the CSC refused.
        """
        ack = await self.send(
            self.remote.cmd_startCalibrationRun, config=config, reason=reason, program=program, note=note
        )
        return str(json.loads(ack.result)["runId"])

    async def resume(self, run_id: str = "", reason: str = "") -> tuple[str, str]:
        """Go on with a run that was interrupted, failed or was aborted.

        Parameters
        ----------
        run_id
            The run; "" for the latest that was interrupted or failed. An aborted one must be named.
        reason
            Why, for the record of the run.

        Returns
        -------
        run_id
            Identifier of the run, which goes on.
        plan
            What it will do, in a sentence.

        Raises
        ------
        RefusedError
            If the CSC refused.
        """
        ack = await self.send(self.remote.cmd_resumeCalibrationRun, runId=run_id, reason=reason)
        result = json.loads(ack.result)
        return str(result["runId"]), str(result["plan"])

    async def accept(
        self, run_id: str, calib_type: CalibType | str, reason: str, physical_filter: str = "", attempt: int = 0
    ) -> str:
        """Accept a FAILED or UNKNOWN verdict on a product; the run goes on with what was skipped because of it.

        Parameters
        ----------
        run_id
            The run.
        calib_type
            The product, such as ``"FLAT"``.
        reason
            Why it is good enough; it is recorded and published.
        physical_filter
            Only the verdict on flats in this filter; "": all.
        attempt
            That of the ``verificationResult`` that you have seen; 0: the one that stands.

        Returns
        -------
        plan
            What follows, in a sentence.

        Raises
        ------
        RefusedError
            If the CSC refused.
        """
        ack = await self.send(
            self.remote.cmd_acceptVerification,
            runId=run_id,
            calibType=type_number(calib_type),
            physicalFilter=physical_filter,
            attempt=attempt,
            reason=reason,
        )
        return str(json.loads(ack.result)["plan"])

    async def decertify(self, run_id: str, calib_type: CalibType | str | None, reason: str) -> str:
        """Withdraw what a run has certified, and put back what that had replaced.

        Parameters
        ----------
        run_id
            The run, which must have ended.
        calib_type
            The product, such as ``"FLAT"``; None: all of the run.
        reason
            Why; it is recorded and published.

        Returns
        -------
        plan
            What was done, in a sentence; or that Butler is still at it, which the event ``certification`` tells.

        Raises
        ------
        RefusedError
            If the CSC refused; then nothing is changed.
        """
        number = 0 if calib_type is None else type_number(calib_type)
        ack = await self.send(self.remote.cmd_decertify, runId=run_id, calibType=number, reason=reason)
        return str(json.loads(ack.result)["plan"])

    async def abort(self) -> None:
        """Stop the open run; it ends ABORTED a little later."""
        await self.send(self.remote.cmd_abort)

    async def status(self, run_id: str = "") -> dict[str, Any]:
        """Return a summary of a run ("": the open or latest one); the CSC publishes all its events again."""
        ack = await self.send(self.remote.cmd_status, runId=run_id)
        summary: dict[str, Any] = json.loads(ack.result)
        return summary

    async def report(self, run_id: str = "") -> str:
        """Return where the page of a run's report is ("": the open or latest run); "" if it has none.

        Raises
        ------
        RefusedError
            If the CSC refused.
        """
        run_id = str((await self.status(run_id))["runId"])
        # The events may arrive a moment after the answer.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NEWS_LIMIT_S):
                while run_id not in self._reports:
                    self._report_heard.clear()
                    await self._report_heard.wait()
        return self._reports.get(run_id, "")

    @staticmethod
    async def runs(journal: Path, last: int = 20) -> list[RunOverview]:
        """Return the latest runs of a CSC's journal, the latest first; the file is only read, and no CSC is needed.

        Parameters
        ----------
        journal
            The journal, or a copy of it.
        last
            Largest number of runs.

        Raises
        ------
        RefusedError
            If it can't be read.
        """
        from .run.owner import JournalError
        from .run.reading import read_overviews

        try:
            found, _ = await asyncio.to_thread(read_overviews, journal, last)
        except JournalError as error:
            raise RefusedError(f"{error}.") from error
        return found

    @staticmethod
    async def promote(
        run_id: str,
        to: str,
        reason: str,
        *,
        journal: Path,
        calib_types: Sequence[CalibType | str] = (),
        on_conflict: str = "fail",
        by: str = "",
        repo: str = "",
        yes: bool = False,
    ) -> list[str]:
        """Copy what a run has certified into another collection, with who wants that and why; no CSC is needed.

        Parameters
        ----------
        run_id
            The run.
        to
            CALIBRATION collection to copy into; made if there is none.
        reason
            Why; it is recorded.
        journal
            The CSC's journal, which is only read.
        calib_types
            Products, such as ``"BIAS"``; none: all that the run certified.
        on_conflict
            What becomes of calibrations that are there: ``fail`` or ``truncate``.
        by
            Who wants it, for the record; "": user and host of this process.
        repo
            Where this machine finds the Butler repository; "": where the run has found it.
        yes
            Do it; otherwise it is only said what would be done.

        Returns
        -------
        lines
            What was done, or would be, for people.

        Raises
        ------
        RefusedError
            If it is not possible, or failed; the message says what is certain.
        """
        from .promotion import Promotion, plan_promotion, promote_planned

        names = tuple(CalibType(type_number(one)).name for one in calib_types)
        wanted = Promotion(run_id, names, to, reason, on_conflict, by)
        try:
            planned = await asyncio.to_thread(plan_promotion, wanted, journal, repo)
            return await asyncio.to_thread(promote_planned, planned) if yes else list(planned.lines)
        except (BadInputError, ServiceError, OSError) as error:
            raise RefusedError(str(error)) from error

    async def follow(self, run_id: str) -> AsyncIterator[Any]:
        """Yield each runState of a run until it is COMPLETED, FAILED, ABORTED or INTERRUPTED.

        Raises
        ------
        RuntimeError
            If the CSC sends no heartbeat any more.
        """
        while True:
            message = await self._next_state(run_id)
            if message.runId != run_id:
                continue
            yield message
            if message.state in ENDED:
                return

    async def _next_state(self, run_id: str) -> Any:
        while True:
            try:
                return await asyncio.wait_for(self._states.get(), 1.0)
            except TimeoutError:
                self.check_heartbeat(
                    f"the state of run {run_id} is unknown. Start the CSC again: it then publishes the state of the "
                    "run."
                )


def type_number(calib_type: CalibType | str) -> int:
    """Return the number of a type of calibration, which may be given by name.

    Raises
    ------
    RefusedError
        If there is none of this name.
    """
    if isinstance(calib_type, CalibType):
        return int(calib_type)
    try:
        return int(calib_type_named(calib_type))
    except BadInputError as error:
        raise RefusedError(str(error)) from error


def clock(tai_s: float) -> str:
    """Return the time of day (UTC) of TAI unix seconds as text; "" for 0."""
    return f"{moment_utc(tai_s):%H:%M:%S}" if tai_s else ""
