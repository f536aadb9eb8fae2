"""Asks a real Prometheus what the panels ask, over its HTTP interface.

Owns the stand-ins for Grafana's variables. Decides nothing about what an answer means but whether it holds data.
"""

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

DEADLINE_S: Final = 30.0
# Four scrapes of the deployed configuration, and some: what Grafana would take for a short span.
RATE_INTERVAL: Final = "30s"


class AskingError(Exception):
    """Prometheus refused a question, or did not answer."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series of an answer."""

    labels: Mapping[str, str]
    times: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def has_data(self) -> bool:
        """Whether any of its values is a number."""
        return any(math.isfinite(value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One server."""

    url: str

    def ask(self, expr: str, *, run: str, begin: float, end: float, step_s: float) -> list[Line]:
        """What a panel would show for a span of time; raises AskingError with what Prometheus says."""
        question = {"query": filled(expr, run=run), "start": f"{begin}", "end": f"{end}", "step": f"{step_s}"}
        data = self._get("/api/v1/query_range", question)
        return [_line(one) for one in data["result"]]

    def targets(self) -> dict[str, str]:
        """The health of each target, by the name of its replica: `up`, `down` or `unknown`."""
        active = self._get("/api/v1/targets", {"state": "active"})["activeTargets"]
        return {one["labels"]["replica"]: one["health"] for one in active}

    def rules(self) -> dict[str, str]:
        """The health of each rule by name: `ok`, `err` or `unknown`."""
        groups = self._get("/api/v1/rules", {})["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    def _get(self, path: str, question: Mapping[str, str]) -> Any:
        address = f"{self.url}{path}?{urllib.parse.urlencode(question)}"
        try:
            with urllib.request.urlopen(address, timeout=DEADLINE_S) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise AskingError(f"{question.get('query', path)}: {json.load(error).get('error', error)}") from error
        except OSError as error:
            raise AskingError(f"{self.url} does not answer: {error}") from error


def filled(expr: str, *, run: str) -> str:
    """Put values in the place of Grafana's variables.

    >>> filled('rate(a_total{run=~"$run"}[$__rate_interval])', run="demo")
    'rate(a_total{run=~"demo"}[30s])'
    """
    return expr.replace("$__rate_interval", RATE_INTERVAL).replace("$run", run)


def legend(template: str, labels: Mapping[str, str]) -> str:
    """The name of a series as Grafana writes it.

    >>> legend("{{replica}} busy", {"replica": "rollout-0"})
    'rollout-0 busy'
    """
    for name, value in labels.items():
        template = template.replace("{{" + name + "}}", value)
    return template


def _line(raw: Mapping[str, Any]) -> Line:
    times, values = zip(*raw["values"], strict=True)
    return Line(raw["metric"], tuple(map(float, times)), tuple(map(float, values)))
