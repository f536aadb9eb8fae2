"""Write `docs/reference/configuration.md` from the models of the run file and of the process settings."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from make_protocol_reference import table
from pydantic.fields import FieldInfo
from reference_page import publish

import tetrad_config
from tetrad_config.aliases import ALIASES
from tetrad_config.elsewhere import TRL, VERL, in_skyrl
from tetrad_config.field_words import default_words, type_words
from tetrad_config.notices import CONDITIONAL
from tetrad_config.process import SERVICES
from tetrad_config.readers import readers_of
from tetrad_config.refused import NOT_BUILT, OUT_OF_SCOPE, UNBUILT_LOGGERS, Refusable
from tetrad_config.run import DERIVED, RunConfig
from tetrad_config.schema import fields, section_of
from tetrad_config.section import DottedKey, Section
from tetrad_config.settings import flag_of
from tetrad_config.units import unit_of
from tetrad_config.variables import variable_of

PRESETS: Final = Path(tetrad_config.__file__).parent / "presets" / "experiment"
HEAD: Final = """# Configuration

<!-- Made by tools/make_configuration_reference.py from the models; do not edit. -->

A run is one YAML file with the keys below. Sources, the later one wins: built-in defaults, the file and its `defaults`
list, presets (`+experiment=cpu`), environment variables, the command line (`a.b=c`, `+a.b=c`, `~a.b`).
The variable of a key has two underscores for each dot: `trainer.max_steps` is `TETRAD_TRAINER__MAX_STEPS`.
Unknown keys, unknown `TETRAD_*` variables, wrong types and values out of range are errors that name the key, the
value and the limit. `tetrad plan` prints what a file comes to.

Sizes are counted as in SkyRL: `train_batch_size`, `policy_mini_batch_size` and `eval_batch_size` are prompts,
`micro_…_per_gpu` are samples. *Read by* says who acts on a key: the learner's coordinator or its trainer ranks,
rollouts, rewards, the broadcaster, or the launcher. – stands where nobody does: the key is refused, follows another, or
has no effect, which a run that sets it says. What other systems call a key is [below](#names-elsewhere).
"""


def main() -> int:
    """Write the page, or return 1 if it would change."""
    return publish("configuration.md", render(), maker="tools/make_configuration_reference.py")


def render() -> str:
    """The page."""
    parts = [HEAD, presets(), *run_file(RunConfig, ""), derived(), conditional(), aliases(), names_elsewhere()]
    parts += [refused(), settings()]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def presets() -> str:
    """The bundled presets with the comment on top of each."""
    rows = ((f"`+experiment={path.stem}`", " ".join(_comment(path))) for path in sorted(PRESETS.glob("*.yaml")))
    return "## Presets\n\n" + table(("preset", "what it is"), rows)


def _comment(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return
        yield line.removeprefix("#").strip()


def run_file(section: type[Section], prefix: str) -> Iterator[str]:
    """One table for each section that holds values, in the order of the models."""
    values = {name: field for name, field in section.model_fields.items() if section_of(field) is None}
    if values:
        about = (section.__doc__ or "").strip().partition("\n")[0]
        rows = (row_of(DottedKey(_join(prefix, name)), field) for name, field in values.items())
        yield f"## `{prefix}`\n\n{about}\n\n" + table(("key", "type", "unit", "default", "read by", "meaning"), rows)
    for name, field in section.model_fields.items():
        below = section_of(field)
        if below is not None:
            yield from run_file(below, _join(prefix, name))


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def row_of(key: DottedKey, field: FieldInfo) -> tuple[str, ...]:
    """One key of the run file."""
    kind, default, meaning = described(field)
    return f"`{key}`", kind, unit_of(key), default, ", ".join(readers_of(key)) or "–", meaning


def described(field: FieldInfo) -> tuple[str, str, str]:
    """Type, default and meaning of a field."""
    # A bar would end the cell.
    return type_words(field).replace(" | ", ", "), f"`{default_words(field)}`", field.description or ""


def derived() -> str:
    """Keys that follow others."""
    rows = ((f"`{key}`", f"`{source}`") for key, (source, _) in DERIVED.items())
    return "## Keys that follow another\n\nWhere they are absent or null.\n\n" + table(("key", "follows"), rows)


def conditional() -> str:
    """Keys that have no effect in some runs."""
    default = RunConfig()
    rows = [
        (", ".join(f"`{key}`" for key in row.keys), f"`{row.because(default)}`")
        for row in CONDITIONAL
        if not row.matters(default)
    ]
    about = "A run that sets one of these while it has no effect says so. With the defaults, these have none:"
    return f"## Keys that matter only sometimes\n\n{about}\n\n" + table(("key", "because"), rows)


def aliases() -> str:
    """Other spellings."""
    rows = ((f"`{alias}`", f"`{key}`") for alias, key in ALIASES.items())
    return "## Aliases\n\nHonoured, and announced.\n\n" + table(("spelling", "key"), rows)


def names_elsewhere() -> str:
    """What other systems call the keys."""
    same = "the same"
    rows = (
        (
            f"`{key}`",
            same if in_skyrl(key) == key else _quoted(in_skyrl(key)),
            _quoted(VERL.get(key)),
            _quoted(TRL.get(key)),
        )
        for key in fields()
    )
    about = (
        "SkyRL 0.4.0, verl's `ppo_trainer.yaml`, TRL 1.16 (`GRPOConfig`, or what is named). Equal names do not always "
        "mean the same: [from SkyRL, verl or TRL](../how-to/migrate.md) has the differences."
    )
    return "## Names elsewhere\n\n" + about + "\n\n" + table(("key", "SkyRL", "verl", "TRL"), rows)


def _quoted(names: str | None) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", ")) if names else ""


def refused() -> str:
    """What cannot be obeyed, and why."""
    return "\n\n".join(
        (
            "## Refused values\n\nThese keys exist; any value but the accepted ones is an error with the reason.",
            _refusals(NOT_BUILT),
            table(
                ("`trainer.logger`", "why it is refused"),
                ((f"`{name}`", why) for name, why in UNBUILT_LOGGERS.items()),
            ),
            "## Keys of SkyRL that Tetrad lacks\n\nThey may stand in a file with the value that changes nothing.",
            _refusals(OUT_OF_SCOPE),
        )
    )


def _refusals(refusals: Mapping[str, Refusable]) -> str:
    def accepted(refusable: Refusable) -> str:
        return ", ".join(f"`{'null' if value is None else value}`" for value in refusable.accepted)

    rows = ((f"`{DottedKey(key)}`", accepted(one), one.reason) for key, one in refusals.items())
    return table(("key", "accepted", "why nothing else"), rows)


def settings() -> str:
    """The settings of service processes."""
    text = (
        "## Settings of service processes\n\n"
        "Where a process stands among the others; the launcher sets them. Flags win over variables.\n"
    )
    for cls in SERVICES:
        rows = (
            (f"`{variable_of(name)}`", f"`{flag_of(name)}`", *described(field))
            for name, field in cls.model_fields.items()
        )
        about = (cls.__doc__ or "").strip().partition("\n")[0]
        text += f"\n### {cls.__name__}\n\n{about}\n\n" + table(("variable", "flag", "type", "default", "meaning"), rows)
        text += "\n"
    return text


if __name__ == "__main__":
    sys.exit(main())
