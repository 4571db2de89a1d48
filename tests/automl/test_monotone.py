"""Directions are kept by the families that can, and verified on the file itself."""

import numpy as np
import pytest
from mixed_tables import mixed, quiet

from automl.family import Tables
from automl.monotone import check_directions, violation
from automl.search import settings_of
from automl.settings import Settings, check_monotone
from automl.space import MONOTONE, TabularSettings, fitting
from automl.table import table_of
from automl.writing import Paper
from engine.errors import ArtifactError, SettingsError

GENES = {
    "boosting": {
        "boosting.trees": 24,
        "boosting.leaves": 8,
        "boosting.prune": 0.3,
        "boosting.refit": 0.1,
        "leaves": "int4",
    },
    "forest": {"forest.trees": 6, "forest.leaves": 24, "leaves": "int5"},
    "extra": {"extra.trees": 6, "extra.leaves": 24},
    "ensemble": {"ensemble.first": "boosting16", "ensemble.second": "additive"},
}


def backwards(classes):
    """A table whose target rises with `e`; asked to fall with it, a model has to give way."""
    return mixed(260, classes, gaps=False)


@pytest.mark.parametrize("classes", [2, 0])
@pytest.mark.parametrize("name", [name for name in MONOTONE if name != "constant"])
def test_a_file_keeps_its_directions(name, classes):
    data = backwards(classes)
    family = Tables(TabularSettings(families=[name]), data.signature, "rmse", monotone=(("a", 1), ("e", -1)))
    candidate = fitting(family.space, {"family": name, **GENES.get(name, {})})
    for _, artifact in family.build(candidate, data, fold=0, fidelity=1.0, seed=0, report=quiet):
        inputs = data.valid(0).inputs()
        for column, sign in ((0, 1), (3, -1)):
            worst, rows, values = violation(artifact, inputs, column, sign)
            assert worst <= 1e-4
            assert rows == 50
            assert values >= 9


def test_a_file_that_goes_against_a_direction_is_not_written():
    data = backwards(2)
    family = Tables(TabularSettings(families=["linear"]), data.signature, "auc")
    candidate = fitting(family.space, {"family": "linear"})
    ((_, artifact),) = family.build(candidate, data, fold=0, fidelity=1.0, seed=0, report=quiet)
    paper = Paper.of(table_of(data), data.splits[0].valid)
    told = check_directions(artifact, paper, (("a", 1),))
    assert told["a"]["largest_step_against"] <= 1e-6
    with pytest.raises(ArtifactError, match="must not rise with a; in the file it does by"):
        check_directions(artifact, paper, (("a", -1),))


def test_families_that_cannot_are_left_out():
    data = mixed(60)
    family = Tables(TabularSettings(), data.signature, "auc", monotone=(("a", 1),))
    assert set(family.families) == set(MONOTONE)
    assert all(candidate["family"] in MONOTONE for candidate in family.portfolio)
    told = {c["family"] for c in (family.space.sample(np.random.default_rng(n)) for n in range(200))}
    assert told == set(MONOTONE)


def test_impossible_directions_are_told_at_once():
    with pytest.raises(SettingsError, match=r"monotone\.age must be 1 or -1, got 2"):
        Settings(monotone={"age": 2})
    with pytest.raises(SettingsError, match=r"a mapping of columns to 1 or -1, as monotone=\{age: 1\}, got 'age'"):
        settings_of({"monotone": "age"})
    signature = mixed(60, 3).signature
    with pytest.raises(SettingsError) as told:
        check_monotone({"town": 1, "f": -1}, signature)
    assert "monotone.town must name a numeric column" in str(told.value)
    assert "no column 'f'" in str(told.value)
    assert "two classes or values, got 3 classes" in str(told.value)
