"""Random rule sets of every policy, over numbers and categories, for tests of what is made from them."""

import math

import numpy as np

from rules.atoms import Categories, Condition, Numbers
from rules.outputs import Abstain, Label, Points, Probability
from rules.rule import Band, Calibration, Rule
from rules.ruleset import RuleSet

NUMERIC = ("age", "Income", "order", "ratio %")
CATEGORICAL = ("town", "job's")
TEXTS = ("Ulm", "Bonn", "O'Hara", "Köln")
THRESHOLDS = (0.1, 0.5, 3, 18, 65.5, 1e6, -2.25, 1 / 3)


def random_atom(rng):
    missing = bool(rng.random() < 0.3)
    if rng.random() < 0.3:
        values = tuple(rng.choice(TEXTS, size=int(rng.integers(0, 4)), replace=False).tolist())
        return Categories(str(rng.choice(CATEGORICAL)), values, bool(rng.random() < 0.4), missing)
    low, high = sorted(rng.choice(THRESHOLDS, size=2, replace=False).tolist())
    if rng.random() < 0.4:
        low = -math.inf
    elif rng.random() < 0.6:
        high = math.inf
    is_open = rng.random(2) < 0.5
    return Numbers(str(rng.choice(NUMERIC)), low, high, bool(is_open[0]), bool(is_open[1]), missing)


def random_condition(rng, most=3):
    return Condition(
        tuple(random_atom(rng) for _ in range(int(rng.integers(0 if rng.random() < 0.1 else 1, most + 1))))
    )


def random_rule_set(seed, *, n_rules=None, most=3):
    """A rule set of random policy, task, stages, abstention and calibration."""
    rng = np.random.default_rng(seed)
    policy = str(rng.choice(["first", "unique", "sum", "vote"]))
    n_classes = int(rng.choice([0, 2, 2, 3]))
    classes = tuple("abc"[:n_classes])
    width = n_classes if n_classes > 2 else 1

    def points():
        return Points(tuple(np.round(rng.normal(size=width) * 3, int(rng.integers(0, 4))).tolist()))

    def said(stage):
        if not classes or (policy == "sum" and stage == "model"):
            return points()
        kind = rng.random()
        if kind < 0.15 and not (policy == "vote" and stage == "model"):
            return Abstain()
        if kind < 0.6:
            return Label(str(rng.choice(classes)))
        shares = np.round(rng.dirichlet(np.ones(n_classes)), 3)
        shares[0] = 1 - shares[1:].sum()
        return Probability(tuple(np.abs(shares).tolist()))

    rules = []
    for number in range(int(rng.integers(0, 9)) if n_rules is None else n_rules):
        stage = str(rng.choice(["model", "model", "model", "before", "after"]))
        weight = float(rng.choice([1, 1, 0.5, 2.25]))
        source = "user" if stage != "model" else "learned"
        rules.append(Rule(f"r{number}", random_condition(rng, most), said(stage), weight, source, stage))
    default = (
        said("model") if policy != "vote" or not classes else (Abstain() if rng.random() < 0.3 else said("before"))
    )
    band = None
    if classes and rng.random() < 0.3:
        band = Band(0.45, 0.62, str(rng.choice(["", *classes])))
    calibration = None
    if policy == "sum" and n_classes == 2 and rng.random() < 0.4:
        calibration = Calibration((-1.0, 0.5, 2.0), (0.1, 0.3, 0.55, 0.9))
    return RuleSet(tuple(rules), policy, default, classes, NUMERIC, CATEGORICAL, band, calibration)
