import json
from dataclasses import replace

import numpy as np
import pytest
from toy import Toy, candidate, toy_data

from engine.backends.processes import Processes
from engine.backends.serial import Serial
from engine.deadline import Deadline
from engine.errors import RecordError, StudyError
from engine.objective import Objective, Problem
from engine.record import RunFolder
from engine.samplers.pareto import ParetoSampler
from engine.samplers.random import RandomSampler
from engine.study import Study, seed_of
from engine.trial import State
from engine.work import Build, Work


class Script:
    """A sampler that proposes a fixed list, and notes what it was told."""

    def __init__(self, candidates):
        self.candidates, self.told = candidates, []

    def propose(self, problem, trials, pending, rng):
        number = len(trials) + len(pending)
        self.told.append((number, [trial.number for trial in trials], list(pending)))
        return self.candidates[number % len(self.candidates)]


def problem_of(family, budget=20, max_bytes=None):
    return Problem(
        family.space, Objective("error"), Objective("bytes", "bytes", max_bytes), family.canonical, family.bytes, budget
    )


def run_study(
    tmp_path, *, family=None, sampler=None, backend=None, budget=20, lag=3, seed=1, max_bytes=None, name="run"
):
    family = family or Toy()
    data = toy_data().save(tmp_path / f"{name}-data")
    folder = RunFolder(tmp_path / name)
    backend = backend or Serial()
    settings, recorded = folder.open({"seed": seed, "lag": lag, "budget": budget})
    backend.start(Work(family, data.folder, "accuracy"))
    study = Study(
        problem_of(family, budget, max_bytes),
        sampler or RandomSampler(),
        backend,
        folder,
        seed,
        settings["lag"],
        recorded,
    )
    try:
        study.run()
    finally:
        backend.close()
    return study


def outcome(study):
    return [(t.number, t.candidate, t.state, [(p.values["error"], p.sha256) for p in t.points]) for t in study.ended()]


def test_a_trial_is_proposed_knowing_exactly_the_trials_up_to_its_number_minus_lag(tmp_path):
    script = Script([candidate(size) for size in range(1, 21)])
    run_study(tmp_path, sampler=script, lag=4)
    for number, known, pending in script.told:
        assert known == list(range(max(0, number - 4 + 1)))
        assert pending == [candidate(size + 1) for size in range(len(known), number)]


@pytest.mark.parametrize("sampler", [RandomSampler, ParetoSampler])
def test_serial_and_processes_run_the_same_trials(tmp_path, sampler):
    serial = run_study(tmp_path, sampler=sampler(), name="serial")
    parallel = run_study(tmp_path, sampler=sampler(), backend=Processes(2), name="processes")
    assert outcome(serial) == outcome(parallel)
    assert serial.front.points == parallel.front.points


def test_twins_are_cached_cost_nothing_and_wait_for_a_pending_twin(tmp_path):
    script = Script([candidate(2), candidate(2, "b"), candidate(3), candidate(3, "b"), candidate(2)])
    study = run_study(tmp_path, sampler=script, budget=3, lag=3)
    states = [trial.state for trial in study.ended()]
    assert states == [State.COMPLETE, State.CACHED, State.COMPLETE, State.COMPLETE]
    assert study.trials[1].points == study.trials[0].points
    assert study.trials[1].twin == 0


def test_repeats_end_the_study_as_exhausted(tmp_path):
    study = run_study(tmp_path, family=Toy(largest=3), budget=50)
    assert "exhausted" in study.stopped
    assert {trial.candidate["size"] for trial in study.ended()} == {1, 2, 3}


def test_oversized_candidates_are_never_trained(tmp_path):
    script = Script([candidate(size) for size in (2, 50, 3, 40, 4)])
    study = run_study(tmp_path, sampler=script, budget=3, max_bytes=1000)
    assert [t.state for t in study.ended()] == [
        State.COMPLETE, State.OVERSIZED, State.COMPLETE, State.OVERSIZED, State.COMPLETE,
    ]  # fmt: skip
    assert all(point.values["bytes"] <= 1000 for point in study.front)


def test_a_failed_trial_is_data(tmp_path):
    study = run_study(tmp_path, family=Toy(fails=(2, 4)), sampler=Script([candidate(s) for s in range(1, 9)]), budget=8)
    failed = [trial for trial in study.ended() if trial.state is State.FAILED]
    assert [trial.candidate["size"] for trial in failed] == [2, 4]
    assert failed[0].error == "ZeroDivisionError: size 2 does not work"
    assert len(study.front)


def test_a_study_whose_first_trials_all_fail_stops_and_quotes_the_last_error(tmp_path):
    with pytest.raises(StudyError, match=r"first 5 trials all failed. The last error: ZeroDivisionError: size"):
        run_study(tmp_path, family=Toy(fails=(-1,)))


def test_a_killed_worker_is_replaced_and_its_trial_runs_again(tmp_path):
    family = Toy(kills=(5, 9), marks=str(tmp_path))
    sizes = [candidate(size) for size in range(1, 13)]
    chaos = run_study(tmp_path, family=family, sampler=Script(sizes), backend=Processes(2), budget=12, name="chaos")
    calm = run_study(tmp_path, sampler=Script(sizes), budget=12, name="calm")
    assert (tmp_path / "killed-5").exists()
    assert outcome(chaos) == outcome(calm)


