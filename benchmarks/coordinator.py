"""What a lease costs the coordinator, and how many it settles per second, as rollout replicas grow from 1 to 1,000.

The real coordinator (core, ledger with synchronous=FULL, group commit, journal) in one process with fake rollouts that
answer at once over the in-memory transport, so that its own work is all there is to see. A lease is settled once all
its samples (256 tokens each) are on disk and their acknowledgements have reached the rollout. Rollouts and coordinator
share one thread: leases per second are a lower bound, and acknowledgement times are those of a coordinator that is
never idle. Costs are processor time; heartbeats, which come by the second and not by the lease, are counted apart.

    python benchmarks/coordinator.py [--replicas 1 10 100 1000] [--groups 2048] [--group-size 8] [--steps 2]
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from coordinator_site import Clocks, Site
from results_file import RESULTS, write_results

from tetrad_telemetry.logs import configure

TIMEOUT_S: Final = 300.0


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 10, 100, 1000], help="numbers of rollouts")
    parser.add_argument("--groups", type=int, default=2048, help="groups of a training step (default %(default)s)")
    parser.add_argument("--group-size", type=int, default=8, help="samples of a group (default %(default)s)")
    parser.add_argument("--steps", type=int, default=2, help="training steps (default %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    arguments = parser.parse_args()
    configure(service="benchmark", level="error")
    metrics: dict[str, float] = {}
    for replicas in arguments.replicas:
        found = asyncio.run(measure(replicas, arguments.groups, arguments.group_size, arguments.steps))
        for name, value in found.items():
            print(f"{f'replicas_{replicas}_{name}':60} {value:12,.3f}", file=sys.stderr)
        metrics |= {f"replicas_{replicas}_{name}": value for name, value in found.items()}
    metrics |= growth(metrics, arguments.replicas)
    print(write_results("coordinator", metrics, packages=("numpy", "pyarrow"), folder=arguments.results))


async def measure(replicas: int, groups: int, group_size: int, steps: int) -> dict[str, float]:
    """Run some training steps with so many replicas."""
    samples = groups * group_size * steps
    with tempfile.TemporaryDirectory(prefix="tetrad-bench-", dir=_disk()) as name:
        began = time.perf_counter()
        # A step more than is measured, so that the run's end is not.
        opened = Site.opened(
            Path(name), num_replicas=replicas, batch_size=groups, group_size=group_size, num_steps=steps + 1
        )
        async with opened as site:
            await site.settle(1, timeout_s=TIMEOUT_S)
            started = time.perf_counter()
            await site.settle(samples, timeout_s=TIMEOUT_S)
            seconds = time.perf_counter() - started
            clocks, commits = site.clocks, site.performer.committer
            assert commits is not None
            return summary(
                clocks.acknowledge_s[:samples],
                leases=groups * steps,
                seconds=seconds,
                clocks=clocks,
            ) | {"first_acknowledgement_after_s": started - began, "samples_per_commit": samples / commits.num_commits}


def summary(acknowledge_s: Sequence[float], *, leases: int, seconds: float, clocks: Clocks) -> dict[str, float]:
    """Figures of one number of replicas."""
    cuts = statistics.quantiles(acknowledge_s, n=100)
    return {
        "leases_per_s": leases / seconds,
        "samples_per_s": len(acknowledge_s) / seconds,
        "acknowledge_p50_ms": cuts[49] * 1e3,
        "acknowledge_p99_ms": cuts[98] * 1e3,
        "core_us_per_lease": clocks.core_s / leases * 1e6,
        "coordinator_us_per_lease": clocks.shell_s / leases * 1e6,
        "core_us_per_heartbeat": clocks.core_beats_s / max(clocks.beats, 1) * 1e6,
        "coordinator_us_per_heartbeat": clocks.shell_beats_s / max(clocks.beats, 1) * 1e6,
    }


def growth(metrics: dict[str, float], replicas: Sequence[int]) -> dict[str, float]:
    """The cost of a lease with the most replicas, in units of that with the fewest."""
    few, many = min(replicas), max(replicas)
    if few == many:
        return {}
    return {
        f"{part}_cost_per_lease_at_{many}_replicas_ratio_to_{few}_replica": metrics[
            f"replicas_{many}_{part}_us_per_lease"
        ]
        / metrics[f"replicas_{few}_{part}_us_per_lease"]
        for part in ("core", "coordinator")
    }


def _disk() -> Path:
    """A folder on the disk that runs live on; a temporary file system in memory would make fsync free."""
    folder = Path(__file__).parent.parent / "outputs"
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
