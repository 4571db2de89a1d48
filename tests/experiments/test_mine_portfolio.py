"""Mining: the greedy choice, and one small run on a real table."""

import json

import yaml
from sklearn.datasets import load_iris

from automl.space import FAMILIES, fitting, tabular_space
from experiments.mine_portfolio import WHOLE, greedy, main, quick_first, reached

POINTS = {
    "one": {"a": [(0.5, 3.0)], "b": [(0.4, 5.0)], "c": [(0.9, 2.0)]},
    "two": {"a": [(0.6, 3.0)], "b": [(0.2, 4.0)], "c": [(0.95, 2.0)]},
}


def test_the_share_reached_grows_with_members_and_ends_at_one():
    shares = [reached(POINTS["one"], members) for members in ([], ["c"], ["c", "a"], ["c", "a", "b"])]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0


def test_greedy_takes_what_adds_most_and_stops_when_nothing_adds():
    assert greedy(POINTS, 1) == ["b"] or greedy(POINTS, 1) == ["a"]
    chosen = greedy(POINTS, 10)
    assert sorted(chosen) == ["a", "b", "c"]
    assert greedy({"one": {"a": [(0.5, 3.0)], "b": [(0.5, 3.5)]}}, 10) == ["a"]


def test_members_that_add_much_in_a_short_time_come_first():
    assert quick_first(POINTS, ["b", "a", "c"], {"a": 1.0, "b": 1.0, "c": 1.0})[0] == greedy(POINTS, 1)[0]
    assert quick_first(POINTS, ["b", "a", "c"], {"a": 1.0, "b": 500.0, "c": 500.0})[0] == "a"
    assert sorted(quick_first(POINTS, ["b", "a", "c"], {"a": 9.0, "b": 2.0, "c": 1.0})) == ["a", "b", "c"]


def test_the_first_member_that_is_taught_waits_for_the_teacher():
    seconds = {"a": 1.0, "b": 1.0, "c": 1.0}
    first = quick_first(POINTS, ["a", "b", "c"], seconds)[0]
    assert quick_first(POINTS, ["a", "b", "c"], seconds, {first}, 1000.0)[-1] == first
    assert quick_first(POINTS, ["a", "b", "c"], seconds, {"a", "b", "c"}, 1000.0)[0] == first


def test_a_portfolio_is_written_and_lies_in_the_space(tmp_path, capsys):
    x, y = load_iris(return_X_y=True, as_frame=True)
    (tmp_path / "tables" / "iris").mkdir(parents=True)
    x.assign(y=y).to_csv(tmp_path / "tables" / "iris" / "iris.csv", index=False)
    told = {"file": "iris.csv", "target": "y", "task": "classification", "categorical_columns": []}
    (tmp_path / "tables" / "iris" / "meta.json").write_text(json.dumps(told))
    arguments = [
        f"data={tmp_path / 'tables'}",
        "seconds=4",
        "candidates=2",
        "members=3",
        "max_rows=90,150",
        f"out={tmp_path / 'out'}",
    ]
    assert main([*arguments, f"write={tmp_path / 'portfolio.yaml'}"]) == 0
    printed = capsys.readouterr().out
    assert "iris" in printed
    assert "iris (150 rows)" in printed
    members = yaml.safe_load((tmp_path / "portfolio.yaml").read_text())
    assert 4 <= len(members) <= 6
    assert [genes["family"] for genes in members[:3]] == ["constant", "linear", "tree"]
    space = tabular_space(FAMILIES, WHOLE)
    assert all(fitting(space, genes) is not None for genes in members)
    lines = (tmp_path / "out" / "trials.jsonl").read_text().splitlines()
    tried = [(entry["table"], entry["key"]) for entry in map(json.loads, lines)]
    assert len(set(tried)) == len(tried)
