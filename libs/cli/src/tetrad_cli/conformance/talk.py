"""What rules say to a reward service, and what they take for an answer."""

import itertools
import math
import secrets
from typing import Final

from tetrad_cli.conformance.site import BrokenRule, Row, Site
from tetrad_wire.messages.episodes import (
    CloseEpisodes,
    EpisodesOpened,
    EpisodesRefused,
    EpisodeStepped,
    GradeOutcome,
    OpenEpisodes,
    StepEpisode,
)
from tetrad_wire.messages.leases import ChatMessage, FailureKind

# Ids of one trial are never those of another, which the service may remember.
_TRIAL: Final = secrets.token_hex(4)
_NUMBERS: Final = itertools.count(1)
MAX_TURNS: Final = 4


def new_episode() -> str:
    """An id that was never used."""
    return f"{_TRIAL}-{next(_NUMBERS)}"


def open_episodes(row: Row, number: int, *, env_class: str | None = None, grader_version: str = "") -> OpenEpisodes:
    """A request for new episodes of one group."""
    return OpenEpisodes(
        episodes=tuple(new_episode() for _ in range(number)),
        env_class=row.env_class if env_class is None else env_class,
        messages=tuple(ChatMessage(role, content) for role, content in row.messages),
        ground_truth=row.ground_truth,
        extras=row.extras,
        # As large as real ones: beyond what a double holds.
        seeds=tuple((1 << 62) + place for place in range(number)),
        max_turns=MAX_TURNS,
        grader_version=grader_version,
    )


def step(episode: str, turn: int, action: str) -> StepEpisode:
    """One action of the policy."""
    return StepEpisode(episode=episode, turn=turn, action=action)


def close(*episodes: str) -> CloseEpisodes:
    """Give episodes up."""
    return CloseEpisodes(episodes=episodes)


def ask_to_open(site: Site, request: OpenEpisodes, *, by: str = "rollout-0") -> EpisodesOpened | EpisodesRefused:
    """Return the answer; raises BrokenRule where it is neither of the two."""
    answer = site.ask(request, by=by)
    if isinstance(answer, EpisodesOpened | EpisodesRefused):
        return answer
    raise BrokenRule(expected="episodes_opened or episodes_refused", got=type(answer).__name__)


def ask_to_step(site: Site, request: StepEpisode, *, by: str = "rollout-0") -> EpisodeStepped:
    """Return the answer; raises BrokenRule where it is another message or about another turn."""
    answer = site.ask(request, by=by)
    if not isinstance(answer, EpisodeStepped):
        raise BrokenRule(expected="episode_stepped", got=type(answer).__name__)
    if (answer.episode, answer.turn) != (request.episode, request.turn):
        raise BrokenRule(
            expected=f"the answer of {request.episode} turn {request.turn}", got=f"{answer.episode} turn {answer.turn}"
        )
    return answer


def opened(site: Site, request: OpenEpisodes, *, by: str = "rollout-0") -> tuple[str, ...]:
    """Open episodes and return their ids; raises BrokenRule where they are refused or shown nothing."""
    answer = ask_to_open(site, request, by=by)
    if isinstance(answer, EpisodesRefused):
        raise BrokenRule(expected="episodes_opened", got=f"episodes_refused ({answer.kind.value}): {answer.reason}")
    if len(answer.prompts) not in {1, len(request.episodes)} or not all(answer.prompts):
        raise BrokenRule(
            expected=f"1 or {len(request.episodes)} prompts, none empty", got=f"{len(answer.prompts)}: {answer.prompts}"
        )
    return request.episodes


def stepped(site: Site, request: StepEpisode, *, by: str = "rollout-0") -> EpisodeStepped:
    """Have a turn graded; raises BrokenRule where it gets no reward."""
    answer = ask_to_step(site, request, by=by)
    if answer.outcome is not GradeOutcome.OK or answer.reward is None or not math.isfinite(answer.reward):
        raise BrokenRule(expected="outcome ok with a reward", got=f"{answer.outcome.value}: {answer.reason}")
    return answer


def refused(site: Site, request: OpenEpisodes | StepEpisode, *, kind: FailureKind | None = None) -> None:
    """Raise BrokenRule unless the request is refused, with a reason, and by the fault of `kind` where it is given."""
    if isinstance(request, OpenEpisodes):
        opening = ask_to_open(site, request)
        if isinstance(opening, EpisodesOpened):
            raise BrokenRule(expected="episodes_refused", got="episodes_opened")
        found, reason = opening.kind, opening.reason
    else:
        turn = ask_to_step(site, request)
        if turn.outcome is not GradeOutcome.REFUSED:
            raise BrokenRule(expected="outcome refused", got=f"{turn.outcome.value} with reward {turn.reward}")
        found, reason = turn.kind, turn.reason
    if kind is not None and found is not kind:
        raise BrokenRule(expected=f"a refusal of kind {kind.value}", got=f"{found.value}: {reason}")
    if not reason:
        raise BrokenRule(expected="a reason", got="empty text")
