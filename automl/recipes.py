"""Models that ensembles are made of: genes of good candidates of many families and sizes, by name."""

from __future__ import annotations

from engine.space import Value

__all__ = ["RECIPES"]

RECIPES: dict[str, dict[str, Value]] = {
    "linear": {"family": "linear", "linear.strength": 1.0},
    "crossed": {"family": "linear", "linear.strength": 3.0, "crosses": 12},
    "quadratic": {
        "family": "discriminant",
        "discriminant.kind": "quadratic",
        "discriminant.shrinkage": 0.05,
        "calibrate": True,
    },
    "additive": {"family": "additive", "additive.bins": 15, "additive.rounds": 200},
    "boosting16": {"family": "boosting", "boosting.trees": 16, "boosting.leaves": 8, "boosting.rate": 0.3},
    "boosting48": {"family": "boosting", "boosting.trees": 48, "boosting.leaves": 8, "boosting.rate": 0.2},
    "boosting128": {"family": "boosting", "boosting.trees": 128, "boosting.leaves": 16, "boosting.rate": 0.1},
    "boosting384": {"family": "boosting", "boosting.trees": 384, "boosting.leaves": 24, "boosting.rate": 0.05},
    "boosting768": {"family": "boosting", "boosting.trees": 768, "boosting.leaves": 64, "boosting.rate": 0.08},
    "extra32": {
        "family": "extra",
        "extra.trees": 32,
        "extra.leaves": 512,
        "extra.rows": 1,
        "extra.columns": 1.0,
        "leaves": "int4",
    },
    "extra96": {
        "family": "extra",
        "extra.trees": 96,
        "extra.leaves": 1024,
        "extra.rows": 1,
        "extra.columns": 1.0,
        "leaves": "int4",
    },
    "perceptron16": {"family": "perceptron", "perceptron.width": 16, "perceptron.layers": 1},
    "perceptron64": {"family": "perceptron", "perceptron.width": 64, "perceptron.layers": 2, "pieces": 8},
    "perceptron128": {
        "family": "perceptron",
        "perceptron.width": 128,
        "perceptron.layers": 2,
        "perceptron.passes": 200,
        "perceptron.decay": 1.0,
        "pieces": 16,
    },
    "prototypes64": {"family": "prototypes", "prototypes.count": 64},
    "prototypes256": {"family": "prototypes", "prototypes.count": 256},
}
