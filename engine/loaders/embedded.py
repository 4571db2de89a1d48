"""The data sets that come with scikit-learn: no download, no file."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn import datasets

from engine.loaders.joining import Arrays, join_arrays, join_frames
from engine.loaders.raw import OPEN, Raw
from engine.loaders.settings import DataSettings

__all__ = ["read_embedded"]

TABLES = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
}


def read_embedded(settings: DataSettings) -> Raw:
    """Read digits, iris, wine, breast_cancer or diabetes."""
    if settings.name == "digits":
        return _digits(settings)
    bunch = TABLES[settings.name]()
    names = getattr(bunch, "target_names", None)
    frame = pd.DataFrame(bunch.data, columns=list(bunch.feature_names))
    frame["target"] = bunch.target if names is None else np.asarray(names, dtype=str)[bunch.target]
    return join_frames({OPEN: frame}, settings, target="target", where=settings.name)


def _digits(settings: DataSettings) -> Raw:
    bunch = datasets.load_digits()
    if settings.kind == "table":
        frame = pd.DataFrame(bunch.data, columns=list(bunch.feature_names))
        frame["target"] = bunch.target
        return join_frames({OPEN: frame}, settings, target="target", where="digits", is_array=True)
    return join_arrays({OPEN: Arrays(bunch.images, bunch.target)}, settings, kind="images", where="digits")
