"""Fronts of rules beside points of peers: areas, ranks, dominated members, what validation rows would have chosen."""

from rich.console import Console

from experiments.bench_rule_search import table_of


def front(number, members):
    return {"set": "a", "seed": 0, "fold": number, "majority_error": 0.4, "seconds": 1.0, "trials": 2,
            "members": [{"validation": validation, "test": test, "comparisons": count} for validation, test, count
                        in members]}  # fmt: skip


def peer(number, error, count, system="tree"):
    return {"set": "a", "seed": 0, "fold": number, "system": system, "asked": 5, "accuracy": 1 - error,
            "comparisons": count}  # fmt: skip


def rows_of(table):
    console = Console(width=200, record=True)
    console.print(table)
    lines = [line for line in console.export_text().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_a_search_is_compared_fold_by_fold():
    fronts = [front(0, [(0.1, 0.1, 15), (0.2, 0.3, 3)]), front(1, [(0.1, 0.2, 15), (0.2, 0.2, 3)])]
    cells = [peer(0, 0.2, 15), peer(0, 0.25, 3), peer(1, 0.3, 20), peer(1, 0.5, 1), {**peer(1, 0.0, 1), "set": "b"}]
    rows = rows_of(table_of(fronts, cells, ["a"]))
    assert [row[1] for row in rows] == ["search", "tree", "search", "tree"]
    assert rows[0][2:4] == ["2", "2.0"]
    assert rows[0][5] == "1.00"
    assert rows[1][6] == "1 of 4"  # the member with three comparisons, in the first fold
    # fold 0: 0.2 - 0.1 and 0.25 - 0.3; fold 1: 0.3 - 0.2, and 0.5 less the more frequent class
    assert rows[1][7].startswith("+6.2 ±")
    assert rows[2][5] == "1.00"


def test_peers_that_failed_and_our_own_single_models_are_left_out():
    cells = [{"set": "a", "seed": 0, "fold": 0, "system": "tree", "asked": 5, "failed": "no"}, peer(0, 0.1, 3, "ours")]
    rows = rows_of(table_of([front(0, [(0.1, 0.1, 15)])], cells, ["a"]))
    assert [row[1] for row in rows] == ["search", "search"]
