"""Reading fitted scikit-learn transformers as steps of our own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from compression.tabular.categories import Bins, Category, Encode, OneHot
from compression.tabular.foreign import Foreign
from compression.tabular.preprocessing import (
    Affine,
    Apply,
    Chain,
    Clip,
    Fill,
    Indicate,
    Normalize,
    Power,
    Products,
    Project,
    Select,
    Step,
    Threshold,
    Union,
)

__all__ = ["read_step"]

NEAR_LOGARITHM = 1e-3  # exponents at which a power loses all digits to the 1 that is subtracted
# What np.log1p and the like are in operators: names, and what is added before.
FUNCTIONS: dict[Any, tuple[tuple[str, ...], float]] = {
    np.log1p: (("Log",), 1.0),
    np.log: (("Log",), 0.0),
    np.exp: (("Exp",), 0.0),
    np.sqrt: (("Sqrt",), 0.0),
    np.abs: (("Abs",), 0.0),
    np.tanh: (("Tanh",), 0.0),
}


def read_step(transformer: Any) -> Step:
    """Return what a fitted transformer does as steps of our own, or as a step that skl2onnx writes.

    Args:
        transformer: Fitted; `passthrough` and None are steps that change nothing.

    Example:
        >>> from sklearn.preprocessing import StandardScaler
        >>> step = read_step(StandardScaler().fit([[0.0], [2.0]]))
        >>> step.scale.tolist(), step.shift.tolist()
        ([1.0], [-1.0])
    """
    if transformer is None or isinstance(transformer, str):
        return Chain(())
    reader = READERS.get(type(transformer).__name__) if _is_from_sklearn(transformer) else None
    step = reader(transformer) if reader else None
    return Foreign(transformer) if step is None else step


def _is_from_sklearn(estimator: Any) -> bool:
    return type(estimator).__module__.split(".")[0] == "sklearn"


def _pipeline(pipeline: Any) -> Step:
    return Chain(tuple(read_step(step) for _, step in pipeline.steps))


def _column_transformer(transformer: Any) -> Step | None:
    names = list(getattr(transformer, "feature_names_in_", ()))
    branches = []
    for _, step, columns in transformer.transformers_:
        features = _positions(columns, names, transformer.n_features_in_)
        if features and not (isinstance(step, str) and step == "drop"):
            branches.append((features, read_step(step)))
    return None if transformer.transformer_weights else Union(tuple(branches))


def _positions(columns: Any, names: Sequence[str], count: int) -> tuple[int, ...]:
    """Return the numbers of the columns that a ColumnTransformer names in one of its many ways."""
    places = np.arange(count)
    if isinstance(columns, slice):
        begin = names.index(columns.start) if isinstance(columns.start, str) else columns.start
        # A slice of names has its end in it.
        end = names.index(columns.stop) + 1 if isinstance(columns.stop, str) else columns.stop
        return tuple(places[begin : end : columns.step].tolist())
    if isinstance(columns, str) or np.isscalar(columns):
        columns = [columns]
    listed = list(columns)
    if listed and isinstance(listed[0], str):
        return tuple(names.index(name) for name in listed)
    if listed and isinstance(listed[0], bool | np.bool_):
        return tuple(places[np.array(listed, bool)].tolist())
    return tuple(places[listed].tolist()) if listed else ()


def _feature_union(union: Any) -> Step | None:
    if union.transformer_weights:
        return None
    kept = [step for _, step in union.transformer_list if not (isinstance(step, str) and step == "drop")]
    return Union(tuple((tuple(range(union.n_features_in_)), read_step(step)) for step in kept))


def _imputer(imputer: Any) -> Step | None:
    given, missing = imputer.missing_values, math.nan
    if not _is_nan(given):
        missing = given
    statistics = imputer.statistics_
    is_kept = np.ones(len(statistics), bool)
    if not imputer.keep_empty_features:
        is_kept = np.array([not _is_nan(value) for value in statistics])
    kept = tuple(np.flatnonzero(is_kept).tolist())
    values = tuple(value if isinstance(value, str) else float(value) for value in statistics[is_kept].tolist())
    filled = Chain((Select(kept), Fill(values, missing)))
    if imputer.indicator_ is None:
        return filled
    if not _is_nan(given):
        return None
    asked = tuple(imputer.indicator_.features_.tolist())
    everything = tuple(range(len(statistics)))
    indicators = ((asked, Indicate()),) if asked else ()
    return Union(((everything, filled), *indicators))


def _indicator(indicator: Any) -> Step | None:
    if not _is_nan(indicator.missing_values):
        return None
    return Chain((Select(tuple(indicator.features_.tolist())), Indicate()))


def _standard_scaler(scaler: Any) -> Step:
    size = scaler.n_features_in_
    scale = 1 / scaler.scale_ if scaler.with_std else np.ones(size)
    return Affine(scale, -scaler.mean_ * scale if scaler.with_mean else np.zeros(size))


def _min_max_scaler(scaler: Any) -> Step:
    affine = Affine(scaler.scale_, scaler.min_)
    return Chain((affine, Clip(*map(float, scaler.feature_range)))) if scaler.clip else affine


def _robust_scaler(scaler: Any) -> Step:
    size = scaler.n_features_in_
    scale = 1 / scaler.scale_ if scaler.with_scaling else np.ones(size)
    return Affine(scale, -scaler.center_ * scale if scaler.with_centering else np.zeros(size))


def _max_abs_scaler(scaler: Any) -> Step | None:
    affine = Affine(1 / scaler.scale_, np.zeros(scaler.n_features_in_))
    return Chain((affine, Clip(-1, 1))) if getattr(scaler, "clip", False) else affine


def _normalizer(normalizer: Any) -> Step | None:
    return Normalize(normalizer.norm) if normalizer.norm in ("l1", "l2") else None


def _one_hot(encoder: Any) -> Step | None:
    categories = [_categories(values) for values in encoder.categories_]
    infrequent = getattr(encoder, "infrequent_categories_", None) or [None] * len(categories)
    dropped = encoder.drop_idx_ if encoder.drop_idx_ is not None else [None] * len(categories)
    is_ignored = encoder.handle_unknown == "ignore"
    has_rest = [values is not None and len(values) > 0 for values in infrequent]
    if any(has_rest) and (is_ignored or any(place is not None for place in dropped)):
        return None  # an unknown value would have to differ from an infrequent one
    kept = []
    for values, place, rare in zip(categories, dropped, infrequent, strict=True):
        excluded = set(_categories(rare)) if rare is not None else set()
        excluded |= {values[int(place)]} if place is not None else set()
        kept.append(tuple(value for value in values if value not in excluded))
    return OneHot(tuple(kept), tuple(has_rest))


def _ordinal(encoder: Any) -> Step | None:
    if any(values is not None for values in getattr(encoder, "infrequent_categories_", None) or ()):
        return None
    categories = [_categories(values) for values in encoder.categories_]
    is_encoded = encoder.handle_unknown == "use_encoded_value"
    unknown = (float(encoder.unknown_value) if is_encoded else 0.0,) * len(categories)
    missing = float(encoder.encoded_missing_value)
    known, codes = [], []
    for values in categories:
        pairs = [(value, missing if value is None else float(code)) for code, value in enumerate(values)]
        pairs = [pair for pair in pairs if not math.isnan(pair[1])]
        known.append(tuple(value for value, _ in pairs))
        codes.append(tuple(code for _, code in pairs))
    keeps = tuple(math.isnan(missing) and None in values for values in categories)
    return Encode(tuple(known), tuple(codes), unknown, keeps)


def _target_encoder(encoder: Any) -> Step | None:
    if encoder.target_type_ not in ("binary", "continuous"):
        return None
    categories = tuple(_categories(values) for values in encoder.categories_)
    codes = tuple(tuple(map(float, values)) for values in encoder.encodings_)
    count = len(categories)
    return Encode(categories, codes, (float(encoder.target_mean_),) * count, (False,) * count)


def _bins(discretizer: Any) -> Step:
    edges = tuple(tuple(map(float, values[1:-1])) for values in discretizer.bin_edges_)
    if discretizer.encode == "ordinal":
        return Bins(edges)
    categories = tuple(tuple(map(float, range(int(count)))) for count in discretizer.n_bins_)
    return Chain((Bins(edges), OneHot(categories)))


def _polynomial(features: Any) -> Step | None:
    factors = [tuple(np.repeat(np.arange(len(powers)), powers).tolist()) for powers in features.powers_]
    return Products(tuple(factors)) if max(map(len, factors)) <= 2 else None


def _power(transformer: Any) -> Step | None:
    exponents, takes_negative = transformer.lambdas_, transformer.method == "yeo-johnson"
    away = np.minimum(np.abs(exponents), np.abs(2 - exponents)) if takes_negative else np.abs(exponents)
    if not (away > NEAR_LOGARITHM).all():
        return None
    power = Power(exponents, takes_negative)
    return Chain((power, _standard_scaler(transformer._scaler))) if transformer.standardize else power


def _components(reduction: Any) -> Step:
    weight = reduction.components_.T.astype(np.float64)
    if getattr(reduction, "whiten", False):
        weight = weight / np.sqrt(np.maximum(reduction.explained_variance_, np.finfo(np.float64).eps))
    mean = getattr(reduction, "mean_", None)
    return Project(weight, np.zeros(weight.shape[1]) if mean is None else -np.asarray(mean) @ weight)


def _selector(selector: Any) -> Step:
    return Select(tuple(selector.get_support(indices=True).tolist()))


def _function(transformer: Any) -> Step | None:
    if transformer.func is None:
        return Chain(())
    if transformer.kw_args or transformer.func not in FUNCTIONS:
        return None
    return Apply(*FUNCTIONS[transformer.func])


def _categories(values: Any) -> tuple[Category, ...]:
    plain = np.asarray(values).tolist()
    return tuple(None if _is_nan(value) else value for value in plain)


def _is_nan(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


SELECTORS = (
    "SelectKBest", "SelectPercentile", "SelectFpr", "SelectFdr", "SelectFwe", "GenericUnivariateSelect",
    "VarianceThreshold", "SelectFromModel", "RFE", "RFECV", "SequentialFeatureSelector",
)  # fmt: skip

READERS: dict[str, Callable[[Any], Step | None]] = {
    "Pipeline": _pipeline,
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _feature_union,
    "SimpleImputer": _imputer,
    "MissingIndicator": _indicator,
    "StandardScaler": _standard_scaler,
    "MinMaxScaler": _min_max_scaler,
    "RobustScaler": _robust_scaler,
    "MaxAbsScaler": _max_abs_scaler,
    "Normalizer": _normalizer,
    "Binarizer": lambda binarizer: Threshold(float(binarizer.threshold)),
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "TargetEncoder": _target_encoder,
    "KBinsDiscretizer": _bins,
    "PolynomialFeatures": _polynomial,
    "PowerTransformer": _power,
    "PCA": _components,
    "IncrementalPCA": _components,
    "TruncatedSVD": _components,
    "FunctionTransformer": _function,
    **dict.fromkeys(SELECTORS, _selector),
}