@pytest.mark.parametrize("sampler", [RandomSampler, ParetoSampler])
@pytest.mark.parametrize("keep", [0, 1, 7, 13])
def test_a_run_cut_after_any_trial_resumes_to_the_same_record(tmp_path, sampler, keep):
    whole = run_study(tmp_path, sampler=sampler(), name="whole")
    lines = (tmp_path / "whole" / "trials.jsonl").read_text().splitlines(keepends=True)
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "settings.yaml").write_text((tmp_path / "whole" / "settings.yaml").read_text())
    (cut / "trials.jsonl").write_text("".join(lines[:keep]) + '{"number": 99, "sta')
    resumed = run_study(tmp_path, sampler=sampler(), name="cut")
    assert outcome(resumed) == outcome(whole)
    numbers = [json.loads(line)["number"] for line in (cut / "trials.jsonl").read_text().splitlines()]
    assert sorted(numbers) == sorted({trial.number for trial in whole.ended()})


def test_a_larger_budget_goes_on_where_the_first_ended(tmp_path):
    run_study(tmp_path, budget=8)
    longer = run_study(tmp_path, budget=16)
    fresh = run_study(tmp_path, budget=16, name="fresh")
    assert outcome(longer) == outcome(fresh)


def test_a_record_that_this_search_does_not_propose_is_refused(tmp_path):
    run_study(tmp_path, sampler=Script([candidate(size) for size in range(1, 21)]))
    with pytest.raises(RecordError, match=r"trials.jsonl, trial 0 is not the one this search proposes"):
        run_study(tmp_path, sampler=Script([candidate(size) for size in range(20, 0, -1)]))


def test_seeds_of_trials_follow_study_seed_and_candidate_alone():
    assert seed_of(1, candidate(3)) == seed_of(1, candidate(3))
    assert len({seed_of(s, candidate(k)) for s in range(3) for k in range(1, 20)}) == 57


def test_files_of_front_members_are_kept(tmp_path):
    study = run_study(tmp_path)
    for point in study.front:
        kept = study.folder.kept(point.sha256)
        assert kept is not None
        assert kept.size == point.values["bytes"]


def test_time_that_is_up_stops_all_but_the_first_trial(tmp_path):
    family, folder = Toy(), RunFolder(tmp_path / "late")
    data = toy_data().save(tmp_path / "data")
    _, recorded = folder.open({"seed": 0, "lag": 2})
    backend = Serial()
    backend.start(Work(family, data.folder, "accuracy"))
    study = Study(problem_of(family), RandomSampler(), backend, folder, 0, 2, recorded, deadline=Deadline(0.0))
    study.run()
    assert study.stopped == "the time is up"
    assert [trial.state for trial in study.ended()] == [State.COMPLETE]
    assert list(folder.load()) == [0]


@pytest.mark.parametrize(("steps", "is_cut"), [((1.0,), False), ((0.5, 1.0), True)])
def test_a_deadline_cuts_what_is_still_to_be_done(tmp_path, steps, is_cut):
    class Slow(Toy):
        def build(self, candidate, data, *, report, **told):
            for step in steps:
                report(step, float("nan"))
            yield from Toy.build(self, candidate, data, report=report, **told)

    work = Work(Slow(), toy_data().save(tmp_path).folder, "accuracy")
    assert work(Build(0, candidate(3), 0, Deadline(0.0))).is_cut is is_cut


def test_random_numbers_of_a_proposal_depend_on_seed_and_number_alone(tmp_path):
    class Draws:
        def __init__(self):
            self.drawn = []

        def propose(self, problem, trials, pending, rng):
            self.drawn.append(rng.random())
            return candidate(1 + int(rng.integers(60)))

    first, second = Draws(), Draws()
    run_study(tmp_path, sampler=first, lag=1, name="one")
    run_study(tmp_path, sampler=second, lag=6, name="two")
    shared = min(len(first.drawn), len(second.drawn))
    np.testing.assert_array_equal(first.drawn[:shared], second.drawn[:shared])


def test_a_smaller_budget_still_knows_the_whole_record(tmp_path):
    whole = run_study(tmp_path, budget=16)
    again = run_study(tmp_path, budget=5)
    assert len(again.trials) < len(whole.trials)
    assert again.recorded_front().points == whole.front.points
    assert [trial.number for trial in again.known()] == [trial.number for trial in whole.ended()]


def test_a_trial_that_the_deadline_cut_is_not_recorded(tmp_path):
    class Cut(Serial):
        def wait(self):
            outcome = super().wait()
            return replace(outcome, result=replace(outcome.result, is_cut=outcome.task.number == 2))

    study = run_study(tmp_path, backend=Cut(), budget=6)
    assert 2 in study.trials
    assert 2 not in study.folder.load()
    assert outcome(run_study(tmp_path, budget=6)) == outcome(study)


def test_a_record_of_failures_can_be_gone_on_with(tmp_path):
    with pytest.raises(StudyError):
        run_study(tmp_path, family=Toy(fails=(-1,)), budget=5)
    assert len(run_study(tmp_path, budget=9).front)
