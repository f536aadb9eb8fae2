"""The monitoring roles of a run: a Prometheus that scrapes it, and a Grafana that shows what that has.

Pure but for the choice of free ports and `write_config`. Both are optional roles: whatever becomes of them, the run
goes on. They serve on the loopback address, and keep their data in the run's folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tetrad_cli.launch.ports import free_port
from tetrad_cli.launch.restarts import RestartPolicy
from tetrad_cli.launch.roles import Role
from tetrad_cli.launch.session import TARGETS_NAME
from tetrad_cli.monitoring.programs import ASSETS, BOARDS, Programs, grafana_home

PROMETHEUS: Final = "prometheus"
GRAFANA: Final = "grafana"
NAMES: Final = (PROMETHEUS, GRAFANA)
# Before everything else and after it: the first and the last moments of a run are worth a look too.
STAGE: Final = -1
# Of a run's own data; a Prometheus that is there for longer keeps its own.
RETENTION: Final = "7d"
RETENTION_SIZE: Final = "512MB"
HOST: Final = "127.0.0.1"
CONFIG: Final = "prometheus.yml"
# In the file as it is deployed; a run's has absolute paths.
RULES_THERE: Final = "rules/*.yml"
TARGETS_THERE: Final = "targets/*.json"
# Whoever cannot start three times in a row will not start.
RESTARTS: Final = RestartPolicy(max_crashes=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """What is started beside a run."""

    run_dir: Path
    programs: Programs
    is_on: bool
    """Whether it starts with the run; otherwise `tetrad dashboards` starts it."""
    port: int = field(default_factory=lambda: free_port(()))
    """Of Prometheus."""

    def roles(self) -> Sequence[Role]:
        """The roles of the programs that are installed; none starts by itself where monitoring is off."""
        roles: list[Role] = []
        if self.programs.prometheus is not None:
            roles.append(prometheus(self.programs.prometheus, self.run_dir, port=self.port, is_on=self.is_on))
        if self.programs.grafana is not None:
            roles.append(grafana(self.programs.grafana, self.run_dir, source=url(self.port), is_on=self.is_on))
        return roles

    def notices(self) -> Sequence[str]:
        """What the user should know of it."""
        source = url(self.port) if self.programs.prometheus is not None else None
        return self.programs.missing(source=source) if self.is_on else ()


def prometheus(program: Path, run_dir: Path, *, port: int, is_on: bool) -> Role:
    """Scrapes what `targets.json` of the run names."""
    folder = run_dir / PROMETHEUS
    return Role(
        name=PROMETHEUS,
        argv=(
            str(program),
            f"--config.file={folder / CONFIG}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--storage.tsdb.retention.size={RETENTION_SIZE}",
            f"--web.listen-address={HOST}:{port}",
        ),
        stage=STAGE,
        replicas=int(is_on),
        port=port,
        health_path="/-/healthy",
        ready_path="/-/ready",
        is_optional=True,
        is_scraped=False,
        restarts=RESTARTS,
        start_deadline_s=60.0,
        grace_s=10.0,
    )


def grafana(program: Path, run_dir: Path, *, source: str, is_on: bool) -> Role:
    """Shows the boards, with the Prometheus at `source`; anybody on this machine may look, nobody may edit."""
    folder = run_dir / GRAFANA
    port = free_port((int(source.rpartition(":")[2]),))
    words = ("server",) if program.name == GRAFANA else ()
    return Role(
        name=GRAFANA,
        argv=(str(program), *words, f"--homepath={grafana_home(program)}"),
        stage=STAGE,
        replicas=int(is_on),
        port=port,
        env={
            "GF_SERVER_HTTP_ADDR": HOST,
            "GF_SERVER_HTTP_PORT": str(port),
            "GF_PATHS_DATA": str(folder / "data"),
            "GF_PATHS_LOGS": str(folder / "logs"),
            "GF_PATHS_PLUGINS": str(folder / "plugins"),
            "GF_PATHS_PROVISIONING": str((ASSETS / "grafana" / "provisioning").resolve()),
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_AUTH_DISABLE_LOGIN_FORM": "true",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",
            "GF_LOG_MODE": "console",
            # Read by our provisioning files.
            "PROMETHEUS_URL": source,
            "DASHBOARDS_PATH": str(BOARDS.resolve()),
        },
        health_path="/api/health",
        ready_path="/api/health",
        is_optional=True,
        is_scraped=False,
        restarts=RESTARTS,
        grace_s=10.0,
    )


def write_config(run_dir: Path) -> None:
    """Write the run's own copy of `prometheus.yml`: the rules as they are deployed, the targets of this run."""
    folder = run_dir / PROMETHEUS
    folder.mkdir(exist_ok=True)
    text = (ASSETS / PROMETHEUS / CONFIG).read_text()
    for there, here in (
        (RULES_THERE, (ASSETS / PROMETHEUS / RULES_THERE).resolve()),
        (TARGETS_THERE, run_dir / TARGETS_NAME),
    ):
        assert text.count(there) == 1, f"{CONFIG} must name {there} once"
        text = text.replace(there, str(here))
    new = folder / f"{CONFIG}.new"
    new.write_text(text)
    new.replace(folder / CONFIG)


def url(port: int) -> str:
    """Where a program of this machine answers."""
    return f"http://{HOST}:{port}"
