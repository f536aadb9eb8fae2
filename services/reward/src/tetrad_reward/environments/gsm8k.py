"""Word problems with a number for an answer."""

from collections.abc import Mapping
from types import ModuleType
from typing import ClassVar

from tetrad_reward import extraction
from tetrad_reward.environment import Conversation, StepOutput
from tetrad_reward.extraction import Extraction, Mode
from tetrad_reward.ground_truth import require_ground_truth


class Gsm8k:
    """Single turn; reward 1 if the extracted answer is right, else 0.

    Settings: `mode` = strict (default, exactly SkyRL's rule) | boxed | flexible. What each mode would have paid is an
    extra score of the sample, without effect on the reward: where they disagree, the format and not the arithmetic was
    wrong.

    >>> env = Gsm8k({"mode": "flexible"}, {"reward_spec": {"ground_truth": "5"}})
    >>> env.step("The answer is $5.00.")["reward"]
    1.0
    """

    replayable: ClassVar[bool] = True
    grader_sources: ClassVar[tuple[ModuleType, ...]] = (extraction,)

    def __init__(
        self, env_config: Mapping[str, object] | None = None, extras: Mapping[str, object] | None = None
    ) -> None:
        self._mode = mode_of(env_config or {})
        self._ground_truth = require_ground_truth(extras or {})
        self._correct: dict[Mode, bool] = {}

    def init(self, prompt: Conversation) -> tuple[Conversation, dict[str, object]]:
        """Show the prompt as it is."""
        return prompt, {}

    def step(self, action: str) -> StepOutput:
        """Score the response and end the episode."""
        found = {mode: extraction.extract(action, mode=mode) for mode in Mode}
        self._correct = {mode: self._is_correct(found[mode], mode) for mode in Mode}
        chosen = found[self._mode]
        return {
            "observations": [],
            "reward": float(self._correct[self._mode]),
            "done": True,
            "metadata": {
                "extracted": chosen.value,
                "rule": chosen.rule,
                "reason": chosen.reason,
                "scores": {mode.value: float(correct) for mode, correct in self._correct.items()},
            },
        }

    def get_metrics(self) -> dict[str, object]:
        """Say what each mode would have paid, and whether they differ."""
        if not self._correct:
            return {}
        paid = {f"{mode}_correct": float(correct) for mode, correct in self._correct.items()}
        return {**paid, "extractor_disagreement": float(len(set(self._correct.values())) > 1)}

    def _is_correct(self, found: Extraction, mode: Mode) -> bool:
        return extraction.is_correct(found, self._ground_truth, mode=mode)


def mode_of(config: Mapping[str, object]) -> Mode:
    """Read the settings; raises ValueError for an unknown key or mode."""
    unknown = sorted(set(config) - {"mode"})
    if unknown:
        raise ValueError(f"gsm8k has no setting {', '.join(unknown)}; it has mode")
    mode = config.get("mode", Mode.STRICT)
    if mode not in set(Mode):
        raise ValueError(f"gsm8k mode {mode!r}: use {', '.join(Mode)}")
    return Mode(str(mode))
