"""The metrics that the design asks for, by name and label, as it named them; what is named otherwise says where it is.

A test compares this table with the code: nothing of it may be missing without a line of the reference page about it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

Labels = Mapping[str, Sequence[str]]
"""Values by label; none named where they are open."""

_ENDPOINT: Final[Labels] = {"endpoint": ()}
_GRADER: Final[Labels] = {"reward_fn": ()}

EVERYWHERE: Final[Mapping[str, Labels]] = {
    "service_ready": {},
    "event_loop_lag_seconds": {},
    "zmq_messages_total": {"endpoint": (), "direction": ()},
    "zmq_bytes_total": {"endpoint": (), "direction": ()},
    "zmq_send_failures_total": {"endpoint": (), "reason": ("unreachable", "full", "timeout")},
    "zmq_decode_failures_total": {"endpoint": (), "reason": ("schema", "version", "oversize", "auth")},
    "zmq_peers": _ENDPOINT,
}
"""Of every service."""

WANTED: Final[Mapping[str, Labels]] = {
    "rollout_groups_total": {"outcome": ("ok", "aborted", "error", "stale")},
    "rollout_samples_total": {"finish_reason": ("stop", "length", "abort")},
    "rollout_prompt_tokens_total": {},
    "rollout_generated_tokens_total": {},
    "rollout_queued_groups": {},
    "rollout_inflight_samples": {},
    "rollout_generate_duration_seconds": {},
    "rollout_response_tokens": {},
    "rollout_weight_version": {},
    "rollout_weight_update_duration_seconds": {"phase": ("pause", "transfer", "load", "flush", "resume")},
    "rollout_weight_update_failures_total": {"reason": ()},
    "rollout_time_seconds_total": {"state": ("busy", "paused", "idle")},
    "reward_samples_total": {"reward_fn": (), "outcome": ("scored", "failed")},
    "reward_score": _GRADER,
    "reward_batch_mean": _GRADER,
    "reward_batch_std": _GRADER,
    "reward_extractions_total": {"reward_fn": (), "result": ()},
    "reward_duration_seconds": _GRADER,
    "reward_failures_total": {"reward_fn": (), "reason": ("timeout", "crash", "invalid", "sandbox", "judge")},
    "reward_queued_samples": {},
    "reward_workers": {"state": ()},
    "gen_ai_client_operation_duration_seconds": {},
    "gen_ai_client_token_usage": {},
    "learner_steps_total": {},
    "learner_step_duration_seconds": {},
    "learner_phase_duration_seconds": {
        "phase": ("wait", "reference", "old_logprobs", "forward_backward", "optimizer", "publish", "checkpoint", "eval")
    },
    "learner_tokens_total": {"kind": ("prompt", "response", "padding")},
    "learner_policy_loss": {},
    "learner_kl_loss": {},
    "learner_entropy": {},
    "learner_grad_norm": {},
    "learner_clip_ratio": {},
    "learner_learning_rate": {},
    "learner_reward_mean": {},
    "learner_reward_std": {},
    "learner_logprob_difference_mean": {},
    "learner_logprob_difference_max": {},
    "learner_groups_total": {"outcome": ("used", "zero_variance", "stale", "duplicate", "invalid")},
    "learner_sample_staleness_versions": {},
    "learner_prompt_queue_groups": {},
    "learner_weight_version": {},
    "learner_cuda_memory_bytes": {"kind": ("allocated", "reserved", "peak")},
    "learner_mfu_ratio": {},
    "learner_last_checkpoint_timestamp_seconds": {},
    "learner_eval_score": {"dataset": ()},
    "broadcast_versions_total": {"transport": ()},
    "broadcast_bytes_total": {"transport": ("ipc", "nccl", "zmq")},
    "broadcast_duration_seconds": {"transport": (), "phase": ("gather", "send", "ack")},
    "broadcast_subscribers": {"state": ("current", "behind", "lost")},
    "broadcast_subscriber_lag_versions": {"replica": ()},
    "broadcast_failures_total": {"reason": ("timeout", "mismatch", "unreachable")},
    "supervisor_instances": {"role": (), "state": ()},
    "supervisor_restarts_total": {"role": ()},
}
"""Of one service each."""

_UPDATE: Final = "pause, transfer, load, flush and resume of a weight update"
_PARTS: Final = "old log-probs, forward and backward, optimizer"
_FAILED: Final = "grades that failed by crash, invalid result, sandbox, judge"
_JUDGE: Final = "GenAI conventions: duration and token usage of a judge's calls"
_DROPPED: Final = "groups that are stale, filtered, incomplete"
_COUNTED: Final = "duplicate and invalid samples"
_CUDA: Final = "memory of CUDA"
_SENDS: Final = "sends that failed as unreachable or by timeout"
_TRANSPORTS: Final = "transports ipc and zmq"
_HANDED: Final = "send and acknowledge of a broadcast"

ELSEWHERE: Final[Mapping[str, str]] = {
    "zmq_send_failures_total reason=unreachable": _SENDS,
    "zmq_send_failures_total reason=timeout": _SENDS,
    "zmq_decode_failures_total reason=auth": "messages that failed to authenticate",
    "rollout_samples_total finish_reason=abort": "finish reason abort",
    "rollout_weight_update_duration_seconds phase=pause": _UPDATE,
    "rollout_weight_update_duration_seconds phase=transfer": _UPDATE,
    "rollout_weight_update_duration_seconds phase=load": _UPDATE,
    "rollout_weight_update_duration_seconds phase=flush": _UPDATE,
    "rollout_weight_update_duration_seconds phase=resume": _UPDATE,
    "reward_failures_total reason=crash": _FAILED,
    "reward_failures_total reason=invalid": _FAILED,
    "reward_failures_total reason=sandbox": _FAILED,
    "reward_failures_total reason=judge": _FAILED,
    "gen_ai_client_operation_duration_seconds": _JUDGE,
    "gen_ai_client_token_usage": _JUDGE,
    "learner_phase_duration_seconds phase=wait": "phases wait and eval of a step",
    "learner_phase_duration_seconds phase=eval": "phases wait and eval of a step",
    "learner_phase_duration_seconds phase=reference": _PARTS,
    "learner_phase_duration_seconds phase=old_logprobs": _PARTS,
    "learner_phase_duration_seconds phase=forward_backward": _PARTS,
    "learner_phase_duration_seconds phase=optimizer": _PARTS,
    "learner_tokens_total kind=padding": "padding tokens",
    "learner_groups_total outcome=stale": _DROPPED,
    "learner_groups_total outcome=duplicate": _COUNTED,
    "learner_groups_total outcome=invalid": _COUNTED,
    "learner_sample_staleness_versions": "staleness in versions",
    "learner_cuda_memory_bytes": _CUDA,
    "broadcast_bytes_total transport=ipc": _TRANSPORTS,
    "broadcast_bytes_total transport=zmq": _TRANSPORTS,
    "broadcast_duration_seconds phase=send": _HANDED,
    "broadcast_duration_seconds phase=ack": _HANDED,
    "broadcast_subscribers state=lost": "engines that are lost",
}
"""What has another name here: the line of the reference page that says which."""


def wanted(labels_of: Mapping[str, Labels]) -> Iterator[str]:
    """Name everything that is asked for: metrics, their labels, and values of labels.

    >>> list(wanted({"zmq_peers": {"endpoint": ()}, "x_total": {"reason": ("full",)}}))
    ['zmq_peers', 'zmq_peers endpoint', 'x_total', 'x_total reason', 'x_total reason=full']
    """
    for name, labels in labels_of.items():
        yield name
        for label, values in labels.items():
            yield f"{name} {label}"
            yield from (f"{name} {label}={value}" for value in values)
