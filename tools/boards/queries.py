"""PromQL as the boards use it: each selector names the run, each rate has Grafana's own interval.

Pure text.
"""

from typing import Final

RUN: Final = 'run=~"$run"'
INTERVAL: Final = "[$__rate_interval]"


def series(metric: str, labels: str = "") -> str:
    """Select a metric of the chosen run.

    >>> series("up", 'role="reward"')
    'up{run=~"$run", role="reward"}'
    """
    return f"{metric}{{{', '.join(part for part in (RUN, labels) if part)}}}"


def rate(metric: str, labels: str = "", *, by: str = "") -> str:
    """Per second, summed over replicas, or over all labels but `by`."""
    return f"sum{_by(by)} (rate({series(metric, labels)}{INTERVAL}))"


def quantile(q: float, metric: str, labels: str = "", *, by: str = "") -> str:
    """A quantile of a histogram."""
    grouped = _by(", ".join(part for part in ("le", by) if part))
    return f"histogram_quantile({q:g}, sum{grouped} (rate({series(f'{metric}_bucket', labels)}{INTERVAL})))"


def mean(metric: str, labels: str = "", *, by: str = "") -> str:
    """The mean of a histogram."""
    return f"{rate(f'{metric}_sum', labels, by=by)} / {rate(f'{metric}_count', labels, by=by)}"


def per_step(metric: str, labels: str = "", *, by: str) -> str:
    """What a counter came to in each training step."""
    return f"{rate(metric, labels, by=by)} / ignoring ({by}) group_left () {rate('tetrad_learner_steps_total')}"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
