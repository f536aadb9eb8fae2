"""What the learner waits for, as one sentence. Pure: names and ages go in, text comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tetrad_learner.coordinator.core.waiting import SILENT_S, Wait, WaitReason
from tetrad_wire.ids import Incarnation


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who is there, by the names that people know."""

    engines: Mapping[Incarnation, str] = field(default_factory=dict)
    broadcaster: str = ""
    """Name of the broadcaster; empty while there is none."""
    broadcaster_silent_s: float = 0.0
    ranks_silent_s: float | None = None
    """Since the ranks were heard; None without any."""
    departed_engine: str = ""
    """Which rollout left last, when and why; empty where none has."""
    departed_reward: str = ""
    departed_broadcaster: str = ""

    def engine(self, incarnation: Incarnation | None) -> str:
        """The name of a rollout; of one that has left, its incarnation."""
        return self.engines.get(incarnation, f"rollout {incarnation}") if incarnation is not None else "a rollout"


def sentence(wait: Wait, *, waited_s: float, cast: Cast) -> str:
    """Say what the learner waits for, since when, on whom, with the oldest lease.

    >>> sentence(Wait(reason=WaitReason.JOURNAL, step=3), waited_s=1.5, cast=Cast())
    'The learner has waited 1.5 s for the journal of step 3 to be on disk.'
    """
    if wait.reason is WaitReason.OVER:
        return "The learner waits for nothing: the run is over."
    parts = [_WORDS[wait.reason](wait, cast), _lease(wait, cast)]
    return f"The learner has waited {duration(waited_s)} for " + "; ".join(part for part in parts if part) + "."


def duration(seconds: float) -> str:
    """Write a duration for people.

    >>> duration(9.94), duration(75.2), duration(7260)
    ('9.9 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def culprit(wait: Wait, cast: Cast) -> str:
    """Name the process that it is up to; empty where it is nobody's in particular."""
    if wait.reason is WaitReason.PUBLISH or (
        WaitReason.WEIGHTS in (wait.reason, wait.behind) and cast.broadcaster_silent_s > SILENT_S
    ):
        return cast.broadcaster or "broadcaster"
    if wait.reason in (WaitReason.RANKS, WaitReason.TRAIN):
        return "learner"
    return wait.replica or (cast.engine(wait.engine) if wait.engine is not None else "")


# ---- one function for each reason


def _ranks(_wait: Wait, _cast: Cast) -> str:
    return "its trainer ranks to start and load"


def _device(wait: Wait, cast: Cast) -> str:
    who = f": {cast.engine(wait.engine)} has not done so" if wait.engine is not None else ""
    what = f"the GPUs that it shares with {wait.num_engines} rollouts (phase {wait.phase})"
    return f"{what}{who}{_because(wait.detail)}"


def _train(wait: Wait, cast: Cast) -> str:
    heard = f", which last reported {duration(cast.ranks_silent_s)} ago" if cast.ranks_silent_s is not None else ""
    return f"its ranks to execute step {wait.step}{heard}"


def _publish(wait: Wait, cast: Cast) -> str:
    return f"the weights after step {wait.step} to be published{_because(wait.detail)}: {_broadcaster(cast)}"


def _broadcaster(cast: Cast) -> str:
    if not cast.broadcaster:
        return f"no broadcaster is there{_because(cast.departed_broadcaster)}"
    if cast.broadcaster_silent_s > SILENT_S:
        return f"{cast.broadcaster} has said nothing for {duration(cast.broadcaster_silent_s)}"
    return f"{cast.broadcaster} is taking them"


def _checkpoint(wait: Wait, _cast: Cast) -> str:
    return f"the checkpoint of step {wait.step}: {wait.detail}"


def _evaluation(wait: Wait, cast: Cast) -> str:
    if wait.behind is None:
        return f"the evaluation after step {wait.step}: {wait.detail}"
    behind = _WORDS[wait.behind](wait, cast)
    return f"the evaluation after step {wait.step} ({wait.num_missing} prompts are missing), which waits for {behind}"


def _journal(wait: Wait, _cast: Cast) -> str:
    return f"the journal of step {wait.step} to be on disk"


def _engines(_wait: Wait, cast: Cast) -> str:
    return f"a rollout to join: none is there{_because(cast.departed_engine)}"


def _weights(wait: Wait, cast: Cast) -> str:
    number = "the only one" if wait.num_engines == 1 else f"none of {wait.num_engines}"
    verb = "does not" if wait.num_engines == 1 else "does"
    head = f"a rollout to run the newest weights ({number} {verb}): {cast.engine(wait.engine)}"
    if wait.engine_silent_s > SILENT_S:
        return f"{head} has said nothing for {duration(wait.engine_silent_s)}"
    doing = f" has been {wait.phase} for {duration(wait.seconds)}" if wait.phase else " has not begun"
    is_late = not cast.broadcaster or cast.broadcaster_silent_s > SILENT_S
    return f"{head}{doing}{_because(wait.detail)}{', and ' + _broadcaster(cast) if is_late else ''}"


def _rewards(_wait: Wait, cast: Cast) -> str:
    return f"a reward service that grades the next prompt: none is there{_because(cast.departed_reward)}"


def _rows(wait: Wait, _cast: Cast) -> str:
    return f"rows of the dataset to train on in step {wait.step}: {wait.detail}"


def _generation(wait: Wait, cast: Cast) -> str:
    if wait.lease is None:
        return f"groups of {_aim(wait)} to be leased"
    silent = ""
    if wait.engine_silent_s > SILENT_S:
        silent = f": {cast.engine(wait.engine)} has said nothing for {duration(wait.engine_silent_s)}"
    return f"groups of {_aim(wait)} in generation{silent}"


def _grades(wait: Wait, _cast: Cast) -> str:
    return f"grades of {_aim(wait)}: {wait.replica} has had one turn for {duration(wait.seconds)}"


def _retry(wait: Wait, _cast: Cast) -> str:
    return f"a group of {_aim(wait)} to be tried again in {duration(wait.seconds)}: {wait.detail}"


def _end(_wait: Wait, _cast: Cast) -> str:
    return "the end of the run: all is trained"


def _aim(wait: Wait) -> str:
    if wait.reason is WaitReason.EVALUATION:
        return "the evaluation"
    return f"step {wait.step} ({wait.num_missing} are missing)"


def _lease(wait: Wait, cast: Cast) -> str:
    lease = wait.lease
    if lease is None:
        return ""
    return (
        f"the oldest lease is draw {lease.draw} at {cast.engine(lease.engine)}, {duration(lease.age_s)} old, with "
        f"{lease.num_missing} samples missing and no progress for {duration(lease.unchanged_s)}"
    )


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


_WORDS: Final[Mapping[WaitReason, Callable[[Wait, Cast], str]]] = {
    WaitReason.RANKS: _ranks,
    WaitReason.DEVICE: _device,
    WaitReason.TRAIN: _train,
    WaitReason.PUBLISH: _publish,
    WaitReason.CHECKPOINT: _checkpoint,
    WaitReason.EVALUATION: _evaluation,
    WaitReason.JOURNAL: _journal,
    WaitReason.ENGINES: _engines,
    WaitReason.WEIGHTS: _weights,
    WaitReason.REWARDS: _rewards,
    WaitReason.ROWS: _rows,
    WaitReason.GENERATION: _generation,
    WaitReason.GRADES: _grades,
    WaitReason.RETRY: _retry,
    WaitReason.END: _end,
}
