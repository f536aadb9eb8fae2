"""Episodes and grades."""

from typing import Any

from tetrad_testing.builders.values import Changes
from tetrad_wire.messages import episodes, leases


def an_opening(**changes: Changes) -> episodes.OpenEpisodes:
    """Two episodes of one prompt."""
    fields: dict[str, Any] = {
        "episodes": ("7.0.0", "7.1.0"),
        "env_class": "arithmetic",
        "messages": (leases.ChatMessage("user", "37+58="),),
        "ground_truth": "95",
        "extras": {"difficulty": 2},
        "seeds": (11, 12),
        "grader_version": "arithmetic-1",
    }
    return episodes.OpenEpisodes(**fields | changes)


def an_opened(**changes: Changes) -> episodes.EpisodesOpened:
    """All episodes show the same prompt."""
    fields: dict[str, Any] = {
        "prompts": ((leases.ChatMessage("user", "37+58="),),),
        "grader_version": "arithmetic-1",
    }
    return episodes.EpisodesOpened(**fields | changes)


def a_refused_opening(**changes: Changes) -> episodes.EpisodesRefused:
    """A replica without room."""
    fields: dict[str, Any] = {
        "kind": leases.FailureKind.INFRA,
        "reason": "64 of 64 episodes are open",
    }
    return episodes.EpisodesRefused(**fields | changes)


def a_turn(**changes: Changes) -> episodes.StepEpisode:
    """The first turn of an episode."""
    fields: dict[str, Any] = {
        "episode": "7.0.0",
        "turn": 0,
        "action": "95",
    }
    return episodes.StepEpisode(**fields | changes)


def a_grade(**changes: Changes) -> episodes.EpisodeStepped:
    """A right answer."""
    fields: dict[str, Any] = {
        "episode": "7.0.0",
        "turn": 0,
        "outcome": episodes.GradeOutcome.OK,
        "duration_s": 0.001,
        "reward": 1.0,
        "metrics": {"exact": 1.0},
        "extracted": "95",
        "rule": "exact",
        "scores": {"strict": 0.0, "flexible": 1.0},
    }
    return episodes.EpisodeStepped(**fields | changes)


def a_closing(**changes: Changes) -> episodes.CloseEpisodes:
    """Both episodes of the group."""
    fields: dict[str, Any] = {
        "episodes": ("7.0.0", "7.1.0"),
    }
    return episodes.CloseEpisodes(**fields | changes)
