r"""Mathematical problems whose answers are formulas, compared by math-verify: `1/2` is `0.5` is `\frac{2}{4}`."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, ClassVar, Final

import math_verify
from math_verify import ExprExtractionConfig, LatexExtractionConfig

from tetrad_reward import math_answers
from tetrad_reward.environment import Conversation, StepOutput, settings_of
from tetrad_reward.extraction import is_same_number, last_boxed
from tetrad_reward.ground_truth import require_ground_truth
from tetrad_reward.math_answers import Answer, Mode, Rule, find_answer, too_much

EXTRACTION: Final = (LatexExtractionConfig(), ExprExtractionConfig())
# Ground truths are compared with every sample of their group.
KEPT_GOLDS: Final = 1024
# Its own time-outs need the main thread and SIGALRM, cover each step anew, and turn into "wrong". Ours is the
# deadline of the grade, which ends the worker: a wait that ran out is never a reward.
NO_TIMEOUT: Final = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MathSettings:
    """`environment.math`."""

    mode: str = Mode.FLEXIBLE


class Math:
    r"""Single turn; reward 1 if the answer equals the ground truth as a formula, else 0.

    Settings: `mode` = flexible (default) | boxed. An answer too large to be judged is wrong, and says so in `reason`.

    >>> Math({}, {"reward_spec": {"ground_truth": "1/2"}}).step(r"\boxed{\frac{2}{4}}")["reward"]
    1.0
    """

    replayable: ClassVar[bool] = True
    grade_timeout_s: ClassVar[float] = 10.0
    grader_sources: ClassVar[tuple[ModuleType, ...]] = (math_answers,)

    @classmethod
    def prepare_grader(cls, env_config: Mapping[str, object]) -> None:
        """Warm the parser up, whose first formulas take seconds."""
        Mode(settings_of(MathSettings, "math", env_config).mode)
        # It writes each text that it cannot read into the log, whole.
        logging.getLogger("math_verify").setLevel(logging.CRITICAL)
        is_equal(Answer("(x+1)(x-1)", Rule.BOXED), "x^2-1")

    def __init__(
        self, env_config: Mapping[str, object] | None = None, extras: Mapping[str, object] | None = None
    ) -> None:
        self._mode = Mode(settings_of(MathSettings, "math", env_config).mode)
        self._gold = gold_of(require_ground_truth(extras or {}))

    def init(self, prompt: Conversation) -> tuple[Conversation, dict[str, object]]:
        """Show the prompt as it is."""
        return prompt, {}

    def step(self, action: str) -> StepOutput:
        """Score the response and end the episode."""
        answer = find_answer(action, mode=self._mode)
        reason = "no answer" if answer is None else too_much(answer.text)
        is_right = answer is not None and reason is None and is_equal(answer, self._gold)
        return {
            "observations": [],
            "reward": float(is_right),
            "done": True,
            "metadata": {
                "extracted": None if answer is None else answer.text[:200],
                "rule": None if answer is None else answer.rule,
                "reason": reason or "",
            },
        }


def gold_of(ground_truth: str) -> str:
    """Return the formula of a ground truth, without box and dollars; raises ValueError where it cannot be judged."""
    gold = last_boxed(ground_truth) if "\\boxed" in ground_truth else ground_truth
    gold = (gold or "").strip().strip("$").strip()
    if not gold:
        raise ValueError(f"reward_spec.ground_truth holds no answer: {ground_truth[:80]!r}")
    if (reason := too_much(gold)) is not None:
        raise ValueError(f"reward_spec.ground_truth is {reason}: {gold[:80]!r}")
    return gold


def is_equal(answer: Answer, gold: str) -> bool:
    """Whether an answer is the gold formula: as text, as a number, or to math-verify."""
    if _plain(answer.text) == _plain(gold) or is_same_number(answer.text, gold):
        return True
    text = answer.text if answer.rule is Rule.TAIL or "$" in answer.text else f"${answer.text}$"
    candidates = _parsed(text)
    return bool(candidates) and bool(math_verify.verify(_parsed_gold(gold), candidates, timeout_seconds=NO_TIMEOUT))


@lru_cache(maxsize=KEPT_GOLDS)
def _parsed_gold(gold: str) -> Any:
    return _parsed(f"${gold}$") or _parsed(gold)


def _parsed(text: str) -> Any:
    return math_verify.parse(text, extraction_config=EXTRACTION, parsing_timeout=NO_TIMEOUT)


def _plain(text: str) -> str:
    return "".join(text.strip().strip("$").split())
