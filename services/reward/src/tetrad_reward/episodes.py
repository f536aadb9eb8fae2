"""Which turn of which episode may be scored, and what was answered before: the replica's episode table.

Pure: the clock is passed in, grading is somebody else's. A repeated turn is answered from what is kept, a gap is
refused, an episode that nobody asks about expires, and their number is bounded.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

Prompt = TypeVar("Prompt")
Answer = TypeVar("Answer")


class EpisodeState(StrEnum):
    """Where an episode stands."""

    OPENING = "opening"
    """Its environment is being made."""
    WAITING = "waiting"
    """For the policy's next action."""
    GRADING = "grading"
    """A turn is being scored."""
    DONE = "done"
    """The environment ended it; its answers are still kept."""
    FAILED = "failed"
    """A grade gave no result; the next attempt is another episode."""


class EpisodeEvent(StrEnum):
    """What happens to an episode."""

    OPENED = "opened"
    ASKED = "asked"
    ANSWERED = "answered"
    ENDED = "ended"
    FAILED = "failed"


TRANSITIONS: Final[Mapping[tuple[EpisodeState, EpisodeEvent], EpisodeState]] = {
    (EpisodeState.OPENING, EpisodeEvent.OPENED): EpisodeState.WAITING,
    (EpisodeState.WAITING, EpisodeEvent.ASKED): EpisodeState.GRADING,
    (EpisodeState.GRADING, EpisodeEvent.ANSWERED): EpisodeState.WAITING,
    (EpisodeState.GRADING, EpisodeEvent.ENDED): EpisodeState.DONE,
    (EpisodeState.GRADING, EpisodeEvent.FAILED): EpisodeState.FAILED,
}
"""An episode whose opening fails leaves the table, and so does one that is closed or expires, in any state."""


@dataclass(frozen=True, slots=True)
class Score:
    """The turn is new and next: grade it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The turn is being graded: answer this asker too once it is."""


