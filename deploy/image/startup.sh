#!/usr/bin/env bash
# Starts the CSC in the observatory's image; RUN_ARG holds its arguments, such as "--state disabled".
set -e
HOME=/home/saluser
# shellcheck source=/dev/null
source "${HOME}/.setup_sal_env.sh"
setup lsst_distrib # lsst.daf.butler comes with the science pipelines
trap - TERM        # the CSC takes the place of this shell, so that it gets the signals itself
# shellcheck disable=SC2086
exec run_comcamcalib ${RUN_ARG} "$@"
