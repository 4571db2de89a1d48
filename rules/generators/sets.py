"""Rule sets: any of these conditions means yes (DNF); of several classes, the surest rule decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from rules.generators.beam import Found, beam_search
from rules.generators.binned import Box
from rules.generators.columns import priced
from rules.generators.cuts import both, cuts
from rules.generators.examples import Examples
from rules.outputs import Probability
from rules.rule import Rule
from rules.ruleset import RuleSet

__all__ = ["SetGenes", "sets"]

CUTS = 100
POOL_ROUNDS = 25  # conditions found one after the other, each for the rows that are not covered yet
EXCHANGES = 3
PATIENCE = 3  # sizes in a row that may fail to improve a set before the search ends
PRIOR = 2.0  # rows of the whole in a precision
SURE = (
    0.9  # a set is grown from all conditions, and from those alone that are at least so precise: broad ones can block
)


@final
@dataclass(frozen=True)
class SetGenes:
    """How rule sets are found.

    Args:
        rules: Most of them.
        length: Most comparisons in a rule.
        method: `cover`: one rule after the other, for what is not covered; `columns`: column generation, for what a
            linear program over all conditions asks for.
        brevity: Rows that may be wrong for each comparison that is saved.
        positive: The class that the conditions mean, of two: `second` or `first`.
    """

    rules: int = 10
    length: int = 4
    method: Literal["cover", "columns"] = "cover"
    brevity: float = 0.5
    positive: Literal["first", "second"] = "second"


@final
@dataclass(frozen=True, eq=False)
class _Candidate:
    box: Box
    mask: np.ndarray
    name: int
    precision: float
    size: int


def sets(examples: Examples, genes: SetGenes) -> Iterator[tuple[int, RuleSet]]:
    """Yield rule sets, from few rules to many, each with the number that was allowed; nothing for regression.

    Conditions come from beam searches or from column generation; then the best few are chosen together, by greedy
    addition and exchange, for each number of rules: from all of them, and from the sure ones.

    Source: Cohen (1995), "Fast effective rule induction", for covering; Dash, Günlük and Wei (2018), arXiv:1805.09901,
    "Boolean decision rules via column generation", for the other method; both differ in the exchange at the end.
    """
    if examples.kind == "squares":
        return
    literals = both(examples, cuts(examples, most=CUTS))
    pool = _pool(examples, literals, genes) if literals else []
    shares = examples.shares[examples.sample] * examples.weights[examples.sample, None]
    n_must, is_any, last = len(examples.constraints.must), False, np.inf
    paths = [
        _grown(begun, shares, genes.brevity, genes.rules - n_must)
        for begun in (pool, [rule for rule in pool if rule.precision >= SURE])
    ]
    for size in range(1, max(map(len, paths)) + 1):
        price, chosen = min((path[size - 1] for path in paths if len(path) >= size), key=lambda entry: entry[0])
        within = examples.constraints.within(size + n_must, sum(rule.size for rule in chosen))
        if price < last and within:
            is_any = True
            yield size + n_must, _ruleset(examples, chosen)
        last = min(price, last)
    if not is_any:
        yield n_must, _ruleset(examples, [])


def _grown(
    pool: list[_Candidate], shares: np.ndarray, brevity: float, most: int
) -> list[tuple[float, list[_Candidate]]]:
    """Return price and rules of the best set found for each size, from one rule to many."""
    held = np.array([rule.mask for rule in pool], np.float32).reshape(len(pool), len(shares))
    choice, numbers, idle, last = _Choice(pool, held, shares, brevity), list[int](), 0, np.inf
    made: list[tuple[float, list[_Candidate]]] = []
    for size in range(1, most + 1):
        price, numbers = choice.grown(numbers)
        idle = idle + 1 if price >= last else 0
        if len(numbers) < size or idle >= PATIENCE:
            break
        last = min(price, last)
        made.append((price, [pool[number] for number in numbers]))
    return made


def _pool(examples: Examples, literals: list[Box], genes: SetGenes) -> list[_Candidate]:
    shares = examples.shares[examples.sample]
    weights = examples.weights[examples.sample]
    held = np.stack([box.mask(examples.data.codes) for box in literals], axis=1).astype(np.float32)
    one = [1 if genes.positive == "second" else 0]
    names = one if examples.kind == "logistic" else list(range(shares.shape[1]))
    found: dict[tuple[Box, int], _Candidate] = {}
    for name in names:
        kept = [n for n, box in enumerate(literals) if _may_speak_for(examples, box, name)]
        if not kept:
            continue
        allowed, seen = [literals[n] for n in kept], held[:, kept]
        yes = shares[:, name] * weights
        if genes.method == "columns" and examples.kind == "logistic":
            entries = priced(examples, allowed, seen, yes, weights - yes, length=genes.length, brevity=genes.brevity)
        else:
            entries = _covering(examples, allowed, seen, yes, weights, genes)
        whole = float(yes.sum() / weights.sum())
        for entry in entries:
            covered = float(weights[entry.mask].sum())
            precision = (float(yes[entry.mask].sum()) + PRIOR * whole) / (covered + PRIOR)
            if precision >= max(examples.constraints.min_precision, whole):
                size = examples.data.size(entry.box)
                found[entry.box, name] = _Candidate(entry.box, entry.mask, name, precision, size)
    return list(found.values())


def _may_speak_for(examples: Examples, box: Box, name: int) -> bool:
    sign = examples.constraints.sign(examples.data, box)
    if sign is None:
        return False
    return sign == 0 or (examples.kind == "logistic" and (sign > 0) == (name == 1))


def _covering(
    examples: Examples, literals: Sequence[Box], held: np.ndarray, yes: np.ndarray, weights: np.ndarray, genes: SetGenes
) -> list[Found]:
    """Search again and again, each time for what no condition covers yet; keep all that were met on the way."""
    left = np.ones(len(yes), bool)
    made: list[Found] = []
    whole = float(yes.sum() / weights.sum())
    for exponent in (1.0, 0.3):  # plain gain in shares; and a search that would rather be sure than broad
        left[:] = True
        for _ in range(POOL_ROUNDS):
            sums = np.stack([yes * left, (weights - yes) * left]).astype(np.float32)
            worth = _worth(whole, exponent, genes.brevity)
            found = beam_search(examples, literals, held, sums, worth, length=genes.length, width=12, most=6)
            if not found:
                break
            made += found
            left &= ~found[0].mask
            if yes[left].sum() < 1:
                break
    return made


def _worth(whole: float, exponent: float, brevity: float):  # type: ignore[no-untyped-def]
    def worth(counts: np.ndarray) -> np.ndarray:
        right, wrong = counts
        total = right + wrong
        precision = (right + PRIOR * whole) / (total + PRIOR)
        gain = total**exponent * (precision - whole)
        return np.where(right > max(1.5, brevity), gain, -np.inf)

    return worth


@final
@dataclass(frozen=True, eq=False)
class _Choice:
    """What a set of candidates costs beside each further one; matrices for all candidates at once."""

    pool: list[_Candidate]
    held: np.ndarray  # float32, shape (n_pool, n_rows)
    shares: np.ndarray  # weighted, shape (n_rows, n_classes)
    brevity: float

    def grown(self, chosen: list[int]) -> tuple[float, list[int]]:
        """Add the best rule, and exchange rules as long as that lowers the price; return the price and the rules."""
        price, best = self._best_beside(chosen)
        if best is None:
            return price, chosen
        made = [*chosen, best]
        for _ in range(EXCHANGES):
            is_changed = False
            for place in range(len(made)):
                tried, other = self._best_beside(made[:place] + made[place + 1 :])
                if other is not None and tried < price - 1e-6:
                    made[place], price, is_changed = other, tried, True
            if not is_changed:
                break
        return price, made

    def _best_beside(self, chosen: list[int]) -> tuple[float, int | None]:
        """Return the rule that lowers the price of a set most, and that price: wrong rows, and `brevity` a comparison.

        The surest rule that applies decides; where none does, the class that most of those rows have.
        """
        sureness = np.zeros(len(self.shares))
        said = np.full(len(self.shares), -1)
        for number in sorted(chosen, key=lambda number: self.pool[number].precision):
            inside = self.pool[number].mask
            sureness[inside], said[inside] = self.pool[number].precision, self.pool[number].name
        total = self.shares.sum(axis=1)
        is_open = said < 0
        right = np.where(is_open, 0.0, self.shares[np.arange(len(said)), np.maximum(said, 0)])
        names = np.array([rule.name for rule in self.pool], np.int64)
        sizes = np.array([rule.size for rule in self.pool], np.int64)
        fresh = (self.held @ (self.shares * is_open[:, None]).astype(np.float32)).astype(np.float64)
        left = self.shares[is_open].sum(axis=0) - fresh
        base = float((total - right)[~is_open].sum()) + self.brevity * float(sizes[chosen].sum())
        prices = base + self.brevity * sizes + left.sum(axis=1) - left.max(axis=1)
        prices += fresh.sum(axis=1) - fresh[np.arange(len(names)), names]
        if len(set(names[chosen])) + len(set(names)) > 2:  # rules for several classes overrule each other
            for number, rule in enumerate(self.pool):
                moved = rule.mask & ~is_open & (sureness < rule.precision)
                prices[number] += float((right[moved] - self.shares[moved, rule.name]).sum())
        prices[chosen] = np.inf
        best = int(prices.argmin()) if len(prices) else 0
        return (float(prices[best]), best) if len(prices) and np.isfinite(prices[best]) else (np.inf, None)


def _ruleset(examples: Examples, chosen: Sequence[_Candidate]) -> RuleSet:
    """Order rules by how sure they are, and say of each what holds where no surer one applies."""
    rules = list(examples.must)
    left = np.ones(len(examples.targets), bool)
    for rule in rules:
        left &= ~examples.holds(rule.condition)
    said: list[tuple[Box, np.ndarray]] = []
    for entry in sorted(chosen, key=lambda entry: (-entry.precision, entry.box.sides)):
        inside = examples.inside(entry.box)
        values = examples.mean_of(inside, prior=PRIOR)
        said.append((entry.box, values))
        left &= ~inside
    default = examples.mean_of(left, prior=PRIOR)
    if examples.kind == "logistic" and said:
        name = chosen[0].name
        said.sort(key=lambda entry: -entry[1][name])
        least = said[-1][1][name]
        if default[name] > least:  # the default must not be surer than a rule, or a direction could break
            default = said[-1][1]
    for number, (box, values) in enumerate(said, 1):
        rules.append(Rule(f"r{number}", examples.data.condition(box), _probability(examples, values)))
    return examples.ruleset(tuple(rules), "first", _probability(examples, default))


def _probability(examples: Examples, values: np.ndarray) -> Probability:
    made = examples.output(values)
    assert isinstance(made, Probability)
    return made
