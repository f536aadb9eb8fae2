"""Which grader a row's `env_class` leads to. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tetrad_reward.registry import READY

NO_SETTINGS: Final[Mapping[str, object]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The graders of a run."""

    implementation: str | None = None
    """Grades the rows of every class where it is set: `module:Class`, `file.py:function` or the weighted sum."""
    env_class: str = "gsm8k"
    """Class of rows that name none."""
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Settings of environments, by name."""

    @property
    def serves_any(self) -> bool:
        """Whether one implementation grades the rows of every class."""
        return self.implementation is not None

    def reference_for(self, env_class: str) -> str:
        """Return what grades rows of this class; empty is the run's own class."""
        return self.implementation or env_class or self.env_class

    def settings_for(self, reference: str) -> Mapping[str, object]:
        """Return the settings of a grader."""
        return self.settings.get(reference, NO_SETTINGS)

    def known_references(self) -> list[str]:
        """Return the graders to have ready before the first row, the run's own first."""
        own = self.reference_for(self.env_class)
        return [own] if self.serves_any else list(dict.fromkeys((own, *READY)))
