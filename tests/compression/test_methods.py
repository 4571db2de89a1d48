"""Each method alone, on torch modules and on imported networks; and the files that come of it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch_nets import exported, made, rows_for

from compression.modules.aware import quantize_aware
from compression.modules.cluster import cluster, nearest_values
from compression.modules.forms import axes_of, form_of, forms_of
from compression.modules.importing import read_network
from compression.modules.lowrank import factored, full_ranks
from compression.modules.renormalize import renormalized
from compression.modules.retrain import Lesson, Training, logits_of, retrain, soft_targets
from compression.modules.sharing import alike, shared
from compression.modules.sparsify import sparsify
from compression.modules.writing import write_network
from compression.nets.quantize import codes_and_scale
from compression.recipes.family import compressed
from compression.recipes.recipe import GroupRecipe, LayerRecipe, Recipe, applied, read_recipe
from engine.artifact import session
from engine.errors import ArtifactError, SettingsError, StudyError


def imported(name, **options):
    return read_network(exported(made(name), rows_for(name), **options))


def small_net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))


@pytest.fixture(scope="module")
def lesson():
    torch.manual_seed(0)
    x = torch.randn(512, 8)
    return Lesson(x, "classification", y=(x[:, 0] > x[:, 1] * x[:, 2]).long())


def accuracy(net, lesson):
    return float((logits_of(net, lesson.x).argmax(1) == lesson.y).float().mean())


# Forms


@pytest.mark.parametrize("coding", ["int8", "int4", "int2", "ternary"])
def test_the_forward_pass_sees_exactly_the_grid(coding):
    net = small_net()
    weight = net[0].weight.detach().clone()
    form = quantize_aware(net, coding)["0.weight"]
    codes, scale = codes_and_scale(weight, form.coding)
    torch.testing.assert_close(net[0].weight, (codes - form.coding.offset) * scale.half().float(), rtol=0, atol=0)
    torch.autograd.backward(net(torch.randn(4, 8)).sum())
    assert form_of(net, "0.weight")[1].grad.abs().sum() > 0


def test_zeros_rise_stay_zero_and_get_no_gradient(lesson):
    net = small_net()
    before = accuracy(net, lesson)
    sparsify(net, share=0.75)
    seen = []
    retrain(net, lesson, Training(steps=120), seed=0, report=lambda _p: seen.append((net[0].weight == 0).sum()) or True)
    assert [int(n) for n in seen] == sorted(int(n) for n in seen)
    assert int((net[0].weight == 0).sum()) == 192
    assert accuracy(net, lesson) > before
    torch.autograd.backward(net(lesson.x[:4]).sum())
    form, weight = form_of(net, "0.weight")
    assert (weight.grad[form.mask == 0] == 0).all()


def test_a_threshold_clips_at_once():
    net = nn.Linear(4, 1)
    net.weight.data = torch.tensor([[0.5, -0.2, 0.05, -1.0]])
    sparsify(net, threshold=0.2)
    assert (net.weight != 0).tolist() == [[True, True, False, True]]


@pytest.mark.parametrize("wrong", [{}, {"share": 0.5, "threshold": 1.0}, {"share": 1.0}, {"threshold": -1.0}])
def test_thinning_is_told_one_way(wrong):
    with pytest.raises(SettingsError):
        sparsify(small_net(), **wrong)


def test_unknown_weights_and_codings_are_told_together():
    with pytest.raises(ArtifactError) as caught:
        quantize_aware(small_net(), {"0.wieght": "int4", "3.weight": "int5"})
    assert "did you mean '0.weight'" in str(caught.value)
    assert "No coding int5" in str(caught.value)
    with pytest.raises(SettingsError, match=r"compression\.modules\.cluster"):
        quantize_aware(small_net(), "palette4")


def test_one_codebook_moves_with_the_weights(lesson):
    net = small_net()
    forms = cluster(net, entries=16)
    book = forms["0.weight"].codebook
    assert book is forms["3.weight"].codebook
    start = book.values.clone()
    retrain(net, lesson, Training(steps=60), seed=0)
    assert not torch.equal(start, book.values)
    for name, form, weight in forms_of(net):
        _, scale = form.codes(weight)
        units = (net[int(name.split(".")[0])].weight / scale).flatten()
        assert (units[:, None] - book.values[None]).abs().min(1).values.max() < 1e-5


def test_values_lie_nearest_in_the_mean_square():
    numbers = torch.cat([torch.full((50,), -1.0), torch.full((3,), 4.0), torch.full((40,), 2.0)])
    assert nearest_values(numbers, 4).unique().tolist() == [-1.0, 2.0, 4.0]


# Other structures


def test_factors_of_full_rank_are_the_layer_itself_and_smaller_ones_are_smaller():
    network, x = imported("concatenating"), torch.from_numpy(rows_for("concatenating"))
    sizes = {n: network.tensor(n) for n in full_ranks(network)}
    full = {n: min(w.shape[0], w.numel() // w.shape[0]) for n, w in sizes.items()}
    torch.testing.assert_close(factored(network, full)(x), network(x), atol=1e-5, rtol=1e-4)
    small = factored(network, {"tail_1_weight": 3})
    assert small.tensor("tail_1_weight_first").shape == (3, 192)
    assert small.tensor("tail_1_weight_second").requires_grad
    with pytest.raises(ArtifactError, match="onnx__Conv_37 cannot be factored"):
        factored(network, {"onnx__Conv_37": 1})


def test_layers_share_one_tensor_in_the_file():
    net = nn.Sequential(*[part for _ in range(3) for part in (nn.Linear(16, 16), nn.ReLU())], nn.Linear(16, 2))
    x = np.ones((2, 16), np.float32)
    network = read_network(exported(net.eval(), x))
    assert [len(group) for group in alike(network)] == [3]
    one = shared(network, alike(network))
    quantize_aware(one, "int8")
    quantize_aware(network, "int8")
    small, large = write_network(one, x), write_network(network, x)
    assert len(large.model) - len(small.model) > 2 * 256
    with pytest.raises(ArtifactError, match="one shape"):
        shared(network, [("0_weight", "6_weight")])


@pytest.mark.parametrize("name", ["residual", "concatenating", "signals"])
def test_normalisations_are_given_back_and_folded_away(name):
    network, x = imported(name), rows_for(name, 64)
    normed = renormalized(network, torch.from_numpy(x))
    torch.testing.assert_close(normed(torch.from_numpy(x)), network(torch.from_numpy(x)), atol=1e-4, rtol=1e-3)
    assert len(normed.trained) > len(network.trained)
    assert len(write_network(normed, x).model) <= len(write_network(network, x).model) + 64


# Training


def test_distillation_needs_no_labels(lesson):
    teacher = retrain(small_net(), lesson, Training(steps=150), seed=0)
    soft = soft_targets([lambda x: torch.softmax(teacher(torch.from_numpy(x)), 1).numpy()], lesson.x.numpy())
    student = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    retrain(student, Lesson(lesson.x, "classification", soft=torch.from_numpy(soft)), Training(steps=150), seed=0)
    assert (student(lesson.x).argmax(1).numpy() == soft.argmax(1)).mean() > 0.9


def test_values_are_learned_in_any_unit():
    torch.manual_seed(0)
    x = torch.randn(256, 3)
    y = 1000 * x[:, 0]
    net = nn.Linear(3, 1)
    with torch.no_grad():
        net.weight.mul_(1000)
    before = float((net(x)[:, 0] - y).detach().pow(2).mean())
    retrain(net, Lesson(x, "regression", y=y), Training(steps=400, learning_rate=0.05), seed=0)
    assert float((net(x)[:, 0] - y).detach().pow(2).mean()) < 0.1 * before


def test_training_is_repeatable_stops_when_told_and_says_when_it_diverges(lesson):
    nets = [retrain(small_net(), lesson, Training(steps=20), seed=3) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))
    told = []
    retrain(small_net(), lesson, Training(steps=50), seed=0, report=lambda p: told.append(p) or len(told) < 2)
    assert told == [0.1, 0.2]
    with pytest.raises(StudyError, match="diverged"):
        retrain(small_net(), Lesson(lesson.x * 1e38, "classification", y=lesson.y), Training(steps=20), seed=0)


# Files


@pytest.mark.parametrize("coding", ["float16", "int8", "int4", "int2", "ternary", "sparse4", "sparse8", "palette4"])
@pytest.mark.parametrize("name", ["residual", "tokens", "signals"])
def test_every_coding_is_written_as_it_is_seen(coding, name):
    network, x = imported(name, training=True), rows_for(name)
    network = applied(network, Recipe(coding=coding, density=0.3))
    for _, form, weight in forms_of(network):
        form.thin(weight, 1.0)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(x)).numpy()
    written = write_network(network, x)
    found = session(written.model).run(None, {"input": x})[0]
    np.testing.assert_allclose(found, expected, atol=2e-3 * max(1, np.abs(expected).max()))
    assert written.flips == 0
    assert len(written.model) < len(write_network(imported(name), x).model)


@pytest.mark.parametrize("coding", ["int4", "ternary", "sparse8", "palette2"])
def test_a_written_file_can_be_read_and_retrained_again(coding):
    network, x = imported("residual", training=True), rows_for("residual")
    written = write_network(applied(network, Recipe(coding=coding)), x)
    again = read_network(written.model)
    expected = session(written.model).run(None, {"input": x})[0]
    np.testing.assert_allclose(again(torch.from_numpy(x)).detach(), expected, atol=1e-4)
    assert len(again.layers) == len(network.layers)


def test_sparse_layers_give_way_to_a_limit_of_bytes():
    network, x = imported("residual", training=True), rows_for("residual")
    recipe = Recipe(coding="sparse4", density=0.3)
    network = retrain(
        applied(network, recipe),
        Lesson(torch.from_numpy(x), "classification", y=torch.zeros(5).long()),
        Training(steps=2, learning_rate=1e-6),
        seed=0,
    )
    size = compressed(network, x, recipe).size
    for less in (1, 10, 200):
        assert compressed(network, x, recipe, max_bytes=size - less).size <= size - less


def test_a_recipe_does_all_at_once(tmp_path):
    network, x = imported("residual", training=True), rows_for("residual")
    recipe = Recipe(
        coding="int4",
        keep=0.5,
        layers=[LayerRecipe("shortcut_weight", "ternary"), LayerRecipe("second_3_weight", "sparse4", 0.2, 0.5)],
        groups=[GroupRecipe("stem_0_weight", 1.0)],
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    assert read_recipe(path) == recipe
    made_ = applied(network, read_recipe(path))
    codings = {name: form.coding.name for name, form, _ in forms_of(made_)}
    assert codings["shortcut_weight"] == "ternary"
    assert codings["second_3_weight_first"] == codings["second_3_weight_second"] == "sparse4"
    assert form_of(made_, "second_3_weight_first")[0].coding.density == 0.2
    assert made_.tensor("stem_0_weight").shape[0] == 8
    assert made_.tensor("shortcut_weight").shape[0] == 8
    assert len(write_network(made_, x).model) < len(write_network(network, x).model) / 2
    assert not list(forms_of(network))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("coding: int5\n", "coding must be one of"),
        ("keep: 0\nlayers: [{name: a, rank: 2}]\n", r"keep must lie in \(0, 1\], got 0(.|\n)*a: rank must lie"),
        ("codng: int4\n", "did you mean coding"),
        ("- 1\n", "must hold keys and values"),
    ],
)
def test_wrong_recipes_are_told(tmp_path, text, message):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_recipe(path)


def test_names_in_recipes_are_checked_together():
    recipe = Recipe(layers=[LayerRecipe("sterm_0_weight")], groups=[GroupRecipe("nothing", 0.5)])
    with pytest.raises(SettingsError, match=r"no layer sterm_0_weight(.|\n)*no channel group nothing"):
        applied(imported("residual", training=True), recipe)


def test_axes_of_imported_and_plain_modules():
    assert axes_of(imported("tokens"))["onnx__MatMul_39"] == 1
    assert axes_of(nn.Linear(2, 3)) == {"weight": 0}
