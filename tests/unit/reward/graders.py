"""Graders as a user would write them, good and hostile; named by path, never importing the service."""

import os
import signal
import threading
import time


class Countdown:
    """A duck-typed environment of several turns: say n, n − 1, … 1."""

    replayable = True

    def __init__(self, env_config=None, extras={}):  # noqa: B006 - as skyrl-gym's own environments do
        self.left = int(extras["reward_spec"]["ground_truth"])
        self.tries = 0

    def init(self, prompt):
        return [*prompt, {"role": "user", "content": f"Count down from {self.left}."}], {"left": self.left}

    def step(self, action):
        self.tries += 1
        reward = 1.0 if action == str(self.left) else 0.0
        self.left -= 1
        done = self.left == 0
        observations = [] if done else [{"role": "user", "content": f"{self.left} left"}]
        return {"observations": observations, "reward": reward, "done": done, "metadata": {}}

    def get_metrics(self):
        return {"tries": self.tries, "name": "countdown"}


class ForgetfulCountdown(Countdown):
    replayable = False


class Fickle(Countdown):
    """Says that it can be replayed, and cannot."""

    def step(self, action):
        output = super().step(action)
        output["observations"] = [{"role": "user", "content": str(time.monotonic_ns())}]
        return output


class Configured:
    def __init__(self, env_config, extras):
        self.config = env_config

    def step(self, action):
        return {"observations": [], "reward": self.config.bonus + self.config["bonus"], "done": True, "metadata": {}}


class BrokenOnOpen:
    def __init__(self, env_config, extras):
        raise KeyError("no such column")

    def step(self, action):
        raise AssertionError


class NoStep:
    pass


def length(response, ground_truth):
    return float(len(response))


def with_extras(response: str, ground_truth: str | None, *, level: int, prompt: list[dict]) -> float:
    return level + len(prompt)


def with_any_extras(response, ground_truth, **extras):
    return float(len(extras))


def one_argument(response):
    return 1.0


async def asynchronous(response, ground_truth):
    return 1.0


def hostile(response, ground_truth):  # noqa: RET503 - what it does not return is the point
    """Does what the response says."""
    match response:
        case "loop":
            while True:
                pass
        case "sleep":
            time.sleep(3600)
        case "exit":
            os._exit(3)
        case "sys_exit":
            raise SystemExit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise RuntimeError("on purpose")
        case "allocate":
            return float(len(bytearray(1 << 40)))
        case "text":
            return "1.0"
        case "none":
            return None  # what a forgotten return gives
        case "nan":
            return float("nan")
        case "print":
            print("x" * 10_000)
            return 1.0
        case "write":
            for descriptor in range(3, 1024):
                try:
                    os.write(descriptor, b"\xff" * 64)
                except OSError:
                    continue
            time.sleep(3600)
        case "fork":
            if os.fork() == 0:
                time.sleep(3600)
            os._exit(0)
        case "fork_bomb":
            # 64 processes: as many as the machine that runs the tests can bear without its other users.
            for _ in range(6):
                os.fork()
            time.sleep(3600)
        case "flood":
            for _ in range(4096):
                print("x" * 4095)
            raise RuntimeError("16 MiB are printed")
        case "thread":
            threading.Thread(target=time.sleep, args=(3600,)).start()
            return 1.0
        case _:
            return 1.0
