"""Adapters beside a base that an engine keeps: what fits and what does not."""

import msgspec
import pytest

from tetrad_rollout.engine.errors import LayoutError
from tetrad_rollout.engine.server_options import AdapterOptions
from tetrad_rollout.engine.sglang.adapters import check_adapters, server_config
from tetrad_weights import DigestAlgorithm, Parameter, lay_out
from tetrad_weights.manifest import from_digests, manifest_digest
from tetrad_wire.messages.weights import AdapterSpec, Manifest

RANK = 4
LAYERS = {"model.layers.0.self_attn.q_proj": (8, 6), "model.layers.0.self_attn.v_proj": (2, 6)}
MODEL = {
    spec.name: spec for spec in lay_out(Parameter(f"{n}.weight", "bfloat16", s) for n, s in LAYERS.items()).tensors
}
OPTIONS = AdapterOptions(rank=RANK, target_modules=("q_proj", "v_proj"))


def an_adapter(*, base: str = "b", targets: tuple[str, ...] = ("q_proj", "v_proj"), rank: int = RANK) -> Manifest:
    layout = lay_out(
        Parameter(f"base_model.model.{name}.{factor}.weight", "bfloat16", shape)
        for name, (rows, columns) in LAYERS.items()
        for factor, shape in (("lora_A", (rank, columns)), ("lora_B", (rows, rank)))
    )
    spec = AdapterSpec(base=base, rank=rank, alpha=8.0, target_modules=targets)
    digests = [f"{i:032x}" for i in range(len(layout.tensors))]
    return from_digests(layout, digests, algorithm=DigestAlgorithm.SUM64, adapter=spec)


def test_adapters_of_the_model_fit():
    check_adapters(an_adapter(), MODEL, OPTIONS)


def test_a_base_that_was_sent_instead_of_adapters_is_refused_with_the_way_out():
    frozen = msgspec.structs.replace(an_adapter(), adapter=None)

    with pytest.raises(LayoutError, match=r"takes adapters alone; .*4 whole weights.*enable_lora=false"):
        check_adapters(frozen, MODEL, OPTIONS)


def test_a_rank_above_that_of_the_server_is_refused_with_both():
    with pytest.raises(LayoutError, match="rank 8; the engine was started for rank 4"):
        check_adapters(an_adapter(rank=8), MODEL, OPTIONS)


@pytest.mark.parametrize("targets", [("q_proj",), ("k_proj", "q_proj"), ("gate_proj",)])
def test_part_of_what_the_server_fuses_is_refused(targets):
    with pytest.raises(LayoutError, match="serves no adapter of"):
        check_adapters(an_adapter(targets=targets), MODEL, OPTIONS)


def test_a_layer_that_the_model_lacks_is_named():
    with pytest.raises(LayoutError, match=r"v_proj.* is no adapter of a layer of this model"):
        check_adapters(an_adapter(), {name: spec for name, spec in MODEL.items() if "q_proj" in name}, OPTIONS)


def test_the_digest_tells_adapters_of_another_base_apart():
    one, other = an_adapter(base="b"), an_adapter(base="c")

    assert one.digest != other.digest
    assert one.digest != manifest_digest(one.algorithm, one.tensors)


def test_the_server_is_told_scale_and_layers():
    spec = an_adapter().adapter
    assert spec is not None
    config = server_config(spec)

    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (4, 8.0, ["q_proj", "v_proj"])
