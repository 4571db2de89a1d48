import importlib.util
from pathlib import Path

import pytest

from engine.errors import RecordError
from engine.front import Front
from engine.space import Candidate
from engine.trial import Point
from experiments.compare import (
    Run,
    additive_epsilon,
    coverage,
    dominated_area,
    error_at,
    main,
    mean_interval,
    read_runs,
)

_place = importlib.util.spec_from_file_location("finished_run", Path(__file__).parents[1] / "finished_run.py")
finished_run = importlib.util.module_from_spec(_place)
_place.loader.exec_module(finished_run)


def run(*members, name="a"):
    return Run(name, 0, "{}", "accuracy", members)


BETTER = run((1000.0, 0.2), (10000.0, 0.1))
WORSE = run((100.0, 0.5), (1000.0, 0.3), (10000.0, 0.15), name="b")


@pytest.fixture
def folders(tmp_path):
    made = []
    for seed in (0, 1, 2):
        made.append(finished_run.write_run(tmp_path / f"pareto-{seed}", seed=seed, better=0.8, sampler="pareto"))
        made.append(finished_run.write_run(tmp_path / f"random-{seed}", seed=seed, sampler="random"))
    return [str(folder) for folder in made]


def test_error_at_a_size():
    assert error_at(BETTER, 999) is None
    assert error_at(BETTER, 1000) == 0.2
    assert error_at(BETTER, 1e6) == 0.1


def test_area_by_hand():
    assert dominated_area(BETTER, (0.5, 100000.0)) == pytest.approx(0.3 + 0.4)
    assert dominated_area(BETTER, (0.15, 100000.0)) == pytest.approx(0.05)
    assert dominated_area(BETTER, (0.5, 900.0)) == 0.0


def test_area_on_validation_rows_is_the_hypervolume_of_the_front(folders):
    runs, _ = read_runs(folders[:2], on="validation")
    for one in runs:
        points = [
            Point(Candidate.of({"n": n}), {"bytes": size, "error": error})
            for n, (size, error) in enumerate(one.members)
        ]
        expected = Front.of(points).hypervolume(error=0.9, cost=100000)
        assert dominated_area(one, (0.9, 100000.0)) == pytest.approx(expected)


def test_luck_on_test_rows_is_not_picked():
    lucky = run((1000.0, 0.1), (10000.0, 0.2))  # the larger one was chosen on validation rows
    assert dominated_area(lucky, (0.5, 100000.0)) == pytest.approx(0.4 + 0.3)


def test_coverage_counts_equal_members():
    assert coverage(BETTER, WORSE) == pytest.approx(2 / 3)
    assert coverage(WORSE, BETTER) == 0.0
    assert coverage(BETTER, BETTER) == 1.0


def test_epsilon_by_hand():
    assert additive_epsilon(WORSE, BETTER, 0.9) == pytest.approx(0.1)
    assert additive_epsilon(BETTER, WORSE, 0.9) == pytest.approx(0.4)
    assert additive_epsilon(BETTER, BETTER, 0.9) == 0.0


def test_the_interval_of_a_mean():
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert (mean, round(low, 3), round(high, 3)) == (2.0, -0.484, 4.484)
    assert mean_interval([1.0] * 50) == (1.0, 1.0, 1.0)


def test_groups_of_seeds_are_compared(folders, tmp_path, capsys):
    out = tmp_path / "picture.png"
    assert main([*folders, f"out={out}", "reference=0.9,100000"]) == 0
    told = capsys.readouterr().out
    for part in ("Errors on test rows, in %", "pareto x 3 seeds", "random x 3 seeds", "(3)", "Paired differences"):
        assert part in told
    assert "Reference point: 90.00 %, 100,000 B" in told
    assert "C(A,B)" in told
    assert out.read_bytes().startswith(b"\x89PNG")


def test_single_runs_have_no_interval(folders, tmp_path, capsys):
    assert main([*folders[:2], f"out={tmp_path / 'x.png'}"]) == 0
    told = capsys.readouterr().out
    assert "standard deviation" not in told
    assert "Paired" not in told


def test_validation_rows_are_taken_where_a_run_was_not_tested(folders, tmp_path, capsys):
    untested = str(finished_run.write_run(tmp_path / "untested", tested=False))
    assert read_runs([folders[0], untested])[1] == "validation"
    assert main([folders[0], untested, "on=test"]) == 2
    assert f"on=test needs test errors of all members; without: {untested}" in capsys.readouterr().err


def test_missing_and_unfinished_folders_are_named_at_once(folders, tmp_path):
    early = finished_run.write_run(tmp_path / "early", finished=False)
    with pytest.raises(RecordError, match=r"(?s)no run folder .*gone.*early has no finished front"):
        read_runs([folders[0], str(tmp_path / "gone"), str(early)])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["reference=3"], "reference must be ERROR,BYTES"),
        (["reference=-1,5"], "reference must be ERROR,BYTES"),
        (["on=train"], "on must be"),
        (["ot=x"], "Unknown key ot"),
    ],
)
def test_wrong_options_are_told(folders, more, message, capsys):
    assert main([*folders[:2], *more]) == 2
    assert message in capsys.readouterr().err


def test_two_folders_are_needed(folders, capsys):
    assert main(folders[:1]) == 2
    assert "at least two run folders" in capsys.readouterr().err
    assert main([folders[0], folders[0]]) == 2


def test_help(capsys):
    assert main(["--help"]) == 0
    assert "usage: python -m experiments.compare" in capsys.readouterr().out
    assert main([]) == 2
