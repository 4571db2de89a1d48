"""Removing channels: the tensors shrink, the file runs, and what was removed was all that was removed."""

import numpy as np
import pytest
import torch
from small_nets import random_plan, random_weights
from torch import nn
from torch_nets import NETS, exported, made, rows_for

from compression.modules.channels import channel_groups, channel_importance, prune_channels, remove_channels
from compression.modules.importing import read_network
from compression.modules.tracing import traced
from compression.nets.layers import lower
from compression.nets.verify import edge_rows
from engine.artifact import session
from engine.errors import ArtifactError


def imported(name, **options):
    return read_network(exported(made(name), rows_for(name), **options))


def run(network, x):
    content = network.to_model().SerializeToString()
    return session(content).run(None, {network.port.name: x})[0]


def test_a_hundred_by_a_hundred_becomes_fifty_by_fifty():
    net = nn.Sequential(nn.Linear(7, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 3))
    x = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    network = read_network(exported(net, x))
    small = prune_channels(network, 0.5)
    shapes = [tuple(small.tensor(layer.weight).shape) for layer in small.layers]
    assert shapes == [(50, 7), (50, 50), (3, 50)]
    np.testing.assert_allclose(run(small, x), small(torch.from_numpy(x)).detach(), atol=1e-5)
    assert [tuple(network.tensor(layer.weight).shape) for layer in network.layers][1] == (100, 100)


def test_channels_that_meet_in_a_sum_go_together_and_those_side_by_side_do_not():
    residual = {len(group.layers): group.width for group in channel_groups(imported("residual"))}
    assert residual == {1: 16, 2: 16}
    layers = [group.layers for group in channel_groups(imported("residual", training=True))]
    assert layers == [
        ("stem_0_weight", "first_3_weight"),
        ("first_0_weight",),
        ("shortcut_weight", "second_3_weight"),
        ("second_0_weight",),
    ]
    widths = [(group.layers, group.width) for group in channel_groups(imported("concatenating"))]
    assert widths == [(("a_weight",), 4), (("b_weight",), 6), (("c_1_weight",), 2), (("tail_1_weight",), 10)]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("by", ["l1", "gain"])
def test_the_smaller_network_runs_in_onnx_runtime(name, is_training, by):
    network, x = imported(name, training=is_training), rows_for(name)
    for keep, is_global in ((0.5, False), (0.4, True), (0.01, False)):
        small = prune_channels(network, keep, by=by, is_global=is_global)
        expected = small(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(run(small, x), expected, atol=1e-4)
        before, after = (sum(p.numel() for p in n.parameters()) for n in (network, small))
        assert after < before or not channel_groups(network)


@pytest.mark.parametrize("name", ["residual", "concatenating"])
def test_removing_channels_that_are_zero_changes_nothing(name):
    network, x = imported(name), torch.from_numpy(rows_for(name))
    groups = {group.name: group for group in channel_groups(network)}
    gone = {number for group in groups.values() for number in group.channels[::2]}
    with torch.no_grad():
        for slot in traced(network).slots:
            places = [place for place, channel in enumerate(slot.channels.tolist()) if channel in gone]
            if slot.role in ("writes", "follows"):
                network.tensor(slot.tensor).movedim(slot.axis, 0)[places] = 0.0
    kept = {name: range(1, group.width, 2) for name, group in groups.items()}
    small = remove_channels(network, kept)
    assert small(x).shape == network(x).shape
    np.testing.assert_allclose(small(x).detach(), network(x).detach(), atol=1e-5)
    assert sum(p.numel() for p in small.parameters()) < 0.5 * sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_with_residual_sums_stay_runnable(seed):
    plan = random_plan(seed)
    network = read_network(lower(plan, random_weights(plan, seed)).model)
    x = edge_rows(plan, seed=seed)
    small = prune_channels(network, 0.5)
    np.testing.assert_allclose(run(small, x), small(torch.from_numpy(x)).detach(), atol=1e-4)
    assert sum(p.numel() for p in small.parameters()) <= sum(p.numel() for p in network.parameters())


def test_the_weakest_channel_goes_first():
    network = imported("residual", training=True)
    with torch.no_grad():
        network.tensor("first_0_weight")[3] *= 1e-3
        scale = next(o for o in network.operations if o.operator == "BatchNormalization").inputs[1]
        network.tensor(scale)[5] = 1e-6
    assert int(channel_importance(network)["first_0_weight"].argmin()) == 3
    assert int(channel_importance(network, by="gain")["stem_0_weight"].argmin()) == 5


def test_taylor_needs_gradients_and_follows_them():
    network, x = imported("residual", training=True), torch.from_numpy(rows_for("residual"))
    with pytest.raises(ArtifactError, match="call backward"):
        channel_importance(network, by="taylor")
    torch.autograd.backward(network(x).square().sum())
    weight = network.tensor("first_0_weight")
    expected = (weight * weight.grad).flatten(1).sum(1).abs().detach()
    found = channel_importance(network, by="taylor")["first_0_weight"]
    torch.testing.assert_close(found, expected / expected.mean())
    assert prune_channels(network, 0.5, by="taylor")(x).shape == (5, 3)


def test_shares_of_single_groups():
    network = imported("residual", training=True)
    small = prune_channels(network, {"first_0_weight": 0.25})
    assert tuple(small.tensor("first_0_weight").shape) == (2, 8, 3, 3)
    assert tuple(small.tensor("first_3_weight").shape) == (8, 2, 3, 3)


def test_a_global_share_takes_more_from_what_matters_less():
    network = imported("residual", training=True)
    with torch.no_grad():
        network.tensor("second_0_weight")[4:] *= 1e-4
    small = prune_channels(network, 0.6, is_global=True)
    assert small.tensor("second_0_weight").shape[0] <= 6
    assert small.tensor("first_0_weight").shape[0] >= 4


def test_what_a_reshape_mixes_stays_whole():
    class Shuffle(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

        def forward(self, x):
            x = self.a(x)
            x = x.reshape(-1, 2, 4, 8, 8).transpose(1, 2).reshape(-1, 8, 8, 8)
            return torch.softmax(self.b(x), 1).mean((2, 3))

    x = rows_for("residual")
    assert channel_groups(read_network(exported(Shuffle().eval(), x))) == ()


@pytest.mark.parametrize(
    ("keep", "message"),
    [({"first_0_weigth": 0.5}, "did you mean 'first_0_weight'"), (0.0, r"\(0, 1\], got 0"), (1.5, "got 1.5")],
)
def test_wrong_shares_are_told(keep, message):
    with pytest.raises(ArtifactError, match=message):
        prune_channels(imported("residual", training=True), keep)
