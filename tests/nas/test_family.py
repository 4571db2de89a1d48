from functools import cache

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compression.nets.layers import empty_weights, lower
from compression.nets.network import Network
from compression.nets.prune import channel_importance, keep_channels
from compression.nets.train import Examples, Recipe, suited_shift, train
from engine.data import Signature
from engine.errors import DataError, SettingsError, StudyError
from engine.load import DataSettings, load
from engine.teacher import checked_teacher
from nas.cells import CellsSettings, Genome, Stage
from nas.family import Networks
from nas.network import channel_counts, plan_of

SIGNATURE = Signature("images", "classification", (1, 8, 8), "uint8", tuple(map(str, range(10))))
QUICK = Recipe(steps=12, epochs=0.1)
FAMILY = Networks(CellsSettings(), SIGNATURE, QUICK)


@cache
def digits():
    return load(DataSettings(), seed=0).dataset


def test_images_are_moved_only_in_long_trainings_of_many_weights():
    large = Signature("images", "classification", (1, 28, 28), "uint8", ("a", "b"))
    plan = plan_of(small(), large)
    assert suited_shift(plan, plan.parameters, 20) == 1
    assert suited_shift(plan, plan.parameters, 19) == 0
    assert suited_shift(plan, plan.parameters + 1, 20) == 0
    assert suited_shift(plan_of(small(), SIGNATURE), 10, 20) == 0


def never_stops(_step, _error):
    return True


def small(width=8, keep=1.0, coding="int4", cell=("none", "none", "none", "conv3", "none", "none"), depth=1):
    stages = (Stage(width, depth, 2, coding, keep), Stage(2 * width, depth, 1, coding, keep))
    return Genome(4, cell, stages, "separable3", "int8", "int4")


@given(seed=st.integers(0, 10**9))
@settings(max_examples=300, deadline=None)
def test_predicted_bytes_are_the_length_of_the_written_file(seed):
    candidate = FAMILY.space.sample(np.random.default_rng(seed))
    genome = FAMILY.genome(FAMILY.canonical(candidate))
    torch.manual_seed(seed)
    network = keep_channels(Network(plan_of(genome, SIGNATURE)), channel_counts(genome))
    network.thin(1.0)
    network.quantize()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    assert len(lower(network.plan, network.written()).model) == FAMILY.bytes(candidate)


def test_twins_build_the_same_bytes_in_any_process_order():
    candidate = small().candidate()
    first, second = (
        list(FAMILY.build(candidate, digits(), fold=0, fidelity=1.0, seed=3, report=never_stops)) for _ in range(2)
    )
    assert first[0][1].sha256 == second[0][1].sha256
    other = list(FAMILY.build(candidate, digits(), fold=0, fidelity=1.0, seed=4, report=never_stops))
    assert other[0][1].sha256 != first[0][1].sha256


def test_removed_channels_shrink_the_tensors():
    genome = small(width=16, keep=0.5)
    network = Network(plan_of(genome, SIGNATURE))
    smaller = keep_channels(network, channel_counts(genome))
    shapes = {name: tuple(unit.weight.shape) for name, unit in smaller.units.items()}
    assert shapes["stage0_0_03"] == (8, 8, 3, 3)
    assert shapes["stage1_reduction_depthwise"] == (8, 1, 3, 3)
    assert shapes["stage1_reduction"] == (16, 8, 1, 1)
    assert shapes["head"] == (16, 10)


def test_the_least_important_channels_go_and_the_others_keep_their_weights():
    genome = small(width=4, keep=0.5, depth=0)
    network = Network(plan_of(genome, SIGNATURE))
    with torch.no_grad():
        network.units["stem"].weight[[0, 2]] *= 100
    assert channel_importance(network, "stage0").topk(2).indices.sort().values.tolist() == [0, 2]
    smaller = keep_channels(network, {"stage0": 2})
    assert torch.equal(smaller.units["stem"].weight, network.units["stem"].weight[[0, 2]])
    assert torch.equal(smaller.units["stage1_reduction"].weight, network.units["stage1_reduction"].weight[:, [0, 2]])


def test_training_learns_and_stays_within_the_predicted_size():
    family = Networks(CellsSettings(), SIGNATURE, Recipe(steps=250))
    candidate = small(width=12, keep=0.75, coding="ternary").candidate()
    valid = digits().valid(0)
    [(built, artifact)] = family.build(candidate, digits(), fold=0, fidelity=1.0, seed=0, report=never_stops)
    assert built == candidate
    assert artifact.size == family.bytes(candidate)
    assert (artifact.outputs(valid.inputs()).argmax(1) == valid.y).mean() > 0.9
    assert artifact.card["parity"]["flips"] == 0


