"""Identities that cross the wire."""

from typing import Final, NewType

RunId = NewType("RunId", str)
"""Name of a run, never used again."""
Incarnation = NewType("Incarnation", str)
"""Random name of one process start; a restart is a different peer."""
Draw = NewType("Draw", int)
"""Ordinal of the dataset cursor: the identity of a group."""
Token = NewType("Token", int)
"""Strictly increasing number of a lease; the larger one owns the group."""
PolicyVersion = NewType("PolicyVersion", int)
"""Never repeats or decreases within a run."""

NO_EPOCH: Final = 0
"""Coordinator epoch of a sender that has not met its coordinator yet."""
