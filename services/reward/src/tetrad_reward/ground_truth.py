"""Where a dataset row keeps its ground truth: `reward_spec.ground_truth`, as in SkyRL."""

from collections.abc import Mapping


def ground_truth_of(extras: Mapping[str, object]) -> str | None:
    """Return the row's ground truth, or None where it has none; raises ValueError where it is no text."""
    spec = extras.get("reward_spec")
    value = spec.get("ground_truth") if isinstance(spec, Mapping) else None
    if value is not None and not isinstance(value, str):
        raise ValueError(f"reward_spec.ground_truth is {type(value).__name__}; it must be text")
    return value


def require_ground_truth(extras: Mapping[str, object]) -> str:
    """Return the row's ground truth; raises ValueError where it is absent."""
    value = ground_truth_of(extras)
    if value is None:
        raise ValueError("the row has no reward_spec.ground_truth, and without one nothing can be graded")
    return value


def with_ground_truth(extras: Mapping[str, object], ground_truth: str | None) -> dict[str, object]:
    """Return the extras with the ground truth in its place; what `reward_spec` holds besides stays."""
    if ground_truth is None:
        return dict(extras)
    spec = extras.get("reward_spec")
    kept = dict(spec) if isinstance(spec, Mapping) else {"method": "rule"}
    return {**extras, "reward_spec": {**kept, "ground_truth": ground_truth}}
