# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""ComCam: the camera, its header service and its observatory operations data service."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from lsst.ts import salobj

from ..base_camera import BaseCamera
from ..remote_group import Usages, UsagesResources

__all__ = ["ComCam", "ComCamUsages"]


class ComCamUsages(Usages):
    """What ComCam can be used for; the checks of simulation mode and versions are dropped for its own two bits."""

    TakeImage = 1 << 3
    TakeImageFull = 1 << 4
    DryTest = 1 << 6

    def __iter__(self) -> Iterator[int]:
        return iter(
            (
                self.All,
                self.StateTransition,
                self.MonitorState,
                self.MonitorHeartBeat,
                self.TakeImage,
                self.TakeImageFull,
                self.DryTest,
            )
        )


class ComCam(BaseCamera):
    """LSSTComCam, commanded through CCCamera, CCHeaderService and CCOODS.

    Parameters are those of `BaseCamera`, without the components.
    """

    def __init__(
        self,
        domain: salobj.Domain | None = None,
        log: logging.Logger | None = None,
        intended_usage: int | None = None,
        tcs_ready_to_take_data: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(
            components=["CCCamera", "CCHeaderService", "CCOODS"],
            instrument_setup_attributes={"filter"},
            domain=domain,
            log=log,
            intended_usage=intended_usage,
            tcs_ready_to_take_data=tcs_ready_to_take_data,
        )

    @property
    def camera(self) -> salobj.Remote:
        """The remote of CCCamera."""
        return self.rem.cccamera

    @property
    def valid_use_cases(self) -> ComCamUsages:
        """The usages that ComCam knows."""
        return ComCamUsages()

    @property
    def usages(self) -> dict[int, UsagesResources]:
        """What each usage needs."""
        base = super().usages
        image_topics = ["startIntegration", "endReadout", "availableFilters", "endSetFilter"]
        full = {"cccamera": image_topics, "ccheaderservice": ["largeFileObjectAvailable"]}
        states = ["summaryState", "configurationsAvailable", "heartbeat"]
        return {
            **{usage: base[usage] for usage in (Usages.StateTransition, Usages.MonitorState, Usages.MonitorHeartBeat)},
            ComCamUsages.All: UsagesResources(self.components_attr, False, states, **full),
            ComCamUsages.TakeImage: UsagesResources(
                ["cccamera", "ccoods"], False, cccamera=image_topics, ccoods=["imageInOODS"]
            ),
            ComCamUsages.TakeImageFull: UsagesResources(["cccamera", "ccheaderservice"], False, **full),
            ComCamUsages.DryTest: UsagesResources((), True),
        }

    async def setup_instrument(self, **kwargs: Any) -> None:
        """Bring in a filter, if it is not there already.

        Parameters
        ----------
        **kwargs
            ``filter``: its name. None or left out: any filter will do.
        """
        self.check_kwargs(**kwargs)
        if kwargs.get("filter") is None:
            return
        wanted = str(kwargs["filter"])
        # The camera refuses a change to the filter that is in place.
        if wanted != await self.get_current_filter():
            await self.setup_filter(wanted)

    async def setup_filter(self, filter: str) -> Any:
        """Change the filter, and return the camera's sample that says that it has changed.

        Raises
        ------
        salobj.AckError
            If the camera refuses.
        TimeoutError
            If the change is not published within `filter_change_timeout` after its acknowledgement.
        """
        event = self.camera.evt_endSetFilter
        async with self.cmd_lock:
            event.flush()
            await self.camera.cmd_setFilter.set_start(name=str(filter), timeout=self.filter_change_timeout)
            return await event.next(flush=False, timeout=self.filter_change_timeout)

    async def get_current_filter(self) -> str:
        """Return the name of the filter in place.

        Raises
        ------
        RuntimeError
            If the camera has published none within `fast_timeout`.
        """
        try:
            changed = await self.camera.evt_endSetFilter.aget(timeout=self.fast_timeout)
        except TimeoutError as error:
            raise RuntimeError("The camera has not published which filter is in place.") from error
        return str(changed.filterName)

    async def get_available_filters(self) -> list[str]:
        """Return the names of the filters that the camera holds, at most `fast_timeout` later."""
        available = await self.camera.evt_availableFilters.aget(timeout=self.fast_timeout)
        return str(available.filterNames).split(":")
