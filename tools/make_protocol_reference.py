"""Write `docs/reference/protocol.md` from the message classes; `--check` only says whether it is current."""

import argparse
import ast
import enum
import inspect
import sys
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Final

import msgspec
import numpy as np

from tetrad_wire import PROTOCOL_VERSION, ids
from tetrad_wire.arrays import DTYPES
from tetrad_wire.catalog import KINDS
from tetrad_wire.envelope import BufferSpec, Header
from tetrad_wire.errors import Violation
from tetrad_wire.limits import Limits
from tetrad_wire.messages import episodes, groups, leases, membership, steps, weights

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "reference" / "protocol.md"
RULES: Final = Path(__file__).with_name("protocol_rules.md")
TOPICS: Final[Mapping[str, ModuleType]] = {
    "Membership": membership,
    "Work": leases,
    "Episodes": episodes,
    "Weights": weights,
    "Links and groups": groups,
    "Steps": steps,
}
PLAIN_TYPES: Final = {int: "integer", float: "float", str: "text", bool: "boolean", object: "any", type(None): "nil"}


def main() -> int:
    """Write the page, or return 1 if it would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not current")
    arguments = parser.parse_args()
    page = render()
    if not arguments.check:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        print(f"{PAGE.relative_to(ROOT)} is not current: run tools/make_protocol_reference.py", file=sys.stderr)
        return 1
    return 0


def render() -> str:
    """The page."""
    return RULES.read_text(encoding="utf-8").format(
        version=PROTOCOL_VERSION,
        header=fields_table(Header),
        buffers=fields_table(BufferSpec),
        dtypes=", ".join(f"`{name}`" for name in DTYPES),
        limits=limits_table(),
        violations=members_table(Violation),
        kinds=index() + "".join(topic(name, module) for name, module in TOPICS.items()),
    )


def index() -> str:
    """Every kind with the first sentence of its class."""
    rows = ((f"[`{kind}`](#{kind})", sentence(cls)) for cls, kind in KINDS.items())
    return table(("kind", "what it says"), rows) + "\n"


def topic(name: str, module: ModuleType) -> str:
    """One module: its messages, then the parts and sets that they use."""
    classes = [cls for cls in vars(module).values() if inspect.isclass(cls) and cls.__module__ == module.__name__]
    messages = [cls for cls in classes if cls in KINDS]
    parts = [cls for cls in classes if issubclass(cls, msgspec.Struct) and cls not in KINDS]
    sets = [cls for cls in classes if issubclass(cls, enum.StrEnum)]
    text = f"\n### {name}\n\n{inspect.getdoc(module)}\n"
    for cls in messages:
        text += f"\n#### {KINDS[cls]}\n\n{inspect.getdoc(cls)}\n\n{fields_table(cls)}\n{checks(cls)}"
    for part in parts:
        text += f"\n#### {part.__name__}\n\nA part of messages. {inspect.getdoc(part)}\n\n{fields_table(part)}\n"
    for closed in sets:
        text += f"\n#### {closed.__name__}\n\nA closed set. {inspect.getdoc(closed)}\n\n{members_table(closed)}\n"
    return text


def checks(cls: type[msgspec.Struct]) -> str:
    """What must hold between the fields, in the words of the check."""
    check = vars(cls).get("__post_init__")
    return f"\nWhat must hold: {' '.join((inspect.getdoc(check) or '').split())}\n" if check else ""


def fields_table(cls: type[msgspec.Struct]) -> str:
    """The fields of a class, with the sentences under them in its source."""
    hints, sentences = typing.get_type_hints(cls), sentences_of(cls)
    rows = (
        (
            f"`{field.name}`",
            type_name(hints[field.name]),
            default_of(field),
            sentences.get(field.name) or meaning_of(hints[field.name]),
        )
        for field in msgspec.structs.fields(cls)
    )
    return table(("field", "type", "default", "meaning"), rows)


def members_table(cls: type[enum.StrEnum]) -> str:
    """The values of a closed set."""
    sentences = sentences_of(cls)
    if not sentences:
        return ", ".join(f"`{member.value}`" for member in cls)
    return table(("value", "meaning"), ((f"`{member.value}`", sentences.get(member.name, "")) for member in cls))


def limits_table() -> str:
    """The default limits."""
    sentences = sentences_of(Limits)
    rows = ((f"`{name}`", f"{getattr(Limits(), name):,}", sentences[name]) for name in sentences)
    return table(("limit", "value", "meaning"), rows)


def type_name(hint: Any) -> str:
    """A type as a reader in another language knows it."""
    if isinstance(hint, typing.NewType):
        return type_name(hint.__supertype__)
    if typing.get_origin(hint) is tuple:
        return f"list of {type_name(typing.get_args(hint)[0])}"
    if typing.get_origin(hint) is dict:
        return f"map of text to {type_name(typing.get_args(hint)[1])}"
    if isinstance(hint, UnionType):
        return " or ".join(type_name(part) for part in typing.get_args(hint))
    if hint is np.ndarray:
        return "buffer"
    return PLAIN_TYPES.get(hint) or f"[{hint.__name__}](#{hint.__name__.lower()})"


def meaning_of(hint: Any) -> str:
    """What a type says about any field that has it."""
    if isinstance(hint, typing.NewType):
        return sentences_in(ast.parse(inspect.getsource(ids))).get(hint.__name__, "")
    is_ours = inspect.isclass(hint) and issubclass(hint, msgspec.Struct | enum.StrEnum)
    return sentence(hint) if is_ours else ""


def default_of(field: msgspec.structs.FieldInfo) -> str:
    """What a missing field means."""
    if field.required:
        return "required"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    match value:
        case None:
            return "nil"
        case bool():
            return f"`{str(value).lower()}`"
        case "":
            return "empty"
        case () | {}:
            return "empty"
        case enum.StrEnum():
            return f"`{value.value}`"
        case _:
            return f"`{value}`"


def sentences_of(cls: type) -> dict[str, str]:
    """The text under each field or member of a class, from its source."""
    definition = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(definition, ast.ClassDef)
    return sentences_in(definition)


def sentences_in(definition: ast.ClassDef | ast.Module) -> dict[str, str]:
    """The text under each assignment."""
    sentences: dict[str, str] = {}
    name = ""
    for node in definition.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=field)) | ast.Assign(targets=[ast.Name(id=field)]):
                name = field
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                sentences[name] = " ".join(text.split())
                name = ""
            case _:
                name = ""
    return sentences


def sentence(cls: type) -> str:
    """The first line of a class's docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = tuple(head)
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
