"""Composition root of the coordinator: reads the run's configuration and builds every part."""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tetrad_config import CoordinatorSettings, RunConfig
from tetrad_config.correction import DynamicSamplingType
from tetrad_learner.coordinator.checkpoints import Checkpoint, Checkpoints
from tetrad_learner.coordinator.core import Core, CoreConfig
from tetrad_learner.coordinator.core.config import Sampling
from tetrad_learner.coordinator.core.keys import GroupKey
from tetrad_learner.coordinator.core.skipping import SkipError, skipped
from tetrad_learner.coordinator.evaluation import ALL
from tetrad_learner.coordinator.hosts import host_address
from tetrad_learner.coordinator.loading import Loading
from tetrad_learner.coordinator.loggers.guarded import Failures
from tetrad_learner.coordinator.loggers.opening import METRICS, check_loggers, open_loggers
from tetrad_learner.coordinator.mailroom import Mailroom
from tetrad_learner.coordinator.memory_ledger import MemoryLedger
from tetrad_learner.coordinator.payloads import Payloads
from tetrad_learner.coordinator.performer import Performer
from tetrad_learner.coordinator.registry import Registry
from tetrad_learner.coordinator.reporting import Reporting, seconds_since_start
from tetrad_learner.coordinator.reward_swaps import RewardSwapMetrics, RewardSwaps
from tetrad_learner.coordinator.run_folder import RunFolder, check_same_run, open_ledger
from tetrad_learner.coordinator.sample_table import SampleTables
from tetrad_learner.coordinator.service import Coordinator, restored_core
from tetrad_learner.coordinator.store import Store
from tetrad_learner.coordinator.summary import draw_curve, read_records, write_summary
from tetrad_learner.coordinator.tasks import Tasks, hard_timeout_s
from tetrad_learner.coordinator.wait_watch import PAGE, WaitMetrics, WaitWatch
from tetrad_learner.rank_environment import LOOPBACK, rank_environment
from tetrad_runtime.channels import ChannelMetrics
from tetrad_runtime.exits import ConfigFault, DataFault, ExitCode
from tetrad_runtime.network import interface_with
from tetrad_runtime.wiring import open_transport
from tetrad_telemetry.exporter import Health, Pages, serve
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.looplag import watch_event_loop
from tetrad_telemetry.metrics import Metrics
from tetrad_trajectories.cursor import steps_per_epoch
from tetrad_trajectories.dataset import Dataset
from tetrad_trajectories.errors import DatasetError
from tetrad_transport import Listener, ZmqTransport
from tetrad_transport.keys import KeyRole
from tetrad_wire.ids import RunId
from tetrad_wire.messages.joining import RunDescribed
from tetrad_wire.messages.membership import RunState

log = get_logger(__name__)


async def serve_coordinator(settings: CoordinatorSettings, config: RunConfig, drain: asyncio.Event) -> ExitCode:
    """Run the coordinator of one run to its end."""
    check_loggers(config, os.environ)
    folder = RunFolder(settings.run_dir)
    folder.lock()
    checkpoints = Checkpoints(
        Path(config.trainer.ckpt_path),
        max_kept=config.trainer.max_ckpts_to_keep,
        scores=_logged_scores(folder, config.trainer.best_ckpt_metric),
    )
    store = open_ledger(folder, config, checkpoints)
    training, evaluation = read_datasets(config)
    _check_run(store, config, training)
    check_poison(store, folder, skip_step=settings.skip_step)
    transport = open_transport(settings, KeyRole.COORDINATOR)
    metrics = Metrics("learner", version=version("tetrad-learner"))
    with _closing(transport, store):
        listener = transport.listen(settings.bind)
        listener.stamp.run = store.meta("run") or ""
        listener.stamp.epoch = store.begin_epoch()
        tasks = Tasks(config, training, evaluation)
        registry = Registry(RunId(listener.stamp.run))
        performer = Performer(
            config=config,
            folder=folder,
            store=store,
            registry=registry,
            tasks=tasks,
            mailroom=Mailroom(
                listener, registry, tasks, secret=store.meta("secret") or "", about=_description(settings, registry.run)
            ),
            listener=listener,
            checkpoints=checkpoints,
            loading=_loading(store, folder, checkpoints),
            reporting=_reporting(
                metrics,
                config,
                folder,
                run=listener.stamp.run,
                epoch_steps=_steps_per_epoch(config, training),
                checkpoint=checkpoints.newest(),
            ),
            memory=MemoryLedger(metrics),
            rewards=RewardSwaps(RewardSwapMetrics(metrics), registry, folder.path),
            payloads=Payloads(),
            handle=lambda _event: None,
            spawn=lambda _work: None,
            num_steps=_num_steps(config, training),
            steps_per_epoch=_steps_per_epoch(config, training),
            rank_environment=_rank_environment(settings, config),
            on_end=lambda _change: None,
        )
        core = _core(performer, epoch=listener.stamp.epoch)
        waits = WaitWatch(core, registry, WaitMetrics(metrics), ranks=lambda: performer.ranks)
        pages = _pages(core, metrics, listener, waits)
        async with serve(pages, host=settings.metrics_host, port=settings.metrics_port):
            lag = asyncio.create_task(watch_event_loop(metrics))
            code = await Coordinator(performer, core, waits).run(drain)
            lag.cancel()
            await asyncio.to_thread(performer.reporting.close)
        if core.state is RunState.ENDED:
            await asyncio.to_thread(_summarise, performer, config)
        listener.close()
        return code


