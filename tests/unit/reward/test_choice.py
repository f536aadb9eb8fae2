from tetrad_reward.choice import Choice


def test_each_class_is_graded_by_its_own_environment():
    choice = Choice(env_class="gsm8k")

    assert choice.reference_for("arithmetic") == "arithmetic"
    assert choice.reference_for("") == "gsm8k"
    assert not choice.serves_any


def test_an_implementation_grades_every_class():
    choice = Choice(implementation="my.py:fn", env_class="gsm8k")

    assert choice.reference_for("arithmetic") == "my.py:fn"
    assert choice.known_references() == ["my.py:fn"]
    assert choice.serves_any


def test_the_runs_own_class_is_ready_first_and_once():
    assert Choice(env_class="gsm8k").known_references() == ["gsm8k", "arithmetic", "multiply"]
    assert Choice(env_class="mine:Env").known_references() == ["mine:Env", "arithmetic", "gsm8k", "multiply"]


def test_settings_belong_to_a_name():
    choice = Choice(settings={"gsm8k": {"mode": "boxed"}})

    assert choice.settings_for("gsm8k") == {"mode": "boxed"}
    assert choice.settings_for("arithmetic") == {}
