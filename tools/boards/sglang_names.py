"""The metrics of SGLang that boards ask for, by kind: its names are its own, and change with its versions.

A test with the real SGLang looks for each on its page after traffic; boards may ask for no other.
"""

from collections.abc import Mapping
from typing import Final

SGLANG_KINDS: Final[Mapping[str, str]] = {
    "sglang:cache_hit_rate": "gauge",
    "sglang:inter_token_latency_seconds": "histogram",
    "sglang:num_queue_reqs": "gauge",
    "sglang:num_retracted_reqs": "gauge",
    "sglang:num_running_reqs": "gauge",
    "sglang:time_to_first_token_seconds": "histogram",
    "sglang:token_usage": "gauge",
}
