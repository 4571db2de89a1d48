"""Several nodes, each with processes of its own: killed, hanging, joining. Kills come after a recorded trial.

Slow: a node takes seconds to come up, and Ray half a minute to give up one that hangs.
"""

import os

import pytest
from ray_nodes import await_worker, cluster, files, kill, living_workers, node_of, outcome, recorded, search, stop

from engine.backends.ray import Ray
from engine.backends.serial import Serial
from engine.backends.settings import BackendSettings
from engine.checks import backend_checks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of Ray's cluster utilities
]
BUDGET = 30


@pytest.fixture
def two_nodes():
    with cluster(nodes=2) as made:
        yield made


@pytest.fixture(scope="module")
def steady():
    with cluster(nodes=2) as made:
        yield made


def ray_on(made, *, workers=2, **settings):
    return Ray(BackendSettings(name="ray", address=made.address, **settings), workers=workers)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The search that nothing happens to."""
    place = tmp_path_factory.mktemp("calm")
    study, _ = search(Serial(), place, seconds=0.0, budget=BUDGET)
    return outcome(study), files(place, study)


def is_whole(place, study, calm):
    assert sorted(recorded(place)) == list(range(BUDGET))
    assert (outcome(study), files(place, study)) == calm


@pytest.mark.parametrize(("name", "check"), list(backend_checks()))
def test_keeps_the_laws(steady, name, check):
    check(lambda: ray_on(steady))


def test_a_node_killed_after_a_recorded_trial_costs_nothing(tmp_path, two_nodes, calm):
    killed = []

    def watch(study, marks):
        if len(recorded(tmp_path)) == 10 and not killed:
            killed.append(node_of(two_nodes, living_workers(marks)[-1]))
            kill(killed[0])

    study, error = search(ray_on(two_nodes), tmp_path, watch=watch, budget=BUDGET)
    assert error is None
    assert len(killed) == 1
    is_whole(tmp_path, study, calm)


def test_a_node_that_hangs_after_a_recorded_trial_is_given_up(tmp_path, two_nodes, calm):
    stopped = []

    def watch(study, marks):
        if len(recorded(tmp_path)) == 10 and not stopped:
            stopped.append(node_of(two_nodes, living_workers(marks)[-1]))
            stop(two_nodes, stopped[0])

    study, error = search(ray_on(two_nodes), tmp_path, watch=watch, budget=BUDGET)
    assert error is None
    assert len(stopped) == 1
    is_whole(tmp_path, study, calm)


def test_a_node_that_joins_takes_part_and_one_that_leaves_is_not_missed(tmp_path, calm):
    with cluster(nodes=1) as made:
        (first,) = made.worker_nodes
        joined, seen = [], set()

        def watch(study, marks):
            seen.update(living_workers(marks))
            done = len(recorded(tmp_path))
            if done == 5:
                joined.append(made.add_node(num_cpus=1))
                await_worker(joined[0])
            if done == 15:
                kill(first)

        study, error = search(ray_on(made), tmp_path, watch=watch, budget=BUDGET, up=1)
    assert error is None
    assert len(joined) == 1
    assert len(seen) >= 2
    is_whole(tmp_path, study, calm)


def test_a_run_whose_head_dies_is_resumed_on_another_cluster(tmp_path, calm):
    with cluster(nodes=2) as made:

        def watch(study, marks):
            if len(recorded(tmp_path)) == 10:
                kill(made.head_node)

        _, error = search(ray_on(made), tmp_path, watch=watch, budget=BUDGET)
    assert "What is recorded stays: go on with the same command and run=FOLDER." in str(error)
    before = recorded(tmp_path)
    assert 10 <= len(before) < BUDGET
    with cluster(nodes=2) as made:
        study, error = search(ray_on(made), tmp_path, budget=BUDGET)
    assert error is None
    assert recorded(tmp_path)[: len(before)] == before
    is_whole(tmp_path, study, calm)


def test_slots_that_share_a_gpu_see_it_and_others_see_none(tmp_path):
    with cluster(nodes=0) as made:
        made.add_node(num_cpus=2, num_gpus=1)  # one that is only counted
        seen = {}
        for gpus in (0.5, 0.0):
            backend = ray_on(made, gpus=gpus)
            backend.start(os.getenv)
            for _ in range(2):
                backend.submit("CUDA_VISIBLE_DEVICES")
            seen[gpus] = {backend.wait().result for _ in range(2)}
            backend.close()
    assert seen[0.5] == {"0"}
    assert seen[0.0] <= {"", None}


def test_limits_hold_on_ray(steady):
    import time

    backend = Ray(
        BackendSettings(name="ray", address=steady.address),
        workers=1,
        seconds_of=lambda task: 0.5 if task == 600 else None,
    )
    backend.start(time.sleep)
    for task in (600, 0):
        backend.submit(task)
    outcomes = {outcome.task: outcome for outcome in (backend.wait(), backend.wait())}
    backend.close()
    assert outcomes[600].is_limit
    assert outcomes[600].lost == "it ran for longer than 0.5 seconds"
    assert not outcomes[0].lost
