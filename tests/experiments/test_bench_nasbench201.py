"""Samplers on NAS-Bench-201 beside peers: made-up peers, those that are not there, and settings that are wrong."""

import json
import sys

import pytest

from experiments import bench_nasbench201, nasbench201_peers, nasbench201_runs

# A peer that goes through the cells as the request lists them, and remembers how often it was called.
STUB = """
import json, pathlib, sys
system, request = sys.argv[1:]
told = json.loads(pathlib.Path(request).read_text())
calls = pathlib.Path(__file__).with_name("calls")
calls.write_text(calls.read_text() + system + "\\n" if calls.exists() else system + "\\n")
answer = {"cells": list(told["cells"])[:told["evaluations"]], "seconds": 3.0, "versions": {"neps": "9.9"}}
pathlib.Path(told["answer"]).write_text(json.dumps(answer))
"""


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")


def arguments(cells_file, out, **more):
    settings = {"table": cells_file, "seeds": 2, "evaluations": 50, "slow.seeds": 2, "slow.evaluations": 30, "out": out}
    return [f"{name}={value}" for name, value in (settings | more).items()]


def test_ours_and_a_peer_stand_in_one_table_and_nothing_is_searched_twice(
    cells_file, tmp_path, monkeypatch, capsys, wide
):
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    monkeypatch.setattr(nasbench201_runs, "SCRIPT", stub)
    given = arguments(
        cells_file, tmp_path / "out", systems="random,neps_negated,syne", **{"peers.neps": sys.executable}
    )
    assert bench_nasbench201.main(given) == 0
    told = capsys.readouterr()
    lines = {words[1]: words for line in told.out.splitlines() if (words := line.split()) and len(words) > 5}
    assert lines["neps_negated"][3:9] == ["neps", "9.9", "│", "2", "│", "30"]
    assert lines["syne"][3] == "skipped:"
    assert "to reach" in told.out
    assert told.err.count("random, seed") == 2
    assert "neps_negated, seed 1: 30 cells" in told.err
    assert bench_nasbench201.main(given) == 0
    again = capsys.readouterr()
    assert (again.out, again.err) == (told.out, "")
    assert (tmp_path / "calls").read_text().split() == ["neps_negated"] * 2


def test_searches_for_the_error_alone_and_without_canonical_forms(cells_file, tmp_path, capsys, wide):
    given = arguments(cells_file, tmp_path, systems="pareto_each,pareto_error", seeds=1, evaluations=12)
    assert bench_nasbench201.main(given) == 0
    told = capsys.readouterr()
    assert "pareto_each, seed 0: 12 cells" in told.err
    assert "pareto_error, seed 0: 12 cells" in told.err


def test_a_peer_that_cannot_be_run_or_fails_is_a_row_that_says_so(cells_file, tmp_path, capsys, wide):
    given = arguments(cells_file, tmp_path, systems="neps", **{"peers.neps": tmp_path / "python"})
    assert bench_nasbench201.main(given) == 0
    assert "skipped" in capsys.readouterr().out
    given = arguments(cells_file, tmp_path, systems="neps", **{"peers.neps": sys.executable})
    assert bench_nasbench201.main(given) == 0
    assert "failed" in capsys.readouterr().out
    assert not list(tmp_path.glob("*/*.json"))


def test_a_cell_proposed_again_is_free_until_there_is_nothing_new(tmp_path, monkeypatch):
    told = []

    def peer(job):
        proposals = iter([{"a": "0"}, {"a": "0"}, {"a": "1"}] + [{"a": "1"}] * 9)
        return lambda: (len(told), next(proposals)), lambda trial, error, parameters: told.append((trial, error))

    request = {"space": {"a": ["0", "1"]}, "cells": {"0": [0.5, 10.0], "1": [0.25, 20.0]}, "seed": 0,
               "evaluations": 5, "repeats": 3, "answer": str(tmp_path / "answer.json")}  # fmt: skip
    (tmp_path / "request.json").write_text(json.dumps(request))
    monkeypatch.setitem(nasbench201_peers.SYSTEMS, "made_up", peer)
    monkeypatch.setattr(sys, "argv", ["", "made_up", str(tmp_path / "request.json")])
    nasbench201_peers.main()
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["cells"] == ["0", "1"]
    assert answer["proposals"] == len(told) == 6
    assert told[:3] == [(0, 0.5), (1, 0.5), (2, 0.25)]


def test_all_that_is_wrong_with_the_settings_is_told_at_once(tmp_path, capsys):
    given = arguments(tmp_path / "none.csv.gz", tmp_path, systems="pareto,nesp", seeds=0, **{"slow.evaluations": 0})
    assert bench_nasbench201.main(given) == 2
    told = capsys.readouterr().err
    assert "No system 'nesp'; did you mean 'neps'?" in told
    assert "seeds must be at least 1, got 0." in told
    assert "slow.evaluations must be at least 1, got 0." in told
    assert "none.csv.gz must be the gzipped CSV file of NAS-Bench-201's cells: no such file." in told
    assert told.count("error: ") == 4
    assert bench_nasbench201.main([]) == 2
