"""What a board is made of, and its Grafana JSON; the only user of grafana-foundation-sdk.

A board is rows of panels, a panel is queries with legends. Positions, ids and look follow from the order and the kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models

from boards.queries import series

SOURCE: Final = models.DashboardDatasourceRef if hasattr(models, "DashboardDatasourceRef") else looks.DataSourceRef
STAT_HEIGHT: Final = 4
GRAPH_HEIGHT: Final = 8
GRID_COLUMNS: Final = 24
REFRESH: Final = "10s"


class Kind(StrEnum):
    """How a panel is drawn."""

    LINES = "lines"
    STACKED = "stacked"
    """Areas on top of each other: parts of a whole."""
    STAT = "stat"
    """The newest value, large."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture."""

    title: str
    about: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    width: int = 8

    @property
    def height(self) -> int:
        """In units of the grid."""
        return STAT_HEIGHT if self.kind is Kind.STAT else GRAPH_HEIGHT


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]


def panel(
    title: str, about: str, unit: str, *queries: tuple[str, str], kind: Kind = Kind.LINES, width: int = 8
) -> Panel:
    """Make a panel of (expression, legend) pairs."""
    asked = tuple(Query(expr, legend) for expr, legend in queries)
    return Panel(title=title, about=about, unit=unit, queries=asked, kind=kind, width=width)


def as_json(board: Board) -> str:
    """The board as Grafana reads it, with a line end."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags(["tetrad"])
        .readonly()
        .refresh(REFRESH)
        .time("now-30m", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_run_variable())
        .link(
            dashboard.DashboardLink("Tetrad")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["tetrad"])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
    )
    for annotation in _annotations():
        made = made.annotation(annotation)
    return JSONEncoder(sort_keys=True, indent=2).encode(_filled(made, board).build()) + "\n"


def _filled(made: Dashboard, board: Board) -> Dashboard:
    number = 0
    for row in board.rows:
        number += 1
        made = made.with_row(dashboard.Row(row.title).id(number))
        for one in row.panels:
            number += 1
            made = made.with_panel(_panel(one).id(number))
    return made


def _panel(one: Panel) -> Any:
    if one.kind is Kind.STAT:
        made: Any = stat.Panel().graph_mode(looks.BigValueGraphMode.AREA).reduce_options(_newest())
    else:
        made = timeseries.Panel().fill_opacity(10).show_points(looks.VisibilityMode.NEVER).legend(_legend())
        if one.kind is Kind.STACKED:
            made = made.fill_opacity(60).stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    made = made.title(one.title).description(one.about).unit(one.unit).datasource(_source())
    made = made.span(one.width).height(one.height)
    for letter, query in zip("ABCDEFGH", one.queries, strict=False):
        asked = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter)
        made = made.with_target(asked.datasource(_source()))
    return made


def _newest() -> Any:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)


def _legend() -> Any:
    return (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(looks.LegendDisplayMode.LIST)
        .placement(looks.LegendPlacement.BOTTOM)
    )


def _source() -> Any:
    return SOURCE(type_val="prometheus", uid="${datasource}")


def _run_variable() -> Any:
    return (
        dashboard.QueryVariable("run")
        .label("Run")
        .datasource(_source())
        .query("label_values(tetrad_build_info, run)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .include_all(True)
        .all_value(".*")
        .multi(True)
    )


EVALUATE: Final = 'phase="evaluate"'
ANNOTATIONS: Final[Sequence[tuple[str, str, str]]] = (
    (
        "Checkpoint",
        "green",
        f"changes({series('tetrad_learner_last_checkpoint_timestamp_seconds')}[$__rate_interval]) > 0",
    ),
    (
        "Evaluation",
        "blue",
        f"increase({series('tetrad_learner_phase_duration_seconds_count', EVALUATE)}[$__rate_interval]) > 0",
    ),
    ("Weights", "purple", f"changes({series('tetrad_learner_weight_version')}[$__rate_interval]) > 0"),
)
"""Name, colour, and what is above 0 where it happened."""


def _annotations() -> list[Any]:
    return [
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(_source())
        # The newest weights change with each step: shown where somebody asks for it.
        .enable(name != "Weights")
        .icon_color(colour)
        .expr(expr)
        .step("10s")
        .title_format(name)
        for name, colour, expr in ANNOTATIONS
    ]
