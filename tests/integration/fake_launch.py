"""A launcher of fake roles: argv is the run directory and the roles as JSON."""

import json
import os
import sys
from pathlib import Path

from tetrad_cli.launch.logfiles import Rotation
from tetrad_cli.launch.restarts import RestartPolicy
from tetrad_cli.launch.roles import OnExit, Role
from tetrad_cli.launch.session import Plan, launch
from tetrad_runtime.backoff import Backoff
from tetrad_runtime.exits import Fault

FAKE_ROLE = Path(__file__).with_name("fake_role.py")


def role_of(spec: dict, run_dir: Path) -> Role:
    arguments = ["--diary", str(run_dir / "diary"), *spec.pop("arguments", [])]
    backoff = Backoff(first_s=0.1, limit_s=0.4)
    policy = RestartPolicy(backoff=backoff, clean_exit_delay_s=0.2, **spec.pop("restarts", {}))
    return Role(
        argv=(os.environ.get("FAKE_PYTHON", sys.executable), "-S", str(FAKE_ROLE), *arguments),
        env={"ROLE_PORT": "{port}", "ROLE_NAME": "{name}"},
        on_exit=OnExit(spec.pop("on_exit", "restart")),
        restarts=policy,
        **{"grace_s": 2.0, "start_deadline_s": 10.0, "max_replicas": 8, **spec},
    )


def main() -> int:
    run_dir, specs = Path(sys.argv[1]), json.loads(sys.argv[2])
    roles = [role_of(spec, run_dir) for spec in specs]
    plan = Plan(
        run=run_dir.name,
        run_dir=run_dir,
        roles=lambda _runtime: roles,
        env=dict(os.environ),
        announce=lambda text: print(text, flush=True),
        rotation=Rotation(**json.loads(os.environ.get("FAKE_ROTATION", "{}"))),
        on_up=lambda: print("UP", flush=True),
    )
    try:
        return launch(plan)
    except Fault as fault:
        print(fault, flush=True)
        return fault.exit_code


if __name__ == "__main__":
    sys.exit(main())
