"""The space `tabular`: a family, its own genes, and genes of preparation and compaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from automl.lesson import RUNGS
from automl.recipes import RECIPES
from engine.data import Signature
from engine.errors import SettingsError, did_you_mean
from engine.space import Candidate, Choice, Condition, Domain, Float, Int, Space, Value

__all__ = ["FAMILIES", "MONOTONE", "SCALES", "SMALLEST", "TabularSettings", "fitting", "tabular_space"]

FAMILIES = (
    "constant",
    "linear",
    "bayes",
    "discriminant",
    "tree",
    "forest",
    "extra",
    "boosting",
    "oblivious",
    "additive",
    "perceptron",
    "prototypes",
    "ensemble",
)
MONOTONE = ("constant", "linear", "tree", "forest", "extra", "boosting", "additive", "ensemble")
DENSE = ("linear", "bayes", "discriminant", "perceptron", "prototypes")
PIECEWISE = ("linear", "perceptron")  # which take numbers piece by piece
SCALES = ("spread", "robust")
TREES = ("tree", "forest", "extra", "boosting", "oblivious")
CLASSIFIERS = ("bayes", "discriminant")
CALIBRATED = ("bayes", "discriminant", "tree", "forest", "extra", "prototypes")
SMALLEST = 4  # trees of a ladder
PREPARED = tuple(name for name in FAMILIES if name not in ("constant", "ensemble"))
TAUGHT = ("linear", "tree", "forest", "extra", "boosting", "oblivious", "additive", "perceptron", "prototypes")


@dataclass(frozen=True, kw_only=True)
class TabularSettings:
    """What of the space is searched.

    Args:
        name: Of the space.
        families: Of models; with a direction to keep, those that cannot are left out.
    """

    name: str = "tabular"
    families: list[str] = field(default_factory=lambda: list(FAMILIES))

    def __post_init__(self) -> None:
        problems = [
            f"space.families has no '{name}'{did_you_mean(name, FAMILIES)} Families: {', '.join(FAMILIES)}."
            for name in self.families
            if name not in FAMILIES
        ]
        if not self.families:
            problems.append(f"space.families must name at least one of {', '.join(FAMILIES)}.")
        if problems:
            raise SettingsError("\n".join(problems))


def tabular_space(families: Sequence[str], signature: Signature) -> Space:
    """Return the space for data of this signature: without categories there are no genes for them.

    Args:
        families: Of models, in this order.
        signature: Of the data.
    """
    usable = [name for name in families if signature.task == "classification" or name not in CLASSIFIERS]
    chosen = tuple(name for name in FAMILIES if name in usable) or ("constant",)
    domains: dict[str, Domain] = {"family": Choice(chosen)}
    conditions: dict[str, Condition] = {}

    def add(name: str, domain: Domain, owners: Sequence[str], parent: str = "family") -> None:
        values = tuple(owner for owner in owners if parent != "family" or owner in chosen)
        if values:
            domains[name], conditions[name] = domain, Condition(parent, values)

    if signature.categorical_columns:
        add("rare", Choice((1, 5, 20, 100), ordered=True), PREPARED)
        add("order", Choice(("target", "count")), TREES)
        add("categories", Choice(("flags", "means")), DENSE)
    if signature.numeric_columns:
        add("fill", Choice(("median", "mean", "flag")), DENSE)
        add("scale", Choice(SCALES), DENSE)
        add("crosses", Choice((0, 4, 12, 30), ordered=True), DENSE)
        add("pieces", Choice((1, 4, 8, 16), ordered=True), PIECEWISE)
    add("select", Choice((0.25, 0.5, 0.75, 1.0), ordered=True), DENSE)
    add("coding", Choice(("int4", "int8", "float16"), ordered=True), (*DENSE, "additive"))
    add("leaves", Choice(("int3", "int4", "int5", "int6", "int8", "float16"), ordered=True), TREES)
    if signature.task == "classification":
        add("calibrate", Choice((False, True)), CALIBRATED)
    add("teach", Choice((0.0, 0.5, 1.0), ordered=True), TAUGHT)
    for name, domain in OWN.items():
        add(name, domain, (name.split(".")[0],))
    return Space(domains, conditions)


def fitting(space: Space, genes: Mapping[str, Value]) -> Candidate | None:
    """Return the candidate nearest to given genes that lies in a space; None if its family does not.

    Genes that the space has not are left out, missing ones are as in `DEFAULTS`.
    """
    if not space.domains["family"].contains(genes.get("family")):
        return None
    values: dict[str, Value] = {}
    for name, domain in space.domains.items():
        if space.is_active(name, values):
            given = genes.get(name, DEFAULTS.get(name))
            values[name] = given if given is not None and domain.contains(given) else _nearest(domain, given)
    return Candidate.of(values)


def _nearest(domain: Domain, given: Value | None) -> Value:
    if isinstance(domain, Choice):
        numbers = [option for option in domain.options if isinstance(option, int | float)]
        if isinstance(given, int | float) and len(numbers) == len(domain.options):
            return min(numbers, key=lambda option: abs(option - given))
        return domain.options[0]
    if isinstance(given, int | float):
        bounded = min(domain.high, max(domain.low, given))
        return int(bounded) if isinstance(domain, Int) else float(bounded)
    return domain.low


_TREES = Choice(tuple(rung for rung in RUNGS if rung >= SMALLEST), ordered=True)
_FEW = Choice(tuple(rung for rung in RUNGS if SMALLEST <= rung <= 128), ordered=True)
_SPLITS = Choice((3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128), ordered=True)
_BINS = Choice((7, 15, 31, 63, 127, 255), ordered=True)
_PRUNE = Choice((0.0, 0.15, 0.3, 0.5), ordered=True)
_REFIT = Choice((0.0, 0.01, 0.03, 0.1, 0.3), ordered=True)  # ridge, in rows for each leaf of the ensemble
_COLUMNS = Choice((0.2, 0.4, 0.6, 0.8, 1.0), ordered=True)

OWN: dict[str, Domain] = {
    "linear.norm": Choice(("ridge", "elastic", "lasso")),
    "linear.strength": Float(0.01, 300.0, log=True),
    "bayes.smoothing": Float(1e-6, 1.0, log=True),
    "discriminant.kind": Choice(("linear", "quadratic")),
    "discriminant.shrinkage": Choice((0.0, 0.01, 0.05, 0.2, 0.5), ordered=True),
    "tree.leaves": Int(2, 256, log=True),
    "tree.rows": Int(1, 200, log=True),
    "forest.trees": _FEW,
    "forest.leaves": Int(4, 512, log=True),
    "forest.rows": Int(1, 50, log=True),
    "forest.columns": _COLUMNS,
    "extra.trees": _FEW,
    "extra.leaves": Int(4, 4096, log=True),
    "extra.rows": Int(1, 50, log=True),
    "extra.columns": _COLUMNS,
    "boosting.trees": _TREES,
    "boosting.leaves": _SPLITS,
    "boosting.rate": Float(0.02, 0.5, log=True),
    "boosting.bins": _BINS,
    "boosting.rows": Int(2, 200, log=True),
    "boosting.ridge": Float(0.01, 100.0, log=True),
    "boosting.columns": _COLUMNS,
    "boosting.sample": Choice((0.5, 0.75, 1.0), ordered=True),
    "boosting.thrift": Choice((0.0, 1.0, 10.0), ordered=True),
    "boosting.prune": _PRUNE,
    "boosting.refit": _REFIT,
    "oblivious.trees": _FEW,
    "oblivious.depth": Int(2, 6),
    "oblivious.rate": Float(0.03, 0.7, log=True),
    "oblivious.bins": Choice((7, 15, 31, 63), ordered=True),
    "oblivious.ridge": Float(0.1, 100.0, log=True),
    "additive.bins": Choice((3, 7, 15, 31, 63), ordered=True),
    "additive.rounds": Choice((50, 100, 200, 400), ordered=True),
    "additive.keep": Choice((0.1, 0.25, 0.5, 1.0), ordered=True),
    "additive.ridge": Float(0.1, 100.0, log=True),
    "perceptron.width": Choice((4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256), ordered=True),
    "perceptron.layers": Choice((1, 2)),
    "perceptron.rate": Float(0.001, 0.05, log=True),
    "perceptron.decay": Float(1e-5, 1.0, log=True),
    "perceptron.passes": Choice((25, 50, 100, 200), ordered=True),
    "prototypes.count": Choice((4, 8, 16, 32, 64, 128, 256, 512), ordered=True),
    "prototypes.reach": Float(0.2, 5.0, log=True),
    "prototypes.ridge": Float(0.001, 30.0, log=True),
    "ensemble.first": Choice(tuple(RECIPES)),
    "ensemble.second": Choice(tuple(RECIPES)),
    "ensemble.third": Choice(("none", *RECIPES)),
    "ensemble.share": Choice((0.34, 0.5, 0.66), ordered=True),
}
DEFAULTS: dict[str, Value] = {
    "rare": 5,
    "order": "target",
    "categories": "flags",
    "fill": "median",
    "scale": "spread",
    "crosses": 0,
    "pieces": 1,
    "select": 1.0,
    "coding": "int8",
    "leaves": "int6",
    "calibrate": False,
    "teach": 0.0,
    "linear.norm": "ridge",
    "linear.strength": 1.0,
    "boosting.bins": 63,
    "boosting.rows": 20,
    "boosting.ridge": 1.0,
    "boosting.columns": 0.8,
    "boosting.sample": 1.0,
    "boosting.thrift": 0.0,
    "boosting.prune": 0.0,
    "boosting.refit": 0.1,
    "forest.columns": 0.4,
    "extra.columns": 0.6,
    "tree.rows": 10,
    "oblivious.bins": 31,
    "oblivious.ridge": 3.0,
    "additive.keep": 0.5,
    "additive.ridge": 3.0,
    "perceptron.layers": 1,
    "perceptron.rate": 0.01,
    "perceptron.decay": 0.1,
    "perceptron.passes": 100,
    "prototypes.reach": 1.0,
    "prototypes.ridge": 0.1,
    "ensemble.third": "none",
    "ensemble.share": 0.5,
}
