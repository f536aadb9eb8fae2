"""Weights leave the trainer whole, once, and where the layout says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.trainer_builders import Place, dense_layout, exported, options
from safetensors.torch import load_file

from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.export import gathered_weights

pytestmark = pytest.mark.usefixtures("lone_rank")


def test_names_and_shapes_are_those_of_the_folder(model: Path) -> None:
    trainer = Trainer.create(options(model))

    stored = load_file(model / "model.safetensors")
    shapes = {shape.name: shape.shape for shape in trainer.weight_shapes()}
    assert shapes == {name: tuple(tensor.shape) for name, tensor in stored.items()}


def test_an_untouched_trainer_exports_what_it_loaded(model: Path) -> None:
    trainer = Trainer.create(options(model))

    for name, whole in gathered_weights(trainer._policy):
        assert torch.equal(whole, load_file(model / "model.safetensors")[name])
        assert whole.is_contiguous()


def test_each_tensor_is_converted_and_lands_at_its_offset(tied_model: Path) -> None:
    trainer = Trainer.create(options(tied_model))
    places, offset = [], 64
    for shape in trainer.weight_shapes():
        places.append(Place(name=shape.name, dtype="bfloat16", shape=shape.shape, offset=offset))
        offset += 2 * int(np.prod(shape.shape)) + 6
    buffer = np.full(offset, 0xAB, dtype=np.uint8)

    trainer.export_into(memoryview(buffer), list(reversed(places)))

    assert (buffer[:64] == 0xAB).all()
    stored = load_file(tied_model / "model.safetensors")
    for place in places:
        size = 2 * int(np.prod(place.shape))
        piece = torch.from_numpy(buffer[place.offset : place.offset + size].copy()).view(torch.bfloat16)
        assert torch.equal(piece.view(place.shape), stored[place.name].to(torch.bfloat16))
        assert (buffer[place.offset + size : place.offset + size + 6] == 0xAB).all()


def test_a_layout_of_another_model_is_refused(tied_model: Path, untied_model: Path) -> None:
    trainer = Trainer.create(options(tied_model))
    layout = dense_layout(Trainer.create(options(untied_model)).weight_shapes())

    with pytest.raises(ValueError, match="None in the model"):
        trainer.export_into(np.zeros(10**6, dtype=np.uint8), layout)


def test_a_wrong_shape_and_a_short_buffer_are_refused(tied_model: Path) -> None:
    trainer = Trainer.create(options(tied_model))
    layout = dense_layout(trainer.weight_shapes())
    bent = [dataclasses.replace(layout[0], shape=(1,)), *layout[1:]]

    with pytest.raises(ValueError, match="in the layout"):
        trainer.export_into(np.zeros(10**6, dtype=np.uint8), bent)
    with pytest.raises(ValueError, match="the buffer has 100"):
        trainer.export_into(np.zeros(100, dtype=np.uint8), layout)


def test_exporting_twice_gives_the_same_bytes(tied_model: Path) -> None:
    trainer = Trainer.create(options(tied_model))

    assert np.array_equal(exported(trainer), exported(trainer))


def test_memory_of_a_device_gets_the_same_bytes_again_and_again(tied_model: Path) -> None:
    trainer = Trainer.create(options(tied_model))
    layout = dense_layout(trainer.weight_shapes())
    memory = torch.full((exported(trainer).nbytes,), 0xAB, dtype=torch.uint8)

    for _ in range(2):
        trainer.export_on_device(memory, layout)
        assert np.array_equal(memory.numpy(), exported(trainer).view(np.uint8))
        with torch.no_grad():
            for weight in trainer._policy.causal_lm.parameters():
                weight.mul_(2.0)
    with pytest.raises(ValueError, match="the buffer has 100"):
        trainer.export_on_device(memory[:100], layout)