@dataclass(frozen=True, slots=True)
class Repeat(Generic[Answer]):
    """The turn was answered before."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Refuse:
    """The turn cannot be scored, and why."""

    reason: str


Verdict = Score | Wait | Repeat[Answer] | Refuse


@dataclass(frozen=True, slots=True)
class Admit:
    """The episodes are new and have been entered: make them."""


@dataclass(frozen=True, slots=True)
class Join(Generic[Prompt]):
    """The same opening came before; its prompts, or None while it is being made."""

    prompts: Prompt | None


Admission = Admit | Join[Prompt] | Refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodesStatistics:
    """Counts since the start, and what is held."""

    held: int
    peak: int
    """Most episodes ever held; size the bound by this."""
    opened: int
    repeated: int
    """Turns answered from the table."""
    refused: int
    expired: int


@dataclass(slots=True, kw_only=True)
class _Group(Generic[Prompt]):
    """Episodes that were opened together."""

    episodes: tuple[str, ...]
    content: Hashable
    prompts: Prompt | None = None


@dataclass(slots=True, kw_only=True)
class _Entry(Generic[Prompt, Answer]):
    group: _Group[Prompt]
    heard_at: float
    state: EpisodeState = EpisodeState.OPENING
    turns: list[tuple[str, Answer]] = field(default_factory=list)
    action: str = ""
    """Of the turn that is being graded."""


class Episodes(Generic[Prompt, Answer]):
    """The table. `clock` gives monotonic seconds; an episode expires after `idle_s` without a message about it."""

    def __init__(self, *, max_episodes: int, idle_s: float, clock: Callable[[], float]) -> None:
        self._max_episodes = max_episodes
        self._idle_s = idle_s
        self._clock = clock
        self._entries: dict[str, _Entry[Prompt, Answer]] = {}
        # In the order in which they ended: kept for repeated turns, and the first to give way to new ones.
        self._ended: dict[str, None] = {}
        self._peak = self._opened = self._repeated = self._refused = self._expired = 0

    @property
    def room(self) -> int:
        """How many more episodes would be taken now."""
        return self._max_episodes - self.num_unfinished

    @property
    def num_unfinished(self) -> int:
        """Episodes that still wait for a turn or its grade."""
        return len(self._entries) - len(self._ended)

    def open(self, episodes: Sequence[str], *, content: Hashable) -> Admission[Prompt]:
        """Enter episodes together; `content` tells a repeated request from another one with equal ids."""
        names = tuple(episodes)
        known = [self._entries[name] for name in names if name in self._entries]
        if known:
            return self._join(names, known, content)
        if not names or len(set(names)) < len(names):
            return self._refuse(f"{len(names)} episodes with {len(set(names))} distinct ids; each needs its own")
        if len(names) > self.room:
            return self._refuse(
                f"{len(names)} more episodes; this replica holds {self.num_unfinished} of at most {self._max_episodes}"
            )
        self._make_room(len(names))
        group = _Group[Prompt](episodes=names, content=content)
        self._entries |= {name: _Entry(group=group, heard_at=self._clock()) for name in names}
        self._opened += len(names)
        self._peak = max(self._peak, len(self._entries))
        return Admit()

    def opened(self, episodes: Sequence[str], prompts: Prompt) -> None:
        """Their environments exist, and this is what they show first."""
        for name in episodes:
            entry = self._entries.get(name)
            if entry is not None:
                self._move(entry, EpisodeEvent.OPENED)
                entry.group.prompts = prompts

    def ask(self, episode: str, *, turn: int, action: str) -> Verdict[Answer]:
        """Decide what to do about one turn; on Score the turn is being graded from now on."""
        entry = self._entries.get(episode)
        if entry is None:
            return self._refuse(
                f"no episode {episode!r} here: never opened, closed, or silent for {self._idle_s:g} s; open a new one"
            )
        entry.heard_at = self._clock()
        if 0 <= turn < len(entry.turns):
            return self._repeat(entry, turn, action)
        if turn != len(entry.turns):
            return self._refuse(f"turn {turn} of {episode!r}; turn {len(entry.turns)} is next")
        if entry.state is EpisodeState.GRADING:
            return Wait() if action == entry.action else self._another_action(episode, turn)
        if (entry.state, EpisodeEvent.ASKED) not in TRANSITIONS:
            return self._refuse(f"episode {episode!r} is {entry.state} after {len(entry.turns)} turns")
        self._move(entry, EpisodeEvent.ASKED)
        entry.action = action
        return Score()

    def answered(self, episode: str, answer: Answer, *, event: EpisodeEvent) -> None:
        """Keep the answer to the turn that was being graded; a closed episode's answer is let go."""
        entry = self._entries.get(episode)
        if entry is not None:
            self._move(entry, event)
            entry.turns.append((entry.action, answer))
            entry.heard_at = self._clock()
            if entry.state in (EpisodeState.DONE, EpisodeState.FAILED):
                self._ended[episode] = None

    def prompts_of(self, episode: str) -> Prompt | None:
        """Return what the episode was opened with, or None while it is not."""
        entry = self._entries.get(episode)
        return None if entry is None else entry.group.prompts

    def close(self, episodes: Sequence[str]) -> tuple[str, ...]:
        """Forget episodes; return those that were known."""
        for name in episodes:
            self._ended.pop(name, None)
        return tuple(name for name in episodes if self._entries.pop(name, None) is not None)

    def expire(self) -> tuple[str, ...]:
        """Forget the episodes that nobody asked about for too long, and return them; one at work is spared."""
        oldest = self._clock() - self._idle_s
        at_work = (EpisodeState.OPENING, EpisodeState.GRADING)
        silent = [
            name for name, entry in self._entries.items() if entry.heard_at < oldest and entry.state not in at_work
        ]
        self._expired += len(silent)
        return self.close(silent)

    def statistics(self) -> EpisodesStatistics:
        """Counts since the start."""
        return EpisodesStatistics(
            held=len(self._entries),
            peak=self._peak,
            opened=self._opened,
            repeated=self._repeated,
            refused=self._refused,
            expired=self._expired,
        )

    def _make_room(self, num_new: int) -> None:
        surplus = len(self._entries) + num_new - self._max_episodes
        if surplus > 0:
            self.close(list(self._ended)[:surplus])

    def _join(
        self, names: tuple[str, ...], known: Sequence[_Entry[Prompt, Answer]], content: Hashable
    ) -> Join[Prompt] | Refuse:
        group = known[0].group
        if group.episodes != names or group.content != content or len(known) < len(names):
            return self._refuse("some of these episode ids are in use for something else; ids are never reused")
        for entry in known:
            entry.heard_at = self._clock()
        return Join(group.prompts)

    def _repeat(self, entry: _Entry[Prompt, Answer], turn: int, action: str) -> Repeat[Answer] | Refuse:
        recorded, answer = entry.turns[turn]
        if recorded != action:
            return self._another_action(entry.group.episodes[0], turn)
        self._repeated += 1
        return Repeat(answer)

    def _another_action(self, episode: str, turn: int) -> Refuse:
        return self._refuse(f"turn {turn} of {episode!r} was asked before with another action")

    def _refuse(self, reason: str) -> Refuse:
        self._refused += 1
        return Refuse(reason)

    def _move(self, entry: _Entry[Prompt, Answer], event: EpisodeEvent) -> None:
        entry.state = TRANSITIONS[entry.state, event]
