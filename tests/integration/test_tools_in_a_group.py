"""A group of `multiply` from lease to sample: real workers grade it, and what tools say is masked from the loss."""

import asyncio
import string
from contextlib import asynccontextmanager

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tetrad_reward.choice import Choice
from tetrad_reward.desk import Desk
from tetrad_reward.reception import Reception
from tetrad_reward.supply import WorkerLimits
from tetrad_reward.workers import Workers
from tetrad_rollout.engine.protocol import FinishReason, GeneratedSample, VersionSpan
from tetrad_rollout.group import GroupJob, Workshop
from tetrad_rollout.rendering import Renderer
from tetrad_rollout.rewards import RewardPool
from tetrad_testing.builders.leases import a_lease
from tetrad_transport import MemoryTransport
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.leases import ChatMessage
from tetrad_wire.messages.membership import EnvironmentOffer, RewardOffer, RewardRoute

ENDPOINT = "memory://reward"
SYMBOLS = ("<pad>", "<s>", "</s>", *string.printable)
END_ID = SYMBOLS.index("</s>")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def a_tokenizer():
    """One token for each character."""
    tokenizer = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(SYMBOLS)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE
    )


def spelled(text):
    return np.array([*map(SYMBOLS.index, text), END_ID], np.int32)


def a_call(name, a, b):
    return f'<tool_call>{{"name": "{name}", "arguments": {{"a": {a}, "b": {b}}}}}</tool_call>'


TURNS = (a_call("multiply", 37, 5), a_call("multiply", 370, 1), a_call("add", 185, 370), r"So \boxed{555}.")
RESULTS = ("185", "370", "555")


class Calculating:
    """A policy that works 37 * 15 out with its tools; which turn it is in, it reads from its context."""

    async def generate(self, request, on_progress=None):
        spoken = "".join(SYMBOLS[i] for i in request.prompt_ids).count("[assistant]") - 1
        ids = spelled(TURNS[spoken])
        logprobs = np.full(len(ids), -0.5, np.float32)
        span = VersionSpan(version=1, length=len(ids))
        one = GeneratedSample(token_ids=ids, logprobs=logprobs, finish_reason=FinishReason.STOP, spans=(span,))
        return tuple(one for _ in request.seeds)


@asynccontextmanager
async def a_workshop():
    transport, delivered = MemoryTransport(), []
    async with Workers(num_workers=1, limits=WorkerLimits(deadline_s=30.0)) as workers:
        reception = Reception(transport.listen(ENDPOINT), Desk(workers, Choice(env_class="multiply")))
        serving = asyncio.create_task(reception.run())
        loaded = await reception.desk.load("multiply")
        offer = EnvironmentOffer(name="multiply", grader_version=loaded.version)
        rewards = RewardPool(transport, name="rollout-0")
        route = RewardOffer(environments=(offer,), credit=64)
        rewards.follow([RewardRoute(name="reward-0", incarnation=Incarnation("r"), endpoint=ENDPOINT, offer=route)])
        shop = Workshop(
            engine=Calculating(),
            renderer=Renderer(a_tokenizer(), max_prompt_length=2000),
            rewards=rewards,
            incarnation=Incarnation("e"),
            grade_timeout_s=30.0,
            max_input_length=5000,
            is_non_stop_zeroed=False,
            deliver=delivered.append,
        )
        try:
            yield shop, delivered, loaded.version
        finally:
            serving.cancel()
            rewards.close()


async def test_tools_answer_in_a_sample_and_only_the_policys_own_tokens_are_trained_on():
    messages = (ChatMessage("user", "What is 37 * 15?"),)
    prompt = type(a_lease().prompt)(messages=messages, env_class="multiply", ground_truth="555")
    async with asyncio.timeout(60), a_workshop() as (shop, delivered, version):
        failure = await GroupJob(a_lease(prompt=prompt, max_turns=6, grader_version=version), shop).run()

    assert failure is None
    assert {(sample.reward, sample.num_turns) for sample in delivered} == {(1.0, 4)}
    for sample in delivered:
        ids = sample.token_ids[sample.prompt_length :]
        mask = sample.loss_mask[-len(ids) :].astype(bool)
        trained, observed = ("".join(SYMBOLS[i] for i in ids[where]) for where in (mask, ~mask))
        assert trained == "".join(f"{turn}</s>" for turn in TURNS)
        assert all(f"<tool_response>{result}</tool_response>" in observed for result in RESULTS)
        assert "tool_response" not in trained
        assert sample.metrics["tool_calls"] == 3.0
