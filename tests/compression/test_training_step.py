"""What a training step does in few operations is what torch does in many."""

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from compression.codings import CODINGS
from compression.nets.adam import FlatAdamW
from compression.nets.distill import loss_gradient, loss_of, targets_of
from compression.nets.flat import flattened
from compression.nets.grid import Grid
from compression.nets.network import Network
from compression.nets.plan import Convolution, Linear, Mean, Plan
from compression.nets.quantize import codes_and_scale
from compression.nets.unroll import Unrolled, averaged, convolved_input
from engine.data import Signature

SIDES = st.tuples(st.integers(1, 6), st.integers(1, 6))


def last(x):
    return x.contiguous(memory_format=torch.channels_last)


def convolution(kernel, stride, is_depthwise, coding="int4"):
    return Convolution("c", "x", 3, 3 if is_depthwise else 4, kernel, stride, is_depthwise, True, coding, "input", "g")


@given(SIDES, st.sampled_from([1, 3, 5]), st.integers(1, 3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_an_unrolled_convolution_is_the_convolution(sides, kernel, stride, is_depthwise):
    torch.manual_seed(0)
    step = convolution(kernel, stride, is_depthwise)
    channels, inputs, _ = step.weight_shape
    weight = torch.randn(channels, inputs, kernel, kernel, requires_grad=True)
    x, y = (last(torch.randn(2, 3, *sides)).requires_grad_() for _ in range(2))
    y.data = x.detach().clone()
    expected = functional.conv2d(x, weight, None, stride, kernel // 2, 1, 3 if is_depthwise else 1)
    unrolled = Unrolled(step, sides)
    with torch.no_grad():
        unrolled.filters.copy_(weight)
        unrolled.refresh()
    found = unrolled(y)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    cotangent = torch.randn_like(expected)
    expected.backward(cotangent)
    found.backward(cotangent)
    torch.testing.assert_close(y.grad, x.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(unrolled.gradient(), weight.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_means_and_first_convolutions_are_those_of_torch(stride):
    x, weight = last(torch.randn(2, 3, 7, 6)), torch.randn(4, 3, 3, 3)
    expected = functional.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
    torch.testing.assert_close(averaged(x, stride), expected)
    expected = functional.conv2d(x, weight, None, stride, 1)
    torch.testing.assert_close(convolved_input(x, weight, stride), expected, atol=1e-5, rtol=1e-4)
    assert averaged(torch.zeros(1, 64, 28, 28), stride) is None
    assert convolved_input(torch.zeros(64, 3, 224, 224), weight, stride) is None


@pytest.mark.parametrize("coding", [name for name, each in CODINGS.items() if each.is_integer])
def test_a_grid_holds_what_each_weight_alone_would_be(coding):
    torch.manual_seed(1)
    weights = [last(torch.randn(4, 3, 3, 3)), torch.randn(5, 1, 7), torch.randn(6, 2)]
    axes = [0, 0, 1]
    grid = Grid(CODINGS[coding], weights, axes)
    for _ in range(2):  # what was there before does not matter
        for weight, axis, found in zip(weights, axes, grid.round(weights), strict=True):
            codes, scale = codes_and_scale(weight, CODINGS[coding], channel_axis=axis)
            torch.testing.assert_close(found, (codes - CODINGS[coding].offset) * scale, atol=1e-7, rtol=1e-6)
        weights = [weight * 0.1 for weight in weights]


def network_of(side):
    signature = Signature("images", "classification", (1, side, side), "uint8", ("a", "b", "c"))
    steps = (
        Convolution("stem", "x", 1, 4, 3, 2, False, True, "int8", "input", "g"),
        Convolution("wide", "stem", 4, 4, 3, 1, True, False, "int8", "g", "g"),
        Convolution("point", "wide", 4, 6, 1, 1, False, True, "sparse4", "g", "h"),
        Convolution("again", "point", 6, 6, 3, 1, False, True, "ternary", "h", "h"),
        Convolution("twin", "again", 6, 6, 3, 1, False, True, "ternary", "h", "h", shared_with="again"),
        Mean("mean", "twin"),
        Linear("head", "mean", 6, 3, "int4", "h"),
    )
    torch.manual_seed(0)
    return Network(Plan(signature, steps)).to(memory_format=torch.channels_last).train()


def test_a_weight_at_the_edge_of_its_code_is_written_as_it_was_trained():
    steps = (
        Convolution("stem", "x", 1, 16, 3, 2, False, True, "ternary", "input", "g"),
        Convolution("wide", "stem", 16, 32, 3, 2, False, True, "ternary", "g", "h"),
        Convolution("last", "wide", 32, 16, 3, 2, False, True, "ternary", "h", "h"),
        Mean("mean", "last"),
        Linear("head", "mean", 16, 2, "int4", "h"),
    )
    torch.manual_seed(0)
    plan = Plan(Signature("images", "classification", (1, 64, 64), "uint8", ("a", "b")), steps)
    network = Network(plan).to(memory_format=torch.channels_last)
    unit = network.units["wide"]
    for _ in range(10):
        with torch.no_grad():
            unit.weight.normal_()
            first = unit.weight[:, 0, 0, 0]
            for _ in range(60):  # the threshold of ternary codes depends on this weight, too
                first.copy_(0.7 * unit.weight.abs().mean(dim=(1, 2, 3)))
            edge = first.clone()
        for last_bits in range(-4, 5):  # where sums in another order decide otherwise
            with torch.no_grad():
                first.copy_(edge * (1 + last_bits * 2**-23))
            network.quantize()
            codes = torch.from_numpy(network.written()["wide"].codes) - unit.coding.offset
            assert unit.shown is not None
            assert torch.equal(torch.sign(unit.shown), torch.sign(codes.float()))


@pytest.mark.parametrize("side", [8, 40])  # small maps are unrolled, large ones are not
@pytest.mark.parametrize("is_quantized", [False, True])
def test_gradients_reach_weights_as_if_what_was_shown_were_them(side, is_quantized):
    x = last(torch.rand(8, 1, side, side) * 16)
    found, expected = network_of(side), network_of(side)
    whole, _ = flattened(found.parameters())
    found.thin(1.0)
    found.quantize(is_quantized)
    assert (found.units["again"].unrolled is not None) == (side == 8)
    with torch.no_grad():
        for name, unit in expected.units.items():
            weight = unit.weight * found.units[name].mask if name == "point" else unit.weight.clone()
            if is_quantized:
                codes, scale = codes_and_scale(weight, unit.coding, channel_axis=unit.channel_axis)
                weight = (codes - unit.coding.offset) * scale
            if name != "twin":
                unit.weight.data = weight
    target = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    for network in (found, expected):
        functional.cross_entropy(network(x), target).backward()
    found.pass_gradients()
    mask = found.units["point"].mask
    for (name, one), other in zip(found.named_parameters(), expected.parameters(), strict=True):
        wanted = other.grad * mask if name == "point.weight" else other.grad
        torch.testing.assert_close(one.grad, wanted, atol=1e-4, rtol=1e-3, msg=name)
    assert float(whole.grad.abs().sum()) > 0


def test_the_flat_optimiser_is_adamw_and_takes_scaled_gradients():
    torch.manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(torch.ones(5, 3)), torch.nn.Parameter(torch.ones(7))] for _ in range(2))
    whole, starts = flattened(ours)
    optimiser = FlatAdamW(whole, starts[1], rate=0.01, weight_decay=0.1)
    reference = torch.optim.AdamW([{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:]}], lr=0.01,
                                  weight_decay=0.0)  # fmt: skip
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(20):
        x = torch.randn(5)
        optimiser.gradient.zero_()
        reference.zero_grad()
        for matrix, vector in (ours, theirs):
            loss = (matrix.t() @ x).square().sum() + vector.pow(4).sum()
            (scaler.scale(loss) if matrix is ours[0] else loss).backward()
        scaler.step(optimiser)
        scaler.update()
        reference.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("has_teacher", [False, True])
@pytest.mark.parametrize("has_weights", [False, True])
@pytest.mark.parametrize("spread", [None, 2.5])
def test_the_gradient_of_the_loss_is_what_autograd_finds(spread, has_weights, has_teacher):
    torch.manual_seed(0)
    outputs = 4 if spread is None else 1
    answers = torch.randn(6, outputs, requires_grad=True)
    labels = torch.randint(0, outputs, (6,)) if spread is None else torch.randn(6)
    soft = torch.rand(6, outputs) if has_teacher else None
    soft = soft / soft.sum(1, keepdim=True) if has_teacher and spread is None else soft
    weight = torch.rand(6) if has_weights else None
    targets = targets_of(labels, outputs, soft=soft, smoothing=0.1, share=0.7)
    loss_of(answers, targets, weight, spread).backward()
    torch.testing.assert_close(loss_gradient(answers, targets, weight, spread), answers.grad)
    if spread is None and not has_teacher and not has_weights:
        expected = functional.cross_entropy(answers, labels, label_smoothing=0.1)
        torch.testing.assert_close(loss_of(answers, targets, None, None), expected)
