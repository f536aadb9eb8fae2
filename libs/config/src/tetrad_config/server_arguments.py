"""SGLang's own arguments: what `generator.engine_init_kwargs` may name.

The installed release's are read from its source: to import it takes many seconds, and torch.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Final

OURS: Final = frozenset({"model_path", "skip_tokenizer_init", "stream_interval", "incremental_streaming_output"})
"""Arguments that the engine rests on and nobody may change."""
SOURCE: Final = Path("srt/server_args.py")
CLASS: Final = "ServerArgs"


def complaint(name: str, known: Collection[str]) -> str:
    """Return what is wrong with setting an argument, as the end of a sentence about it; empty where nothing is.

    >>> complaint("context_lenght", ["context_length", "model_path"])
    "is no argument of the installed SGLang's ServerArgs; did you mean context_length?"
    >>> complaint("context_length", ["context_length", "model_path"])
    ''
    """
    if name in OURS:
        return "may not be set: the engine rests on its own value of it"
    if name in known:
        return ""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"is no argument of the installed SGLang's ServerArgs{hint}"


def installed_arguments() -> frozenset[str] | None:
    """Return the fields of the installed ServerArgs; None where SGLang is not installed, or does not say them so."""
    spec = find_spec("sglang")
    if spec is None or spec.origin is None:
        return None
    try:
        tree = ast.parse((Path(spec.origin).parent / SOURCE).read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return None
    return next((_fields(node) for node in tree.body if isinstance(node, ast.ClassDef) and node.name == CLASS), None)


def _fields(node: ast.ClassDef) -> frozenset[str] | None:
    if node.bases:
        return None  # some are inherited
    annotated = (line.target for line in node.body if isinstance(line, ast.AnnAssign))
    return frozenset(target.id for target in annotated if isinstance(target, ast.Name))
