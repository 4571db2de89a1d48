import gzip
import json

import numpy as np
import pytest

from engine.errors import DataError
from experiments.nasbench201 import (
    SPACE,
    Cells,
    expression,
    features,
    main,
    parameters,
    read_table,
    search,
)

HEADER = "op_1_0,op_2_0,op_2_1,op_3_0,op_3_1,op_3_2,cifar10_val_acc_12ep,cifar10_test_acc_200ep"


@pytest.fixture(scope="module")
def table(cells_file):
    return read_table(cells_file)


def test_equal_cells_have_one_form_and_one_size(table):
    cells = Cells(table)
    problem = cells.problem(10, canonical=True, one_objective=False)
    rng = np.random.default_rng(0)
    forms = set()
    for _ in range(300):
        candidate = SPACE.sample(rng)
        form = problem.canonical(candidate)
        assert problem.canonical(form) == form
        assert problem.exact_cost(form) == problem.exact_cost(candidate)
        assert expression([form[name] for name in SPACE]) == expression([candidate[name] for name in SPACE])
        assert np.allclose(problem.features(form), features([form[name] for name in SPACE]))
        forms.add(form)
    assert 100 < len(forms) < 300


def test_dead_edges_weigh_nothing():
    assert parameters(["conv3", "none", "none", "skip", "none", "none"]) == 73_306
    assert parameters(["conv3", "none", "none", "none", "conv1", "none"]) == 73_306 + 252_000 + 28_000
    assert expression(["conv3", "none", "none", "skip", "none", "none"]) == "x"


def test_the_share_is_that_of_the_volume_counted_on_a_grid(table):
    rng = np.random.default_rng(1)
    order = rng.choice(len(table.seen), 60, replace=False).tolist()
    errors = np.log(np.minimum(table.test, 20) / table.test.min()) / np.log(20 / table.test.min())
    sizes = np.log(table.sizes / table.sizes.min()) / np.log(table.sizes.max() / table.sizes.min())

    def counted(rows):
        grid = (np.arange(1000) + 0.5) / 1000
        low = np.array([min([errors[row] for row in rows if sizes[row] <= place], default=1.0) for place in grid])
        return (1 - low).mean()

    handed = [
        row
        for row in order
        if not any(
            table.sizes[other] <= table.sizes[row]
            and table.seen[other] <= table.seen[row]
            and (table.sizes[other], table.seen[other]) != (table.sizes[row], table.seen[row])
            for other in order
        )
    ]
    everything = np.lexsort((errors, sizes))
    best = everything[np.append(True, np.diff(np.minimum.accumulate(errors[everything])) < 0)]
    assert table.share(order) == pytest.approx(counted(handed) / counted(best), abs=3e-3)
    assert table.share(range(len(table.seen))) <= 1


def test_a_repeat_costs_an_evaluation_only_without_the_canonical_form(table):
    cells = Cells(table)
    free = search(cells, cells.problem(60, canonical=True, one_objective=False), table.seen / 100, "tpe", 0)
    paid = search(cells, cells.problem(60, canonical=False, one_objective=False), table.seen / 100, "tpe", 0)
    cell_of = {row: cell for cell, row in table.rows.items()}
    assert len(free) == len(paid) == 60
    assert len({expression(cell_of[row]) for row in free}) == 60
    assert len({expression(cell_of[row]) for row in paid}) < 60


def test_pareto_hands_over_more_than_random(cells_file, table, tmp_path, capsys):
    cells = Cells(table)
    problem = cells.problem(40, canonical=True, one_objective=False)
    shares = {
        name: np.mean([table.share(search(cells, problem, table.seen / 100, name, seed)) for seed in range(3)])
        for name in ("pareto", "random")
    }
    assert shares["pareto"] > shares["random"]
    out = tmp_path / "o.json"
    assert main([f"table={cells_file}", "sampler=random", "seeds=2", "evaluations=60", f"out={out}"]) == 0
    told = capsys.readouterr().out
    assert "50 evaluations:" in told
    assert "60 evaluations for the error alone: regret" in told
    written = json.loads(out.read_text())
    assert written["sampler"] == "random"
    assert [len(order) for order in written["seeds"]] == [60, 60]


def test_another_file_is_refused(tmp_path, capsys):
    with pytest.raises(DataError, match="must be the gzipped CSV file of NAS-Bench-201's cells"):
        read_table(tmp_path / "none.csv.gz")
    short = tmp_path / "short.csv.gz"
    with gzip.open(short, "wt") as file:
        file.write(f"{HEADER}\n0,0,0,0,0,0,50,60\n")
    with pytest.raises(DataError, match="must hold each of the 15,625 cells once, got 1 rows"):
        read_table(short)
    assert main([f"table={short}"]) == 2
    assert "must hold each" in capsys.readouterr().err


def test_no_searches_are_refused_before_the_table_is_read(capsys):
    assert main(["table=none.csv.gz", "seeds=0", "evaluations=-3"]) == 2
    told = capsys.readouterr().err
    assert "seeds must be at least 1, got 0." in told
    assert "evaluations must be at least 1, got -3." in told
