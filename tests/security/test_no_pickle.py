"""Nothing that runs code while it reads: not in our sources, and not in what any module of the wire is made of."""

import ast
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for place in ("libs", "services") for path in (ROOT / place).glob("*/src/**/*.py"))
RUNS_CODE = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
LOADERS = {("torch", "load"): "weights_only", ("np", "load"): "allow_pickle", ("numpy", "load"): "allow_pickle"}
SAFE = {"weights_only": True, "allow_pickle": False}
UNSAFE_CALLS = {("yaml", "load"), ("yaml", "unsafe_load"), ("yaml", "full_load"), ("pd", "read_pickle")}
ON_THE_WIRE = ("tetrad_wire", "tetrad_transport")


def findings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if one.name.split(".")[0] in RUNS_CODE)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in RUNS_CODE:
                yield module
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)):
                yield from _of_call(node, owner, name)
            case ast.Call(func=ast.Attribute(attr="recv_pyobj" | "send_pyobj" as name)):
                yield name


def _of_call(call: ast.Call, owner: str, name: str) -> Iterator[str]:
    if (owner, name) in UNSAFE_CALLS or name in {"recv_pyobj", "send_pyobj"}:
        yield f"{owner}.{name}"
    needed = LOADERS.get((owner, name))
    if needed is not None:
        given = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
        if given.get(needed) is not SAFE[needed]:
            yield f"{owner}.{name} without {needed}={SAFE[needed]}"


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle",
        "import os, pickle as p",
        "from marshal import loads",
        "def f():\n  import shelve",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "np.load(x, allow_pickle=True)",
        "socket.recv_pyobj()",
        "self.socket.recv_pyobj()",
        "yaml.load(x)",
    ],
)
def test_the_check_sees_what_it_looks_for(bad):
    assert list(findings(bad))


@pytest.mark.parametrize("good", ["torch.load(x, weights_only=True)", "np.load(x, allow_pickle=False)", "json.load(x)"])
def test_the_check_lets_pass_what_is_safe(good):
    assert not list(findings(good))


def test_no_source_of_ours_unpickles_anything():
    found = {str(path.relative_to(ROOT)): list(findings(path.read_text())) for path in SOURCES}

    assert len(SOURCES) > 300
    assert {path: what for path, what in found.items() if what} == {}


def test_no_module_on_the_way_of_a_message_imports_what_runs_code():
    packages = sorted({path.relative_to(ROOT).parts[3] for path in SOURCES} - {"tetrad"})
    graph = grimp.build_graph(*packages, include_external_packages=True, cache_dir=None)

    users = {module for package in ON_THE_WIRE for module in graph.find_downstream_modules(package, as_package=True)}
    path_of_a_message = users | {module for module in graph.modules if module.split(".")[0] in ON_THE_WIRE}
    used = {one for module in path_of_a_message for one in graph.find_modules_directly_imported_by(module)}

    assert "tetrad_reward.service" in path_of_a_message
    assert "tetrad_learner.rank.link" in path_of_a_message
    assert not used & RUNS_CODE
