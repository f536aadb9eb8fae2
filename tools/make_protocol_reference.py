"""Write `docs/reference/protocol.md` from the message classes; `--check` only says whether it is current."""

import argparse
import ast
import enum
import inspect
import json
import sys
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Final

import msgspec
import numpy as np

from tetrad_wire import PROTOCOL_VERSION, Message, encode, ids
from tetrad_wire.arrays import DTYPES
from tetrad_wire.catalog import KINDS
from tetrad_wire.codec import unpack
from tetrad_wire.envelope import BufferSpec, Header
from tetrad_wire.errors import Violation
from tetrad_wire.limits import Limits
from tetrad_wire.messages import episodes, groups, joining, leases, membership, refusals, steps, weights

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "reference" / "protocol.md"
RULES: Final = Path(__file__).with_name("protocol_rules.md")
TOPICS: Final[Mapping[str, ModuleType]] = {
    "Membership": membership,
    "Before joining": joining,
    "Refusals by key": refusals,
    "Work": leases,
    "Episodes": episodes,
    "Weights": weights,
    "Links and groups": groups,
    "Steps": steps,
}
_REWARD: Final = ids.Incarnation("5f0c3a9d1b2e4f68")
_HELLO: Final = membership.Hello(
    role=membership.Role.REWARD,
    name="reward-node",
    incarnation=_REWARD,
    endpoint="tcp://127.0.0.1:7001",
    host="host-1",
    pid=4711,
    reward=membership.RewardOffer(
        environments=(membership.EnvironmentOffer(name="arithmetic", grader_version="node-sum-1"),),
        credit=4096,
        edition=0,
    ),
)
_DESIRED: Final = membership.Desired(
    generation=12, state=membership.RunState.RUNNING, run=ids.RunId("demo-1f2e3d4c"), heartbeat_s=1.0, liveness_s=6.0
)
_BEAT: Final = membership.Heartbeat(incarnation=_REWARD, generation=12, credit=4096)
_OPEN: Final = episodes.OpenEpisodes(
    episodes=("4294967301-0-0",),
    env_class="arithmetic",
    messages=(leases.ChatMessage("user", "37+58="),),
    ground_truth="95",
    seeds=(1,),
    grader_version="node-sum-1",
)
_OPENED: Final = episodes.EpisodesOpened(prompts=(_OPEN.messages,), grader_version="node-sum-1")
_STEP: Final = episodes.StepEpisode(episode="4294967301-0-0", turn=0, action="95")
_STEPPED: Final = episodes.EpisodeStepped(
    episode="4294967301-0-0", turn=0, outcome=episodes.GradeOutcome.OK, reward=1.0, extracted="95"
)
_BYE: Final = membership.Bye(incarnation=_REWARD, reason="drained")
PLAIN_TYPES: Final = {
    int: "integer",
    float: "float",
    str: "text",
    bytes: "bytes",
    bool: "boolean",
    object: "any",
    type(None): "nil",
}


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
        examples=examples(),
        kinds=index() + "".join(topic(name, module) for name, module in TOPICS.items()),
    )


def examples() -> str:
    """The life of a reward service that grades one sample, as JSON, and the bytes of its shortest message."""
    run = {"run": "demo-1f2e3d4c", "epoch": 1}
    said = (
        ("reward → coordinator", Message(body=_HELLO, id=1)),
        ("coordinator → reward", Message(body=_DESIRED, id=7, **run)),
        ("reward → coordinator, every second", Message(body=_BEAT, id=2, **run)),
        ("rollout → reward", Message(body=_OPEN, id=1, **run)),
        ("reward → rollout", Message(body=_OPENED, id=3, reply_to=1, **run)),
        ("rollout → reward", Message(body=_STEP, id=2, **run)),
        ("reward → rollout", Message(body=_STEPPED, id=4, reply_to=2, **run)),
        ("reward → coordinator, when it leaves", Message(body=_BYE, id=5, **run)),
    )
    parts = [f"{who}:\n\n```json\n{_as_json(message)}\n```\n" for who, message in said]
    frame = bytes(encode(said[-1][1])[0]).hex(" ")
    lines = "\n".join(frame[start : start + 96].rstrip() for start in range(0, len(frame), 96))
    return "\n".join([*parts, f"The last one as bytes:\n\n```text\n{lines}\n```"])


def _as_json(message: Message) -> str:
    """The header on one line, each field of the body on one; without what has its default."""
    header = unpack(bytes(encode(message)[0]))
    head = json.dumps({name: value for name, value in header.items() if name not in {"body", "buffers"}})
    body = _told(message.body)
    assert isinstance(body, dict), "a message has fields"
    fields = ",\n".join(f'  "{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in body.items())
    return f'{head[:-1]}, "body": {{\n{fields}\n}}}}'


def _told(value: object) -> object:
    """Plain data of a message or a part of one, without what has its default."""
    if isinstance(value, msgspec.Struct):
        kept: dict[str, object] = {}
        for field in msgspec.structs.fields(value):
            told = _told(getattr(value, field.name))
            if field.required or told not in (_told(field.default), {}, []):
                kept[field.name] = told
        return kept
    if isinstance(value, tuple):
        return [_told(one) for one in value]
    return value


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
    if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union:
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
