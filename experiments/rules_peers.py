"""Other makers of rules, each with a number of rules; runs in an interpreter of its own, where they are installed.

python rules_peers.py PEER FOLD.json 5,10,20 RESULT.json

A fold is a JSON file with `train` and `test` (columns as lists), `categorical` and the 0-or-1 targets `y_train` and
`y_test`. The result tells, for each number of rules, accuracy, AUC, rules, comparisons and seconds, or what went wrong.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["PEERS", "main"]

Answer = tuple[np.ndarray, int, int]


def main() -> None:
    """Fit one peer on one fold."""
    peer, fold, counts, out = sys.argv[1:5]
    told = json.loads(Path(fold).read_text())
    train, test = pd.DataFrame(told["train"]), pd.DataFrame(told["test"])
    y, y_test = np.array(told["y_train"]), np.array(told["y_test"])
    order = np.random.default_rng(0).permutation(len(y))  # some split rows by their order
    train, y = train.iloc[order].reset_index(drop=True), y[order]
    numbers = _one_hot(train, test, told["categorical"])
    results = {}
    for count in counts.split(","):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                results[count] = _result(PEERS[peer], train, test, numbers, y, y_test, int(count))
            except Exception as error:  # whatever a peer raises is its row of the table
                results[count] = {"failed": f"{type(error).__name__}: {error}"[:200]}
        Path(out).write_text(json.dumps(results))


def _result(
    fit: Callable[..., Answer],
    train: pd.DataFrame,
    test: pd.DataFrame,
    numbers: Any,
    y: np.ndarray,
    y_test: np.ndarray,
    count: int,
) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    start = time.perf_counter()
    scores, rules, comparisons = fit(train, test, numbers, y, count)
    seconds = time.perf_counter() - start
    return {
        "accuracy": float(((scores >= 0.5) == y_test).mean()),
        "auc": float(roc_auc_score(y_test, scores)),
        "rules": rules,
        "comparisons": comparisons,
        "seconds": seconds,
    }


def _one_hot(train: pd.DataFrame, test: pd.DataFrame, categorical: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both parts as numbers: a column a category, medians for missing numbers."""
    both = pd.concat([train, test], ignore_index=True)
    made = pd.get_dummies(both, columns=categorical, dtype=float) if categorical else both
    made = made.apply(pd.to_numeric)
    made = made.fillna(made.iloc[: len(train)].median())
    made.columns = [f"f{place}" for place in range(made.shape[1])]
    return made.iloc[: len(train)], made.iloc[len(train) :]


def _tree(model: Any) -> tuple[int, int]:
    """Return leaves and comparisons of a scikit-learn tree; on one path a column has two ends at most."""
    tree = model.tree_
    total, leaves = 0, 0
    stack: list[tuple[int, frozenset[tuple[int, bool]]]] = [(0, frozenset())]
    while stack:
        node, path = stack.pop()
        if tree.children_left[node] < 0:
            leaves += 1
            total += len(path)
        else:
            stack.append((tree.children_left[node], path | {(tree.feature[node], True)}))
            stack.append((tree.children_right[node], path | {(tree.feature[node], False)}))
    return leaves, total


def _cart(_train: Any, _test: Any, numbers: Any, y: np.ndarray, count: int) -> Answer:
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(max_leaf_nodes=max(2, count), min_samples_leaf=5, random_state=0)
    model.fit(numbers[0], y)
    return model.predict_proba(numbers[1])[:, 1], *_tree(model)


def _hstree(_train: Any, _test: Any, numbers: Any, y: np.ndarray, count: int) -> Answer:
    from imodels import HSTreeClassifierCV

    model = HSTreeClassifierCV(max_leaf_nodes=max(2, count))
    model.fit(numbers[0].to_numpy(), y)
    return model.predict_proba(numbers[1].to_numpy())[:, 1], *_tree(model.estimator_)


def _figs(_train: Any, _test: Any, numbers: Any, y: np.ndarray, count: int) -> Answer:
    from imodels import FIGSClassifier

    model = FIGSClassifier(max_rules=count)
    model.fit(numbers[0].to_numpy(), y)
    rules, total = 0, 0
    stack = [(tree, 1) for tree in model.trees_]
    while stack:
        node, depth = stack.pop()
        if node is not None and node.left is not None:
            rules, total = rules + 1, total + depth
            stack += [(node.left, depth + 1), (node.right, depth + 1)]
    return model.predict_proba(numbers[1].to_numpy())[:, 1], rules, total


