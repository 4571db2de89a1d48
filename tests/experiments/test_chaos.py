"""Two hundred trials, a random worker killed after every tenth recorded one: nothing is lost, nothing differs."""

import pytest

from engine.backends.registry import backend_for
from engine.backends.settings import BackendSettings
from experiments.bench_scale import chaos

TRIALS, KILLS = 200, 20


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    return chaos(backend("processes"), tmp_path_factory.mktemp("calm"), trials=TRIALS, kills=0, seed=0)


def backend(name):
    return backend_for(BackendSettings(name=name), workers=2)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # ten slots of Ray are started anew, each in seconds to half a minute on a busy machine
@pytest.mark.parametrize("name", ["processes", "ray"])
def test_a_search_whose_workers_are_killed_ends_as_one_that_nothing_happens_to(tmp_path, calm, name):
    found = chaos(backend(name), tmp_path, trials=TRIALS, kills=KILLS, seed=0, slots_too=name == "ray")
    assert found.kills == KILLS
    assert (found.recorded, found.repeated) == (TRIALS, 0)
    assert found.record == calm.record
    assert found.files == calm.files
