#!/usr/bin/env bash
# Starts the CSC in the observatory's image; RUN_ARG holds its arguments, such as "--state disabled".
HOME=/home/saluser
# Not under "set -e": what it sources in its turn is not written for that.
# shellcheck source=/dev/null
source "${HOME}/.setup_sal_env.sh"
# lsst.daf.butler comes with the science pipelines.
if ! setup lsst_distrib; then
    echo "The science pipelines (lsst_distrib) can't be set up, so there is no Butler: look at the image's base." >&2
    exit 1
fi
trap - TERM # the CSC takes the place of this shell, so that it gets the signals itself
# shellcheck disable=SC2086
exec run_comcamcalib ${RUN_ARG} "$@"
