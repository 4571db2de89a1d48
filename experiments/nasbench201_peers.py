"""One search of a peer over NAS-Bench-201; runs in an interpreter of its own, where the peer is installed.

    python -I nasbench201_peers.py SYSTEM REQUEST.json

The request names `space` (operations by edge), `cells` (operations, parted by spaces, to error and parameters), `seed`,
`evaluations`, `repeats` (so many proposals in a row without a new cell end the search) and `answer`, the file for
`cells` in order of evaluation, `proposals`, processor `seconds`, `versions`, and `failed` where something went wrong.

A cell that a peer proposes again is told again and costs nothing. Sizes are told as logarithms, which suits Gaussian
processes and changes nothing for an order of dominance.
"""

from __future__ import annotations

import json
import logging
import math
import random
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, final

__all__ = ["SYSTEMS", "main"]

PACKAGES = ("neural-pipeline-search", "syne-tune", "botorch", "torch")
WORST_ERROR = 0.5  # of the reference point, a share


@final
@dataclass(frozen=True)
class Job:
    """What a peer may know.

    Args:
        space: Operations by edge.
        seed: Of everything drawn.
        largest: Parameters of the largest cell, for a reference point.
    """

    space: Mapping[str, list[str]]
    seed: int
    largest: float


Asked = tuple[Any, Mapping[str, str]]
Peer = tuple[Callable[[], Asked], Callable[[Any, float, float], None]]  # ask; tell error and parameters


def main() -> None:
    """Run one search; one that fails keeps what it has evaluated."""
    system, request = sys.argv[1:3]
    told = json.loads(Path(request).read_text(encoding="utf-8"))
    largest = max(parameters for _, parameters in told["cells"].values())
    logging.disable(logging.CRITICAL)
    evaluated: dict[str, None] = {}
    answer: dict[str, Any] = {"versions": _versions()}
    proposals = repeats = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ask, tell = SYSTEMS[system](Job(told["space"], told["seed"], largest))
            start = time.process_time()
            while len(evaluated) < told["evaluations"] and repeats < told["repeats"]:
                trial, cell = ask()
                key = " ".join(cell[edge] for edge in told["space"])
                proposals, repeats = proposals + 1, repeats + 1 if key in evaluated else 0
                evaluated[key] = None
                tell(trial, *told["cells"][key])
                answer["seconds"] = time.process_time() - start
        except Exception as error:  # whatever a peer raises is its row of the table
            answer["failed"] = f"{type(error).__name__}: {error}"[:300]
    answer |= {"cells": list(evaluated), "proposals": proposals}
    Path(told["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def _neps(job: Job, values: Callable[[float, float], Any], **options: Any) -> Peer:
    """NePS's Bayesian optimisation, what it chooses by itself for a space without fidelities and priors."""
    import neps
    import numpy as np
    import torch

    random.seed(job.seed)  # it takes no seed of its own
    np.random.seed(job.seed)  # noqa: NPY002, TID251 - what it draws from
    torch.manual_seed(job.seed)
    edges = {edge: neps.Categorical(tuple(operations)) for edge, operations in job.space.items()}
    space = type("Cell", (neps.PipelineSpace,), edges)()
    asking = neps.AskAndTell(neps.algorithms.bayesian_optimization(space, **options))

    def ask() -> Asked:
        trial = asking.ask()
        return trial, trial.config

    return ask, lambda trial, error, parameters: asking.tell(trial, values(error, parameters)) and None


def _neps_both(job: Job) -> Peer:
    """Both objectives as documented: to be minimised."""
    return _neps(job, lambda error, parameters: [math.log(error), math.log(parameters)])


def _neps_negated(job: Job) -> Peer:
    """Both negated: 0.17.0 gives them to an acquisition that maximises, so that it looks for large ones otherwise."""
    reference = (-math.log(WORST_ERROR), -math.log(job.largest))
    return _neps(job, lambda error, parameters: [-math.log(error), -math.log(parameters)], reference_point=reference)


def _neps_error(job: Job) -> Peer:
    return _neps(job, lambda error, _: error)


def _syne(job: Job, scheduler: Callable[[dict[str, Any]], Any], values: Callable[[float, float], Any]) -> Peer:
    import numpy as np
    from syne_tune.config_space import choice
    from syne_tune.optimizer.schedulers.ask_tell_scheduler import AskTellScheduler

    random.seed(job.seed)
    np.random.seed(job.seed)  # noqa: NPY002, TID251 - what the first population is drawn from
    asking = AskTellScheduler(scheduler({edge: choice(operations) for edge, operations in job.space.items()}))

    def ask() -> Asked:
        trial = asking.ask()
        return trial, trial.config

    return ask, lambda trial, error, parameters: asking.tell(trial, values(error, parameters))


def _both(error: float, parameters: float) -> dict[str, float]:
    return {"error": error, "parameters": math.log(parameters)}


def _syne_evolution(job: Job, **options: Any) -> Peer:
    """Syne Tune's multi-objective regularized evolution."""
    from syne_tune.optimizer.schedulers.multiobjective import MultiObjectiveRegularizedEvolution
    from syne_tune.optimizer.schedulers.single_fidelity_scheduler import SingleFidelityScheduler

    def scheduler(space: dict[str, Any]) -> Any:
        searcher = MultiObjectiveRegularizedEvolution(space, random_seed=job.seed, **options)
        return SingleFidelityScheduler(space, ["error", "parameters"], searcher=searcher, random_seed=job.seed)

    return _syne(job, scheduler, _both)


def _syne_ranked(job: Job) -> Peer:
    """The same with parents chosen by rank (0.16.0 takes the sorted indices for ranks), and a population of 20.

    By default it has 100, so that the first hundred cells are random.
    """
    import numpy as np
    from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import NonDominatedPriority

    order = NonDominatedPriority()
    return _syne_evolution(
        job, population_size=20, sample_size=5, multiobjective_priority=lambda values: np.argsort(order(values))
    )


def _syne_ehvi(job: Job) -> Peer:
    """Syne Tune's expected hypervolume improvement, moved so that its fixed reference point is the worst corner."""
    from syne_tune.optimizer.baselines import EHVI

    def moved(error: float, parameters: float) -> dict[str, float]:
        return {"error": math.log(error / WORST_ERROR) - 2, "parameters": math.log(parameters / job.largest) - 2}

    return _syne(job, lambda space: EHVI(space, ["error", "parameters"], random_seed=job.seed), moved)


def _syne_error(job: Job) -> Peer:
    """Syne Tune's conformal quantile regression, for the error alone."""
    from syne_tune.optimizer.baselines import CQR

    return _syne(job, lambda space: CQR(space, "error", random_seed=job.seed), _both)


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


SYSTEMS: dict[str, Callable[[Job], Peer]] = {
    "neps": _neps_both,
    "neps_negated": _neps_negated,
    "neps_error": _neps_error,
    "syne": _syne_evolution,
    "syne_ranked": _syne_ranked,
    "syne_ehvi": _syne_ehvi,
    "syne_error": _syne_error,
}

if __name__ == "__main__":
    main()
