"""The launcher's own metrics: how many processes there are, how many there should be, and how often they came back.

Owns these metrics. Counts are read from the supervisor when somebody looks.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version

from tetrad_cli.launch.states import State
from tetrad_cli.launch.supervisor import OWN_ROLE, Supervisor
from tetrad_telemetry.exporter import Health, Pages
from tetrad_telemetry.metrics import Metrics, closed


class LauncherMetrics:
    """Make one per launcher."""

    def __init__(self, roles: Sequence[str], registry: Metrics | None = None) -> None:
        self.registry = registry or Metrics(OWN_ROLE, version=version("tetrad-cli"), scope="supervisor")
        role = closed(tuple(roles))
        self._roles = tuple(roles)
        self._instances = self.registry.gauges(
            "instances", "Supervised processes by state.", labels={"role": role, "state": closed(State)}
        )
        self._wanted = self.registry.gauges(
            "wanted_instances", "Processes that there should be.", labels={"role": role}
        )
        self._restarts = self.registry.counters(
            "restarts_total", "Processes that were started again.", labels={"role": role}
        )

    def restarted(self, role: str) -> None:
        """A process of the role is started again."""
        self._restarts.with_labels(role=role).inc()

    def pages(self, supervisor: Supervisor, *, phase: Callable[[], str]) -> Pages:
        """The launcher's pages."""

        def readiness() -> Health:
            return Health(ok=phase() == "up", detail=phase())

        def render() -> bytes:
            self._show(supervisor)
            self.registry.service_ready.set(readiness().ok)
            return self.registry.render()

        return Pages(metrics=render, health=lambda: Health(ok=True, detail=phase()), readiness=readiness)

    def _show(self, supervisor: Supervisor) -> None:
        there = Counter((one.role.name, one.state) for one in supervisor.instances)
        for role in self._roles:
            self._wanted.with_labels(role=role).set(supervisor.replicas(role))
            for state in State:
                self._instances.with_labels(role=role, state=state).set(there[role, state])