def _core(performer: Performer, *, epoch: int) -> Core:
    """The core of this run, as the ledger left it."""

    def grader_of(key: GroupKey, pinned: str) -> str | None:
        return performer.registry.grader_version(performer.tasks.prompt(key).env_class, pinned=pinned)

    core = Core(
        core_config(performer.config, num_steps=performer.num_steps),
        epoch=epoch,
        grader_of=grader_of,
        evaluation_sizes=[task.num_samples for task in performer.tasks.evaluation],
    )
    return restored_core(core, performer, now=asyncio.get_running_loop().time())


def _reporting(
    metrics: Metrics,
    config: RunConfig,
    folder: RunFolder,
    *,
    run: str,
    epoch_steps: int,
    checkpoint: Checkpoint | None,
) -> Reporting:
    reporting = Reporting(
        metrics,
        open_loggers(config, folder=folder.path, run=run, failures=Failures(metrics)),
        steps_per_epoch=epoch_steps,
        tables=SampleTables(interval=config.trainer.log_example_interval),
        samples_per_step=config.trainer.train_batch_size * config.generator.n_samples_per_prompt,
        logged_step=_last_logged_step(folder),
        logged_rounds=_logged_rounds(folder),
        checkpoint_step=checkpoint.step if checkpoint is not None else 0,
    )
    reporting.checkpoint_interval.set(max(0, config.trainer.ckpt_interval))
    return reporting


def _pages(core: Core, metrics: Metrics, listener: Listener, waits: WaitWatch) -> Pages:
    """What the exporter shows: metrics, how the run does, and what it waits for."""
    channels = ChannelMetrics(metrics)

    def readiness() -> Health:
        is_ready = core.state in (RunState.RUNNING, RunState.DRAINING, RunState.ENDED)
        return Health(ok=is_ready, detail=core.state.value)

    def render() -> bytes:
        channels.update("coordinator", listener.statistics())
        metrics.service_ready.set(readiness().ok)
        return metrics.render()

    def why() -> bytes:
        return waits.page(asyncio.get_running_loop().time())

    def health() -> Health:
        return Health(ok=True, detail=core.state.value)

    return Pages(metrics=render, health=health, readiness=readiness, others={PAGE: why})


def _description(settings: CoordinatorSettings, run: RunId) -> RunDescribed:
    return RunDescribed(run=run, name=settings.run_dir.name, config=settings.run_config_path.read_text())


def _rank_environment(settings: CoordinatorSettings, config: RunConfig) -> dict[str, str]:
    interface = LOOPBACK
    if config.trainer.placement.policy_num_nodes > 1:
        interface = interface_with(host_address(settings.bind))
    return rank_environment(settings, os.environ, coordinator=settings.bind, interface=interface)


def core_config(config: RunConfig, *, num_steps: int) -> CoreConfig:
    """The numbers of the core, from the run's configuration."""
    trainer, generator = config.trainer, config.generator
    return CoreConfig(
        batch_size=trainer.train_batch_size,
        group_size=generator.n_samples_per_prompt,
        num_steps=num_steps,
        max_staleness=trainer.fully_async.max_staleness_steps,
        checkpoint_interval=trainer.ckpt_interval,
        evaluation_interval=trainer.eval_interval,
        is_evaluated_first=trainer.eval_before_train,
        is_evaluated_last=trainer.eval_interval > 0,
        evaluation_timeout_s=max(600.0, trainer.stall_timeout),
        progress_timeout_s=generator.lease_progress_timeout,
        hard_timeout_s=hard_timeout_s(config),
        stall_timeout_s=trainer.stall_timeout,
        sampling=_sampling(trainer.algorithm.dynamic_sampling.type),
        max_sample_batches=trainer.algorithm.dynamic_sampling.max_sample_batches,
        min_replace_ratio=trainer.algorithm.dynamic_sampling.min_replace_ratio,
        max_drops_per_step=max(64, 2 * trainer.train_batch_size),
        is_colocated=trainer.placement.colocate_all,
        is_deterministic=generator.deterministic,
    )


def _sampling(asked: DynamicSamplingType | None) -> Sampling:
    return Sampling.KEEP if asked is None else Sampling(asked.value)


def _steps_per_epoch(config: RunConfig, training: Dataset | None) -> int:
    if training is None:
        return 0
    return steps_per_epoch(num_rows=len(training), batch_size=config.trainer.train_batch_size)


def _num_steps(config: RunConfig, training: Dataset | None) -> int:
    steps = _steps_per_epoch(config, training) * config.trainer.epochs
    return min(steps, config.trainer.max_steps) if config.trainer.max_steps else steps


