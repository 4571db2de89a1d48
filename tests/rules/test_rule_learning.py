"""What generators promise beyond accuracy: whole points, directions of lists, a teacher that suits, a fair choice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.metrics import log_loss, roc_auc_score

from engine.data import Rows, Signature
from engine.errors import SettingsError, SpaceError
from rules.estimators import RuleClassifier, RuleRegressor
from rules.generators import choice
from rules.generators.constraints import Constraints
from rules.generators.generate import generate
from rules.generators.refit import patterns
from rules.generators.space import RulesSettings, rules_space
from rules.generators.teacher import taught
from rules.generators.whole import MOST_POINTS, whole_points


def cancer():
    return load_breast_cancer(return_X_y=True, as_frame=True)


def table(x, y, classes=("0", "1")):
    names = tuple(f"x{place}" for place in range(x.shape[1]))
    task = "classification" if classes else "regression"
    signature = Signature("table", task, (x.shape[1],), "float32", classes, 0.0, 1.0, names)
    return Rows(np.asarray(y), x.astype(np.float32)), signature


@pytest.mark.parametrize("generator", ["score", "sum"])
def test_whole_points_lose_little(generator):
    x, y = cancer()
    real = RuleClassifier(generator=generator, max_rules=6).fit(x[::2], y[::2])
    whole = RuleClassifier(generator=generator, max_rules=6, genes={"points": "integer"}).fit(x[::2], y[::2])
    for rule in whole.ruleset_.rules:
        (points,) = rule.output.values
        assert points == int(points)
        assert 1 <= abs(points) <= MOST_POINTS
    assert whole.ruleset_.default.values == (0.0,)
    scores = [roc_auc_score(y[1::2], model.predict_proba(x[1::2])[:, 1]) for model in (real, whole)]
    assert scores[1] > scores[0] - 0.01
    probabilities = whole.ruleset_.calibration.probabilities
    assert list(probabilities) == sorted(probabilities)


def test_whole_points_of_whole_odds_are_found_again():
    rng = np.random.default_rng(0)
    masks = rng.random((20_000, 4)) < 0.5
    truth = np.array([2, -3, 1, 0])
    y = rng.random(len(masks)) < 1 / (1 + np.exp(-(0.7 * (masks @ truth) + 0.2)))
    rows = patterns(masks, y[:, None].astype(float), np.ones(len(y)))
    card = whole_points(rows, 0.7 * truth + 0.1, rows.targets, ridge=1.0, signs=np.zeros(4, int))
    assert card.points.tolist() in ([2, -3, 1, 0], [4, -6, 2, 0])
    assert card.calibration.edges == (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)
    assert card.calibration.probabilities[3] == pytest.approx(1 / (1 + np.exp(-0.2)), abs=0.02)


def test_whole_points_keep_directions_and_exports(tmp_path):
    x, y = cancer()
    wanted = {"worst radius": -1, "worst texture": -1}
    model = RuleClassifier(generator="score", max_rules=6, genes={"points": "integer"}, monotone=wanted).fit(x, y)
    grid = np.linspace(x["worst radius"].min(), x["worst radius"].max(), 40)
    for _, row in x.iloc[::150].iterrows():
        swept = x.iloc[[0] * len(grid)].assign(**row.drop("worst radius"), **{"worst radius": grid})
        assert (np.diff(model.predict_proba(swept)[:, 1]) <= 1e-9).all()
    for ending in ("onnx", "sql"):
        assert model.export(tmp_path / f"card.{ending}", x).stat().st_size > 100


def test_whole_points_are_for_two_classes():
    x, y = load_iris(return_X_y=True, as_frame=True)
    with pytest.raises(SpaceError, match="two classes"):
        RuleClassifier(generator="score", genes={"points": "integer"}).fit(x, y)
    with pytest.raises(SpaceError, match="one of real, integer, got 'whole'"):
        RuleClassifier(generator="score", genes={"points": "whole"}).fit(x[:100], y[:100])
    with pytest.raises(SettingsError, match=r"space\.points must hold real"):
        rules_space(RulesSettings(points=["integer"]), "classification", 3)
    space = rules_space(RulesSettings(points=["real", "integer"]), "classification", 2)
    assert {"score.points", "sum.points"} <= set(space.domains)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), directions=st.tuples(*[st.sampled_from([-1, 0, 1])] * 3), values=st.booleans())
def test_lists_keep_directions(seed, directions, values):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 6, (160, 4)).astype(np.float32)
    total = x @ rng.normal(size=4) + rng.normal(size=160) + 2 * (x[:, 0] > 2) * (x[:, 3] > 3)
    rows, signature = table(
        x, total if values else (total > np.median(total)).astype(int), () if values else ("0", "1")
    )
    wanted = {f"x{place}": direction for place, direction in enumerate(directions) if direction}
    path = list(generate(rows, signature, {"generator": "list", "rules": 4}, Constraints(monotone=wanted)))
    grid = np.array(np.meshgrid(*[np.arange(6.0)] * 4, indexing="ij"), np.float32).reshape(4, -1).T
    for _, model in path:
        said = model.values({"x": grid})[:, -1].reshape(6, 6, 6, 6)
        for place, direction in enumerate(directions):
            assert (direction * np.diff(said, axis=place) >= 0).all()


def test_lists_use_columns_with_a_direction():
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    model = RuleRegressor(generator="list", max_rules=8, monotone={"bmi": 1}).fit(x, y)
    assert any(atom.column == "bmi" for rule in model.ruleset_.rules for atom in rule.condition.atoms)
    assert model.score(x, y) > 0.4


def test_a_teacher_suits_few_rows_as_well_as_logic():
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(160, 6))
    chance = 1 / (1 + np.exp(-smooth @ rng.normal(size=6)))
    y = (rng.random(160) < chance).astype(int)
    assert log_loss(y, taught(*table(smooth, y), seed=0)) < 0.5
    bits = rng.integers(0, 2, (300, 4))
    logic = bits[:, 0] ^ bits[:, 1]
    assert log_loss(logic, taught(*table(bits, logic), seed=0)) < 0.2
    three = (smooth[:, 0] > 0).astype(int) + (smooth[:, 1] > 0.5)
    told = taught(*table(smooth, three, ("a", "b", "c")), seed=0)
    assert told.shape == (160, 3)
    assert np.allclose(told.sum(axis=1), 1)
    said = taught(*table(smooth, smooth[:, 0] + smooth[:, 1] ** 2, ()), seed=0)[:, 0]
    assert np.corrcoef(said, smooth[:, 0] + smooth[:, 1] ** 2)[0, 1] > 0.8


def test_a_teacher_is_fitted_anew_for_other_weights():
    rng = np.random.default_rng(0)
    rows, signature = table(rng.normal(size=(60, 2)), np.arange(60) % 2)
    heavy = Rows(rows.y, rows.x, None, np.where(rows.y == 1, 5.0, 1.0))
    assert taught(heavy, signature, seed=0)[:, 1].mean() > taught(rows, signature, seed=0)[:, 1].mean() + 0.2


def test_settings_that_lose_are_not_tried_on_every_fold(monkeypatch):
    asked = []

    def counted(rows, signature, genes, *rest, **named):
        asked.append(tuple(sorted((key, value) for key, value in genes.items() if key != "rules")))
        return generate(rows, signature, genes, *rest, **named)

    monkeypatch.setattr(choice, "generate", counted)
    monkeypatch.setattr(choice, "TRIED", choice.TRIED[:6])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    rows, signature = table(x, (x[:, 0] > 0).astype(int))
    found = choice.best_genes(rows, signature, Constraints(), sizes=(2, 4), seed=0)
    assert [genes["rules"] for genes in found] == [2, 4]
    counts = sorted(asked.count(genes) for genes in set(asked))
    assert len(counts) == len(choice.TRIED)
    assert counts[0] < counts[-1] == 8


LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


def boards():
    """Return the ends of all games of tic-tac-toe, x first, and whether x has won."""
    ends, open_boards = set(), {("b",) * 9}
    while open_boards:
        board = open_boards.pop()
        mark = "x" if board.count("x") == board.count("o") else "o"
        if any({board[place] for place in line} in ({"x"}, {"o"}) for line in LINES) or "b" not in board:
            ends.add(board)
            continue
        open_boards |= {(*board[:at], mark, *board[at + 1 :]) for at in range(9) if board[at] == "b"}
    made = np.array(sorted(ends))
    return made, np.any([(made[:, line] == "x").all(axis=1) for line in LINES], axis=0).astype(int)


@pytest.mark.parametrize("seed", [3, 5])
def test_a_broad_rule_does_not_block_the_exact_ones(seed):
    squares, y = boards()
    assert len(y) == 958
    rows = Rows(y, None, squares)
    signature = Signature(
        "table", "classification", (0,), "float32", ("0", "1"), categorical_columns=tuple("abcdefghi")
    )
    shown = rows.take(np.sort(np.random.default_rng(seed).choice(958, 600, replace=False)))
    *_, (_, model) = generate(shown, signature, {"generator": "set", "rules": 10})
    assert (model.decisions(rows.inputs()) == y).mean() >= 0.996
