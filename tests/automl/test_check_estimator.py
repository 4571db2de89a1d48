"""scikit-learn's own checks, on searches of a few trials."""

import warnings

import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from automl import CompactClassifier, CompactRegressor

WEIGHTS = "validation rows are drawn before weights are known, so a weight of 2 is not a row given twice"


def expected(estimator):
    return {
        "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
        "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([CompactClassifier(budget=3), CompactRegressor(budget=3)], expected_failed_checks=expected)
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        check(estimator)
