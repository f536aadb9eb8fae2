"""Which monitoring programs this machine has, and how to get those that it lacks.

Owns their names. Starts nothing.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ASSETS: Final = Path(__file__).parent
COMPOSE: Final = ASSETS / "grafana" / "compose.yaml"
BOARDS: Final = ASSETS / "grafana" / "dashboards"
# Where Debian's and Fedora's packages have Grafana's own files.
GRAFANA_HOME: Final = Path("/usr/share/grafana")


@dataclass(frozen=True, slots=True)
class Programs:
    """Where they are; None for what is not installed."""

    prometheus: Path | None
    grafana: Path | None

    def missing(self, *, source: str | None = None) -> list[str]:
        """What to say of each that is not there: what is lost, and how to get it.

        `source` is the address of the run's Prometheus, where it has one.
        """
        said = []
        if self.prometheus is None:
            said.append(
                "Prometheus is not installed, so nobody keeps the metrics of this run: `apt-get install prometheus`, "
                "then `tetrad dashboards` starts it for a run that is up"
            )
        if self.grafana is None:
            said.append(
                f"Grafana is not installed, so nobody shows the boards in {BOARDS.resolve()}: install its package, or "
                f"run it in a container: `{_in_a_container(source)}`"
            )
        return said


def find_programs() -> Programs:
    """Look for them on the search path."""
    grafana = _found("grafana") or _found("grafana-server")
    return Programs(prometheus=_found("prometheus"), grafana=grafana)


def _in_a_container(source: str | None) -> str:
    told = f"PROMETHEUS_URL={source} " if source is not None else ""
    return f"{told}docker compose -f {COMPOSE.resolve()} up -d"


def grafana_home(program: Path) -> Path:
    """Where Grafana's own files are: of a package, else beside the program, as in its archive."""
    return GRAFANA_HOME if GRAFANA_HOME.is_dir() else program.resolve().parents[1]


def _found(name: str) -> Path | None:
    path = shutil.which(name)
    return Path(path) if path is not None else None
