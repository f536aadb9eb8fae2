"""What a lease asks for: the prompt, the seeds and the sampling of each group."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tetrad_config import RunConfig
from tetrad_config.sampling import Sampling
from tetrad_learner.coordinator.core.effects import Grant
from tetrad_learner.coordinator.core.keys import GroupKey
from tetrad_learner.coordinator.seeds import seed_of
from tetrad_trajectories.cursor import row_at
from tetrad_trajectories.dataset import Dataset
from tetrad_wire.messages.leases import ChatMessage, Lane, LeaseGranted, Prompt, SamplingParams


@dataclass(frozen=True, slots=True)
class EvaluationTask:
    """One row of one evaluation mode."""

    dataset: str
    row: int
    mode: str
    """`eval` at the evaluation's sampling, `eval_sampled` at the training's."""
    num_samples: int


class Tasks:
    """Looks up prompts by draw, and makes leases of them."""

    def __init__(self, config: RunConfig, training: Dataset | None, evaluation: Sequence[tuple[str, Dataset]]) -> None:
        self._config = config
        self._training = training
        self._datasets = dict(evaluation)
        if len(self._datasets) < len(evaluation):
            names = [name for name, _dataset in evaluation]
            raise ValueError(f"two files of data.val_data have the same name, and so would their scores: {names}")
        self.evaluation = tuple(_evaluation_tasks(config, evaluation))
        # A group's row is asked for when it is drawn, when its grader is pinned and when it is granted.
        self._prompts = lru_cache(maxsize=1024)(self._prompt)

    def prompt(self, key: GroupKey) -> Prompt:
        """The dataset row that a group answers."""
        return self._prompts(key)

    def _prompt(self, key: GroupKey) -> Prompt:
        dataset, row = self._place(key)
        found = dataset[row]
        return Prompt(
            messages=tuple(ChatMessage(message.role, message.content) for message in found.prompt),
            env_class=found.env_class or self._config.environment.env_class,
            ground_truth=found.ground_truth,
            extras=dict(found.extras),
            uid=dataset.uid(row),
        )

    def lease(self, grant: Grant) -> LeaseGranted:
        """The message that grants a group."""
        generator = self._config.generator
        is_exact = grant.key.lane is Lane.EVAL or self._config.trainer.fully_async.max_staleness_steps == 0
        return LeaseGranted(
            token=grant.token,
            nonce=secrets.token_hex(8),
            lane=grant.key.lane,
            round=grant.key.round,
            draw=grant.key.draw,
            prompt=self.prompt(grant.key),
            indices=grant.indices,
            seeds=tuple(self._seed(grant.key, index) for index in grant.indices),
            sampling=self._sampling(grant.key),
            version_min=grant.version,
            is_version_exact=is_exact,
            grader_version=grant.grader_version,
            max_turns=generator.max_turns,
            progress_timeout_s=generator.lease_progress_timeout,
            hard_timeout_s=hard_timeout_s(self._config),
        )

    def _place(self, key: GroupKey) -> tuple[Dataset, int]:
        if key.lane is Lane.EVAL:
            task = self.evaluation[key.draw]
            return self._datasets[task.dataset], task.row
        if self._training is None:
            raise ValueError("this run has no training data; set data.train_data")
        trainer = self._config.trainer
        place = row_at(
            key.draw,
            num_rows=len(self._training),
            seed=trainer.seed,
            shuffle=True,
            batch_size=trainer.train_batch_size,
        )
        return self._training, place.row

    def _seed(self, key: GroupKey, index: int) -> int:
        seed = self._config.trainer.seed
        if key.lane is Lane.TRAIN:
            return seed_of(seed, key.draw, index)
        task = self.evaluation[key.draw]
        return seed_of(seed, task.mode, task.dataset, task.row, index)

    def _sampling(self, key: GroupKey) -> SamplingParams:
        generator = self._config.generator
        if key.lane is Lane.EVAL and self.evaluation[key.draw].mode == "eval":
            return _params(generator.eval_sampling_params)
        return _params(generator.sampling_params)


def hard_timeout_s(config: RunConfig) -> float:
    """Longest life of a lease: every turn may use its progress timeout several times over."""
    return config.generator.lease_progress_timeout * (4 + config.generator.max_turns)


def _params(sampling: Sampling) -> SamplingParams:
    return SamplingParams(
        max_generate_length=sampling.max_generate_length,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        stop=tuple(sampling.stop),
    )


def _evaluation_tasks(config: RunConfig, datasets: Sequence[tuple[str, Dataset]]) -> list[EvaluationTask]:
    modes = [("eval", config.generator.eval_n_samples_per_prompt)]
    if config.trainer.eval_sampled_n:
        modes.append(("eval_sampled", config.trainer.eval_sampled_n))
    return [
        EvaluationTask(name, row, mode, num_samples)
        for mode, num_samples in modes
        for name, dataset in datasets
        for row in range(len(dataset))
    ]
