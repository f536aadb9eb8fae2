"""What every board must keep to, so that it works with any data source, run and interval.

Pure: a board in, sentences out. The rules are those of Grafana's dashboard-linter, with `run` for its `job`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, Final

from boards.files import Shown, panels_of
from boards.sglang_names import SGLANG_KINDS

SOURCE: Final = "${datasource}"
RUN: Final = 'run=~"$run"'
SELECTOR: Final = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\{(?P<labels>[^}]*)\}(?P<range>\[[^\]]*\])?")
OF_COUNTERS: Final = re.compile(r"\b(?:rate|increase|irate)\((?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\{")
RANGE: Final = "[$__rate_interval]"
# Names of Prometheus itself and of its Python client.
FOREIGN: Final = re.compile(r"(up|process_\w+|python_\w+)")
PARTS: Final = re.compile(r"_(bucket|sum|count)$")


def faults(name: str, board: Mapping[str, Any], *, kinds: Mapping[str, str]) -> list[str]:
    """What is wrong with a board; `kinds` has the kind of each metric that the services make."""
    return list(_faults(name, board, {**kinds, **SGLANG_KINDS}))


def _faults(name: str, board: Mapping[str, Any], kinds: Mapping[str, str]) -> Iterator[str]:
    panels = list(panels_of(name, board))
    for field in ("uid", "title", "description", "tags"):
        if not board.get(field):
            yield f"{name}: has no {field}"
    variables = {variable["name"] for variable in board["templating"]["list"]}
    if not {"datasource", "run"} <= variables:
        yield f"{name}: needs the variables datasource and run"
    for title, times in Counter(panel.title for panel in panels).items():
        if times > 1:
            yield f"{name}: {times} panels are called {title!r}"
    ids = Counter(panel["id"] for panel in board["panels"])
    yield from (f"{name}: id {number} is used {times} times" for number, times in ids.items() if times > 1)
    for one, other in combinations(panels, 2):
        if _overlap(one.place, other.place):
            yield f"{one.name}: lies over {other.title!r}"
    for panel in panels:
        yield from (f"{panel.name}: {fault}" for fault in _of_panel(panel, kinds))
    for annotation in board["annotations"]["list"]:
        yield from (f"{name} / {annotation['name']}: {fault}" for fault in _of_query(annotation, kinds))


def _of_panel(panel: Shown, kinds: Mapping[str, str]) -> Iterator[str]:
    if not panel.title:
        yield "has no title"
    if not panel.raw.get("description"):
        yield "has no description"
    if not panel.raw.get("fieldConfig", {}).get("defaults", {}).get("unit"):
        yield "has no unit"
    if panel.raw.get("datasource", {}).get("uid") != SOURCE:
        yield f"its data source must be {SOURCE}"
    x, _y, width, _height = panel.place
    if x + width > 24:
        yield f"reaches column {x + width}; the grid has 24"
    if not panel.targets:
        yield "asks nothing"
    references = [target.get("refId") for target in panel.targets]
    if len(set(references)) != len(references) or None in references:
        yield f"refIds must differ: {references}"
    for target in panel.targets:
        yield from _of_query(target, kinds)
        if not target.get("legendFormat"):
            yield f"query {target.get('refId')} has no legend"


def _of_query(query: Mapping[str, Any], kinds: Mapping[str, str]) -> Iterator[str]:
    expr = query["expr"]
    if query.get("datasource", {}).get("uid") != SOURCE:
        yield f"the data source of a query must be {SOURCE}"
    selectors = list(SELECTOR.finditer(expr))
    if not selectors:
        yield f"selects nothing: {expr}"
    for selector in selectors:
        metric = selector["name"]
        if RUN not in selector["labels"]:
            yield f"{metric} must be selected by {RUN}"
        if selector["range"] not in {None, RANGE}:
            yield f"{metric}{selector['range']}: the range must be {RANGE}"
        if _kind(metric, kinds) is None and not FOREIGN.fullmatch(metric):
            maker = "SGLang (see boards/sglang_names.py)" if metric.startswith("sglang:") else "service"
            yield f"no {maker} makes {metric}"
    for found in OF_COUNTERS.finditer(expr):
        if (kind := _kind(found["name"], kinds)) == "gauge":
            yield f"rate of {found['name']}, which is a {kind}"


def _kind(metric: str, kinds: Mapping[str, str]) -> str | None:
    """Of a metric, or of the histogram that a series belongs to."""
    family = PARTS.sub("", metric)
    return kinds.get(metric) or ("histogram" if kinds.get(family) == "histogram" else None)


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    x, y, width, height = one
    x2, y2, width2, height2 = other
    return x < x2 + width2 and x2 < x + width and y < y2 + height2 and y2 < y + height
