#!/bin/sh
# Once, before any service: a key for each role, each service's own share of them, and the resolved run file.
set -eu
umask 077
keys=${KEYS:-/keys} outputs=${OUTPUTS:-/outputs}

tetrad keys init --folder "$keys/all"
tetrad keys export --folder "$keys/all" --into "$keys" learner broadcaster reward rollout

mkdir -p "$outputs/run"
# RUN is a list of words.
# shellcheck disable=SC2086
tetrad train --show-config $RUN trainer.run_dir="$outputs/run" >"$outputs/run/config.new"
mv "$outputs/run/config.new" "$outputs/run/config.yaml"

# The user of the images.
chown -R "${OWNER:-10001:10001}" "$outputs" "$keys"
