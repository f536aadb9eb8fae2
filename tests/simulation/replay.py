"""Runs seeds again, from the root of the repository.

`PYTHONPATH=tests python -m simulation.replay SEED [LINES]` shows how one seed went: its plan, its last events, its
verdict. `… FIRST:LAST` runs many and names those that break a rule.
"""

import sys

from simulation.plan import plan_of
from simulation.world import Broken, World, run_seed


def main(arguments: list[str]) -> int:
    """Run what is asked for; 1 if a rule is broken."""
    if not arguments:
        print(__doc__)
        return 2
    first, _colon, last = arguments[0].partition(":")
    if last:
        return _many(int(first), int(last))
    return _one(int(first), lines=int(arguments[1]) if len(arguments) > 1 else 60)


def _one(seed: int, *, lines: int) -> int:
    print(plan_of(seed))
    world = World(plan_of(seed), trace_length=lines)
    try:
        state = world.run()
        print(world.trace)
        run_seed(seed)
    except Broken as error:
        print(error)
        return 1
    print(f"seed {seed}: {state} after {world.agenda.now:.1f} s of virtual time and {world.num_notes} notes")
    return 0


def _many(first: int, last: int) -> int:
    num_broken = 0
    for seed in range(first, last + 1):
        try:
            run_seed(seed)
        except Broken as error:
            num_broken += 1
            print(str(error).splitlines()[0][:300])
    print(f"{num_broken} of {last - first + 1} seeds broke a rule")
    return 1 if num_broken else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
