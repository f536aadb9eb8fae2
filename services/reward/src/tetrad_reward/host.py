"""The environments of one worker process: makes them, steps them, lets them go.

Runs foreign code and turns whatever it does, short of ending the process, into a typed reply. Knows no pipe.
"""

import time
import traceback
from collections.abc import Callable
from typing import Final, assert_never

from tetrad_reward.environment import (
    Conversation,
    InvalidResultError,
    StepResult,
    checked_conversation,
    checked_metrics,
    checked_step,
)
from tetrad_reward.grade_failure import GradeFailureError
from tetrad_reward.registry import Grader, GraderError, load_grader
from tetrad_reward.requests import (
    Close,
    Closed,
    Failed,
    Grade,
    Load,
    Loaded,
    Open,
    Opened,
    Opening,
    Reply,
    Request,
    Step,
    Stepped,
    crashed,
    refused,
)
from tetrad_wire.messages.leases import ChatMessage, FailureKind

MAX_REASON_CHARS: Final = 500


class Host:
    """Graders and open episodes."""

    def __init__(self) -> None:
        self._graders: dict[str, Grader | Failed] = {}
        self._environments: dict[str, object] = {}
        self.is_exhausted = False
        """Whether memory ran out: what the process holds can no longer be trusted to leave room for the next."""

    def handle(self, request: Request) -> Reply:
        """Do what is asked; raises nothing that foreign code raised."""
        began = time.perf_counter()
        try:
            return self._dispatch(request, began)
        except GradeFailureError as error:
            return Failed(
                outcome=error.outcome,
                kind=error.kind,
                reason=str(error)[:MAX_REASON_CHARS],
                duration_s=time.perf_counter() - began,
            )
        # Foreign code runs below: it may raise anything, SystemExit and KeyboardInterrupt included.
        except BaseException as error:
            self.is_exhausted |= isinstance(error, MemoryError)
            return crashed(describe(error), kind=FailureKind.DATA, duration_s=time.perf_counter() - began)

    def _dispatch(self, request: Request, began: float) -> Reply:
        match request:
            case Load():
                return self._load(request)
            case Open():
                return self._open(request)
            case Step():
                return self._step(request, began)
            case Grade():
                return self._grade(request, began)
            case Close():
                return self._close(request)
            case _:
                assert_never(request)

    def _load(self, request: Load) -> Reply:
        try:
            grader = load_grader(request.reference, request.config)
        except GraderError as error:
            return self._cannot_load(request, str(error))
        except BaseException as error:  # importing foreign code
            return self._cannot_load(request, f"{request.reference}: {describe(error)}")
        if request.version not in {"", grader.version}:
            return self._cannot_load(
                request,
                f"{request.reference} changed from {request.version} to {grader.version} while the service ran; "
                "restart the reward service to use the new one",
            )
        self._graders[request.name] = grader
        return Loaded(
            version=grader.version, is_replayable=grader.is_replayable, grade_timeout_s=grader.grade_timeout_s
        )

    def _cannot_load(self, request: Load, reason: str) -> Failed:
        # Remembered, so that an episode that needs this grader hears why it is missing.
        failure = refused(reason, kind=FailureKind.INFRA if request.version else FailureKind.DATA)
        self._graders[request.name] = failure
        return failure

    def _open(self, request: Open) -> Reply:
        environment = self._make(request.opening)
        if isinstance(environment, Failed):
            return environment
        messages = _init(environment, request.opening)
        self._environments[request.episode] = environment
        return Opened(messages=messages)

    def _step(self, request: Step, began: float) -> Reply:
        environment = self._environments.get(request.episode)
        if environment is None:
            return crashed(f"no open episode {request.episode!r} in this worker", kind=FailureKind.INFRA)
        return _stepped(environment, request.action, began)

    def _grade(self, request: Grade, began: float) -> Reply:
        environment = self._make(request.opening)
        if isinstance(environment, Failed):
            return environment
        _init(environment, request.opening)
        reply = _stepped(environment, request.action, began)
        _call(environment, "close")
        return reply

    def _close(self, request: Close) -> Reply:
        for episode in request.episodes:
            environment = self._environments.pop(episode, None)
            if environment is not None:
                _call(environment, "close")
        return Closed()

    def _make(self, opening: Opening) -> object:
        grader = self._graders.get(opening.grader)
        if grader is None:
            return refused(f"grader {opening.grader!r} is not loaded", kind=FailureKind.INFRA)
        return grader if isinstance(grader, Failed) else grader.make(opening.extras)


def describe(error: BaseException) -> str:
    """Say what was raised and where, in one short line; foreign exceptions may fail even at that."""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:  # a foreign __str__
        text = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    place = f" ({frames[0].filename.rsplit('/', 1)[-1]}:{frames[0].lineno})" if frames else ""
    return f"{text[:MAX_REASON_CHARS]}{place}"


def _init(environment: object, opening: Opening) -> tuple[ChatMessage, ...]:
    prompt: Conversation = [{"role": m.role, "content": m.content} for m in opening.messages]
    init = getattr(environment, "init", None)
    if init is None:
        return opening.messages
    answer = init(prompt)
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise InvalidResultError(f"init returned {type(answer).__name__}; it must return (messages, metadata)")
    return checked_conversation(answer[0])


def _stepped(environment: object, action: str, began: float) -> Stepped:
    step: Callable[[str], object] = environment.step  # type: ignore[attr-defined]
    result = checked_step(step(action))
    metrics = checked_metrics(_call(environment, "get_metrics") or {}) if result.is_done else {}
    return _reply(result, metrics, duration_s=time.perf_counter() - began)


def _call(environment: object, name: str) -> object:
    method = getattr(environment, name, None)
    return method() if callable(method) else None


def _reply(result: StepResult, metrics: dict[str, float], *, duration_s: float) -> Stepped:
    return Stepped(
        reward=result.reward,
        is_done=result.is_done,
        duration_s=duration_s,
        observations=result.observations,
        postprocessed_action=result.postprocessed_action,
        extracted=result.extracted,
        rule=result.rule,
        metrics=metrics,
        scores=dict(result.scores),
    )
