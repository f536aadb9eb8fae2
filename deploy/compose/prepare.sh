#!/bin/sh
# Once, before any service: a key for each role, each service's own share of them, and the resolved run file.
set -eu
umask 077
keys=${KEYS:-/keys} outputs=${OUTPUTS:-/outputs}

tetrad keys init --folder "$keys/all"

# SERVICE, the roles that it acts as, the public keys that it must know.
share() {
    for kind in private public revoked; do
        mkdir -p "$keys/$1/$kind"
    done
    for role in $2; do
        cp "$keys/all/private/$role.key" "$keys/$1/private/"
    done
    for role in $3; do
        cp "$keys/all/public/$role.key" "$keys/$1/public/"
    done
}

share learner "coordinator trainer" "coordinator trainer broadcaster reward rollout"
share broadcaster "broadcaster" "coordinator broadcaster trainer rollout"
share reward "reward" "coordinator reward rollout"
share rollout "rollout" "coordinator rollout"

mkdir -p "$outputs/run"
# RUN is a list of words.
# shellcheck disable=SC2086
tetrad train --show-config $RUN trainer.run_dir="$outputs/run" >"$outputs/run/config.new"
mv "$outputs/run/config.new" "$outputs/run/config.yaml"

# The user of the images.
chown -R "${OWNER:-10001:10001}" "$outputs" "$keys"
