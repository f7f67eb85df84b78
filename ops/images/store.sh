#!/bin/sh
# `store serve`: rclone's S3 server over /data, whose subfolders are the buckets. `store check`: whether it takes our key.
set -eu
umask 077

access_key_id=$(cat /run/secrets/imagemill_s3_access_key_id)
secret_access_key=$(cat /run/secrets/imagemill_s3_secret_access_key)

case $1 in
    serve)
        # By the environment, which no list of processes shows. Two values in one, so quoted as in a CSV file.
        export RCLONE_AUTH_KEY="\"$access_key_id,$secret_access_key\""
        # No write cache: what is stored is in the folder before the answer is sent.
        exec rclone serve s3 /data --addr :9000 --vfs-cache-mode off --config ""
        ;;
    check)
        export RCLONE_S3_PROVIDER=Rclone RCLONE_S3_ENDPOINT=http://127.0.0.1:9000
        export RCLONE_S3_ACCESS_KEY_ID="$access_key_id" RCLONE_S3_SECRET_ACCESS_KEY="$secret_access_key"
        exec rclone lsf :s3: --config "" --contimeout 3s --timeout 5s --retries 1 --low-level-retries 1 > /dev/null
        ;;
esac
