"""Names under which loggers write what the trainer ranks report: the tutorial's, then SkyRL's, then our own."""

from collections.abc import Mapping

NAMES: Mapping[str, tuple[str, ...]] = {
    # ── policy ──
    "policy_loss": ("train/policy_loss", "policy/policy_loss"),
    "kl_loss": ("train/kl_loss", "policy/policy_kl"),
    "loss": ("policy/final_loss",),
    "entropy": ("policy/policy_entropy",),
    "clip_ratio": ("policy/loss_metrics/clip_ratio",),
    "ppo_kl": ("policy/loss_metrics/ppo_kl",),
    "grad_norm": ("policy/grad_norm",),
    "lr": ("policy/policy_lr",),
    # ── rewards and advantages ──
    "final_rewards": ("loss/avg_final_rewards",),
    "advantages_mean": ("loss/avg_raw_advantages",),
    "advantages_abs_mean": ("loss/avg_raw_advantages_abs",),
    "advantages_std": ("loss/std_raw_advantages",),
    "reward_kl": ("loss/avg_kl",),
    "reward_kl_max": ("loss/avg_kl_max",),
    "kl_coef": ("loss/kl_loss_coef",),
    # ── critic ──
    "critic_loss": ("critic/critic_loss",),
    "critic_grad_norm": ("critic/grad_norm",),
    "critic_lr": ("critic/critic_lr",),
    "values_mean": ("critic/values_mean",),
    "values_clipfrac": ("critic/values_clipfrac",),
    "explained_variance": ("critic/explained_variance",),
    # ── learner against rollout ──
    "logprob_diff_mean": ("policy/rollout_train_logprobs_abs_diff_mean",),
    "logprob_diff_std": ("policy/rollout_train_logprobs_abs_diff_std",),
    "logprob_diff_p99": ("policy/rollout_train_logprobs_abs_diff_p99",),
    "logprob_diff_max": ("policy/rollout_train_logprobs_abs_diff_max",),
    # ── time ──
    "seconds_old_logprobs": ("timing/old_logprobs",),
    "seconds_reference_logprobs": ("timing/reference_logprobs",),
    "seconds_values": ("timing/values",),
    "seconds_critic_forward_backward": ("timing/critic_forward_backward",),
    "seconds_critic_optimizer": ("timing/critic_optimizer",),
    "seconds_forward_backward": ("timing/forward_backward",),
    "seconds_optimizer": ("timing/optimizer",),
}


# Figures of the off-policy correction have SkyRL's names already.
CORRECTION = "correction_"


def logged_names(name: str) -> tuple[str, ...]:
    """Return the names of one figure.

    >>> logged_names("skipped_mini_batches"), logged_names("correction_is_ratio_mean")
    (('trainer/skipped_mini_batches',), ('policy/loss_metrics/is_ratio_mean',))
    """
    if name.startswith(CORRECTION):
        return (f"policy/loss_metrics/{name.removeprefix(CORRECTION)}",)
    return NAMES.get(name, (f"trainer/{name}",))
