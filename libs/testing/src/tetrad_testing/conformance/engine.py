"""What every inference engine must do. Subclass `EngineConformance` and give it a `site` fixture.

class TestMyEngine(EngineConformance):
    @pytest.fixture
    def site(self) -> EngineSite: ...
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tetrad_testing.conformance.engine_site import EngineSite, TokenGate, eventually
from tetrad_testing.conformance.engine_sleep import SleepConformance
from tetrad_weights.canary import canary_tokens
from tetrad_wire.messages.weights import Canary

if TYPE_CHECKING:
    from tetrad_rollout.engine.protocol import GeneratedSample

MANY_TOKENS = 150


def tokens_of(samples: list[GeneratedSample]) -> list[list[int]]:
    return [sample.token_ids.tolist() for sample in samples]


class GenerationConformance:
    """Tokens, log-probs, seeds, stops."""

    async def test_tokens_logprobs_and_spans_are_aligned(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            samples = await engine.generate(site.a_request(seeds=(1, 2, 3)))

        assert len(samples) == 3
        for sample in samples:
            assert sample.token_ids.dtype == np.int32
            assert sample.logprobs.dtype == np.float32
            assert sample.token_ids.shape == sample.logprobs.shape == (sum(s.length for s in sample.spans),)

    @pytest.mark.parametrize("temperature", [1.0, 0.7, 1.6])
    async def test_logprobs_are_those_of_a_plain_forward_at_the_sampling_temperature(
        self, site: EngineSite, temperature: float
    ) -> None:
        requests = [site.a_request(i, temperature=temperature) for i in range(len(site.prompts))]

        async with site.engine() as engine:
            answers = await asyncio.gather(*map(engine.generate, requests))

        for request, samples in zip(requests, answers, strict=True):
            for sample in samples:
                site.check_logprobs(sample, request)

    async def test_filters_change_what_is_sampled_but_not_the_logprobs(self, site: EngineSite) -> None:
        request = site.a_request(top_k=3, top_p=0.9, min_p=0.05, seeds=range(1, 17), ignore_eos=True)

        async with site.engine() as engine:
            samples = await engine.generate(request)

        for sample in samples:
            site.check_logprobs(sample, request)
        assert len({sample.token_ids[0] for sample in samples}) <= 3

    async def test_temperature_zero_takes_the_most_likely_token_whatever_the_seed(self, site: EngineSite) -> None:
        request = site.a_request(temperature=0.0, seeds=(1, 99))

        async with site.engine() as engine:
            one, other = await engine.generate(request)
            sampled = await engine.generate(site.a_request(seeds=range(40), max_new_tokens=1))

        assert one.token_ids.tolist() == other.token_ids.tolist()
        site.check_logprobs(one, request)
        assert one.logprobs[0] >= max(sample.logprobs[0] for sample in sampled)

    async def test_a_seed_gives_the_same_sample_whatever_else_is_generated(self, site: EngineSite) -> None:
        site.needs_seeds()
        async with site.engine() as engine:
            alone = await engine.generate(site.a_request(seeds=(5, 6)))
            others = [engine.generate(site.a_request(i, seeds=(i,))) for i in range(1, len(site.prompts))]
            together, *_ = await asyncio.gather(engine.generate(site.a_request(seeds=(6, 7, 5))), *others)

        assert tokens_of([together[2], together[0]]) == tokens_of(alone)

    async def test_samples_of_a_group_share_the_prefix_and_differ(self, site: EngineSite) -> None:
        longest = max(range(len(site.prompts)), key=lambda i: len(site.prompts[i]))
        request = site.a_request(longest, seeds=range(8), max_new_tokens=20)

        async with site.engine() as engine:
            samples = await engine.generate(request)
            prefilled = engine.statistics().prompt_tokens

        size = request.prompt_ids.size
        assert size <= prefilled <= site.most_prefilled(prompt=size, num_samples=len(samples))
        assert len({tuple(tokens) for tokens in tokens_of(samples)}) > 1

    async def test_a_sample_ends_at_its_length(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            samples = await engine.generate(site.a_request(max_new_tokens=7, ignore_eos=True))

        assert {(len(sample.token_ids), sample.finish_reason) for sample in samples} == {(7, "length")}

    async def test_a_sample_ends_with_its_end_of_sequence_token(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            samples = await engine.generate(site.a_request(seeds=range(32), max_new_tokens=100))

        stopped = [sample for sample in samples if sample.finish_reason == "stop"]
        assert stopped, "no sample stopped within 100 tokens; choose prompts and weights that make it likely"
        for sample in stopped:
            assert sample.token_ids[-1] == site.eos_id
            assert site.eos_id not in sample.token_ids[:-1]

    async def test_a_stop_token_ends_the_sample_and_is_kept(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            (free,) = await engine.generate(site.a_request(seeds=(3,), temperature=0.0, ignore_eos=True))
            stop = int(free.token_ids[4])
            (stopped,) = await engine.generate(site.a_request(seeds=(3,), temperature=0.0, stop_token_ids=(stop,)))

        ends = [i for i, token in enumerate(free.token_ids.tolist()) if token in {stop, site.eos_id}]
        assert stopped.finish_reason == "stop"
        assert stopped.token_ids.tolist() == free.token_ids[: ends[0] + 1].tolist()

    async def test_a_stop_string_ends_the_sample_with_the_token_that_completes_it(self, site: EngineSite) -> None:
        fields: dict[str, Any] = {"seeds": (3,), "temperature": 0.0, "ignore_eos": True, "max_new_tokens": 20}
        async with site.engine() as engine:
            (free,) = await engine.generate(site.a_request(**fields))
            text = site.decode(free.token_ids[2:4].tolist())
            (stopped,) = await engine.generate(site.a_request(**fields, stop_strings=(text,)))

        assert stopped.finish_reason == "stop"
        assert text in site.decode(stopped.token_ids.tolist())
        assert text not in site.decode(stopped.token_ids[:-1].tolist())
        assert stopped.token_ids.tolist() == free.token_ids[: len(stopped.token_ids)].tolist()


class ServingConformance:
    """Queueing, progress, aborts, failures."""

    async def test_requests_beyond_the_batch_wait_and_are_all_answered(self, site: EngineSite) -> None:
        requests = [
            site.a_request(i % len(site.prompts), seeds=range(1 + i % 3), max_new_tokens=1 + i % 11) for i in range(30)
        ]

        async with site.engine(max_num_seqs=8) as engine:
            answers = await asyncio.gather(*map(engine.generate, requests))
            peak = engine.statistics().peak_running_samples

        assert peak <= 8
        for request, samples in zip(requests, answers, strict=True):
            assert len(samples) == len(request.seeds)
            for sample in samples:
                site.check_logprobs(sample, request)

    async def test_a_group_larger_than_the_batch_is_answered_whole(self, site: EngineSite) -> None:
        async with site.engine(max_num_seqs=3) as engine:
            samples = await engine.generate(site.a_request(seeds=range(8)))

        assert all(len(sample.token_ids) for sample in samples)

    async def test_requests_that_arrive_later_join_the_running_batch(self, site: EngineSite) -> None:
        first, late = site.a_request(0, max_new_tokens=MANY_TOKENS, ignore_eos=True), site.a_request(1)
        gate = TokenGate(20)

        async with site.engine() as engine:
            running = asyncio.create_task(engine.generate(first, gate))
            await gate.wait()
            late_samples = await engine.generate(late)
            first_samples = await running

        for request, samples in ((first, first_samples), (late, late_samples)):
            for sample in samples:
                site.check_logprobs(sample, request)

    async def test_progress_counts_up_and_names_each_finished_sample_once(self, site: EngineSite) -> None:
        gate = TokenGate(1)

        async with site.engine() as engine:
            samples = await engine.generate(site.a_request(), gate)

        counts = [report.num_tokens for report in gate.reports]
        finished = [index for report in gate.reports for index, _ in report.finished]
        assert counts == sorted(counts)
        assert counts[-1] == sum(len(sample.token_ids) for sample in samples)
        assert sorted(finished) == [0, 1, 2, 3]

    async def test_an_aborted_request_keeps_the_tokens_so_far(self, site: EngineSite) -> None:
        request, gate = site.a_request(max_new_tokens=MANY_TOKENS, ignore_eos=True), TokenGate(12)

        async with site.engine() as engine:
            running = asyncio.create_task(engine.generate(request, gate))
            other = asyncio.create_task(engine.generate(site.a_request(1)))
            await gate.wait()
            assert await engine.abort(request.request_id)
            aborted, answered = await running, await other

        for sample in aborted:
            assert sample.finish_reason == "aborted"
            assert 0 < len(sample.token_ids) < MANY_TOKENS
            site.check_logprobs(sample, request)
        assert "aborted" not in {sample.finish_reason for sample in answered}

    async def test_aborting_what_is_not_in_flight_says_so(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            request = site.a_request()
            await engine.generate(request)

            assert not await engine.abort(request.request_id)

    async def test_a_cancelled_caller_does_not_wedge_the_engine(self, site: EngineSite) -> None:
        gate = TokenGate(4)

        async with site.engine(max_num_seqs=4) as engine:
            doomed = asyncio.create_task(
                engine.generate(site.a_request(max_new_tokens=MANY_TOKENS, ignore_eos=True), gate)
            )
            await gate.wait()
            doomed.cancel()
            with pytest.raises(asyncio.CancelledError):
                await doomed
            samples = await engine.generate(site.a_request(1))
            await eventually(lambda: engine.statistics().running_samples == 0)

        assert len(samples) == 4

    async def test_a_request_longer_than_the_context_is_refused_with_both_numbers(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            with pytest.raises(ValueError, match=r"100000 new tokens need 1000\d\d; .*context is \d+"):
                await engine.generate(site.a_request(max_new_tokens=100_000))

    async def test_two_requests_in_flight_may_not_have_one_id(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            await engine.pause()
            first = asyncio.create_task(engine.generate(site.a_request(request_id="a")))
            await eventually(lambda: engine.statistics().waiting_samples == 4)
            with pytest.raises(ValueError, match="already in flight"):
                await engine.generate(site.a_request(request_id="a"))
            await engine.resume()

            assert len(await first) == 4

    async def test_closing_ends_what_is_in_flight_with_an_error(self, site: EngineSite) -> None:
        engine = site.start()
        await engine.pause()
        waiting = asyncio.create_task(engine.generate(site.a_request()))
        await eventually(lambda: engine.statistics().waiting_samples == 4)

        await engine.close()

        with pytest.raises(Exception, match="closed"):
            await waiting
        with pytest.raises(Exception, match="closed"):
            await engine.generate(site.a_request())
        assert not engine.statistics().is_alive

    async def test_statistics_add_up(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            samples = await engine.generate(site.a_request())
            after = engine.statistics()

        assert (after.requests_finished, after.requests_failed, after.requests_aborted) == (1, 0, 0)
        assert after.generated_tokens == sum(len(sample.token_ids) for sample in samples)
        assert (after.waiting_samples, after.running_samples) == (0, 0)
        assert after.forward_passes > 0
        assert after.forward_s > 0.0


class DeterminismConformance:
    """One group per batch, in a fixed shape."""

    async def test_a_group_is_equal_bit_for_bit_whatever_else_is_queued(self, site: EngineSite) -> None:
        site.needs_seeds()

        async def group() -> list[GeneratedSample]:
            return await engine.generate(site.a_request(seeds=(5, 6, 7), max_new_tokens=30))

        async with site.engine(is_deterministic=True) as engine:
            alone = await group()
            others = [engine.generate(site.a_request(i)) for i in range(1, len(site.prompts))]
            together, *_ = await asyncio.gather(group(), *others)
        async with site.engine(is_deterministic=True) as engine:
            anew = await group()

        for again in (together, anew):
            for one, other in zip(alone, again, strict=True):
                assert one.token_ids.tobytes() == other.token_ids.tobytes()
                assert one.logprobs.tobytes() == other.logprobs.tobytes()

    async def test_logprobs_are_those_of_a_plain_forward(self, site: EngineSite) -> None:
        request = site.a_request(seeds=range(6), max_new_tokens=40)

        async with site.engine(is_deterministic=True) as engine:
            samples = await engine.generate(request)

        for sample in samples:
            site.check_logprobs(sample, request)


class WeightConformance:
    """Stage, commit, probe; pauses; sleep."""

    async def test_a_commit_replaces_the_weights(self, site: EngineSite) -> None:
        request = site.a_request(seeds=range(4), max_new_tokens=20)

        async with site.engine() as engine:
            before = await engine.generate(request)
            digest = await site.switch(engine, 1, version=1)
            after = await engine.generate(request)
            status = engine.statistics().weights
            live_digest = await engine.weights_digest()

        assert tokens_of(before) != tokens_of(after)
        for sample in after:
            site.check_logprobs(sample, request, seed=1)
            assert {span.version for span in sample.spans} == {1}
        assert digest == live_digest == status.live_digest
        assert (status.state, status.live_version, status.is_certified) == ("certified", 1, True)

    async def test_many_versions_follow_one_another(self, site: EngineSite) -> None:
        request = site.a_request(seeds=(1, 2))

        async with site.engine() as engine:
            for version in range(1, 6):
                digest = await site.switch(engine, version, version=version)
                for sample in await engine.generate(request):
                    site.check_logprobs(sample, request, seed=version)
                assert await engine.weights_digest() == digest

    async def test_staging_does_not_disturb_what_is_served(self, site: EngineSite) -> None:
        request, gate = site.a_request(max_new_tokens=MANY_TOKENS, ignore_eos=True), TokenGate(40)

        async with site.engine() as engine:
            running = asyncio.create_task(engine.generate(request, gate))
            await site.stage(engine, 1, version=1)
            await gate.wait()
            samples = await running

        for sample in samples:
            site.check_logprobs(sample, request)
            assert len(sample.spans) == 1

    async def test_a_commit_in_flight_cuts_the_spans_at_a_token_boundary(self, site: EngineSite) -> None:
        request, gate = site.a_request(max_new_tokens=MANY_TOKENS, ignore_eos=True), TokenGate(40)

        async with site.engine() as engine:
            await site.switch(engine, 1, version=4)
            digest = await site.stage(engine, 2, version=6)
            running = asyncio.create_task(engine.generate(request, gate))
            await gate.wait()
            await engine.pause()
            report = await engine.commit(version=6, digest=digest)  # type: ignore[arg-type]  # a PolicyVersion is an int
            await engine.probe()
            await engine.resume()
            samples = await running

        assert (report.cache_policy, report.spans_cut) == (site.cache_policy_in_flight, 4)
        for sample in samples:
            assert [span.version for span in sample.spans] == [4, 6]
            assert sum(span.length for span in sample.spans) == len(sample.token_ids)
            first = sample.spans[0].length
            expected = site.reference(1, prompt=request.prompt_ids, tokens=sample.token_ids[:first], temperature=1.0)
            np.testing.assert_allclose(sample.logprobs[:first], expected, rtol=0.0, atol=site.logprob_tolerance)

    async def test_an_idle_commit_flushes(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            digest = await site.stage(engine, 1, version=1)
            await engine.pause()
            report = await engine.commit(version=1, digest=digest)  # type: ignore[arg-type]  # as above

        assert (report.cache_policy, report.spans_cut, report.digest) == ("flush", 0, digest)

    async def test_poisoned_weights_are_found_by_the_probe_and_fully_replaced(self, site: EngineSite) -> None:
        manifest, _ = site.weights(1)
        request = site.a_request()

        async with site.engine() as engine:
            stage = engine.begin_stage(manifest, version=1)  # type: ignore[arg-type]  # as above
            stage.view(np.float32)[:] = np.nan
            await engine.verify_stage(digest="as-filled", found="as-filled")
            await engine.pause()
            await engine.commit(version=1, digest="as-filled")  # type: ignore[arg-type]  # as above
            with pytest.raises(Exception, match="finite"):
                await engine.probe()
            assert engine.statistics().weights.state == "quarantined"
            with pytest.raises(Exception, match="not proven"):
                await engine.resume()
            digest = await site.switch(engine, 2, version=2)
            samples = await engine.generate(request)
            live_digest = await engine.weights_digest()

        assert digest == live_digest
        for sample in samples:
            site.check_logprobs(sample, request, seed=2)

    async def test_a_wrong_digest_quarantines_and_leaves_the_serving_weights_alone(self, site: EngineSite) -> None:
        manifest, source = site.weights(1)
        request = site.a_request()

        async with site.engine() as engine:
            stage = engine.begin_stage(manifest, version=1)  # type: ignore[arg-type]  # as above
            np.copyto(stage, source)
            stage[100] ^= 1
            with pytest.raises(Exception, match=manifest.digest):
                await engine.verify_stage(digest=manifest.digest)
            status = engine.statistics().weights
            samples = await engine.generate(request)

        assert (status.state, status.is_certified) == ("quarantined", False)
        for sample in samples:
            site.check_logprobs(sample, request)

    async def test_a_commit_needs_a_pause_and_what_is_staged(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            digest = await site.stage(engine, 1, version=1)
            with pytest.raises(Exception, match="staged"):
                await engine.commit(version=1, digest=digest)  # type: ignore[arg-type]  # as above
            await engine.pause()
            with pytest.raises(Exception, match="version 2"):
                await engine.commit(version=2, digest=digest)  # type: ignore[arg-type]  # as above

            await engine.commit(version=1, digest=digest)  # type: ignore[arg-type]  # as above

    async def test_a_layout_that_is_not_the_models_is_refused(self, site: EngineSite) -> None:
        manifest, _ = site.weights(1)
        short = type(manifest)(
            algorithm=manifest.algorithm, tensors=manifest.tensors[1:], num_bytes=manifest.num_bytes, digest=""
        )

        async with site.engine() as engine:
            with pytest.raises(ValueError, match=manifest.tensors[0].name):
                engine.begin_stage(short, version=1)  # type: ignore[arg-type]  # as above

    async def test_a_newer_stage_supersedes_one_that_was_not_committed(self, site: EngineSite) -> None:
        request = site.a_request()

        async with site.engine() as engine:
            await site.stage(engine, 1, version=1)
            await site.switch(engine, 2, version=2)
            samples = await engine.generate(request)

        for sample in samples:
            site.check_logprobs(sample, request, seed=2)

    async def test_a_paused_engine_generates_nothing_until_it_resumes(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            await engine.pause()
            waiting = asyncio.create_task(engine.generate(site.a_request()))
            await eventually(lambda: engine.statistics().waiting_samples == 4)
            assert engine.statistics().forward_passes == 0
            await engine.resume()

            assert len(await waiting) == 4

    async def test_the_probe_tells_weights_apart(self, site: EngineSite) -> None:
        async with site.engine() as engine, site.engine() as other:
            await site.switch(engine, 1, version=1)
            one = await engine.probe()
            await site.switch(other, 1, version=9)
            canary = Canary(token_ids=canary_tokens(site.vocab_size), logprobs=tuple(one.logprobs.tolist()))
            await other.probe(canary)
            await site.switch(other, 2, version=10)
            with pytest.raises(Exception, match="with the same weights the learner gave"):
                await other.probe(canary)


class EngineConformance(
    GenerationConformance, ServingConformance, DeterminismConformance, WeightConformance, SleepConformance
):
    """The whole suite."""
