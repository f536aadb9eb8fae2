"""Graders: the settings of bundled environments, and of those that SkyRL's run files know."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from tetrad_config.section import Count, Seconds, Section

JUDGES: Final = ("llm_judge", "llm_as_a_judge")
"""Both names of one environment: ours and that of SkyRL's example."""
BUNDLED: Final = ("arithmetic", "code", "gsm8k", *JUDGES, "math", "multiply", "reasoning_gym")
"""Environments whose settings have a section of their own, or that have none."""

HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]


class Gsm8kMode(StrEnum):
    """Which answers of GSM8K count as right."""

    STRICT = "strict"
    BOXED = "boxed"
    FLEXIBLE = "flexible"


class Gsm8k(Section):
    """`environment.gsm8k`: how an answer is found in the text."""

    mode: Annotated[Gsm8kMode, Field(strict=False)] = Gsm8kMode.STRICT
    r"""`strict`: after `####`, as in SkyRL; `boxed`: in `\boxed{}`; `flexible`: either, or the last number."""


class MathMode(StrEnum):
    """Where an answer of a mathematical problem counts."""

    BOXED = "boxed"
    FLEXIBLE = "flexible"


class Math(Section):
    """`environment.math`: formulas, compared by math-verify."""

    mode: Annotated[MathMode, Field(strict=False)] = MathMode.FLEXIBLE
    r"""`boxed`: in the last `\boxed{}`; `flexible`: there, else after `####`, "answer is", or at the end."""


class CodeReward(StrEnum):
    """What a program is paid for."""

    ALL = "all"
    FRACTION = "fraction"


class Code(Section):
    """`environment.code`: programs, run against tests in a sandbox."""

    reward: Annotated[CodeReward, Field(strict=False)] = CodeReward.ALL
    """`all`: 1 if every test passes, else 0; `fraction`: the share of tests that pass."""
    test_timeout: Seconds = 4.0
    """CPU seconds of a program for one test; by the clock it may take twice that and 5 s."""
    total_timeout: Seconds = 15.0
    """Seconds for all tests of one response; those that are left then count as failed."""
    memory_mb: Annotated[int, Field(ge=64)] = 512
    """Address space of a program, in MiB."""
    max_tests: Count = 32
    """Tests of a row that are run, from the first on."""

    @property
    def longest_grade_s(self) -> float:
        """Seconds that a grade may take: a test may begin just before the total is used up."""
        return self.total_timeout + 2 * self.test_timeout + 5.0


class LlmJudge(Section):
    """`environment.llm_judge`: how a language model is asked for its verdict. The key is OPENAI_API_KEY."""

    prompt: Annotated[str, Field(pattern=r"\{response\}")] | None = None
    """Text with `{response}`, and `{question}` and `{ground_truth}` where wanted; null is the built-in one."""
    timeout: Seconds = 25.0
    """Seconds for a verdict, with every retry and the wait for a free call."""
    max_concurrency: Count = 8
    """Calls under way at once, from all reward workers of a host."""
    max_tokens: Count = 1024
    """Tokens of a reply."""


class Multiply(Section):
    """`environment.multiply`: products over several turns."""

    tools: bool = True
    """Whether there are tools to call; without them it is SkyRL's example."""


class ReasoningGym(Section):
    """`environment.reasoning_gym`: tasks of reasoning-gym."""

    partial_credit: bool = True
    """Whether scores between 0 and 1 are paid; otherwise they are 0."""


class JudgeModel(Section):
    """`environment.skyrl_gym.llm_as_a_judge`: which model judges."""

    model: Annotated[str, Field(min_length=1)] = "gpt-4o-mini"
    """Model that judges."""
    base_url: HttpUrl | None = None
    """OpenAI-compatible server, up to `/v1`; null is OpenAI's."""


class Text2sql(Section):
    """`environment.skyrl_gym.text2sql`, of skyrl-gym."""

    db_path: str = "/home/ray/default/sql_data"
    """Folder of the databases."""


class Search(Section):
    """`environment.skyrl_gym.search`, of skyrl-gym."""

    log_requests: bool = False
    """Whether the environment logs each request."""
    search_url: HttpUrl = "http://127.0.0.1:8000/retrieve"
    """Where it retrieves documents."""
    topk: Count = 3
    """Documents of a search."""
    timeout: Count = 30
    """Seconds for a search."""


class SkyrlGym(Section):
    """`environment.skyrl_gym`: settings of environments under SkyRL's names."""

    llm_as_a_judge: JudgeModel = Field(default_factory=JudgeModel)
    """Model of `llm_judge`, which is also called `llm_as_a_judge`."""
    text2sql: Text2sql = Field(default_factory=Text2sql)
    """Settings of skyrl-gym's `text2sql`."""
    search: Search = Field(default_factory=Search)
    """Settings of skyrl-gym's `search` and `searchcode`."""
