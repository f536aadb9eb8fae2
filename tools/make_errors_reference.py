"""Write `docs/reference/errors.md` from the catalogue of troubles."""

import sys
from collections.abc import Iterator
from typing import Final

from make_protocol_reference import table
from reference_page import publish

from tetrad_cli.troubles.catalog import IMPOSSIBLE, TROUBLES
from tetrad_cli.troubles.trouble import Trouble, When

HEAD: Final = """# Troubles

<!-- Made by tools/make_errors_reference.py from tetrad_cli.troubles; do not edit. -->

What goes wrong most, what the message means, and the smallest change that helps. A run that fails names the entry
here; `tetrad explain NAME` prints it. What a process returns: [exit codes](exit-codes.md).
"""
AFTER: Final = """## What cannot happen

Troubles of the tutorial and of other systems that Tetrad does not have.
"""


def main() -> int:
    """Write the page, or return 1 if it would change."""
    return publish("errors.md", render(), maker="tools/make_errors_reference.py")


def render() -> str:
    """The page."""
    parts = [HEAD, *(part for when in When for part in chapter(when)), impossible()]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def chapter(when: When) -> Iterator[str]:
    """What shows at one time of a run's life."""
    found = [trouble for trouble in TROUBLES.values() if trouble.when is when]
    title = when.value[0].upper() + when.value[1:]
    rows = ((f"[{trouble.slug}](#{trouble.slug})", trouble.title) for trouble in found)
    yield f"## {title}\n\n" + table(("name", "trouble"), rows)
    yield from (entry(trouble) for trouble in found)


def entry(trouble: Trouble) -> str:
    """One trouble."""
    end = "the run goes on" if trouble.code is None else f"exit code {trouble.code.value} (`{trouble.code.name}`)"
    return (
        f"### {trouble.slug}\n\n**{trouble.title}.** {trouble.cause}\n\n**Fix.** {trouble.fix}\n\n"
        f"Said by `{trouble.raised}`; {end}."
    )


def impossible() -> str:
    """What others have."""
    rows = ((one.title, one.elsewhere, one.why) for one in IMPOSSIBLE)
    return AFTER + "\n" + table(("trouble", "elsewhere", "why not here"), rows)


if __name__ == "__main__":
    sys.exit(main())
