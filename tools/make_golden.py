"""Write the golden bytes of the wire, `tests/golden/wire/<kind>.bin`.

Within a protocol version a golden file changes only where its kind was given an optional field: peers of that version
are out there. New kinds get a file; one that differs is refused unless `--replace` says that this is so, or that the
protocol version changes too.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from tetrad_testing.golden import golden_message, join
from tetrad_wire import encode
from tetrad_wire.catalog import CLASSES

FOLDER: Final = Path(__file__).parents[1] / "tests" / "golden" / "wire"


def main() -> int:
    """Write what is missing; return 1 if a file would change and may not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replace", action="store_true", help="overwrite files that differ")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    changed = [kind for kind in CLASSES if not _write(kind, may_replace=arguments.replace)]
    for kind in changed:
        print(f"{FOLDER / kind}.bin would change: new protocol version, or a mistake?", file=sys.stderr)
    return 1 if changed else 0


def _write(kind: str, *, may_replace: bool) -> bool:
    path = FOLDER / f"{kind}.bin"
    golden = join(encode(golden_message(kind)))
    if path.exists() and path.read_bytes() != golden and not may_replace:
        return False
    path.write_bytes(golden)
    return True


if __name__ == "__main__":
    sys.exit(main())
