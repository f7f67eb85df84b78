# The programs of Imagemill. Three images of one file, which differ in their extras of pyproject.toml:
#   api      EXTRAS=api     target `service`
#   flower   EXTRAS=flower  target `service`
#   worker   EXTRAS=worker  target `worker`: torch, the worker's code and the built-in model
# docker-compose.yml says so to `docker compose build`. The context is the checkout.

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS install
WORKDIR /app
RUN python -m venv .venv
# A folder `wheels`, where there is one, serves machines without internet.
COPY pyproject.toml constraints.txt wheel[s] /wheels/
ARG EXTRAS
# Where pip finds packages is the machine's business: these are the builder's own variables, empty by default.
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_TRUSTED_HOST=
RUN cp /wheels/pyproject.toml . \
 && .venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-input --progress-bar off \
        --find-links /wheels --constraint /wheels/constraints.txt ".[${EXTRAS}]" \
 && .venv/bin/python -m pip uninstall --yes imagemill pip

FROM ${BASE} AS service
RUN groupadd --gid 10001 imagemill \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/imagemill --shell /usr/sbin/nologin imagemill \
 && install -d -o imagemill -g imagemill /var/lib/imagemill \
 && ln -s /app/imagemill /usr/local/bin/imagemill
COPY --from=install /app/.venv /app/.venv
WORKDIR /app
COPY imagemill models.toml ./
COPY jobs jobs
COPY storage storage
COPY producer producer
COPY ops ops
RUN python -m compileall -q jobs storage producer ops
ENV PATH=/app/.venv/bin:$PATH PYTHONPATH=/app PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["/app/ops/images/entrypoint.sh"]

FROM service AS worker
COPY workers workers
USER root
RUN python -m compileall -q workers
USER 10001:10001
