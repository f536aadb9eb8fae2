"""Shares of a folder of keys as Secrets of Kubernetes, one for each service of `deploy/kubernetes`. Pure.

The entry of `private/rollout.key` is `private.rollout.key`, since entries have no folders; names of keys have no dots.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Final

MANIFEST_NAME: Final = "tetrad-keys-{service}"


def secrets_list(shares: Mapping[str, Mapping[str, str]]) -> str:
    """Return a manifest that `kubectl apply -f -` takes; `shares` holds the files of each service."""
    manifest = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [_secret(service, contents) for service, contents in shares.items()],
    }
    return json.dumps(manifest, indent=2)


def _secret(service: str, contents: Mapping[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": MANIFEST_NAME.format(service=service), "labels": {"app.kubernetes.io/part-of": "tetrad"}},
        "type": "Opaque",
        # Not `stringData`: with that, applying again would keep what is no longer there.
        "data": {place.replace("/", "."): b64encode(text.encode()).decode() for place, text in contents.items()},
    }
