"""Two gloo ranks train what one does: the whole loop, FSDP2 over processes."""

from pathlib import Path

import numpy as np
import pytest
from chaos.run_under_test import MakeRun, RunUnderTest
from safetensors.numpy import load

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_two_ranks_end_at_the_weights_of_one(make_run: MakeRun, calm_weights: bytes) -> None:
    run = make_run("trainer.placement.policy_num_gpus_per_node=2").start()

    assert run.finish() == 0, run.last_words()
    run.check_fates()
    run.check_nothing_is_left()
    one, two = load(calm_weights), load(run.weights())
    assert one.keys() == two.keys()
    for name, weights in one.items():
        # AdamW divides by the root of a tiny second moment: the last bits of a gradient grow to about this.
        np.testing.assert_allclose(two[name], weights, atol=2e-4, err_msg=name)


def test_the_checkpoint_is_a_hugging_face_folder(calm_run: RunUnderTest) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    latest: Path = calm_run.run_dir / "checkpoints" / "latest"

    model = AutoModelForCausalLM.from_pretrained(latest)
    tokenizer = AutoTokenizer.from_pretrained(latest)
    messages = [{"role": "user", "content": "37+58="}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**inputs, max_new_tokens=4, do_sample=False)[0, inputs["input_ids"].shape[1] :]

    assert tokenizer.decode(answer, skip_special_tokens=True).isdigit()