def _boosted(_train: Any, _test: Any, numbers: Any, y: np.ndarray, count: int) -> Answer:
    from imodels import BoostedRulesClassifier

    model = BoostedRulesClassifier(n_estimators=count, random_state=0)
    model.fit(numbers[0].to_numpy(), y)
    return model.predict_proba(numbers[1].to_numpy())[:, 1], count, count


def _rulefit(_train: Any, _test: Any, numbers: Any, y: np.ndarray, count: int) -> Answer:
    from imodels import RuleFitClassifier

    model = RuleFitClassifier(max_rules=count, include_linear=False, random_state=0)
    model.fit(numbers[0].to_numpy(), y)
    seen, scores = (model.predict_proba(part.to_numpy())[:, 1] for part in numbers)
    cuts = np.unique(np.quantile(seen, np.linspace(0, 1, 201)))
    best = max(cuts, key=lambda cut: ((seen >= cut) == y).mean())  # its own threshold of 0.5 gives one class
    kept = list(model.rules_)
    total = sum(str(rule).count(" and ") + 1 for rule in kept)
    moved = np.where(scores >= best, 0.5 + 0.5 * (scores - best) / max(1 - best, 1e-9), 0.5 * scores / max(best, 1e-9))
    return moved, len(kept), total


def _ripper(train: pd.DataFrame, test: pd.DataFrame, _numbers: Any, y: np.ndarray, count: int) -> Answer:
    from wittgenstein import RIPPER

    model = RIPPER(max_rules=count, random_state=0)
    train, test = train.fillna("missing"), test.fillna("missing")
    model.fit(train, y, pos_class=1)
    probabilities = model.predict_proba(test)[:, 1]
    return probabilities, len(model.ruleset_.rules), sum(len(rule.conds) for rule in model.ruleset_.rules)


def _c50(train: pd.DataFrame, test: pd.DataFrame, _numbers: Any, y: np.ndarray, count: int) -> Answer:
    from c50py import C5RulesClassifier

    best = None
    for least in (2, 5, 10, 20, 40, 80, 160, 320, 640, 1280):
        model = C5RulesClassifier(min_samples_leaf=least)
        model.fit(train, y)
        if len(model.rules_) <= count:
            best = model
            break
    if best is None:
        raise RuntimeError(f"no ruleset of at most {count} rules")
    return best.predict_proba(test)[:, 1], len(best.rules_), sum(len(rule.conditions) for rule in best.rules_)


def _streed(_train: Any, _test: Any, numbers: Any, y: np.ndarray, count: int) -> Answer:
    from pystreed import STreeDClassifier

    depth = 4 if count > 8 else 3
    model = STreeDClassifier(max_depth=depth, max_num_nodes=min(count - 1, 2**depth - 1), time_limit=20, n_thresholds=8)
    model.fit(numbers[0].to_numpy(), y)
    total, leaves = 0, 0
    stack = [(model.get_tree(), 0)]
    while stack:
        node, above = stack.pop()
        if node.is_leaf_node():
            leaves, total = leaves + 1, total + above
        else:
            stack += [(node.left_child, above + 1), (node.right_child, above + 1)]
    return model.predict_proba(numbers[1].to_numpy())[:, 1], leaves, total


def _ebm(train: pd.DataFrame, test: pd.DataFrame, _numbers: Any, y: np.ndarray, _count: int) -> Answer:
    """Keeps to no number of rules: what additive models reach without a limit; each step of a term is counted."""
    from interpret.glassbox import ExplainableBoostingClassifier

    model = ExplainableBoostingClassifier(interactions=0, n_jobs=1, random_state=0)
    model.fit(train, y)
    steps = sum(int((np.diff(term[1:-1]) != 0).sum()) for term in model.term_scores_)
    return model.predict_proba(test)[:, 1], steps, steps


PEERS: dict[str, Callable[..., Answer]] = {
    "cart": _cart,
    "hstree": _hstree,
    "figs": _figs,
    "boosted": _boosted,
    "rulefit": _rulefit,
    "ripper": _ripper,
    "c50": _c50,
    "streed": _streed,
    "ebm": _ebm,
}

if __name__ == "__main__":
    main()
