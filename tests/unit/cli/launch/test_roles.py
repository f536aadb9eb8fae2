"""A role says how its processes are named and what they are told."""

import pytest

from tetrad_cli.launch.roles import Role


def a_role(**changes):
    return Role(**{"name": "rollout", "argv": ("x",), "replicas": 2, "max_replicas": 8, **changes})


def test_placeholders_are_filled_and_other_braces_left_alone():
    role = a_role(env={"A": "{name}:{port}", "B": '{"json": {index}}'})

    assert role.environment(1, port=99) == {"A": "rollout-1:99", "B": '{"json": 1}'}


def test_replicas_have_numbers_and_singletons_have_none():
    assert a_role().instance_name(1) == "rollout-1"
    assert a_role(name="learner", replicas=1, max_replicas=1).instance_name(0) == "learner"


@pytest.mark.parametrize("replicas", [0, 9])
def test_an_impossible_number_of_replicas_is_refused(replicas):
    with pytest.raises(ValueError, match=f"{replicas} replicas; between 1 and 8"):
        a_role(replicas=replicas)
