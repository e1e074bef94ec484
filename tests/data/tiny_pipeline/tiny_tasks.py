# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pipeline of one task without input, to try the worker with: one quantum a detector."""

from __future__ import annotations

import os
from typing import Any

import lsst.pex.config as pex_config
import lsst.pipe.base as pipe_base
from lsst.pipe.base import connectionTypes


class TinyConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "detector")):
    tiny = connectionTypes.Output(
        doc="Something.", name="tinyStats", storageClass="StructuredDataDict", dimensions=("instrument", "detector")
    )


class TinyConfig(pipe_base.PipelineTaskConfig, pipelineConnections=TinyConnections):
    number = pex_config.Field[int](doc="What is put out.", default=1)


class TinyTask(pipe_base.PipelineTask):
    ConfigClass = TinyConfig
    _DefaultName = "tiny"

    def run(self) -> Any:
        print(f"Running in process {os.getpid()}", flush=True)
        return pipe_base.Struct(tiny={"number": self.config.number})
