# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""PipelineTasks that make and verify calibrations of the simulated camera.

They stand for the tasks of ip_isr, cp_pipe and cp_verify, which are not on PyPI: same labels, dataset types,
dimensions, inputs and configuration names as far as they go, and real measurements on numpy arrays. Left out are the
corrections of effects that the simulated camera does not have (crosstalk, non-linearity, deferred charge,
brighter-fatter) with their prerequisites, the covariances of a ptc, binned images and mosaics, manual defects, ISR's
own statistics, and the tables of results (Arrow) next to the statistics. The pipelines save no log for each quantum:
the job's log has it all, and each dataset costs time.
"""
