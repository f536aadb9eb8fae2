"""What a process that is ready waits for, in words; nothing where it works.

Pure: the metrics page of a process, or what the learner knows of it, goes in.
"""

from typing import Final

from tetrad_cli.metrics_page import value
from tetrad_cli.waits import Rollout, Waits

# Heartbeats come every second: beyond this somebody does not get through.
SILENT_S: Final = 5.0
# What a rollout can be doing to run newer weights while its engine serves.
BESIDE_WORK: Final = "staging"
WITHOUT_BROADCASTER: Final = "waiting"


def of_reward(page: str) -> str:
    r"""By its own metrics.

    >>> of_reward('tetrad_reward_workers{state="busy"} 0.0\ntetrad_reward_episodes 3.0\n')
    'the next turn of 3 episodes'
    """
    busy, episodes = value(page, "tetrad_reward_workers", label='state="busy"'), value(page, "tetrad_reward_episodes")
    if busy is None or episodes is None or busy > 0:
        return ""
    if value(page, "tetrad_reward_queued_samples"):
        return "a free worker"
    return f"the next turn of {episodes:.0f} episodes" if episodes else "a group to grade"


def of_broadcaster(page: str) -> str:
    r"""By its own metrics.

    >>> of_broadcaster("tetrad_broadcast_readers 0.0\ntetrad_broadcast_newest_version 4.0\n")
    'version 5 of the learner'
    """
    newest, readers = value(page, "tetrad_broadcast_newest_version"), value(page, "tetrad_broadcast_readers")
    if newest is None or readers is None:
        return ""
    if readers:
        return f"{readers:.0f} rollouts that read version {newest:.0f}"
    behind = value(page, "tetrad_broadcast_subscribers", label='state="behind"')
    if behind:
        return f"{behind:.0f} rollouts to ask for version {newest:.0f}"
    return f"version {newest + 1:.0f} of the learner"


def of_rollout(known: Rollout) -> str:
    """By the books of the learner.

    >>> of_rollout(Rollout(lag_steps=0, num_leases=0, phase=""))
    'a lease'
    """
    if known.silent_s > SILENT_S:
        return f"contact with the learner, none for {known.silent_s:.0f} s"
    if known.phase == WITHOUT_BROADCASTER:
        return "a broadcaster with newer weights"
    if known.phase and not (known.num_leases and known.phase == BESIDE_WORK):
        return f"newer weights: {known.phase}"
    return "" if known.num_leases else "a lease"


def of_learner(waits: Waits) -> str:
    """The word for what the sentence below the table is about, and on whom.

    >>> of_learner(Waits(sentence="…", reason="grades", on="reward-0"))
    'grades of reward-0'
    """
    return f"{waits.reason} of {waits.on}" if waits.reason and waits.on else waits.reason
