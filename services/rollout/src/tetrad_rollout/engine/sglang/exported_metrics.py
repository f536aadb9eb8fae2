"""SGLang's own metrics as Prometheus text, for the service's page.

Its scheduler writes them to files of prometheus-client's multiprocess mode, whose folder SGLang names in the
environment when it starts; its part in this process is in the default registry, because prometheus-client was
imported before that. Their names begin with `sglang:`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
PREFIX: Final = "sglang"


def exported_metrics() -> bytes:
    """Everything that SGLang counts, of this process and of its own ones; empty before it counts anything."""
    registry = CollectorRegistry()
    registry.register(_OwnPart())
    folder = os.environ.get(FOLDER, "")
    if folder and Path(folder).is_dir():
        MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]  # has no annotations
    return generate_latest(registry)


class _OwnPart:
    """SGLang's metrics in the default registry, without those of Python that are there too."""

    def collect(self) -> Iterator[Metric]:
        """See prometheus-client."""
        for metric in REGISTRY.collect():
            if metric.name.startswith(PREFIX):
                yield metric
