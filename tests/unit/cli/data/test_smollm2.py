"""GGUF to Hugging Face: a tiny file made here converts to the model that it was made from."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")

from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402  # after the checks

from tetrad_cli.data import command  # noqa: E402
from tetrad_cli.data.errors import DataCommandError  # noqa: E402
from tetrad_cli.data.smollm2 import conversion, package  # noqa: E402

HEADS, KV_HEADS = 4, 2


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=32,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS,
            max_position_embeddings=64,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
            tie_word_embeddings=True,
        )
    )


@pytest.fixture(scope="module")
def gguf_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(32)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(48)
    writer.add_block_count(2)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100_000.0)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":
            writer.add_tensor(gguf_name(name), permuted(name, weight.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_name(name):
    for theirs, ours in conversion.GLOBAL_NAMES.items():
        if ours == name:
            return theirs
    _, _, layer, kind = name.removesuffix(".weight").split(".", maxsplit=3)
    (short,) = [theirs for theirs, ours in conversion.LAYER_NAMES.items() if ours == kind]
    return f"blk.{layer}.{short}.weight"


def permuted(name, weight):
    """Interleave the rotary halves as llama.cpp's converter does."""
    num_heads = HEADS if "q_proj" in name else KV_HEADS if "k_proj" in name else None
    if num_heads is None:
        return weight
    halves = weight.reshape(num_heads, 2, -1, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def test_configuration_and_every_weight_come_back(model, gguf_file, tmp_path):
    from gguf import GGUFReader

    reader = GGUFReader(gguf_file)
    config = conversion.read_config(reader)
    weights = dict(conversion._named(tensor, config) for tensor in reader.tensors)

    assert config.rms_norm_eps == 1e-5
    assert config.rope_parameters["rope_theta"] == 100_000.0
    expected = {name: weight for name, weight in model.state_dict().items() if name != "lm_head.weight"}
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_a_given_file_is_used_and_kept(gguf_file):
    with package.fetched(gguf_file) as path:
        assert path == gguf_file

    assert gguf_file.is_file()


def test_a_package_must_hold_exactly_one_model(tmp_path):
    with pytest.raises(DataCommandError, match=r"should hold one \.gguf file; it holds 0"):
        package._only_gguf(tmp_path)


def test_an_installer_is_found_here():
    command = package.installer()

    assert command[-1] == "install" or command[-2] == "--python"


def test_a_file_that_is_no_gguf_is_refused(tmp_path, capsys):
    (tmp_path / "model.gguf").write_bytes(b"something else entirely")

    assert command(["smollm2", "--output-dir", str(tmp_path / "out"), "--gguf", str(tmp_path / "model.gguf")]) == 2

    assert "model.gguf holds no Llama model in GGUF" in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path):
    code = (
        "import sys; sys.modules['gguf'] = None; from tetrad_cli.data import command;"
        "sys.exit(command(['smollm2', '--output-dir', sys.argv[1]]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2
    assert "needs the package gguf; install it with: pip install 'tetrad-cli[models]'" in done.stderr
