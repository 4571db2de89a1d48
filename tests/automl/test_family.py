"""The family keeps the laws of families; every model's file says what the model says."""

import numpy as np
import onnxruntime
import pytest
from mixed_tables import mixed, quiet

from automl.family import Tables
from automl.portfolio import portfolio
from automl.recipes import RECIPES
from automl.space import FAMILIES, SMALLEST, TabularSettings, fitting, tabular_space
from engine.checks import family_checks
from engine.errors import DataError, SettingsError
from engine.score import error_of
from engine.trial import Point

CHECKS = dict(family_checks())


def family_of(data, *families, **given):
    names = list(families or FAMILIES)
    metric = "rmse" if data.signature.task == "regression" else "log_loss"
    return Tables(TabularSettings(families=names), data.signature, metric, **given)


def built(family, genes, data, fidelity=1.0):
    candidate = fitting(family.space, genes)
    return list(family.build(candidate, data, fold=0, fidelity=fidelity, seed=1, report=quiet))


@pytest.mark.parametrize("name", CHECKS)
def test_the_laws_of_families_hold(name):
    data = mixed(150)
    CHECKS[name](family_of(data, "linear", "bayes", "tree", "extra", "boosting", "oblivious", "additive"), data)


SMALL = {
    "linear": {"linear.norm": "elastic", "crosses": 4},
    "discriminant": {"discriminant.kind": "quadratic", "discriminant.shrinkage": 0.2},
    "tree": {"calibrate": True, "tree.leaves": 12},
    "forest": {"forest.trees": 6, "forest.leaves": 24, "leaves": "int5"},
    "extra": {"extra.trees": 6, "extra.leaves": 24, "calibrate": True},
    "boosting": {"boosting.trees": 16, "boosting.leaves": 6, "boosting.prune": 0.3, "rare": 1},
    "oblivious": {"oblivious.trees": 8, "oblivious.depth": 3, "oblivious.rate": 0.3},
    "additive": {"additive.bins": 15, "additive.rounds": 50},
    "perceptron": {
        "perceptron.width": 8,
        "perceptron.layers": 2,
        "categories": "means",
        "coding": "int4",
        "pieces": 4,
    },
    "prototypes": {"prototypes.count": 32, "scale": "robust", "fill": "flag"},
    "ensemble": {"ensemble.first": "linear", "ensemble.second": "boosting16", "ensemble.third": "quadratic"},
}


@pytest.mark.parametrize("classes", [2, 3, 0])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_file_beats_the_constant_and_takes_gaps_and_strangers(name, classes):
    data = mixed(240, classes)
    family = family_of(data, name)
    if family.space.domains["family"].options != (name,):
        pytest.skip("classes alone")
    constant = family_of(data, "constant")
    ((_, least),) = built(constant, {"family": "constant"}, data)
    valid = data.valid(0)
    made = built(family, {"family": name, **SMALL.get(name, {})}, data)
    sizes = [artifact.size for _, artifact in made]
    assert sizes == sorted(sizes, reverse=True)
    owner, artifact = made[0]
    family.space.check(owner)
    errors = [
        error_of(a.outputs(valid.inputs()), valid, metric=family.metric, task=data.signature.task)
        for a in (least, artifact)
    ]
    assert name == "constant" or errors[1] < 0.9 * errors[0]
    opened = onnxruntime.InferenceSession(artifact.model)
    strange = {"x": np.full((3, 4), np.nan, np.float32), "c": np.array([["Atlantis", "maybe"]] * 3, object)}
    found = opened.run(None, strange)[0]
    assert found.shape == (3, classes or 1)
    assert np.isfinite(found).all()
    assert not classes or np.allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_texts_alone_are_enough(name):
    data = mixed(240, 3, numbers=False)
    made = built(family_of(data, name), {"family": name, **SMALL.get(name, {})}, data)
    found = made[0][1].outputs({"c": np.array([["Ulm", "yes"], ["Atlantis", ""]], object)})
    assert found.shape == (2, 3)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)


