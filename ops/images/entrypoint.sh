#!/bin/sh
# What a container of ours runs: `worker`, `api`, `flower`, or any other command as it is.
set -eu
umask 077  # What is written is for this container's user alone: prompts, pictures, what Flower saw.

# The container's name, as the network's name server knows it (imagemill-worker-2); its host name is no more than an id.
own_name() {
    address=$(hostname -i)
    name=$(getent -s dns hosts "${address%% *}" | awk '{ print $2 }')
    echo "${name%%.*}"
}

case ${1:-} in
    worker)
        shift
        name=$(own_name)
        export IMAGEMILL_WORKER_NAME="${IMAGEMILL_WORKER_NAME:-${name:-$(hostname)}}"
        echo "$IMAGEMILL_WORKER_NAME" > /tmp/worker-name  # for its health check
        exec imagemill worker --wait-for-services 120 "$@"
        ;;
    api)
        exec imagemill "$@"
        ;;
    flower)
        shift
        # An environment is visible to everyone who may inspect this container, a command line to all its processes.
        FLOWER_BASIC_AUTH="$(cat /run/secrets/flower_user):$(cat /run/secrets/flower_password)"
        export FLOWER_BASIC_AUTH
        # Kubernetes', of a service that is called `flower`: a URL, where Flower wants a number.
        case ${FLOWER_PORT:-} in *://*) unset FLOWER_PORT ;; esac
        exec python -m celery --quiet -A jobs.broker.app:app flower --address=0.0.0.0 --port=5555 \
            --persistent=True --db=/var/lib/imagemill/flower --state_save_interval=60000 \
            --conf=/app/ops/flower_config.py --logging=warning "$@"
        ;;
    *)
        exec "$@"
        ;;
esac
