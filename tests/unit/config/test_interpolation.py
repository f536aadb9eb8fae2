"""Interpolation: variables, other keys and assets, from the environment that was handed in."""

import os

from omegaconf import OmegaConf

from tetrad_config.interpolation import resolved


def test_variables_come_from_the_given_environment_only():
    tree, problems = resolved({"a": "${oc.env:HOME}/x"}, environ={"HOME": "/given"})

    assert (tree, problems) == ({"a": "/given/x"}, [])


def test_a_default_is_used_where_the_variable_is_not_set():
    tree, _ = resolved({"a": "${oc.env:X,/d}", "b": "${oc.env:X,null}", "c": "${oc.env:X,${a}}"}, environ={})

    assert tree == {"a": "/d", "b": None, "c": "/d"}


def test_a_variable_that_is_not_set_is_a_problem_with_two_fixes():
    _, problems = resolved({"a": {"b": ["${oc.env:NOPE}"]}}, environ={})

    assert [str(problem) for problem in problems] == [
        "a.b[0]: environment variable NOPE is not set; set it, or write ${oc.env:NOPE,DEFAULT}"
    ]


def test_a_key_that_is_not_there_is_a_problem():
    _, problems = resolved({"a": "${b.c}"}, environ={})

    assert [str(problem) for problem in problems] == ["a: Interpolation key 'b.c' not found"]


def test_an_asset_that_does_not_ship_is_a_problem():
    _, problems = resolved({"a": "${tetrad.asset:nope}", "b": "${tetrad.asset:../errors.py}"}, environ={})

    assert [problem.message for problem in problems] == [
        "Tetrad ships no asset 'nope'",
        "Tetrad ships no asset '../errors.py'",
    ]


def test_the_demos_model_ships():
    tree, problems = resolved({"a": "${tetrad.asset:demo/warm_start}"}, environ={})

    assert problems == []
    assert str(tree["a"]).endswith("assets/demo/warm_start")


def test_types_survive():
    tree, _ = resolved({"a": 3, "b": "${a}", "c": [True, None, 1.5], "d": "\\${x}"}, environ={})

    assert tree == {"a": 3, "b": 3, "c": [True, None, 1.5], "d": "${x}"}


def test_other_users_of_omegaconf_keep_their_resolver(monkeypatch):
    monkeypatch.setenv("SOMEBODYS", "own")

    resolved({"a": "${oc.env:X,1}"}, environ={})

    assert OmegaConf.create({"a": "${oc.env:SOMEBODYS}"}).a == os.environ["SOMEBODYS"]
    assert not OmegaConf.has_resolver("tetrad.asset")
