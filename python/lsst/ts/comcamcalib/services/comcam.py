# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The observatory's ``ComCam``, with a limit on its wait for the last image."""

from __future__ import annotations

import asyncio
import logging

from lsst.ts import salobj, utils
from lsst.ts.observatory.control.maintel.comcam import ComCam, ComCamUsages

__all__ = ["ComCamWithLimit"]


class ComCamWithLimit(ComCam):  # type: ignore[misc]
    """``ComCam`` that stops waiting for the last image when that image can't be in progress any more.

    Before each image ``ComCam`` waits for the endReadout of the last one that began. After a fault in mid-exposure
    it never comes, and ``ComCam`` would wait until somebody takes an image in another way.

    Parameters
    ----------
    domain
        Domain of the CSC.
    readout_limit_s
        The longest time from the end of an exposure to endReadout, seconds.
    log
        Logger for the message about an image without endReadout.
    """

    def __init__(self, domain: salobj.Domain, readout_limit_s: float, log: logging.Logger) -> None:
        super().__init__(domain, log=log, intended_usage=ComCamUsages.TakeImage)
        self._readout_limit_s = readout_limit_s

    async def wait_for_camera_readiness(self) -> None:
        """Wait until the last image is read out, or its time for that is over."""
        self.camera.evt_endReadout.flush()
        # The last samples were read when the remote started; if there is none, no image was ever taken.
        while (last := self.camera.evt_startIntegration.get()) is not None and not self._is_read_out(last):
            end_tai = last.private_sndStamp + last.exposureTime + self._readout_limit_s
            try:
                async with asyncio.timeout(max(end_tai - utils.current_tai(), 0.0)):
                    await self.camera.evt_endReadout.next(flush=False)
            except TimeoutError:
                self.log.warning(
                    "The camera never reported the readout of %s, and its time for that is over: going on without it.",
                    last.imageName,
                )
                break
        # ComCam takes the next startIntegration in its queue for the next image's, so those of earlier ones must go.
        self.camera.evt_startIntegration.flush()

    def _is_read_out(self, image: salobj.BaseMsgType) -> bool:
        """Whether this image is the last one that was read out."""
        end = self.camera.evt_endReadout.get()
        return end is not None and bool(end.imageName == image.imageName)
