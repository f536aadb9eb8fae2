"""Puts another reward in the place of the present one while a run goes on: what the launcher does for `tetrad reward`.

The new replicas start beside the old ones; the coordinator lets them take over; the old ones leave once no group needs
them. Owns the order of this and the way back. Until the coordinator has said that the new reward is current, every
failure leaves the old one as it was.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tetrad_cli.fleet import reward_role
from tetrad_cli.launch.control import Request
from tetrad_cli.launch.desk import RefusedError
from tetrad_cli.launch.instance import Instance
from tetrad_cli.launch.logfiles import Logs
from tetrad_cli.launch.probe import Page, get
from tetrad_cli.launch.roles import Role
from tetrad_cli.launch.supervisor import StartFailedError, Supervisor
from tetrad_cli.places import Places
from tetrad_config import ConfigError, RunConfig, dump_resolved, load, load_resolved
from tetrad_config.reward_record import FOLDER, Edition, RewardRecord, changed_keys, read_record, write_record
from tetrad_telemetry.logs import get_logger
from tetrad_transport.endpoints import check_endpoint

OPERATION: Final = "swap_reward"
ROLE: Final = "reward"
RUN_FILE: Final = "config.yaml"
ENDPOINT: Final = "--endpoint="
"""Begins a word that names a replica which others keep; every other word is an override."""
POLL_S: Final = 0.1
CURRENT: Final = re.compile(rb"^tetrad_learner_reward_edition (\S+)$", re.MULTILINE)
# The rows of a run are read by the coordinator, which has read its settings; this is not in a reward's power.
FIXED: Final = "environment.env_class"

log = get_logger("tetrad_cli.launch")


@dataclass(slots=True, kw_only=True)
class RewardSwap:
    """The swaps of one launcher, one after the other."""

    run_dir: Path
    where: Places
    is_clear_tcp_allowed: bool
    has_keys: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def perform(self, supervisor: Supervisor, request: Request) -> tuple[str, ...]:
        """Do what was asked; return what the user should know. Raises RefusedError, and then nothing has changed."""
        deadlines = request.deadlines_s or {}
        ready_s, drain_s = deadlines.get("ready", 120.0), deadlines.get("drain", 600.0)
        if self._lock.locked():
            raise RefusedError("another swap of the reward is under way")
        async with self._lock:
            with supervisor.holding(ROLE):
                before = load_resolved(self.run_dir / RUN_FILE)
                record = read_record(self.run_dir) or RewardRecord()
                endpoints = self._endpoints(request.words)
                after = self._asked(before, [word for word in request.words if not word.startswith(ENDPOINT)])
                edition = Edition(number=record.next_number, endpoints=endpoints)
                role = self._role(after, edition)
                log.info("reward_swap_asked", edition=edition.number, endpoints=endpoints)
                await self._start(supervisor, role, ready_s=ready_s)
                await self._take_over(supervisor, record, edition, ready_s=ready_s)
                old = supervisor.replace(role)
                self._settle(replace(record, wanted=edition), before, after)
        return await _let_go(supervisor, old, drain_s=drain_s)

    def _endpoints(self, words: Sequence[str]) -> tuple[str, ...]:
        endpoints = tuple(word.removeprefix(ENDPOINT) for word in words if word.startswith(ENDPOINT))
        for endpoint in endpoints:
            try:
                check_endpoint(endpoint, allow_clear_tcp=self.is_clear_tcp_allowed, has_keys=self.has_keys)
            except ValueError as error:
                raise RefusedError(str(error)) from error
        if endpoints and len(endpoints) < len(words):
            raise RefusedError(
                "replicas at an endpoint have settings of their own: name --endpoint or overrides, not both"
            )
        return endpoints

    def _asked(self, before: RunConfig, overrides: Sequence[str]) -> RunConfig:
        """Return the run file with the reward that was asked for; raises RefusedError for anything else in it."""
        try:
            after = load(overrides, config_path=self.run_dir, config_name=RUN_FILE, environ={}).config
        except ConfigError as error:
            raise RefusedError(str(error)) from error
        changed = changed_keys(before, after)
        if FIXED in changed:
            raise RefusedError(f"{FIXED} says what the rows of the run are; name the environment with --env")
        sections = {"reward": after.reward, "environment": after.environment}
        if before.model_copy(update=sections) != after:
            raise RefusedError("a swap changes keys of reward and environment only; the others are those of the run")
        if after.reward.grade_timeout > before.reward.grade_timeout:
            raise RefusedError(
                f"reward.grade_timeout={after.reward.grade_timeout:g}: the rollouts of this run wait for a grade as "
                f"long as {before.reward.grade_timeout:g} s allow; it may only be lowered in a swap"
            )
        return after

    def _role(self, config: RunConfig, edition: Edition) -> Role:
        run_config = self.run_dir / FOLDER / f"v{edition.number}.yaml"
        run_config.parent.mkdir(exist_ok=True)
        if not edition.endpoints:
            run_config.write_text(dump_resolved(config))
        return reward_role(config, edition=edition, run_dir=self.run_dir, where=self.where, run_config=run_config)

    async def _start(self, supervisor: Supervisor, role: Role, *, ready_s: float) -> None:
        try:
            await supervisor.start_beside(role, deadline_s=ready_s)
        except StartFailedError as error:
            tail = "".join(
                f"\n  {error.instance} | {line}" for line in Logs(self.run_dir / "logs").tail(error.instance)
            )
            raise RefusedError(f"{error}; the reward is as it was{tail}") from error

    async def _take_over(
        self, supervisor: Supervisor, record: RewardRecord, edition: Edition, *, ready_s: float
    ) -> None:
        """Have the new edition current; on any failure the old one is, and nothing of the new one is left."""
        try:
            write_record(self.run_dir, replace(record, wanted=edition))
            async with asyncio.timeout(ready_s):
                await _until_current(supervisor, edition)
        except BaseException as error:
            write_record(self.run_dir, replace(record, wanted=None))
            await supervisor.drop_beside()
            if isinstance(error, TimeoutError):
                raise RefusedError(_not_there(edition, self.where.coordinator, ready_s=ready_s)) from error
            raise

    def _settle(self, record: RewardRecord, before: RunConfig, after: RunConfig) -> None:
        """Write what a resumption and a restarted service will read."""
        draft = self.run_dir / f"{RUN_FILE}.new"
        draft.write_text(dump_resolved(after))
        write_record(self.run_dir, record.swapped(before, after))
        draft.replace(self.run_dir / RUN_FILE)


def current_edition(page: Page | None) -> int | None:
    """Read from the learner's metrics which edition new groups open on."""
    match = CURRENT.search(page.body) if page is not None and page.is_ok else None
    return int(float(match[1])) if match is not None else None


def _not_there(edition: Edition, coordinator: str, *, ready_s: float) -> str:
    if not edition.endpoints:
        return f"the coordinator has not taken the new reward within {ready_s:g} s; the reward is as it was"
    return (
        f"no reward service at {' or '.join(edition.endpoints)} was registered within {ready_s:g} s; the reward is as "
        f"it was. Such a service says hello, with that endpoint and edition 0, at {coordinator}"
    )


async def _let_go(supervisor: Supervisor, old: Sequence[Instance], *, drain_s: float) -> tuple[str, ...]:
    """Wait until each replaced replica has left; say which ones had to be stopped."""
    in_time = await asyncio.gather(*(supervisor.let_go(one, deadline_s=drain_s) for one in old))
    return tuple(
        f"{one.name} " + ("has finished its groups and left" if is_in_time else f"was stopped after {drain_s:g} s")
        for one, is_in_time in zip(old, in_time, strict=True)
    )


async def _until_current(supervisor: Supervisor, edition: Edition) -> None:
    while True:
        ports = [one.port for one in supervisor.instances if one.role.name == "learner"]
        if current_edition(await get(ports[0], "/metrics")) == edition.number:
            return
        await asyncio.sleep(POLL_S)
