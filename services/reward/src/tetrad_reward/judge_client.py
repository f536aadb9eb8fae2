"""Asks an OpenAI-compatible server for one completion, within a deadline. Blocks. Never shows its key.

One call for each of at most `max_concurrency` workers of a host at a time: a slot is the name of an abstract socket,
which the kernel gives back however its holder ends.
"""

import contextlib
import hashlib
import json
import os
import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from typing import Any, Final

from tetrad_reward.grade_failure import GradeFailureError
from tetrad_runtime.backoff import Backoff
from tetrad_wire.messages.episodes import GradeOutcome
from tetrad_wire.messages.leases import FailureKind

OPENAI: Final = "https://api.openai.com/v1"
MAX_REPLY_BYTES: Final = 1 << 20
# Nothing else is worth another try: the same request would fail the same way.
PASSING: Final = frozenset({408, 409, 429, 500, 502, 503, 504})
BACKOFF: Final = Backoff(first_s=0.2, limit_s=5.0, jitter=0.5)
SLOT_POLL_S: Final = 0.02
SHOWN_CHARS: Final = 200
# Of one call; more than that is no count.
MAX_TOKENS: Final = 1 << 32


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *_redirect: object) -> None:
        return None


_OPENER: Final = urllib.request.build_opener(_NoRedirects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A reply."""

    text: str
    input_tokens: int
    """By the server's count; 0 where it says nothing."""
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeClient:
    """Where the judge is, and how it may be used."""

    base_url: str
    model: str
    key: str | None = field(repr=False)
    timeout_s: float
    """For a verdict, retries and the wait for a slot included."""
    max_concurrency: int
    max_tokens: int

    def ask(self, prompt: str, *, due: float) -> Completion:
        """Return the reply, which must come before the monotonic clock shows `due`.

        Raises GradeFailureError: `timeout` where no answer came in time, `refused` where the server will not answer.
        """
        with self._slot(due):
            return self._ask(prompt, due)

    def _ask(self, prompt: str, due: float) -> Completion:
        attempt, last = 0, "no answer"
        while (left_s := due - time.monotonic()) > 0:
            try:
                return self._once(prompt, timeout_s=left_s)
            except urllib.error.HTTPError as error:
                with error:
                    last = self._hidden(f"HTTP {error.code}: {_start_of(error)}")
                if error.code not in PASSING:
                    raise GradeFailureError(
                        f"the judge refused: {last}", outcome=GradeOutcome.REFUSED, kind=FailureKind.INFRA
                    ) from None
                pause_s = _retry_after(error.headers)
            except (OSError, HTTPException) as error:
                last, pause_s = self._hidden(f"{type(error).__name__}: {error}"), 0.0
            pause_s = max(pause_s, BACKOFF.delay_s(attempt, draw=random.random()))
            if time.monotonic() + pause_s >= due:
                break
            time.sleep(pause_s)
            attempt += 1
        reason = f"no verdict within {self.timeout_s:g} s and {attempt + 1} attempts; the last: {last}"
        raise GradeFailureError(reason, outcome=GradeOutcome.TIMEOUT, kind=FailureKind.INFRA)

    def _once(self, prompt: str, *, timeout_s: float) -> Completion:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0.0,
            "max_tokens": self.max_tokens,
        }
        headers = {"Content-Type": "application/json", "User-Agent": "tetrad"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        url = f"{self.base_url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310  # http(s): see config
        with _OPENER.open(request, timeout=timeout_s) as response:
            return _completion(_read(response, due=time.monotonic() + timeout_s))

    @contextlib.contextmanager
    def _slot(self, due: float) -> Iterator[None]:
        """Hold one of `max_concurrency` names; raises GradeFailureError where none is free in time."""
        place = hashlib.sha256(f"{os.getuid()} {self.base_url} {self.model}".encode()).hexdigest()[:16]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as holder:
            while not any(_binds(holder, f"\0tetrad-judge-{place}-{slot}") for slot in range(self.max_concurrency)):
                if time.monotonic() >= due:
                    reason = f"{self.max_concurrency} calls were under way for {self.timeout_s:g} s"
                    raise GradeFailureError(reason, outcome=GradeOutcome.TIMEOUT, kind=FailureKind.INFRA)
                time.sleep(SLOT_POLL_S)
            yield

    def _hidden(self, text: str) -> str:
        """Servers quote the key that they refuse."""
        return text.replace(self.key, "***") if self.key else text


def _binds(holder: socket.socket, name: str) -> bool:
    try:
        holder.bind(name)
    except OSError:
        return False
    return True


def _read(response: Any, *, due: float) -> bytes:
    """Read it all, though a server may send a byte now and then for ever."""
    data = b""
    while chunk := response.read1(1 << 16):
        data += chunk
        if len(data) > MAX_REPLY_BYTES:
            raise HTTPException(f"more than {MAX_REPLY_BYTES} bytes")
        if time.monotonic() > due:
            raise TimeoutError("the reply did not end")
    return data


def _completion(data: bytes) -> Completion:
    try:
        reply = json.loads(data)
        content = reply["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise HTTPException(f"no chat completion: {data[:SHOWN_CHARS]!r}") from None
    if not isinstance(content, str):
        raise HTTPException("a chat completion without text")
    usage = reply.get("usage")
    return Completion(
        text=content,
        input_tokens=_count(usage, "prompt_tokens"),
        output_tokens=_count(usage, "completion_tokens"),
    )


def _count(usage: object, name: str) -> int:
    """Servers need not count, and nobody's grade hangs on it."""
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and 0 <= value <= MAX_TOKENS else 0


def _start_of(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(SHOWN_CHARS).decode("utf-8", errors="replace")
    except (OSError, HTTPException):
        return error.reason


def _retry_after(headers: Message) -> float:
    try:
        return max(0.0, float(headers.get("Retry-After", 0.0)))
    except ValueError:
        return 0.0