def test_a_finished_winner_tells_its_validation_error_and_keeps_its_size():
    candidate = small().candidate()
    teacher = next(FAMILY.build(candidate, digits(), fold=0, fidelity=1.0, seed=1, report=never_stops))[1]
    for refit in (False, True):
        artifact = FAMILY.finish(
            candidate, digits(), teachers=(teacher,), effort=1.5, max_bytes=FAMILY.bytes(candidate), seed=0, refit=refit
        )
        assert artifact.size == FAMILY.bytes(candidate)
        assert artifact.card["validation"]["rows"] == 252
        assert artifact.card["refit"] is refit
        assert artifact.card["parity"]["rows"] > 252
        assert artifact.card["parity"]["flips"] == 0


def teacher_file(tmp_path, classes, *, is_softmax=True, shape=(1, 8, 8)):
    plan = plan_of(small(), Signature("images", "classification", shape, "uint8", classes))
    model = onnx.load_model_from_string(lower(plan, empty_weights(plan)).model)
    if not is_softmax:
        model.graph.node[-1].op_type = "Identity"
    onnx.save(model, tmp_path / "teacher.onnx")
    return str(tmp_path / "teacher.onnx")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"classes": ("a", "b")}, r"must give 10 probabilities a row.*shape \(2,\)"),
        ({"classes": SIGNATURE.classes, "is_softmax": False}, r"must give probabilities that sum to 1"),
        ({"classes": SIGNATURE.classes[::-1]}, r"classes of the data in their order"),
        (
            {"classes": SIGNATURE.classes, "shape": (1, 9, 9)},
            r"must take the rows of the data: Input x must have shape",
        ),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused_before_the_search(tmp_path, given, text):
    with pytest.raises(SettingsError, match=text):
        checked_teacher(teacher_file(tmp_path, **given), digits())


def test_a_teacher_that_fits_is_taken(tmp_path):
    assert checked_teacher(teacher_file(tmp_path, SIGNATURE.classes), digits()).classes == SIGNATURE.classes


def test_a_diverged_training_ends_at_once():
    rows = digits().train(0)
    network = Network(plan_of(small(), SIGNATURE))
    with torch.no_grad():
        network.units["head"].weight.fill_(float("nan"))
    with pytest.raises(StudyError, match="diverged: the loss was nan at step 20 of"):
        train(
            network, Examples.of(rows, SIGNATURE), Recipe(steps=200), counts={}, seed=0, report=never_stops
        )  # fmt: skip


def test_a_stopped_training_still_gives_the_pruned_quantized_network():
    genome = small(width=16, keep=0.5)
    network = train(
        Network(plan_of(genome, SIGNATURE)),
        Examples.of(digits().train(0), SIGNATURE),
        Recipe(steps=40, prune_at=0.9),
        counts=channel_counts(genome),
        seed=0,
        report=lambda _step, _error: False,
    )
    assert len(lower(network.plan, network.written()).model) == FAMILY.bytes(genome.candidate())


def test_tables_are_refused_with_the_remedy():
    with pytest.raises(DataError, match=r"classifies images.*data=digits"):
        Networks(CellsSettings(), Signature("table", "classification", (4,), "float32", ("a", "b")), QUICK)


def test_cards_tell_what_was_removed_or_why_nothing_was():
    from engine.trial import Point, State, Trial

    cut, whole = small(keep=0.5), small(width=4)
    trials = [
        Trial(0, cut.candidate(), State.COMPLETE, (Point(cut.candidate(), {"error": 0.2, "bytes": 900}),)),
        Trial(1, whole.candidate(), State.COMPLETE, (Point(whole.candidate(), {"error": 0.1, "bytes": 950}),)),
    ]
    removed = FAMILY.describe(trials[0].points[0], trials)
    assert removed["steps"][0]["detail"].endswith("kept stage 0: 4 of 8; stage 1: 8 of 16")
    kept = FAMILY.describe(trials[1].points[0], trials)
    assert kept["steps"][0]["step"] == "channels kept at 100 %"
    assert "the best of 1 tried had 20.00%" in kept["steps"][0]["detail"]
    assert ["input", "output", "conv3"] in kept["graph"]["edges"]
