# The programs of Imagemill. Three images of one file, which differ in the file of requirements/ that they install:
#   api      EXTRAS=api     target `service`
#   flower   EXTRAS=flower  target `service`
#   worker   EXTRAS=worker  target `worker`: torch, the worker's code and the built-in model
# docker-compose.yml says so to `docker compose build`. The context is the checkout.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS install
WORKDIR /app
RUN python -m venv .venv
# A folder `wheels`, where there is one, serves machines without internet.
COPY requirements wheel[s] /wheels/
ARG EXTRAS
# Where pip finds packages is the machine's business: these are the builder's own variables, empty by default.
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_TRUSTED_HOST=
RUN /wheels/install .venv/bin/python "${EXTRAS}" --no-cache-dir --find-links /wheels \
 && .venv/bin/python -m pip uninstall --yes pip

FROM ${PYTHON_IMAGE} AS service
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
