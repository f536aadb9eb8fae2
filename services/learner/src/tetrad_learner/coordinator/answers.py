"""The answers of an evaluation, written for people to read: one JSON line per sample, one file per dataset and mode.

Owns the folder `dumped_evals/global_step_N_evals` and the names of the fields, which are SkyRL's.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tetrad_learner.coordinator.core.keys import GroupKey
from tetrad_learner.coordinator.tasks import EvaluationTask, Tasks
from tetrad_telemetry.logs import get_logger
from tetrad_trajectories.atomic import written_atomically
from tetrad_wire.ids import Draw
from tetrad_wire.messages.leases import Lane, SampleFinished

log = get_logger(__name__)

FOLDER: Final = "dumped_evals"
SCORES: Final = "aggregated_results.jsonl"
MAIN_MODE: Final = "eval"


def write_answers(
    export_path: Path, *, step: int, tasks: Tasks, samples: Sequence[SampleFinished], scores: Mapping[str, float]
) -> Path:
    """Write the answers and scores of the round after `step`; return their folder. Blocks: use a thread."""
    folder = export_path / FOLDER / f"global_step_{step}_evals"
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[Mapping[str, object]]] = {SCORES: [scores]}
    for sample in sorted(samples, key=lambda one: (one.draw, one.index)):
        task = tasks.evaluation[sample.draw]
        rows.setdefault(_file_name(task), []).append(_row(step, task, tasks, sample))
    for name, lines in rows.items():
        with written_atomically(folder / name) as path:
            path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return folder


async def keep_answers(
    export_path: Path, *, step: int, tasks: Tasks, samples: Sequence[SampleFinished], scores: Mapping[str, float]
) -> None:
    """Write them beside the run, which does not end for want of them: answers are for people."""
    try:
        written = await asyncio.to_thread(
            write_answers, export_path, step=step, tasks=tasks, samples=samples, scores=scores
        )
    except OSError as error:
        log.warning("answers_not_written", step=step, folder=str(export_path), reason=str(error))
    else:
        log.info("answers_written", step=step, folder=str(written))


def _file_name(task: EvaluationTask) -> str:
    return f"{task.dataset}.jsonl" if task.mode == MAIN_MODE else f"{task.dataset}-{task.mode}.jsonl"


def _row(step: int, task: EvaluationTask, tasks: Tasks, sample: SampleFinished) -> dict[str, object]:
    prompt = tasks.prompt(GroupKey(Lane.EVAL, step, Draw(sample.draw)))
    return {
        "step": step,
        "data_source": task.dataset,
        "row": task.row,
        "sample": sample.index,
        "input_prompt": [{"role": message.role, "content": message.content} for message in prompt.messages],
        "output_response": sample.response,
        "score": sample.reward,
        "scores": sample.scores,
        "env_metrics": sample.metrics,
        "stop_reason": sample.finish_reason.value,
        "num_turns": sample.num_turns,
        "env_class": prompt.env_class,
        "env_extras": {"ground_truth": prompt.ground_truth, **prompt.extras},
    }
