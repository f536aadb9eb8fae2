"""Values that the builders share, so that messages of one test fit together."""

from typing import Any, Final

from tetrad_wire.ids import Incarnation, RunId

# What a builder takes: any field of its message, by name.
Changes = Any

RUN: Final = RunId("run-1")
INCARNATION: Final = Incarnation("0123456789abcdef")
DIGEST: Final = "00112233445566778899aabbccddeeff"
