"""An environment as a user of skyrl-gym writes it: a subclass of BaseTextEnv, with a group of tools."""

from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput
from skyrl_gym.tools.core import ToolGroup, tool


class Calculator(ToolGroup):
    def __init__(self):
        super().__init__(name="Calculator")

    @tool
    def square(self, number):
        return str(int(number) ** 2)


class Squares(BaseTextEnv):
    """Say `square N` to use the tool, anything else to answer."""

    def __init__(self, env_config, extras):
        super().__init__()
        self.ground_truth = extras["reward_spec"]["ground_truth"]
        self.max_turns = extras["max_turns"]
        self.bonus = env_config.bonus
        self.init_tool_groups([Calculator()])

    def step(self, action):
        self.turns += 1
        words = action.split()
        if words[:1] == ["square"] and self.turns < self.max_turns:
            said = self._execute_tool("Calculator", "square", words[1:])
            return BaseTextEnvStepOutput(
                observations=[{"role": "user", "content": said}], reward=0.0, done=False, metadata={}
            )
        reward = self.bonus if action == self.ground_truth else 0.0
        return BaseTextEnvStepOutput(observations=[], reward=reward, done=True, metadata={"answer": action})

    def get_metrics(self):
        return {"turns": self.turns}
