"""Followers: keys whose number another one decides. Pure.

Reference and critic are sharded over the ranks of the policy, so each has as many as it. In a run file the policy's
number leads: who changes it alone, as the tutorial does, need not find the others. A number that gives way is
announced; one that was asked for more strongly than the policy's cannot be obeyed.

Engines that share the policy's GPUs are as many as fit on them. Where a run file splits each over several GPUs and
leaves their number as it was, again as the tutorial does, the number gives way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tetrad_config.errors import Problem
from tetrad_config.layer import Origin, OriginKind
from tetrad_config.section import DottedKey
from tetrad_config.tree import Tree, lookup, placed

FOLLOWERS: Final[Mapping[DottedKey, DottedKey]] = {
    DottedKey(f"trainer.placement.{model}_{size}"): DottedKey(f"trainer.placement.policy_{size}")
    for model in ("ref", "critic")
    for size in ("num_nodes", "num_gpus_per_node")
}
"""Keys that follow another one, and that one."""
ENGINES: Final = DottedKey("generator.num_inference_engines")
SPLIT: Final = DottedKey("generator.inference_engine_tensor_parallel_size")
SHARED: Final = DottedKey("trainer.placement.colocate_all")
RANKS: Final = DottedKey("trainer.placement.policy_num_gpus_per_node")
_STRENGTH: Final = {kind: place for place, kind in enumerate(OriginKind)}


def follow_policy(tree: Tree, origins: Mapping[DottedKey, Origin]) -> tuple[Tree, list[str], list[Problem]]:
    """Give reference and critic the policy's numbers; return what gave way, and what cannot be obeyed."""
    notices: list[str] = []
    problems: list[Problem] = []
    for key, policy_key in FOLLOWERS.items():
        asked, given = lookup(tree, key), lookup(tree, policy_key)
        if asked == given or not isinstance(asked, int) or not isinstance(given, int):
            continue
        if _gives_way(key, policy_key, origins):
            notices.append(f"{key}={asked} gives way to {policy_key}={given}: they share the policy's ranks")
            tree = placed(tree, key, given)
        else:
            message = f"{asked} is not {policy_key}={given}, whose ranks they share; leave it out, or set {given}"
            problems.append(Problem(key=key, message=message))
    return tree, notices, problems


def fit_engines(tree: Tree, origins: Mapping[DottedKey, Origin]) -> tuple[Tree, list[str]]:
    """Make split engines as many as fit on the GPUs that they share; return what gave way."""
    engines, size, ranks = (lookup(tree, key) for key in (ENGINES, SPLIT, RANKS))
    if not (isinstance(engines, int) and isinstance(size, int) and isinstance(ranks, int)):
        return tree, []
    fitting, left_over = divmod(ranks, max(size, 1))
    is_settled = lookup(tree, SHARED) is not True or size <= 1 or engines * size == ranks or left_over
    if is_settled or not _gives_way(ENGINES, SPLIT, origins):
        return tree, []
    notice = f"{ENGINES}={engines} gives way to {SPLIT}={size}: {fitting} such engines share {RANKS}={ranks}"
    return placed(tree, ENGINES, fitting), [notice]


def _gives_way(key: DottedKey, policy_key: DottedKey, origins: Mapping[DottedKey, Origin]) -> bool:
    weaker, stronger = _strength(key, origins), _strength(policy_key, origins)
    return weaker < stronger or weaker == stronger == _STRENGTH[OriginKind.FILE]


def _strength(key: DottedKey, origins: Mapping[DottedKey, Origin]) -> int:
    origin = origins.get(key)
    return _STRENGTH[origin.kind if origin is not None else OriginKind.DEFAULT]
