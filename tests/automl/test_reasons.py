"""Reason codes: parts that add up, and the terms themselves where a model is a sum."""

import numpy as np
import pytest
from mixed_tables import mixed, quiet

from automl.family import Tables
from automl.reasons import reasons, reference_of
from automl.space import TabularSettings, fitting
from engine.artifact import Artifact
from engine.errors import ArtifactError


def file_of(data, genes):
    family = Tables(TabularSettings(families=[genes["family"]]), data.signature, "auc")
    candidate = fitting(family.space, genes)
    _, artifact = next(family.build(candidate, data, fold=0, fidelity=1.0, seed=0, report=quiet))
    names = {"numeric_columns": ["a", "b", "d", "e"], "categorical_columns": ["town", "smoker"]}
    return Artifact(artifact.model, {**artifact.card, **names})


def odds(answers):
    return np.log(answers[:, 1] / answers[:, 0])


@pytest.mark.parametrize("genes", [{"family": "linear"}, {"family": "boosting", "boosting.trees": 16}])
def test_parts_add_up_to_the_difference_from_the_reference(genes):
    data = mixed(260)
    artifact = file_of(data, genes)
    rows = data.valid(0).take(np.arange(5))
    reference = reference_of(data.train(0))
    found = reasons(artifact, rows.inputs(), reference, draws=4)
    whole = odds(artifact.outputs(rows.inputs())) - odds(artifact.outputs(reference))
    assert np.allclose([sum(reason.part for reason in row) for row in found], whole, atol=1e-4)
    for row in found:
        assert sorted(reason.column for reason in row) == ["a", "b", "d", "e", "smoker", "town"]
        assert [abs(reason.part) for reason in row] == sorted((abs(reason.part) for reason in row), reverse=True)


def test_a_sum_has_its_terms_as_parts_in_any_order():
    data = mixed(260)
    artifact = file_of(data, {"family": "linear"})
    rows, reference = data.valid(0).take(np.arange(3)), reference_of(data.train(0))
    first, second = (reasons(artifact, rows.inputs(), reference, draws=2, seed=seed) for seed in (0, 1))
    for one, two in zip(first, second, strict=True):
        parts = {reason.column: reason.part for reason in two}
        assert all(abs(reason.part - parts[reason.column]) < 1e-3 for reason in one)
        assert max(one, key=lambda reason: abs(reason.part)).column in {"a", "town", "e"}


def test_a_missing_value_is_told_as_none():
    data = mixed(260)
    artifact = file_of(data, {"family": "linear"})
    rows = {"x": np.full((1, 4), np.nan, np.float32), "c": np.array([["", "yes"]], object)}
    values = {reason.column: reason.value for reason in reasons(artifact, rows, reference_of(data.train(0)))[0]}
    assert values == {"a": None, "b": None, "d": None, "e": None, "town": None, "smoker": "yes"}


def test_columns_that_do_not_fit_are_told():
    data = mixed(260)
    artifact = file_of(data, {"family": "linear"})
    with pytest.raises(ArtifactError, match="Input x must have the 4 columns that the card names, got 2"):
        reasons(artifact, {"x": np.zeros((1, 2), np.float32), "c": np.array([["", "yes"]])}, reference_of(data.rows))