def read_datasets(config: RunConfig) -> tuple[Dataset | None, list[tuple[str, Dataset]]]:
    """Read what is trained on, if anything, and what is evaluated, by name; raises ConfigFault or DataFault."""
    names = [Path(file).stem for file in config.data.val_data]
    if len(names) != len(set(names)):
        raise ConfigFault(f"data.val_data: scores go by the names of files, and {names} are not different; rename one")
    if ALL in names:
        raise ConfigFault(f"data.val_data: {ALL!r} is the name of the scores over all files; rename that file")
    # Evaluation alone reads no training data: nobody need have it.
    has_training = config.trainer.epochs > 0 and bool(config.data.train_data)
    try:
        training = Dataset.read(config.data.train_data) if has_training else None
        evaluation = [(name, Dataset.read([file])) for name, file in zip(names, config.data.val_data, strict=True)]
    except (DatasetError, OSError) as error:
        raise DataFault(str(error)) from error
    for file in training.empty if training is not None else ():
        log.warning("training_file_empty", file=str(file), fix="remove it from data.train_data, or make it again")
    return training, evaluation


def _check_run(store: Store, config: RunConfig, training: Dataset | None) -> None:
    trainer, generator = config.trainer, config.generator
    identity = {
        "trainer.seed": trainer.seed,
        "trainer.train_batch_size": trainer.train_batch_size,
        "generator.n_samples_per_prompt": generator.n_samples_per_prompt,
    }
    for key, value in identity.items():
        check_same_run(store, key=key, value=str(value), what=key)
    if training is not None:
        check_same_run(store, key="dataset", value=training.hash, what="the hash of the training data")


def check_poison(store: Store, folder: RunFolder, *, skip_step: int | None) -> None:
    """Skip a poisoned step where that was asked for; raise ConfigFault for one that was not."""
    if skip_step is not None:
        try:
            store.commit(skipped(store.image(), skip_step), [])
        except SkipError as error:
            raise ConfigFault(str(error)) from error
    poisoned = store.image().poisoned
    if poisoned:
        step = min(poisoned)
        raise ConfigFault(
            f"step {step} gave a non-finite loss or gradient and is not executed again: look into it with "
            f"`tetrad replay --dump {folder.path / 'poisoned' / f'step_{step}'}`, go on without its samples with "
            f"--skip-step {step}"
        )


def _loading(store: Store, folder: RunFolder, checkpoints: Checkpoints) -> Loading:
    origin = store.meta("origin")
    return Loading(
        checkpoints=checkpoints,
        journal=folder.journal,
        run=store.meta("run") or "",
        origin=Path(origin) if origin else None,
    )


def _last_logged_step(folder: RunFolder) -> int:
    records = read_records(folder.path / METRICS)
    return max((step for step, metrics in records if "train/mean_reward" in metrics), default=0)


def _logged_scores(folder: RunFolder, metric: str | None) -> dict[int, float]:
    """Of each evaluated step; what was reported last of a step counts."""
    records = read_records(folder.path / METRICS)
    return {step: metrics[metric] for step, metrics in records if metric is not None and metric in metrics}


def _logged_rounds(folder: RunFolder) -> Iterator[int]:
    for step, metrics in read_records(folder.path / METRICS):
        if any(name.startswith("eval") for name in metrics):
            yield step


def _summarise(performer: Performer, config: RunConfig) -> None:
    """Write summary.json and curve.png of a run that has ended."""
    folder = performer.folder.path
    records = list(read_records(folder / METRICS))
    evaluations = [(step, metrics) for step, metrics in records if any(name.startswith("eval") for name in metrics)]
    fates = performer.store.fates()
    steps = max((step for step, metrics in records if "train/mean_reward" in metrics), default=0)
    draw_curve(records, folder / "curve.png", title=f"{config.trainer.run_name}: reward over {steps} steps")
    seconds = seconds_since_start()
    num_trained = fates.get("sealed", 0)
    summary: dict[str, object] = {
        **_scores(evaluations, "accuracy", "eval_sampled/all/mean_reward"),
        **_scores(evaluations, "greedy", "eval/all/mean_reward"),
        "seconds": round(seconds, 2),
        "steps": steps,
        "samples_per_second": round(performer.reporting.num_samples / seconds, 2),
        "weight_versions": performer.store.num_versions(),
        "samples_drawn": sum(fates.values()),
        "samples_trained": num_trained,
        "samples_dropped": fates.get("dropped", 0),
        "samples_dropped_by_reason": performer.store.drops(),
        "samples_evaluated": performer.reporting.num_evaluated,
        "seed": config.trainer.seed,
    }
    if config.trainer.placement.colocate_all:
        summary["device_phases"] = performer.memory.table()
    write_summary(folder / "summary.json", json.loads(json.dumps(summary)))


def _scores(evaluations: list[tuple[int, Mapping[str, float]]], prefix: str, name: str) -> dict[str, object]:
    scores = [metrics[name] for _step, metrics in evaluations if name in metrics]
    if not scores:
        return {}
    return {f"{prefix}_before": round(scores[0], 4), f"{prefix}_after": round(scores[-1], 4)}


@contextmanager
def _closing(transport: ZmqTransport, store: Store) -> Iterator[None]:
    try:
        yield
    finally:
        transport.close()
        store.close()
