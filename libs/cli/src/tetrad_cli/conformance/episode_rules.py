"""What a reward service must answer to requests of rollouts: openings, turns, repetitions, and what cannot be."""

from functools import partial
from typing import Final

import msgspec

from tetrad_cli.conformance.site import BrokenRule, NotApplicable, Row, Site
from tetrad_cli.conformance.talk import (
    ask_to_open,
    ask_to_step,
    close,
    new_episode,
    open_episodes,
    opened,
    refused,
    step,
    stepped,
)
from tetrad_wire.messages.episodes import EpisodesOpened
from tetrad_wire.messages.leases import FailureKind

NUM_ROLLOUTS: Final = 4
GROUPS_EACH: Final = 8
GROUP_SIZE: Final = 4


def opens_groups(site: Site, row: Row) -> None:
    """Opens the episodes of a group together, and names the grader that it has offered."""
    request = open_episodes(row, GROUP_SIZE)
    opened(site, request)
    answer = ask_to_open(site, request)
    offered = site.hello().reward
    versions = {one.grader_version for one in offered.environments if one.name == row.env_class} if offered else set()
    if isinstance(answer, EpisodesOpened) and versions and answer.grader_version not in versions:
        raise BrokenRule(expected=f"grader_version {' or '.join(versions)}", got=answer.grader_version)


def grades_turns(site: Site, row: Row) -> None:
    """Answers a turn with a reward, a finite number."""
    (episode,) = opened(site, open_episodes(row, 1))
    answer = stepped(site, step(episode, 0, row.action))
    if row.reward is not None and answer.reward != row.reward:
        raise BrokenRule(expected=f"reward {row.reward:g}, as the row says", got=f"{answer.reward}")


def opens_once(site: Site, row: Row) -> None:
    """Answers a repeated opening as before; the episodes and their turns are what they were."""
    request = open_episodes(row, 2)
    first = ask_to_open(site, request)
    opened(site, request)
    graded = stepped(site, step(request.episodes[0], 0, row.action))
    _equal(first, ask_to_open(site, request))
    _equal(graded, stepped(site, step(request.episodes[0], 0, row.action)))


def grades_once(site: Site, row: Row) -> None:
    """Answers a repeated turn from its record: the same answer, to whoever asks."""
    (episode,) = opened(site, open_episodes(row, 1))
    request = step(episode, 0, row.action)
    first = stepped(site, request)
    _equal(first, stepped(site, request))
    _equal(first, stepped(site, request, by="rollout-1"))


def refuses_another_action(site: Site, row: Row) -> None:
    """Refuses a turn that was graded before with another action."""
    (episode,) = opened(site, open_episodes(row, 1))
    stepped(site, step(episode, 0, row.action))
    refused(site, step(episode, 0, row.action + " or another"))


def refuses_gaps(site: Site, row: Row) -> None:
    """Refuses a turn whose former turns were not asked for, and grades the next one all the same."""
    (episode,) = opened(site, open_episodes(row, 1))
    refused(site, step(episode, 2, row.action))
    stepped(site, step(episode, 0, row.action))


def refuses_unknown_episodes(site: Site, row: Row) -> None:
    """Refuses a turn of an episode that was never opened."""
    refused(site, step(new_episode(), 0, row.action), kind=FailureKind.INFRA)


def forgets_closed_episodes(site: Site, row: Row) -> None:
    """Forgets closed episodes, answers no close_episodes, and does not mind unknown ids."""
    kept, closed = opened(site, open_episodes(row, 2))
    number = site.send(close(closed, new_episode()))
    refused(site, step(closed, 0, row.action))
    stepped(site, step(kept, 0, row.action))
    if site.has_answered(number):
        raise BrokenRule(expected="no answer to close_episodes", got="one")


def keeps_ids_apart(site: Site, row: Row) -> None:
    """Refuses ids that are in use for something else, and an id that stands twice in one opening."""
    request = open_episodes(row, 2)
    opened(site, request)
    refused(site, msgspec.structs.replace(request, ground_truth="something else"))
    refused(site, msgspec.structs.replace(request, episodes=(request.episodes[0], new_episode())))
    twice = new_episode()
    refused(site, msgspec.structs.replace(request, episodes=(twice, twice)))
    stepped(site, step(request.episodes[1], 0, row.action))


def respects_pins(site: Site, row: Row) -> None:
    """Opens a group that is pinned to its grader, and refuses one that is pinned to another."""
    answer = ask_to_open(site, open_episodes(row, 1))
    if not isinstance(answer, EpisodesOpened):
        raise BrokenRule(expected="episodes_opened", got=f"episodes_refused: {answer.reason}")
    opened(site, open_episodes(row, 1, grader_version=answer.grader_version))
    refused(site, open_episodes(row, 1, grader_version="another-grader"), kind=FailureKind.INFRA)


def refuses_unknown_environments(site: Site, row: Row) -> None:
    """Refuses rows of an environment that it does not have, as a fault of the data."""
    offer = site.hello().reward
    if offer is not None and offer.serves_any:
        raise NotApplicable("it grades rows of every environment")
    refused(site, open_episodes(row, 1, env_class="no-such-environment"), kind=FailureKind.DATA)


def survives_odd_rows(site: Site, row: Row) -> None:
    """Answers rows that lack what it needs, or hold what it does not expect, with a typed answer."""
    odd = {"reward_spec": {"ground_truth": 7}, "nested": [[["deep"]], {"a": None}], "": b"\x00\xff"}
    request = open_episodes(row, 1)
    rows = (
        msgspec.structs.replace(request, ground_truth=None, episodes=(new_episode(),)),
        msgspec.structs.replace(request, messages=(), episodes=(new_episode(),)),
        msgspec.structs.replace(request, extras=odd, episodes=(new_episode(),)),
    )
    for one in rows:
        if isinstance(ask_to_open(site, one), EpisodesOpened):
            ask_to_step(site, step(one.episodes[0], 0, row.action))
    stepped(site, step(opened(site, request)[0], 0, row.action))


def survives_odd_actions(site: Site, row: Row) -> None:
    """Answers empty, long and strange actions with a typed answer."""
    actions = ("", "\x00", "🂡" * 1000, "9" * 100_000, "(" * 100_000, "\\boxed{" * 10_000)
    for episode, action in zip(opened(site, open_episodes(row, len(actions))), actions, strict=True):
        ask_to_step(site, step(episode, 0, action))


def answers_who_asked(site: Site, row: Row) -> None:
    """Answers many rollouts at once, each on its own connection and to the message that asked."""
    requests = {
        (f"rollout-{number}", site.send(request, by=f"rollout-{number}")): request
        for number in range(NUM_ROLLOUTS)
        for request in [open_episodes(row, GROUP_SIZE) for _ in range(GROUPS_EACH)]
    }
    for rollout, number in requests:
        site.until(partial(site.has_answered, number, by=rollout), f"answers to {rollout}", timeout_s=30.0)
    for (rollout, _number), request in requests.items():
        stepped(site, step(request.episodes[-1], 0, row.action), by=rollout)
        site.send(close(*request.episodes), by=rollout)


def _equal(first: msgspec.Struct, second: msgspec.Struct) -> None:
    if first == second:
        return
    before, after = msgspec.structs.asdict(first), msgspec.structs.asdict(second)
    name = next(name for name, value in before.items() if after.get(name) != value)
    raise BrokenRule(expected=f"the answer as before, {name}={before[name]!r}", got=f"{name}={after.get(name)!r}")
