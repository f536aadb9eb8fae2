"""Commands on pages exist, with those options, keys, presets, targets and files, whether or not they run in a test."""

import re
import shlex

import pytest

import tetrad_config
from docs.blocks import COMMANDS, blocks_of, logical_lines
from docs.pages import ELSEWHERE, FIRST_READ, MAPS, OTHERS, ROOT, found, named
from tetrad_cli.catalog import load, summaries
from tetrad_config.aliases import ALIASES
from tetrad_config.refused import OUT_OF_SCOPE
from tetrad_config.schema import fields, free_form_parent, section_at
from tetrad_config.section import DottedKey
from tetrad_testing.command_parsers import NoParserError, has_actions, parser_of

EVERY = [*found(*FIRST_READ, *OTHERS, *MAPS), *(ROOT / page for page in ELSEWHERE)]
PAGES = [page for page in EVERY if any(block.language in COMMANDS for block in blocks_of(page))]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PRESETS = {path.stem for path in (ROOT / tetrad_config.__path__[0] / "presets" / "experiment").glob("*.yaml")}
SEPARATORS = {";", "&", "&&", "|", "||", "(", ")", "<", ">", ">>"}


def commands_of(block):
    """The words of each command, without variables in front and what is redirected."""
    for line in logical_lines(block.text):
        lexer = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = []
        for word in [*lexer, ";"]:
            if word not in SEPARATORS:
                words.append(word)
                continue
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []


def known_key(key):
    key = DottedKey(ALIASES.get(DottedKey(key), key))
    in_section = section_at(tuple(key.split("."))) is not None
    return key in fields() or key in OUT_OF_SCOPE or free_form_parent(key) is not None or in_section


def check_override(word):
    name, _, value = word.lstrip("+~").partition("=")
    if name == "experiment":
        assert value in PRESETS, f"there is no preset {value}"
    else:
        assert known_key(name), f"there is no key {name}"


def check_tetrad(words):
    name, *rest = [word for word in words if "…" not in word]
    if name == "COMMAND":
        return
    assert name in summaries(), f"there is no command tetrad {name}"
    if "(pip install" in summaries()[name]:
        return
    try:
        parser = parser_of(load(name))
    except NoParserError:  # it looks at its first word itself
        parser, rest = parser_of(load(name), rest[0]), rest[1:]
    parsed = parser.parse_args(rest) if has_actions(parser) else parser.parse_intermixed_args(rest)
    for word in getattr(parsed, "overrides", ()):
        check_override(word)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_are_those_that_there_are(page, capsys):
    for block in blocks_of(page):
        for words in commands_of(block) if block.language in COMMANDS else ():
            try:
                check(words)
            except (AssertionError, NoParserError, SystemExit) as error:
                pytest.fail(f"{block.name}: {shlex.join(words)}: {error} {capsys.readouterr().err}")


def check(words):
    match words:
        case ["tetrad", *rest] if rest:
            check_tetrad(rest)
        case ["make", *rest]:
            for word in rest:
                assert "=" in word or word in TARGETS, f"there is no target {word}"
        case ["python", script, *_] if "/" in script:
            assert (ROOT / script).is_file(), f"there is no file {script}"
        case _:
            for word in words:
                assert not re.match(r"(deploy|tools|benchmarks)/", word) or (ROOT / word).exists(), f"no file {word}"


@pytest.mark.parametrize(
    "line",
    [
        "tetrad trian",
        "tetrad train --lives",
        "tetrad samples",
        "tetrad train +experiment=demmo",
        "tetrad train trainer.max_stepps=3",
        "tetrad keys rename x",
        "tetrad reward swop",
        "make tset",
        "python benchmarks/nothing.py",
        "docker compose -f deploy/nothing.yaml up",
    ],
)
def test_a_command_that_does_not_exist_is_found(line):
    with pytest.raises((AssertionError, NoParserError, SystemExit)):
        check(shlex.split(line))
