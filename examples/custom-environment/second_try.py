"""An environment of one's own: a wrong answer may be corrected once, for part of the reward."""

import re

NUMBER = re.compile(r"-?\d+")


class SecondTry:
    """Asks a question again where the last number of the answer is not the right one."""

    # Equal answers lead to equal rewards: an episode whose worker died may be played again from its transcript.
    replayable = True

    def __init__(self, env_config, extras):
        self._truth = str(extras["reward_spec"]["ground_truth"]).strip()
        self._second_reward = float(env_config.get("second_reward", 0.5))
        self._question = None
        self._tries = 0

    def init(self, prompt):
        """Keep the question; the policy is shown the prompt as it is."""
        self._question = prompt[-1]
        return prompt, {}

    def step(self, action):
        """Grade one answer."""
        self._tries += 1
        numbers = NUMBER.findall(action.replace(",", ""))
        is_right = bool(numbers) and numbers[-1] == self._truth
        is_over = is_right or self._tries == 2
        reward = (1.0 if self._tries == 1 else self._second_reward) if is_right else 0.0
        return {
            "observations": [] if is_over else [self._question],
            "reward": reward,
            "done": is_over,
            "metadata": {"extracted": numbers[-1] if numbers else None, "scores": {"first_try": float(reward == 1.0)}},
        }

    def get_metrics(self):
        """Numbers about the episode; an evaluation writes them beside each answer."""
        return {"tries": self._tries}
