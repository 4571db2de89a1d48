"""Small tables with all that tables have: numbers, gaps, categories, strange ones."""

import numpy as np

from engine.data import Dataset, Rows, Signature, Split


def mixed(rows=400, classes=2, seed=0, folds=1, gaps=True, texts=True, numbers=True):
    """A table whose target depends on a number, a gap, a category, and a product."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    x[:, 3] = rng.integers(0, 9, rows)
    towns = np.array(["Ulm", "Ghent", "Oslo", "", "Bern, upper town"])
    c = np.stack([towns[rng.integers(0, 5, rows)], np.array(["yes", "no"])[rng.integers(0, 2, rows)]], axis=1)
    score = 1.5 * x[:, 0] + (c[:, 0] == "Ulm") - x[:, 1] * x[:, 2] + 0.3 * x[:, 3] + 0.3 * rng.normal(size=rows)
    if gaps:
        x[rng.random(rows) < 0.2, 2] = np.nan
    if classes:
        y = np.searchsorted(np.quantile(score, np.arange(1, classes) / classes), score).astype(np.int64)
    else:
        y = score.astype(np.float64) * 10 + 50
    names = tuple(f"k{n}" for n in range(classes))
    task = "classification" if classes else "regression"
    signature = Signature(
        "table", task, (4 if numbers else 0,), "float32", names,
        numeric_columns=("a", "b", "d", "e") if numbers else (),
        categorical_columns=("town", "smoker") if texts else (),
    )  # fmt: skip
    index = rng.permutation(rows)
    parts = np.array_split(index, 5)
    splits = tuple(
        Split(np.sort(np.concatenate([p for m, p in enumerate(parts) if m != n])), np.sort(parts[n]))
        for n in range(folds)
    )
    return Dataset(signature, Rows(y, x if numbers else None, c if texts else None), splits)


def quiet(_step, _error):
    return True
