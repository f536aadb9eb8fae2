"""Programming tasks: paid for the tests that the last code block passes, each run in a sandbox."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar, Final

from tetrad_reward import code_tests, code_verdicts
from tetrad_reward.code_tests import task_of
from tetrad_reward.code_verdicts import Verdict, try_out
from tetrad_reward.environment import Conversation, StepOutput, settings_of
from tetrad_reward.grade_failure import GradeFailureError
from tetrad_reward.sandbox import bubblewrap, seccomp
from tetrad_reward.sandbox import run as sandbox_run
from tetrad_reward.sandbox.limits import Limits
from tetrad_reward.sandbox.run import SandboxError, probe
from tetrad_runtime.orphans import adopt_orphans
from tetrad_wire.messages.episodes import GradeOutcome
from tetrad_wire.messages.leases import FailureKind

_FENCE: Final = re.compile(r"^[ \t]*```([^\n`]*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSettings:
    """`environment.code`."""

    reward: str = "all"
    """Or `fraction`."""
    test_timeout: float = 4.0
    total_timeout: float = 15.0
    memory_mb: int = 512
    max_tests: int = 32


class Code:
    """Single turn. Reward 1 if every test passes (`reward: all`), or the share that does (`reward: fraction`).

    A program that is wrong, crashes or exceeds a limit fails its test: that is the task's rule. Where the sandbox
    itself fails there is no reward.
    """

    replayable: ClassVar[bool] = False
    grader_sources: ClassVar[tuple[ModuleType, ...]] = (code_tests, code_verdicts, sandbox_run, bubblewrap, seccomp)

    @classmethod
    def prepare_grader(cls, env_config: Mapping[str, object]) -> None:
        """Refuse to start where programs cannot be run safely."""
        settings_of(CodeSettings, "code", env_config)
        # The heir of what bubblewrap leaves: where the init of a container reaps nobody, zombies would pile up.
        adopt_orphans()
        probe()

    def __init__(
        self, env_config: Mapping[str, object] | None = None, extras: Mapping[str, object] | None = None
    ) -> None:
        settings = settings_of(CodeSettings, "code", env_config)
        self._pays_fraction = settings.reward == "fraction"
        self._total_s = settings.total_timeout
        self._limits = Limits(cpu_s=settings.test_timeout, memory_bytes=settings.memory_mb << 20)
        self._task = task_of(extras or {})
        self._tests = self._task.tests[: settings.max_tests]

    def init(self, prompt: Conversation) -> tuple[Conversation, dict[str, object]]:
        """Show the prompt as it is."""
        return prompt, {}

    def step(self, action: str) -> StepOutput:
        """Run the tests and end the episode."""
        program, rule = program_in(action)
        try:
            verdicts = self._verdicts(program) if program.strip() else []
        except SandboxError as error:
            reason = f"sandbox: {error}"
            raise GradeFailureError(reason, outcome=GradeOutcome.CRASHED, kind=FailureKind.INFRA) from error
        share = verdicts.count(Verdict.PASSED) / len(self._tests)
        worst = next((verdict for verdict in verdicts if verdict is not Verdict.PASSED), None)
        return {
            "observations": [],
            "reward": share if self._pays_fraction else float(share == 1.0),
            "done": True,
            "metadata": {"extracted": worst or ("passed" if verdicts else "no program"), "rule": rule},
        }

    def _verdicts(self, program: str) -> list[Verdict]:
        """Run tests until one fails, where all must pass, or until the time for one response is used up."""
        verdicts: list[Verdict] = []
        left_s = self._total_s
        for test in self._tests:
            if left_s <= 0:
                verdicts.append(Verdict.OUT_OF_TIME)
                break
            verdict, seconds = try_out(f"{self._task.setup}\n{program}", test, limits=self._limits)
            left_s -= seconds
            verdicts.append(verdict)
            if verdict is not Verdict.PASSED and not self._pays_fraction:
                break
        return verdicts


def program_in(response: str) -> tuple[str, str]:
    r"""Return the last closed code block and `block`; the whole response and `whole` where there is none.

    >>> program_in("First\n```python\nprint(1)\n```\nDone.")
    ('print(1)\n', 'block')
    """
    fences = list(_FENCE.finditer(response))
    pairs = list(zip(fences[::2], fences[1::2], strict=False))
    if not pairs:
        return response, "whole"
    opening, closing = pairs[-1]
    return response[opening.end() + 1 : closing.start()], "block"
