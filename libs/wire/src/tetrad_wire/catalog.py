"""The one table: kind on the wire ↔ message class."""

from typing import Final

import msgspec
import numpy as np

from tetrad_wire.messages import episodes, groups, joining, leases, membership, refusals, steps, weights

CLASSES: Final[dict[str, type[msgspec.Struct]]] = {
    "hello": membership.Hello,
    "heartbeat": membership.Heartbeat,
    "desired": membership.Desired,
    "bye": membership.Bye,
    "refused": refusals.Refused,
    "ask_run": joining.AskRun,
    "run_described": joining.RunDescribed,
    "lease_granted": leases.LeaseGranted,
    "leases_renewed": leases.LeasesRenewed,
    "lease_returned": leases.LeaseReturned,
    "lease_revoked": leases.LeaseRevoked,
    "sample_finished": leases.SampleFinished,
    "samples_acknowledged": leases.SamplesAcknowledged,
    "open_episodes": episodes.OpenEpisodes,
    "episodes_opened": episodes.EpisodesOpened,
    "episodes_refused": episodes.EpisodesRefused,
    "step_episode": episodes.StepEpisode,
    "episode_stepped": episodes.EpisodeStepped,
    "close_episodes": episodes.CloseEpisodes,
    "publish_version": weights.PublishVersion,
    "version_accepted": weights.VersionAccepted,
    "version_refused": weights.VersionRefused,
    "pull_version": weights.PullVersion,
    "version_offered": weights.VersionOffered,
    "version_unavailable": weights.VersionUnavailable,
    "pull_chunk": weights.PullChunk,
    "version_chunk": weights.VersionChunk,
    "segment_released": weights.SegmentReleased,
    "test_link": groups.TestLink,
    "link_echoed": groups.LinkEchoed,
    "form_group": groups.FormGroup,
    "group_opened": groups.GroupOpened,
    "group_refused": groups.GroupRefused,
    "follow_sending": groups.FollowSending,
    "sending_ended": groups.SendingEnded,
    "rank_ready": steps.RankReady,
    "execute_step": steps.ExecuteStep,
    "step_progressed": steps.StepProgressed,
    "step_credited": steps.StepCredited,
    "step_executed": steps.StepExecuted,
    "step_failed": steps.StepFailed,
    "rank_failed": steps.RankFailed,
    "publish_weights": steps.PublishWeights,
    "weights_published": steps.WeightsPublished,
    "publish_failed": steps.PublishFailed,
    "save_checkpoint": steps.SaveCheckpoint,
    "checkpoint_copied": steps.CheckpointCopied,
    "checkpoint_saved": steps.CheckpointSaved,
    "checkpoint_failed": steps.CheckpointFailed,
    "move_state": steps.MoveState,
    "state_moved": steps.StateMoved,
}

KINDS: Final[dict[type[msgspec.Struct], str]] = {cls: kind for kind, cls in CLASSES.items()}


def _array_fields(cls: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(name for name, kind in cls.__annotations__.items() if kind is np.ndarray)


ARRAY_FIELDS: Final[dict[type[msgspec.Struct], tuple[str, ...]]] = {cls: _array_fields(cls) for cls in KINDS}
"""The fields of a message that ride as buffers; always its own, never those of a part of it."""
