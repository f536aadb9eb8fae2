"""A reward of one's own, in one function: near misses earn something."""

import re

NUMBER = re.compile(r"-?\d+")


def close(response: str, ground_truth: str | None, **extras: object) -> float:
    """1 for the right number, less the farther the last number of the response is from it, 0 without a number."""
    numbers = NUMBER.findall(response.replace(",", ""))
    if not numbers or ground_truth is None:
        return 0.0
    return 1.0 / (1.0 + abs(int(numbers[-1]) - int(ground_truth)))
