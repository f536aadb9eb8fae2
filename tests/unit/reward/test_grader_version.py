from tetrad_reward.registry import load_grader

SOURCE = "def fn(response, ground_truth):\n    return 1.0\n"


def version_of(folder, source=SOURCE, name="mine.py"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(source)
    return load_grader(f"{folder}/{name}:fn", {}).version


def test_equal_files_in_other_folders_have_equal_versions(tmp_path):
    assert version_of(tmp_path / "a") == version_of(tmp_path / "b")


def test_an_edit_changes_the_version(tmp_path):
    assert version_of(tmp_path / "a") != version_of(tmp_path / "b", SOURCE.replace("1.0", "2.0"))


def test_a_version_begins_with_the_name(tmp_path):
    assert version_of(tmp_path / "a").startswith("mine.py:fn-")


def test_settings_change_the_version():
    assert load_grader("gsm8k", {"mode": "boxed"}).version != load_grader("gsm8k", {"mode": "strict"}).version


def test_the_same_grader_has_the_same_version_twice():
    assert load_grader("gsm8k", {}).version == load_grader("gsm8k", {}).version
