# The image of the CSC, for two places. `make image` builds the second one.
#
# observatory: on the image of the observatory that has the science pipelines, with salobj, ts_xml and
#     observatory_control in its conda environment (deploy-sqre in ts_cycle_build):
#         make image TARGET=observatory BASE=ts-dockerhub.lsst.org/deploy-sqre:<cycle>
# stand: for a laptop or a test stand, on plain Python, with the stand-ins for the observatory's packages.
#
# In both, the process is of user 73006, as all CSCs, and writes to the journal's volume and /tmp only.
ARG BASE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE} AS stand-wheels
ARG VERSION=0.0.0
WORKDIR /source
COPY pyproject.toml README.rst LICENSE COPYRIGHT ./
COPY python python
COPY standins standins
# No .git in the context, so setuptools-scm is given the version.
RUN SETUPTOOLS_SCM_PRETEND_VERSION_FOR_TS_COMCAMCALIB=${VERSION} python3 -m pip wheel --quiet --no-deps --wheel-dir /wheels . \
    && python3 -m pip wheel --quiet --no-deps --wheel-dir /wheels-of-the-stand-ins ./standins

FROM ${BASE} AS stand-environment
COPY --from=stand-wheels /wheels /wheels
COPY --from=stand-wheels /wheels-of-the-stand-ins /wheels-of-the-stand-ins
# With the driver for a repository whose registry is on PostgreSQL.
RUN python3 -m venv /opt/comcamcalib \
    && /opt/comcamcalib/bin/python -m pip install --quiet --no-cache-dir /wheels/*.whl /wheels-of-the-stand-ins/*.whl \
        "psycopg2-binary>=2.9.5" \
    && /opt/comcamcalib/bin/comcamcalib interface install \
    && /opt/comcamcalib/bin/python -m pip uninstall --quiet --yes pip

FROM ${BASE} AS stand
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ts_comcamcalib" \
      org.opencontainers.image.description="CSC that makes, verifies and certifies LSSTComCam's calibrations" \
      org.opencontainers.image.source="https://github.com/lsst-ts/ts_comcamcalib" \
      org.opencontainers.image.licenses="GPL-3.0-or-later" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 73006 saluser \
    && useradd --uid 73006 --gid 73006 --create-home --shell /usr/sbin/nologin saluser \
    && install --directory --owner=73006 --group=73006 /var/lib/comcamcalib
COPY --from=stand-environment /opt/comcamcalib /opt/comcamcalib
COPY config /opt/config
# What libraries write beside themselves goes to /tmp, because the root filesystem may be read-only.
ENV PATH=/opt/comcamcalib/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp \
    XDG_CACHE_HOME=/tmp \
    TS_CONFIG_OCS_DIR=/opt/config
USER 73006:73006
WORKDIR /tmp
VOLUME /var/lib/comcamcalib
ENTRYPOINT ["run_comcamcalib"]

# The base has no Python that builds wheels but that of its environment.
FROM ${BASE} AS observatory-wheels
ARG VERSION=0.0.0
# hadolint ignore=DL3002
USER 0
WORKDIR /source
COPY pyproject.toml README.rst LICENSE COPYRIGHT ./
COPY python python
RUN bash -c "source /home/saluser/.setup_sal_env.sh \
    && SETUPTOOLS_SCM_PRETEND_VERSION_FOR_TS_COMCAMCALIB=${VERSION} python -m pip wheel --quiet --no-deps --wheel-dir /wheels ."

FROM ${BASE} AS observatory
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ts_comcamcalib" \
      org.opencontainers.image.description="CSC that makes, verifies and certifies LSSTComCam's calibrations" \
      org.opencontainers.image.source="https://github.com/lsst-ts/ts_comcamcalib" \
      org.opencontainers.image.licenses="GPL-3.0-or-later" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 0
RUN install --directory --owner=73006 --group=73006 /var/lib/comcamcalib
COPY config /opt/config
COPY --chown=73006:73006 --chmod=0755 deploy/image/startup.sh /home/saluser/.startup.sh
# The environment is of the base's user.
USER 73006:73006
# The science pipelines, salobj, ts_xml and observatory_control are in the base. What its conda environment lacks of our
# dependencies comes from the same channel as all of it; our own package never changes what is there.
RUN --mount=type=bind,from=observatory-wheels,source=/wheels,target=/wheels \
    bash -c "source /home/saluser/.setup_sal_env.sh \
    && conda install --quiet --yes --channel conda-forge --freeze-installed jinja2 prometheus_client rich tenacity typer \
    && python -m pip install --quiet --no-cache-dir --no-deps /wheels/*.whl \
    && comcamcalib interface install \
    && conda clean --all --yes"
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp \
    XDG_CACHE_HOME=/tmp \
    TS_CONFIG_OCS_DIR=/opt/config \
    RUN_ARG=""
WORKDIR /tmp
VOLUME /var/lib/comcamcalib
ENTRYPOINT ["/home/saluser/.startup.sh"]