def test_large_values_are_written_whatever_the_coding():
    data = mixed(240, 0)
    rows = type(data.rows)(np.asarray(data.rows.y) * 1e5, data.rows.x, data.rows.c)
    data = type(data)(data.signature, rows, data.splits)
    genes = {"family": "prototypes", "prototypes.count": 32, "coding": "int4"}
    ((_, artifact),) = built(family_of(data, "prototypes"), genes, data)
    valid = data.valid(0)
    error = error_of(artifact.outputs(valid.inputs()), valid, metric="rmse", task="regression")
    assert error < 0.9 * np.asarray(valid.y).std()


@pytest.mark.parametrize("family", ["linear", "perceptron"])
def test_numbers_piece_by_piece_are_one_feature_a_piece_in_the_file_too(family):
    data = mixed(400, 0)
    x = np.asarray(data.rows.x).copy()
    x[:, 0] = 1e6 + np.random.default_rng(0).integers(-50, 50, 400)  # digits that one scale and shift would lose
    data = type(data)(data.signature, type(data.rows)(np.abs(x[:, 0] - 1e6), x, data.rows.c), data.splits)
    valid, errors = data.valid(0), []
    for pieces in (1, 8):
        genes = {"family": family, "pieces": pieces, "crosses": 4, "select": 0.75, "perceptron.width": 4}
        ((_, artifact),) = built(family_of(data, family), genes, data)
        errors.append(error_of(artifact.outputs(valid.inputs()), valid, metric="rmse", task="regression"))
    assert errors[1] < 0.35 * np.asarray(valid.y).std()
    assert family != "linear" or errors[1] < 0.5 * errors[0]


def test_one_training_yields_the_files_of_all_its_sizes():
    data = mixed(300)
    family = family_of(data, "boosting")
    genes = {"family": "boosting", "boosting.trees": 16, "boosting.leaves": 4}
    ladder = built(family, genes, data)
    assert [owner["boosting.trees"] for owner, _ in ladder] == [16, 8, 4]
    for owner, artifact in ladder:
        alone = built(family, owner.genes, data)[0][1]
        assert alone.sha256 == artifact.sha256


def test_a_teacher_moves_the_answers():
    data = mixed(260)
    family = family_of(data, "linear")
    plain, taught = (built(family, {"family": "linear", "teach": share}, data)[0][1] for share in (0.0, 1.0))
    assert plain.sha256 != taught.sha256


def test_folds_are_taught_by_none_of_their_validation_rows():
    from automl.teacher import opinions

    data = mixed(420, folds=2)
    before = opinions(data, 0, 3)
    y = np.array(data.rows.y)
    y[data.splits[0].valid] = 1 - y[data.splits[0].valid]
    changed = type(data)(data.signature, type(data.rows)(y, data.rows.x, data.rows.c), data.splits)
    assert np.array_equal(before, opinions(changed, 0, 3))
    assert not np.array_equal(opinions(data, 1, 3), opinions(changed, 1, 3))
    assert before.shape == (len(data.splits[0].train), 2)


def test_each_row_is_judged_by_models_that_did_not_see_it_and_the_bag_is_made_once(tmp_path, monkeypatch):
    from automl import teacher

    data = mixed(300, folds=5).save(tmp_path)
    asked = []

    def judged(kinds, hearing):
        assert not np.intersect1d(hearing.inside, hearing.outside).size
        asked.append(hearing.outside)
        return np.tile([0.3, 0.7], (len(kinds), len(hearing.outside), 1))

    monkeypatch.setattr(teacher, "judged", judged)
    told = [teacher.opinions(data, fold, 3) for fold in (0, 1, 2, 3, 4, teacher.EVERYTHING)]
    assert len(asked) == 10  # a model for each pair of folds
    assert [len(found) for found in told] == [*(len(split.train) for split in data.splits), len(data.rows)]
    assert all(np.allclose(found, [0.3, 0.7]) for found in told)
    again = type(data).open(data.folder)  # another process reads what this one made
    assert np.array_equal(teacher.opinions(again, 1, 3), told[1])
    assert len(asked) == 10


