"""What brings each trouble of a run about, for real: the text that stands in its log or ends it."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, a_model, one_gloo_rank, options
from unit.learner.coordinator.core.core_harness import Harness
from unit.rollout.engine_builders import a_tokenizer
from unit.rollout.test_weight_progress import a_keeper

from tetrad_learner.coordinator.rank_set import RankSet
from tetrad_learner.publishing import Publisher
from tetrad_learner.rank.step_warnings import warn_of_shortage
from tetrad_learner.trainer.engine import Trainer
from tetrad_rollout.device_keeper import check_free
from tetrad_rollout.engine import BatchSettings
from tetrad_rollout.engine.fake import FakeRunner, random_table
from tetrad_rollout.engine.protocol import ALL_TAGS, MemoryTag
from tetrad_rollout.engine.threaded import ThreadedEngine
from tetrad_rollout.rendering import Renderer
from tetrad_runtime.group_child import GroupChild
from tetrad_testing.builders import INCARNATION, a_desired
from tetrad_testing.conformance.engine_site import eventually
from tetrad_transport import MemoryTransport
from tetrad_weights.copying import copy_verified
from tetrad_weights.group_orders import Form, Formed
from tetrad_weights.group_sides import GLOO, child_environment
from tetrad_weights.layout import Parameter, lay_out
from tetrad_weights.manifest import build
from tetrad_weights.segments import Segment, segment_name
from tetrad_wire.ids import Incarnation, PolicyVersion

Provocation = Callable[[Path], str]
ENDPOINT: Final = "inproc://broadcaster"
LAYOUT: Final = lay_out([Parameter("weight", "float32", (8,))])
END_OF_TEMPLATE: Final = "{{ messages[0]['content'] }}"


def trained(tmp: Path, *, fitting: int, rewards: float | None = None) -> Any:
    """One step of a trainer whose first layer finds memory for so many tokens; what it returned or raised."""

    def check(_layer: Any, _inputs: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if hidden.shape[0] * hidden.shape[1] > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with one_gloo_rank(tmp):
        trainer = Trainer.create(options(a_model(tmp / "model"), micro_train_batch_size=4))
        layer = next(part for name, part in trainer._policy.named_modules() if name.endswith("layers.0"))
        layer.register_forward_hook(check)
        step = AStep()
        if rewards is not None:
            step.rewards[0] = rewards
        try:
            return trainer.execute(step.share())
        except (RuntimeError, ArithmeticError) as error:
            return error


def cut_smaller(tmp: Path, capsys: pytest.CaptureFixture[str]) -> str:
    result = trained(tmp, fitting=2 * AStep().longest)
    warn_of_shortage(result.lowered, step=1)
    return capsys.readouterr().out


async def published() -> str:
    transport = MemoryTransport()
    transport.listen(ENDPOINT)
    publisher = Publisher(
        transport.connect(ENDPOINT, name="trainer"), run="troubles", incarnation=INCARNATION, timeout_s=0.05
    )
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - compared by the catalogue
            await publisher.publish(version=PolicyVersion(1), step=1, layout=LAYOUT, fill=lambda _buffer: None)
    finally:
        publisher.close()
    return str(caught.value)


async def late() -> str:
    """What a replica says whose broadcaster does not answer."""
    transport = MemoryTransport()
    transport.listen(ENDPOINT)
    async with a_keeper(transport, timeout_s=0.05) as keeper:
        keeper.follow(a_desired(broadcaster=ENDPOINT))
        await eventually(lambda: keeper.progress is not None and keeper.progress.problem != "")
        assert keeper.progress is not None
        return keeper.progress.problem


async def grouped() -> str:
    """A receiver that is to join a group whose sender is not there."""
    child = await GroupChild.start(
        "receiver",
        (GLOO, "rollout-0", "incarnation-1"),
        peer="the broadcaster",
        environment=child_environment({}),
        timeout_s=120.0,
    )
    order = Form(group="g", host="127.0.0.1", port=1, bucket_bytes=64, test_bytes=64, timeout_s=1.0)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - compared by the catalogue
        await child.ask(order, Formed, timeout_s=1.0)
    return str(caught.value)


def damaged(_tmp: Path) -> str:
    source = np.arange(LAYOUT.num_bytes, dtype=np.uint8)
    manifest = build(LAYOUT, source)
    source[3] ^= 1
    with pytest.raises(Exception) as caught:  # noqa: PT011 - compared by the catalogue
        copy_verified(source, np.zeros_like(source), manifest)
    return str(caught.value)


def no_room(_tmp: Path) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - compared by the catalogue
        Segment(segment_name(run="troubles", incarnation="own", ordinal=1), 1 << 50)
    return str(caught.value)


def prompted(template: str, content: str, *, role: str = "user") -> str:
    renderer = Renderer(a_tokenizer(chat_template=template), max_prompt_length=4)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared by the catalogue
        renderer.prompt([{"role": role, "content": content}])
    return str(caught.value)


async def silent() -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; sys.stdin.read()", stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    ranks = RankSet(Incarnation("set"), 1, process, started_at=0.0, peers={0: b"rank-0"}, is_busy=True)
    try:
        return str(ranks.fault(100.0, silence_s=60.0))
    finally:
        with suppress(ProcessLookupError):
            await ranks.kill()


def cannot_wake(_tmp: Path) -> str:
    """What a colocated engine says that needs more than there is."""

    async def woken() -> str:
        runner = FakeRunner(random_table(vocab_size=20, seed=0), eos_token_ids=(0,))
        engine = GreedyEngine(runner, name="fake", settings=BatchSettings())
        with pytest.raises(Exception) as caught:  # noqa: PT011 - compared by the catalogue
            check_free(engine, ALL_TAGS)
        await engine.close()
        return str(caught.value)

    return asyncio.run(woken())


class GreedyEngine(ThreadedEngine):
    """An engine that needs more than any host has."""

    def needed_to_wake(self, tags: frozenset[MemoryTag]) -> int:
        return len(tags) << 60


def uncertified(_tmp: Path) -> str:
    run = Harness(stall_timeout_s=50.0)
    run.begin()
    run.wait(200.0)
    return str(run.image.reason)


RUNNING: Final[dict[str, Provocation]] = {
    "out-of-memory": lambda tmp: str(trained(tmp, fitting=2)),
    "engine-cannot-wake": cannot_wake,
    "weight-sync-timeout": lambda _tmp: asyncio.run(late()),
    "publish-timeout": lambda _tmp: asyncio.run(published()),
    "weights-damaged": damaged,
    "shared-memory-short": no_room,
    "poisoned-step": lambda tmp: str(trained(tmp, fitting=10**6, rewards=float("nan"))),
    "prompt-too-long": lambda _tmp: prompted(END_OF_TEMPLATE, "much too long"),
    "template-refuses-prompt": lambda _tmp: prompted(
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system prompt') }}{% endif %}x",
        "",
        role="system",
    ),
    "ranks-silent": lambda _tmp: asyncio.run(silent()),
    "no-certified-engine": uncertified,
}
"""Those that need nothing but a folder; `micro-batches-cut-smaller` is read from the log, `group-broken` takes long."""
