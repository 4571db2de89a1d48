"""The best of many candidates, with few of their exact costs told: that of a network takes longer than all the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np

from engine.samplers.belief import COST_UNIT, Belief
from engine.samplers.history import Model, log_cost
from engine.samplers.pool import Draw

__all__ = ["Choosing"]

DOUBT = 2.0  # standard deviations by which a cost may be smaller or larger than expected
AT_ONCE = 2  # costs told before it is asked again whether others may be better


@final
class Choosing:
    """Chooses among candidates within one proposal.

    Where exact costs are known, the gain of a candidate is hoped to be the best one at its expected cost and DOUBT
    deviations to either side. Exact costs are told in order of hope, until no other candidate is hoped to gain more
    than the best of those that were told.

    Args:
        belief: What is expected of candidates.
    """

    def __init__(self, belief: Belief) -> None:
        self._belief, self._rough = belief, belief.rough
        limit = belief.history.problem.cost.limit
        self._limit = math.inf if limit is None else log_cost(limit)

    def fits(self, model: Model) -> bool:
        """Say whether a candidate may keep all limits, by its expected cost where exact costs are known."""
        if self._rough is None:
            return model.is_allowed
        if not model.keeps_other_limits:
            return False
        least = float(self._rough.expected(model.features)) - DOUBT * self._rough.spread
        return least <= self._limit

    def likely(self, draws: Sequence[Draw], count: int) -> list[Draw]:
        """Return so many candidates with the largest gains at their expected costs."""
        models = [draw.model for draw in draws]
        if self._rough is None:
            gains = self._belief.gains(models)
        else:
            features = np.stack([model.features for model in models])
            costs = np.minimum(self._rough.expected(features), self._limit)
            gains = self._belief.gains_at(np.column_stack([features, costs / COST_UNIT]))
        return [draws[place] for place in _order(gains)[:count]]

    def best(self, draws: Sequence[Draw]) -> Draw | None:
        """Return the candidate with the largest gain of those that keep all limits, or None if there is none."""
        models = [draw.model for draw in draws]
        gains = self._belief.gains(models) if self._rough is None else self._told_gains(models)
        place = _order(gains)[0]
        return draws[place] if gains[place] > -math.inf else None

    def _told_gains(self, models: Sequence[Model]) -> np.ndarray:
        """Return the exact gains of the candidates whose costs were told; the best of all is among them."""
        assert self._rough is not None
        features = np.stack([model.features for model in models])
        expected, apart = self._rough.expected(features), DOUBT * self._rough.spread
        reach = np.minimum(expected, self._limit)

        def gains(places: np.ndarray, costs: np.ndarray) -> np.ndarray:
            return self._belief.gains_at(np.column_stack([features[places], costs / COST_UNIT]), reach)

        thrice = np.concatenate([expected - apart, expected, expected + apart])
        hopes = gains(np.tile(np.arange(len(models)), 3), thrice).reshape(3, -1).max(axis=0)
        found, rest = np.full(len(models), -math.inf), np.array(_order(hopes))
        while len(rest) and hopes[rest[0]] > found.max():
            now, rest = rest[:AT_ONCE], rest[AT_ONCE:]
            exact = gains(now, np.array([models[place].log_cost for place in now]))
            found[now] = np.where([models[place].is_allowed for place in now], exact, -math.inf)
        return found


def _order(gains: np.ndarray) -> list[int]:
    """Return places, the largest gain first; rounded, so that last bits of a product never decide between equals."""
    found: list[int] = np.argsort(-np.round(gains, 6), kind="stable").tolist()
    return found
