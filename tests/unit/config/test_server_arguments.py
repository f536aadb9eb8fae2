"""SGLang's own arguments: those of the release that is installed, refused before anything is loaded."""

from pathlib import Path

import pytest

from tetrad_config import check_machine, load, overrides_to_run, probe_machine
from tetrad_config.server_arguments import installed_arguments

SOURCE = """
import nothing_that_could_be_imported

class PortArgs:
    nccl_port: int

class ServerArgs:
    limit = 3
    context_length: Optional[int] = None
    model_path: A[str, Arg(help="a folder")]

    def check(self):
        inside: int = 1
"""


@pytest.fixture
def sglang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an installed SGLang says its arguments; returns that file."""
    file = tmp_path / "sglang" / "srt" / "server_args.py"
    file.parent.mkdir(parents=True)
    file.write_text(SOURCE)
    (tmp_path / "sglang" / "__init__.py").write_text("raise ImportError('it takes many seconds')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return file


def refused(*overrides: str) -> dict[str, str]:
    config = load(["+experiment=demo", "generator.backend=sglang", *overrides], environ={}).config
    refusals = check_machine(config, probe_machine(config, {}))
    return {refusal.key: str(refusal) for refusal in refusals if "engine_init_kwargs" in refusal.key}


@pytest.mark.usefixtures("sglang")
def test_what_the_installed_release_does_not_have_is_refused_with_the_nearest_and_the_way_out():
    problems = refused("+generator.engine_init_kwargs.context_lenght=4096")

    assert problems == {
        "generator.engine_init_kwargs.context_lenght": (
            "generator.engine_init_kwargs.context_lenght: asks for 4096; it is no argument of the installed SGLang's "
            "ServerArgs; did you mean context_length?; fix: ~generator.engine_init_kwargs.context_lenght"
        )
    }


@pytest.mark.usefixtures("sglang")
def test_the_override_that_is_named_makes_it_run():
    asked = ["+experiment=demo", "generator.backend=sglang", "+generator.engine_init_kwargs.model_path=x"]
    config = load(asked, environ={}).config
    refusals = [one for one in check_machine(config, probe_machine(config, {})) if "model_path" in one.key]

    after = load([*asked, *overrides_to_run(refusals)], environ={}).config

    assert "may not be set" in str(refusals[0])
    assert after.generator.engine_init_kwargs == {}


@pytest.mark.usefixtures("sglang")
def test_what_the_installed_release_has_is_accepted():
    assert refused("+generator.engine_init_kwargs.context_length=4096") == {}


@pytest.mark.parametrize("source", ["class ServerArgs(Base):\n    a: int\n", "class Other:\n    a: int\n", "class ("])
def test_a_release_that_says_its_arguments_in_another_way_is_not_judged(sglang: Path, source: str):
    sglang.write_text(source)

    assert installed_arguments() is None
    assert refused("+generator.engine_init_kwargs.context_lenght=4096") == {}


def test_where_no_sglang_is_installed_none_is_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("sys.path", [str(tmp_path)])

    assert installed_arguments() is None
