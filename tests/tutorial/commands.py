"""Words behind the commands of a block: what makes a run small, and what the product says it needs on this machine."""

import re
import shlex
from collections.abc import Sequence
from typing import Final

COMMAND: Final = re.compile(r"^(python -m (skyrl_train|tetrad)\.entrypoints\.main_base|tetrad (train|up))(?= |$)")
# What the command line says under "this machine cannot run it as it is".
FIX: Final = re.compile(r"to run it here: the same command with (.*)$", re.MULTILINE)


def joined(text: str) -> list[str]:
    """Return the lines of a block, those that end in a backslash joined with the next.

    >>> joined("a \\\\\\n  b\\nc\\n")
    ['a   b', 'c']
    """
    return text.replace("\\\n", " ").splitlines()


def with_words(text: str, words: Sequence[str]) -> str:
    """Return a block with words behind each of its commands that trains."""
    behind = "".join(f" {shlex.quote(word)}" for word in words)
    return "\n".join(line + behind if COMMAND.match(line) else line for line in joined(text)) + "\n"


def overrides_of(text: str) -> list[list[str]]:
    """Return the arguments of each command of a block that trains, as a shell would split them.

    >>> overrides_of("ls\\ntetrad train --config-name x a.b=1\\n")
    [['--config-name', 'x', 'a.b=1']]
    """
    return [shlex.split(line[found.end() :], comments=True) for line in joined(text) if (found := COMMAND.match(line))]


def fix_in(said: str) -> list[str] | None:
    """Return the words with which a command says that it would run here; None where it does not say so."""
    found = FIX.search(said)
    return shlex.split(found[1]) if found else None