def test_opinions_about_validation_rows_are_those_of_models_that_did_not_see_them():
    data = mixed(400, folds=5)
    family = family_of(data, "linear")
    plain, taught = ([Point(fitting(family.space, {"family": "linear", "teach": share}), {})] for share in (0.0, 1.0))
    assert family.opinions(data, plain, trains=True) is None
    assert family.opinions(data, taught, trains=False) is None
    told = family.opinions(data, taught, trains=True)
    assert np.array_equal(family.opinions(data, taught, trains=False), told)
    y = np.concatenate([data.valid(fold).y for fold in range(5)])
    assert told.shape == (400, 2)
    assert np.allclose(told.sum(axis=1), 1, atol=1e-5)
    assert (told.argmax(axis=1) == y).mean() > 0.6
    assert family_of(mixed(400), "linear").opinions(mixed(400), taught, trains=True) is None  # one pair: rows enough
    values = mixed(400, classes=0, folds=5)
    assert family_of(values, "linear").opinions(values, taught, trains=True) is None


def test_without_time_there_is_no_teacher_and_later_there_is(tmp_path):
    from automl.teacher import opinions

    data = mixed(420).save(tmp_path)
    assert opinions(data, 0, 3, lambda: False) is None
    assert opinions(data, 0, 3) is not None


@pytest.mark.parametrize("family", ["boosting", "forest", "oblivious"])
def test_when_the_time_is_up_a_ladder_ends_with_its_first_file(family):
    data = mixed(300)
    found = family_of(data, family)
    genes = fitting(found.space, {"family": family, f"{family}.trees": 32})
    late = found.build(genes, data, fold=0, fidelity=1.0, seed=1, report=lambda *_: False)
    assert len(list(late)) == 1


def test_a_refit_is_never_longer_and_tells_the_error_of_rows_it_did_not_see():
    data = mixed(300)
    family = family_of(data, "boosting")
    owner, artifact = built(family, {"family": "boosting", "boosting.trees": 16, "boosting.leaves": 8}, data)[0]
    done = family.finish(owner, data, teachers=(), effort=1.0, max_bytes=artifact.size, seed=1, refit=True)
    valid = data.valid(0)
    own = error_of(artifact.outputs(valid.inputs()), valid, metric="log_loss", task="classification")
    assert done.size <= artifact.size
    assert done.card["refit"]
    assert done.card["validation"]["error"] == pytest.approx(own)
    assert next(iter(done.card["importance"])) in data.signature.numeric_columns
    assert sum(map(sum, done.card["confusion"])) == len(valid)
    assert len(done.card["calibration"]) == 10


def test_the_portfolio_begins_with_what_never_fails_and_fits_every_table():
    for data in (mixed(60), mixed(60, 0), mixed(60, texts=False)):
        space = tabular_space(FAMILIES, data.signature)
        found = portfolio(space)
        assert [candidate["family"] for candidate in found[:3]] == ["constant", "linear", "tree"]
        assert len(found) >= 8
        for candidate in found:
            space.check(candidate)


def test_recipes_lie_in_the_space():
    space = tabular_space(FAMILIES, mixed(60).signature)
    for genes in RECIPES.values():
        assert {name for name in genes if name not in space.domains} == set()
        space.check(fitting(space, genes))
    assert min(space.domains["boosting.trees"].options) == SMALLEST


def test_ensembles_of_the_same_three_are_one():
    family = family_of(mixed(60), "ensemble")
    first, second = (
        fitting(family.space, {"family": "ensemble", "ensemble.first": a, "ensemble.second": b, "ensemble.third": c})
        for a, b, c in (("linear", "additive", "extra32"), ("extra32", "linear", "additive"))
    )
    assert family.canonical(first) == family.canonical(second)


def test_scaling_that_nothing_uses_is_no_other_model():
    family = family_of(mixed(100), "linear")
    spread, robust = (
        fitting(family.space, {"family": "linear", "pieces": 8, "scale": s}) for s in ("spread", "robust")
    )
    assert spread != robust
    assert family.canonical(spread) == family.canonical(robust)
    crossed = robust.replace(crosses=4)
    assert family.canonical(crossed) == crossed


def test_what_is_no_table_is_told():
    from engine.data import Signature

    with pytest.raises(DataError, match="takes tables, got images"):
        Tables(TabularSettings(), Signature("images", "classification", (1, 8, 8), "uint8", ("a", "b")), "accuracy")


def test_a_mistyped_family_is_told():
    with pytest.raises(SettingsError, match=r"no 'boostng'.*did you mean 'boosting'"):
        TabularSettings(families=["boostng"])
