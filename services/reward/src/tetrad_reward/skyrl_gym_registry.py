"""Environments that skyrl-gym knows by name, where that package is installed.

The only importer of skyrl_gym. A class of one's own needs no registry: `module:Class` names it.
"""

import importlib
from importlib.util import find_spec
from typing import Final

PACKAGE: Final = "skyrl_gym"
NAMES: Final = ("aime", "gsm8k_multi_turn", "lcb", "search", "searchcode", "text2sql")
"""What the package registers, besides names that are bundled here."""


def is_installed() -> bool:
    """Whether the package can be imported."""
    return find_spec(PACKAGE) is not None


def registered_environment(name: str) -> object:
    """Return the class behind one of NAMES; raises ModuleNotFoundError where the package is absent."""
    from skyrl_gym.envs.registration import registry

    module, _, attribute = registry[name].entry_point.partition(":")
    found: object = getattr(importlib.import_module(module), attribute)
    return found
