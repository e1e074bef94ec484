#!/usr/bin/env bash
# Builds the image of the CSC with whichever of docker, podman and buildah works here.
#
#   TARGET  stand (default: plain Python and the stand-ins) or observatory (on the observatory's own image)
#   BASE    the image that it is built on; the Dockerfile has the default
#   TAG     the name of the image; default comcamcalib:stand or comcamcalib:observatory
#   ENGINE  docker, podman or buildah, if another one than the first that works is to be used
#
# Further arguments are given to the engine.
set -eu
cd "$(dirname "$0")/../.."

works() {
    case $1 in
    docker | podman) command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1 ;;
    buildah) command -v buildah >/dev/null ;;
    esac
}

for engine in ${ENGINE:-docker podman buildah}; do
    if works "$engine"; then break; fi
    engine=
done
if [ -z "$engine" ]; then
    echo "None of ${ENGINE:-docker, podman and buildah} works here; install one of them, or name another with ENGINE=." >&2
    exit 1
fi

version=$(git describe --tags --always --dirty 2>/dev/null || echo 0.0.0)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
release=${version#v}
# A version of a Python package begins with a number; a repository without a tag has none.
case $release in [0-9]*.*) ;; *) release=0.0.0+g$(git rev-parse --short HEAD 2>/dev/null || echo unknown) ;; esac
target=${TARGET:-stand}
tag=${TAG:-comcamcalib:$target}
arguments=(--target "$target" --tag "$tag" --build-arg "VERSION=$release" --build-arg "REVISION=$revision")
if [ -n "${BASE:-}" ]; then arguments+=(--build-arg "BASE=$BASE"); fi
build=build
if [ "$engine" = buildah ]; then build=bud; fi
"$engine" "$build" "${arguments[@]}" "$@" .
echo "Built $tag, version $release, with $engine."
