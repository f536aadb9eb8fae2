"""What can be said of a run that nobody keeps alive now. Pure but for one small file."""

import time
from pathlib import Path

from tetrad_cli.launch.ending import read_end
from tetrad_runtime.exits import describe_exit


def described(run_dir: Path) -> str:
    """Say that the run is over, since when and how; or that its launcher was killed, or that it never began."""
    end = read_end(run_dir)
    if end is not None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(end.at))
        who = f"{end.culprit}: " if end.culprit else ""
        last = f"; its last words: {end.last_words}" if end.last_words else ""
        return f"the run {run_dir.name} is over since {when}: {who}{end.reason} ({describe_exit(end.code)}){last}"
    if (run_dir / "logs" / "launcher.log").exists():
        return f"nothing runs in {run_dir}: its launcher was killed; `tetrad up` or `tetrad train` goes on with it"
    return f"nothing runs in {run_dir}, and nothing has"
