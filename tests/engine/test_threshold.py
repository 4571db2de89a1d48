"""Labels by a threshold or by costs: the best on the rows given, and told in the card."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from engine.data import Rows, Signature
from engine.errors import SettingsError
from engine.threshold import Decision, ThresholdSettings, check_threshold, choose_decision

TWO = Signature("table", "classification", (1,), "float32", ("no", "yes"))
THREE = Signature("table", "classification", (1,), "float32", ("a", "b", "c"))
VALUES = Signature("table", "regression", (1,), "float32")


def scored(seed, rows=200, share=0.15):
    rng = np.random.default_rng(seed)
    y = (rng.uniform(size=rows) < share).astype(np.int64)
    logit = rng.normal(size=rows) + 1.5 * y - 2
    score = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return np.stack([1 - score, score], axis=1), y, rng.uniform(0.1, 2, rows)


@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_is_better_by_the_metric(seed):
    outputs, y, weight = scored(seed, rows=60)
    decision = choose_decision(outputs, Rows(y, weight=weight), ThresholdSettings(metric="f1"))

    def quality(threshold):
        return f1_score(y, outputs[:, 1] >= threshold, sample_weight=weight)

    best = max(quality(threshold) for threshold in np.unique(outputs[:, 1]))
    assert quality(decision.threshold) == pytest.approx(best)
    assert best > quality(0.5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("costs", [[[0, 1], [9, 0]], [[0, 9], [1, 0]], [[-1, 4], [2, 0.5]]])
def test_no_threshold_costs_less(seed, costs):
    outputs, y, weight = scored(seed)
    decision = choose_decision(outputs, Rows(y, weight=weight), ThresholdSettings(costs=costs))

    def cost(threshold):
        return (weight * np.asarray(costs)[y, (outputs[:, 1] >= threshold).astype(int)]).sum()

    assert cost(decision.threshold) == pytest.approx(min(cost(t) for t in [0, *np.unique(outputs[:, 1]), 1.0001]))


def test_costs_of_several_classes_decide_by_expected_cost():
    outputs = np.array([[0.6, 0.3, 0.1], [0.98, 0.01, 0.01]], np.float32)
    settings = ThresholdSettings(costs=[[0, 1, 1], [1, 0, 1], [20, 20, 0]])
    decision = choose_decision(outputs, Rows(np.array([0, 1])), settings)
    assert decision.labels(outputs).tolist() == [2, 0]
    assert Decision.from_card({"decision": decision.to_json()}) == decision


@given(st.floats(0, 1))
def test_a_threshold_survives_the_card(value):
    decision = Decision(threshold=value)
    assert Decision.from_card({"decision": decision.to_json()}) == decision


@pytest.mark.parametrize(
    "told",
    [
        None,
        3,
        {},
        {"threshold": 2},
        {"threshold": "x"},
        {"costs": [[1, 2]]},
        {"costs": "x"},
        {"costs": [[1, None], [0, 1]]},
    ],
)
def test_a_card_that_decides_nothing_leaves_the_most_probable_class(told):
    outputs = np.array([[0.4, 0.6], [0.7, 0.3]])
    assert Decision.from_card({"decision": told}).labels(outputs).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("given", "signature", "message"),
    [
        ({"metric": "f1"}, VALUES, r"threshold is for classes, but the target holds numbers: remove it\."),
        (
            {"metric": "f1", "costs": [[0, 1], [1, 0]]},
            TWO,
            r"threshold\.metric and threshold\.costs exclude each other",
        ),
        ({"metric": "auc"}, TWO, r"threshold\.metric must judge labels \(f1, mcc, balanced_accuracy\), got auc\."),
        ({"metric": "f1_marco"}, TWO, r"metric must be one of .* did you mean 'f1_macro'\?"),
        ({"metric": "f1"}, THREE, r"threshold\.metric needs two classes, got 3: give threshold\.costs\."),
        ({"costs": [[0, 1]]}, TWO, r"threshold\.costs must be 2 rows of 2 numbers \(no, yes\), got rows of \[2\]\."),
        ({"costs": [[1, 0], [1, 0]]}, TWO, r"threshold\.costs must cost least on the diagonal"),
    ],
)
def test_settings_that_fit_no_classes(given, signature, message):
    with pytest.raises(SettingsError, match=message):
        check_threshold(ThresholdSettings(**given), signature)


def test_nothing_given_is_fine_everywhere():
    for signature in (TWO, THREE, VALUES):
        check_threshold(ThresholdSettings(), signature)


@pytest.mark.parametrize(
    ("probability", "costs"), [(0.478, [[0, 5], [1, 0]]), (1.0, [[0, 5], [1, 0]]), (0.0, [[0, 1], [5, 0]])]
)
def test_a_model_that_knows_nothing_answers_what_costs_less_with_room_to_spare(probability, costs):
    outputs = np.full((100, 2), [1 - probability, probability], np.float32)
    y = (np.arange(100) < 48).astype(np.int64)
    decision = choose_decision(outputs, Rows(y), ThresholdSettings(costs=costs))
    cheaper = int(costs[1][0] > costs[0][1])
    near = np.clip(outputs[:, 1] + np.linspace(-0.001, 0.001, 100), 0, 1)
    assert (decision.labels(np.stack([1 - near, near], 1)) == cheaper).all()
    assert Decision.from_card({"decision": decision.to_json()}) == decision
