"""Parts 5 and 6: answers, and what is done with a trained model."""

import json
import re
import shlex
import textwrap
from typing import Any, Final

from tutorial.problems import SYSTEM_PROMPT
from tutorial.run_promises import LINE, LOOP
from tutorial.verdict import Promise
from tutorial.walk import FIXES, LAST_STEP, Walk

INFERENCE, EVALUATION = 15, 16
MODES: Final = ("strict", "boxed", "flexible")
RESPONSE: Final = re.compile(r'Response \d: "(.*)"')
FILES: Final = {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"}
SHOWN: Final = 40
"""Letters of an answer in the table."""
USER: Final = re.compile(r'"role": "user", "content": "(.*)"}')


def boxed(walk: Walk) -> str:
    """T17."""
    # The tutorial escapes its backslashes.
    responses = [text.replace("\\\\", "\\") for text in RESPONSE.findall(walk.block(LOOP).text)]
    assert len(responses) == 4, responses
    rewards = {mode: _graded(walk, responses, mode) for mode in MODES}
    assert rewards["boxed"] == rewards["flexible"] == [1.0, 1.0, 0.0, 1.0], rewards
    assert rewards["strict"] == [0.0] * 4, rewards
    return f"environment.gsm8k.mode: {rewards}; each evaluation logs all three: {_evaluated(walk)}"


def _evaluated(walk: Walk) -> str:
    """Return the last evaluation's three accuracies; every evaluation of the run must have them."""
    evaluations = {step: figures for step, figures in walk.metrics().items() if "eval/all/pass_at_1" in figures}
    assert len(evaluations) >= 2, sorted(walk.metrics())
    for step, figures in evaluations.items():
        missing = {f"eval/all/mean_reward_{mode}" for mode in MODES} - figures.keys()
        assert not missing, f"step {step} has no {sorted(missing)}"
    last = max(evaluations)
    scores = ", ".join(f"{mode} {evaluations[last][f'eval/all/mean_reward_{mode}']:.4g}" for mode in MODES)
    return f"{scores} at step {last}"


def _graded(walk: Walk, responses: list[str], mode: str) -> list[float]:
    path = walk.workshop.cwd / "responses.jsonl"
    path.write_text("".join(json.dumps({"response": text, "ground_truth": "5"}) + "\n" for text in responses))
    done = walk.workshop.run(f"tetrad grade --env gsm8k --mode {mode} < {path.name}").succeeded()
    rows: list[dict[str, Any]] = [json.loads(line) for line in done.out.splitlines()]
    return [row["reward"] for row in rows]


def loads(walk: Walk) -> str:
    """T21."""
    walk.result(INFERENCE)
    folder = walk.workshop.home / "ckpts" / f"global_step_{LAST_STEP}"
    there = {path.name for path in folder.iterdir()}
    assert there >= FILES, there
    return f"from_pretrained loads {folder.name} with {', '.join(sorted(FILES))}; ~ is written out (transformers)"


def answers(walk: Walk) -> str:
    """T22."""
    said = walk.result(INFERENCE).out
    assert "assistant\n" in said, said
    answer = said.rpartition("assistant\n")[2].strip()
    assert answer, said
    shown = repr(textwrap.shorten(answer, SHOWN))
    (question,) = USER.findall(walk.block(INFERENCE).text)
    words = ("--model", f"ckpts/global_step_{LAST_STEP}", "--system", SYSTEM_PROMPT, "--prompt", question)
    ours = walk.workshop.run(f"cd ~; tetrad infer {shlex.join(words)}; cd - > /dev/null").succeeded().out
    assert answer in ours, (answer, ours)
    return f"Part 6's program, {len(FIXES)} words corrected, and tetrad infer both answer {shown}"


def evaluation(walk: Walk) -> str:
    """T23."""
    said = walk.result(EVALUATION).out
    (line,) = [found for found in LINE.finditer(said) if found[1] == "0"]
    score = walk.metrics()[LAST_STEP]["eval/all/pass_at_1"]
    assert f"eval/all/pass_at_1={score:.4g}" in line[2], (score, line[2])
    assert walk.tree_before, "nothing was hashed"
    assert walk.tree_after == walk.tree_before, set(walk.tree_after.items()) ^ set(walk.tree_before.items())
    return (
        f"pass_at_1 {score:.4g} at step {LAST_STEP}, by the run and by Step 6.3; {len(walk.tree_before)} files of run "
        "and checkpoints are what they were"
    )


MODEL_PROMISES: Final = (
    Promise("T17", "\\boxed{5} is a right answer", boxed),
    Promise("T21", "from_pretrained loads global_step_50", loads),
    Promise("T22", "the program of Part 6 answers", answers),
    Promise("T23", "evaluation with epochs=0", evaluation),
)
