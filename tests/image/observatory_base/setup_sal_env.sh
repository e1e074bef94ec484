#!/usr/bin/env bash
# To be sourced: brings the environment, and a handler of SIGTERM that ends the last job in the background.
trap 'kill ${!}; exit 143' SIGTERM
export PATH=/opt/comcamcalib/bin:$PATH
setup() {
    [ "$1" = lsst_distrib ] && export PYTHONPATH=/opt/stack
}
