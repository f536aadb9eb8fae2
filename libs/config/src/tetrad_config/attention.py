"""Attention: which GPUs SGLang's attention backends run on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Capability = tuple[int, int]
"""Of a GPU, as CUDA counts: (8, 0) is an A100, (9, 0) an H100 or H200, (10, 0) a B200."""


@dataclass(frozen=True, slots=True)
class Range:
    """Compute capabilities, both ends included."""

    lowest: Capability
    highest: Capability

    def __contains__(self, capability: Capability) -> bool:
        return self.lowest <= capability <= self.highest

    def __str__(self) -> str:
        ends = [".".join(map(str, end)) for end in (self.lowest, self.highest)]
        return (
            f"compute capability {ends[0]} or more"
            if self.highest == ANY
            else f"compute capability {' to '.join(ends)}"
        )


ANY: Final = (99, 9)
BACKENDS: Final = {
    # SGLang's own error names the lower end only: on Blackwell it fails as well.
    "fa3": Range((8, 0), (9, 9)),
    "flashinfer": Range((7, 5), ANY),
}
"""Those that SGLang ends with an assertion for elsewhere; of the others nothing is known here."""


def unfit(backend: object, capabilities: tuple[Capability, ...]) -> Capability | None:
    """Return the first GPU's capability that the backend does not run on; None where it runs, or nothing is known.

    >>> unfit("fa3", ((9, 0), (10, 0))), unfit("flashinfer", ((10, 0),))
    ((10, 0), None)
    """
    known = BACKENDS.get(str(backend))
    return None if known is None else next((one for one in capabilities if one not in known), None)
