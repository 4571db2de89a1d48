"""Tabular models with their preprocessing, in one small file each."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automl.estimators import CompactClassifier, CompactRegressor

__all__ = ["CompactClassifier", "CompactRegressor"]


def __getattr__(name: str) -> Any:
    """Import the estimators at their first use, so that the command's `--help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from automl import estimators

    return getattr(estimators, name)
