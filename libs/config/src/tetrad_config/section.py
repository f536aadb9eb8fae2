"""Section: the base of every block of the run file, and the value types that blocks are written in.

Owns strictness: frozen, no unknown key, no silent coercion. Knows no key and no source of values.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, NewType

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

DottedKey = NewType("DottedKey", str)
"""Where a value stands in the run file, such as `trainer.policy.model.path`."""

OFF: Final = -1
"""SkyRL's word for "never" or "no limit" where a count or an interval is expected."""


class Section(BaseModel):
    """A block of the run file. The text under a field is its description in `tetrad plan` and the reference."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        # `epochs: yes` would otherwise be read as epochs=1, because YAML 1.1 makes it a boolean.
        strict=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )


def _expand(value: JsonValue | Path) -> JsonValue | Path:
    return Path(value).expanduser() if isinstance(value, str) and value else value


def _expand_text(value: str) -> str:
    """`~` is ours to expand: transformers, pyarrow and SGLang do not."""
    return str(Path(value).expanduser()) if value.startswith("~") else value


def _as_list(value: JsonValue) -> JsonValue:
    """One value where a list is expected means a list of one; null means none."""
    match value:
        case None:
            return []
        case str():
            return [value]
        case _:
            return value


def _is_on_or_off(value: int) -> int:
    if value == OFF or value >= 1:
        return value
    raise ValueError("must be at least 1, or -1 for never")


def _empty_if_null(value: JsonValue) -> JsonValue:
    return {} if value is None else value


def null_means(word: str) -> BeforeValidator:
    """Return a validator that reads YAML's null as `word` (SkyRL writes both `none` and `null`)."""
    replace: Callable[[JsonValue], JsonValue] = lambda value: word if value is None else value  # noqa: E731
    return BeforeValidator(replace)


Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]
Interval = Annotated[int, AfterValidator(_is_on_or_off)]
"""A number of steps, samples or tokens, or -1 for never or no limit."""
FilePath = Annotated[Path, BeforeValidator(_expand)]
"""A file or folder of this host; `~` is expanded."""
FileOrHubName = Annotated[str, Field(min_length=1), AfterValidator(_expand_text)]
"""A local file or folder, or a name on the Hugging Face Hub; `~` is expanded."""
Texts = Annotated[tuple[str, ...], Field(strict=False), BeforeValidator(_as_list)]
"""A list of texts; one text alone is a list of one."""
Files = Annotated[tuple[FileOrHubName, ...], Field(strict=False), BeforeValidator(_as_list)]
"""A list of files; one alone is a list of one; null is the empty list."""
Options = Annotated[dict[str, JsonValue], BeforeValidator(_empty_if_null)]
"""Free-form keys that a library checks itself."""
