"""The Pareto sampler in Optuna's studies: its own tests of samplers, and what ours adds."""

import copy
import re
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase

from engine.errors import SettingsError
from engine.samplers.for_optuna import OptunaParetoSampler
from engine.space import Choice, Condition, Int, Space

PAGE = Path(__file__).parents[2] / "docs" / "samplers.md"
SPACE = Space(
    {"kind": Choice(("line", "forest")), "width": Int(1, 64, log=True), "trees": Int(1, 20)},
    {"trees": Condition("kind", ("forest",))},
)


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


class TestAsOptunaTestsIt(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self):
        return lambda: OptunaParetoSampler(seed=0)


def size(candidate):
    return 10.0 * candidate["width"] * candidate.genes.get("trees", 1)


def canonical(candidate):
    return candidate.replace(trees=1) if candidate["width"] == 1 and "trees" in candidate.genes else candidate


def objective(trial):
    kind, width = trial.suggest_categorical("kind", ["line", "forest"]), trial.suggest_int("width", 1, 64, log=True)
    trees = trial.suggest_int("trees", 1, 20) if kind == "forest" else 1
    return 0.05 + 0.5 / (width * trees) ** 0.5 + 0.1 * (kind == "line"), 10.0 * width * trees


def studied(sampler, n_trials, directions=("minimize", "minimize"), objective=objective):
    study = optuna.create_study(directions=directions, sampler=sampler)
    study.optimize(objective, n_trials=n_trials)
    return study


def test_conditions_limits_and_canonical_forms_are_kept():
    study = studied(OptunaParetoSampler(SPACE, canonical=canonical, size=size, max_size=2000, seed=1), 30)
    assert all(trial.values[1] <= 2000 for trial in study.trials)
    assert all(("trees" in trial.params) == (trial.params["kind"] == "forest") for trial in study.trials)
    forms = {
        (trial.params["kind"], trial.params["width"], 1 if trial.params["width"] == 1 else trial.params.get("trees"))
        for trial in study.trials
    }
    assert len(forms) == 30


def test_a_seed_repeats_itself_and_a_copy_goes_on():
    whole = studied(OptunaParetoSampler(SPACE, size=size, seed=5), 16)
    study = studied(OptunaParetoSampler(SPACE, size=size, seed=5), 12)
    study.sampler = copy.deepcopy(study.sampler)  # as pickling does, without what it has learned
    study.optimize(objective, n_trials=4)
    assert [trial.params for trial in study.trials] == [trial.params for trial in whole.trials]


@pytest.mark.parametrize(
    ("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)], ids=["smaller is better", "larger is better"]
)
def test_one_objective_is_found_better_than_at_random(direction, sign):
    def bowl(trial):
        x, y = trial.suggest_float("x", -2, 2), trial.suggest_float("y", -2, 2, step=0.1)
        return sign * ((x - 1) ** 2 + (y + 0.5) ** 2 - 1)  # below zero at its best

    def best(sampler):
        study = studied(sampler, 25, [direction], bowl)
        return sign * study.best_value

    ours = np.mean([best(OptunaParetoSampler(seed=seed)) for seed in range(3)])
    assert ours < np.mean([best(optuna.samplers.RandomSampler(seed=seed)) for seed in range(3)])


def test_failures_and_running_trials_are_told():
    sampler = OptunaParetoSampler(SPACE, size=size, seed=0)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)

    def failing(trial):
        values = objective(trial)
        if trial.params["kind"] == "forest":
            raise MemoryError
        return values

    study.optimize(failing, n_trials=40, catch=MemoryError)
    late = [trial.state.name for trial in study.trials[20:]]
    assert late.count("FAIL") < len(late) / 2
    asked = [study.ask() for _ in range(4)]
    for trial in asked:
        objective(trial)
    assert len({tuple(sorted(trial.params.items())) for trial in asked}) == 4


def test_what_cannot_work_says_what_to_do():
    with pytest.raises(SettingsError, match="canonical and size are asked about candidates of a space: give space="):
        OptunaParetoSampler(canonical=canonical, size=size)
    with pytest.raises(SettingsError, match="the study has 3 objectives"):
        studied(OptunaParetoSampler(), 1, ["minimize"] * 3, lambda trial: (trial.suggest_float("x", 0, 1), 2.0, 3.0))


def test_the_documented_study_runs():
    names = {}
    for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        exec(compile(code, PAGE.name, "exec"), names)
    assert all(trial.values[1] <= 20_000 for trial in names["study"].trials)
    assert names["study"].best_trials
