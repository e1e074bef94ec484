# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status page: what the CSC does, for people, programs and monitoring; nothing can be changed by it.

It is served by the CSC's own process, and must cost its runs nothing: all that takes time is done in threads of its
own, the number of readers and what is kept for each is limited, and a reader that is too slow is dropped.
"""
