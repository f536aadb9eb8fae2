"""Where a reward service is tried: a coordinator that it registers with, and rollouts that ask it.

One thread, raw sockets. Whatever the service says is decoded as a peer of ours would; what breaks a rule is kept.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import msgspec

from tetrad_transport.raw import RawSocket
from tetrad_wire import Message, RemoteProtocolError, decode, encode
from tetrad_wire.ids import RunId
from tetrad_wire.messages.membership import Bye, Desired, Heartbeat, Hello, RunState

RUN: Final = RunId("conformance-run")
HEARTBEAT_S: Final = 0.2
ANSWER_S: Final = 15.0
# The coordinator is looked after this often while an answer is awaited.
TURN_S: Final = 0.02

Said = TypeVar("Said", bound=msgspec.Struct)


class BrokenRule(Exception):  # noqa: N818 - it is what a rule reports, not an error of ours
    """A rule does not hold."""

    def __init__(self, *, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected, self.got = expected, got


class NotApplicable(Exception):  # noqa: N818 - the same
    """A rule says nothing about this service."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message to the coordinator, and when it came."""

    at: float
    message: Message


@dataclass(slots=True)
class Site:
    """One service under trial."""

    endpoint: str
    coordinator: RawSocket
    epoch: int = 2
    desired: Desired = field(
        default_factory=lambda: Desired(
            generation=1, state=RunState.RUNNING, run=RUN, heartbeat_s=HEARTBEAT_S, liveness_s=5.0
        )
    )
    is_silent: bool = False
    """Whether the coordinator answers nobody."""
    heard: list[Heard] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """What the service sent and no peer could read."""
    dropped: set[int] = field(default_factory=set)
    """Ids of messages that must not be answered."""
    _peer: bytes = b""
    _rollouts: dict[str, RawSocket] = field(default_factory=dict)
    _answers: dict[tuple[str, int], Message] = field(default_factory=dict)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def close(self) -> None:
        """Close every socket."""
        for socket in (self.coordinator, *self._rollouts.values()):
            socket.close()

    # ---- rollouts

    def ask(self, body: msgspec.Struct, *, by: str = "rollout-0", timeout_s: float = ANSWER_S) -> msgspec.Struct:
        """Send a request and return the answer; raises BrokenRule where none comes."""
        number = self.send(body, by=by)
        self.until(lambda: (by, number) in self._answers, f"an answer to {_kind(body)}", timeout_s=timeout_s)
        return self._answers[by, number].body

    def send(self, body: msgspec.Struct, *, by: str = "rollout-0") -> int:
        """Send a message; return its id."""
        message = Message(body=body, id=next(self._ids), run=RUN, epoch=self.epoch)
        self.throw([bytes(frame) for frame in encode(message)], by=by)
        return message.id

    def throw(self, frames: Sequence[bytes], *, by: str = "rollout-0") -> None:
        """Send frames as they are."""
        self.rollout(by).send(frames)

    def rollout(self, name: str) -> RawSocket:
        """A rollout's connection to the service."""
        if name not in self._rollouts:
            self._rollouts[name] = RawSocket.dealer(self.endpoint, name=name)
        return self._rollouts[name]

    def next_id(self) -> int:
        """An id for a message that a rule makes itself."""
        return next(self._ids)

    def has_answered(self, number: int, *, by: str = "rollout-0") -> bool:
        """Whether a message was answered."""
        return (by, number) in self._answers

    # ---- coordinator

    def hello(self) -> Hello:
        """The newest registration; raises BrokenRule where there is none."""
        found = self.said(Hello)
        if not found:
            raise BrokenRule(expected="a hello", got="none")
        return found[-1]

    def said(self, kind: type[Said], *, since: float = 0.0) -> list[Said]:
        """What the service told the coordinator."""
        return [one.message.body for one in self.heard if isinstance(one.message.body, kind) and one.at >= since]

    def tell(self, *, epoch: int | None = None, **changes: object) -> None:
        """Send the desired state at once, with changes that do not last."""
        body = msgspec.structs.replace(self.desired, **changes)
        message = Message(body=body, id=next(self._ids), run=RUN, epoch=self.epoch if epoch is None else epoch)
        if self._peer:
            self.coordinator.send([self._peer, *map(bytes, encode(message))])

    def change(self, **changes: object) -> None:
        """Change the desired state for good and send it."""
        self.desired = msgspec.structs.replace(self.desired, generation=self.desired.generation + 1, **changes)
        self.tell()

    # ---- time

    def until(self, condition: Callable[[], bool], what: str, *, timeout_s: float) -> None:
        """Keep everything going until a condition holds; raises BrokenRule naming what did not come."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise BrokenRule(expected=f"{what} within {timeout_s:g} s", got="nothing")
            self.turn()

    def go_on(self, seconds: float) -> None:
        """Keep everything going for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.turn()

    def turn(self) -> None:
        """Hear everybody once."""
        while (frames := self.coordinator.receive(0)) is not None:
            self._register(frames[0], frames[1:])
        for name, socket in list(self._rollouts.items()):
            while (frames := socket.receive(0)) is not None:
                self._answer(name, frames)
        if (frames := self.coordinator.receive(TURN_S)) is not None:
            self._register(frames[0], frames[1:])

    def _register(self, peer: bytes, frames: Sequence[bytes]) -> None:
        self._peer = peer
        message = self._read(frames)
        if message is None:
            return
        if not isinstance(message.body, Hello | Heartbeat | Bye):
            self.violations.append(f"{_kind(message.body)} to the coordinator")
        self.heard.append(Heard(time.monotonic(), message))
        if not self.is_silent:
            self.tell()

    def _answer(self, rollout: str, frames: Sequence[bytes]) -> None:
        message = self._read(frames)
        if message is None:
            return
        if message.reply_to is None:
            self.violations.append(f"{_kind(message.body)} to a rollout without reply_to")
        elif (rollout, message.reply_to) in self._answers:
            self.violations.append(f"a second answer to message {message.reply_to}")
        else:
            self._answers[rollout, message.reply_to] = message

    def _read(self, frames: Sequence[bytes]) -> Message | None:
        try:
            return decode(frames)
        except RemoteProtocolError as error:
            self.violations.append(str(error))
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row that the service can grade, and a response to it."""

    env_class: str = ""
    """Empty takes the first environment that the service offers."""
    messages: tuple[tuple[str, str], ...] = (("user", "2 + 3 ="),)
    ground_truth: str | None = "5"
    extras: dict[str, object] = field(default_factory=dict)
    action: str = "5"
    reward: float | None = None
    """That the response must get; None is not checked."""

    def of(self, env_class: str) -> "Row":
        """Return the row, of this class unless it names one."""
        return self if self.env_class else replace(self, env_class=env_class)


def _kind(body: msgspec.Struct) -> str:
    return type(body).__name__
