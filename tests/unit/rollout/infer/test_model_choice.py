"""What is no model is answered with what it is, and with what to name."""

import json

import pytest

from tetrad_rollout.infer.model_choice import find_model
from tetrad_runtime.exits import ConfigFault


def a_model(folder, *, architecture="LlamaForCausalLM"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def refusal(name):
    with pytest.raises(ConfigFault) as caught:
        find_model(str(name))
    return str(caught.value)


def test_a_checkpoint_is_a_model_also_by_a_link_and_from_home(tmp_path, monkeypatch):
    folder = a_model(tmp_path / "ckpts" / "global_step_50")
    (tmp_path / "ckpts" / "latest").symlink_to("global_step_50")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert find_model("~/ckpts/global_step_50").folder == folder
    assert find_model(str(tmp_path / "ckpts" / "latest")).folder == tmp_path / "ckpts" / "latest"


def test_a_step_that_is_not_there_names_the_nearest_that_is(tmp_path, monkeypatch):
    a_model(tmp_path / "ckpts" / "global_step_40")
    monkeypatch.chdir(tmp_path)

    assert refusal("ckpts/global_step_50") == (
        "--model ckpts/global_step_50: there is no such folder; did you mean ckpts/global_step_40?"
    )
    assert "holds no folders" in refusal(tmp_path / "ckpts" / "global_step_40" / "x")


def test_where_no_name_is_near_some_that_are_there_are_listed(tmp_path):
    for letter in "abcdefghij":
        (tmp_path / (letter * 3)).mkdir()

    assert refusal(tmp_path / "zzzz").endswith("holds aaa, bbb, ccc, ddd, eee, fff, ggg, hhh, …")


@pytest.mark.parametrize("part", [".", "checkpoints"])
def test_the_folder_of_a_run_or_of_its_checkpoints_names_the_newest(tmp_path, part):
    for step in (9, 10):
        a_model(tmp_path / "demo" / "checkpoints" / f"global_step_{step}")

    said = refusal(tmp_path / "demo" / part)

    assert "is no model: it has no config.json; it holds checkpoints" in said
    assert said.endswith("checkpoints/global_step_10")


def test_a_part_of_a_checkpoint_names_the_whole(tmp_path):
    folder = a_model(tmp_path / "global_step_5")
    (folder / "trainer").mkdir()

    assert refusal(folder / "trainer").endswith(f"it is a part of one: name {folder}")
    assert refusal(folder / "config.json").endswith(f"is a file; name its folder {folder}")


def test_a_model_without_weights_or_of_another_kind_says_so(tmp_path):
    critic = a_model(tmp_path / "critic", architecture="LlamaForSequenceClassification")
    bare = a_model(tmp_path / "bare")
    (bare / "model.safetensors").unlink()

    assert "is a LlamaForSequenceClassification; only causal language models" in refusal(critic)
    assert "has no weights (*.safetensors, *.bin)" in refusal(bare)


def test_adapters_lead_to_their_base_or_to_the_model_that_holds_them(tmp_path):
    base, merged = a_model(tmp_path / "base"), a_model(tmp_path / "run" / "global_step_5")
    adapter = merged / "adapter"
    adapter.mkdir()
    config = adapter / "adapter_config.json"

    config.write_text(json.dumps({"base_model_name_or_path": str(base)}))
    found = find_model(str(adapter))
    config.write_text(json.dumps({"base_model_name_or_path": "/gone"}))
    said = refusal(adapter)

    assert (found.folder, found.adapter) == (base, adapter)
    assert f"belong to /gone, which is not there; name {merged}, where they are merged" in said


def test_a_name_that_the_hub_cannot_give_says_how_else(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    said = refusal("nobody/no-such-model")

    assert said.startswith("--model nobody/no-such-model is no folder here, and the Hub does not give it")
    assert said.endswith("name a local folder, or set HF_TOKEN for a model that needs it")
