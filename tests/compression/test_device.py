"""Devices without a GPU: what is chosen is told by stand-ins, and what lies where by tensors without values."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from compression.nets import train as training
from compression.nets.device import DEVICES, Precision, device_for
from compression.nets.export import export
from compression.nets.network import Network
from compression.nets.train import Examples, Recipe, train
from engine.data import Signature
from engine.errors import SettingsError
from nas.cells import Genome, Stage
from nas.network import channel_counts, plan_of
from nas.settings import TrainSettings

SIGNATURE = Signature("images", "classification", (1, 8, 8), "uint8", tuple(map(str, range(10))))
CELL = ("none", "none", "none", "conv3", "none", "none")


def with_gpu(monkeypatch, is_there, *, has_bfloat16=True):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: is_there)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: has_bfloat16)


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    with_gpu(monkeypatch, True)
    assert [device_for(name).type for name in DEVICES] == ["cuda", "cpu", "cuda"]
    with_gpu(monkeypatch, False)
    assert device_for("auto").type == "cpu"


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    with_gpu(monkeypatch, False)
    with pytest.raises(SettingsError, match=r"train\.device=cuda needs a GPU that torch sees in the worker"):
        device_for("cuda")
    with pytest.raises(SettingsError, match=r"train\.device must be one of auto, cpu, cuda, got 'gpu'\."):
        device_for("gpu")


@pytest.mark.parametrize(("has_bfloat16", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_computes_in_mixed_precision_and_the_cpu_does_not(monkeypatch, has_bfloat16, dtype):
    with_gpu(monkeypatch, True, has_bfloat16=has_bfloat16)
    gpu = torch.device("cuda")
    assert Precision.on(gpu).dtype == dtype
    assert Precision.on(gpu, is_mixed=False).dtype == torch.float32
    told = {"avx512_bf16": dtype == torch.bfloat16}
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: told, raising=False)
    assert Precision.on(torch.device("cpu")).dtype == (dtype if told["avx512_bf16"] else torch.float32)
    assert Precision.on(torch.device("cpu"), is_mixed=False).dtype == torch.float32
    assert Precision.on(gpu).scaler().is_enabled() == (dtype == torch.float16)
    assert not Precision.on(torch.device("cpu")).scaler().is_enabled()


def test_the_settings_and_the_recipe_agree_on_the_default():
    assert TrainSettings().device == Recipe().device == "auto"


def genome_of(kept):
    return Genome(4, CELL, (Stage(8, 1, 2, "sparse4", kept),), "separable3", "int8", "int8")


@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_all_that_a_training_touches_lies_on_its_device(monkeypatch, kept):
    """The device is meta: its tensors have no values, and an operation that meets one of another device raises."""
    meta = torch.device("meta")
    monkeypatch.setattr(training, "device_for", lambda _: meta)
    monkeypatch.setattr(training, "_check", lambda *_: None)
    monkeypatch.setattr(training, "_brought_home", lambda network: network)
    monkeypatch.setattr(training, "_measure_normalisation", lambda *_: None)  # it reads a counter
    monkeypatch.setattr(torch, "_fused_adamw_", lambda *_, **__: None)  # it does not know meta
    monkeypatch.setattr(Precision, "on", staticmethod(lambda *_, **__: Precision(meta, torch.float32)))
    keep = training.keep_channels

    def kept_on_meta(network, counts):
        with meta:  # values cannot come from there, so the smaller network begins there
            return keep(network, counts)

    monkeypatch.setattr(training, "keep_channels", kept_on_meta)
    genome = genome_of(kept)
    network = train(
        Network(plan_of(genome, SIGNATURE)),
        Examples(torch.zeros(64, 1, 8, 8, dtype=torch.uint8), torch.zeros(64, dtype=torch.int64), torch.ones(64)),
        Recipe(steps=30, epochs=1, shift=1, flip=True),
        counts=channel_counts(genome),
        seed=0,
        report=lambda *_: True,
    )
    parts = [*network.parameters(), *network.buffers()]
    parts += [unit.mask for unit in network.units.values() if unit.mask is not None]
    assert {part.device for part in parts} == {meta}


def test_a_network_trained_in_mixed_precision_learns_and_passes_the_gate(monkeypatch):
    """The CPU stands in for a GPU: it knows bfloat16 too."""
    monkeypatch.setattr(Precision, "on", staticmethod(lambda device, **_: Precision(device, torch.bfloat16)))
    images = load_digits()
    x, y = torch.from_numpy(images.images.astype(np.uint8))[:, None], torch.from_numpy(images.target)
    genome, told = genome_of(1.0), []
    torch.manual_seed(0)
    network = train(
        Network(plan_of(genome, SIGNATURE)),
        Examples(x[:1200], y[:1200]),
        Recipe(steps=250, epochs=1),
        counts=channel_counts(genome),
        seed=0,
        report=lambda step, error: told.append(error) or True,
        valid=Examples(x[1200:], y[1200:]),
    )
    assert told[-1] < told[0]
    assert all(part.dtype == torch.float32 for part in network.parameters())
    artifact = export(network, x[1200:].numpy(), seed=0)
    answers = artifact.outputs({"x": x[1200:].numpy()}).argmax(axis=1)
    assert (answers != y[1200:].numpy()).mean() < 0.4
