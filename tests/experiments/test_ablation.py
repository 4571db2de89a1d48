"""The ablation: how fronts are compared, where candidates come from, and a tiny run of all arms."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from automl.family import Tables
from automl.space import TabularSettings
from compression.nets.train import Recipe
from engine.data import Signature
from engine.errors import SettingsError
from engine.settings import build, from_arguments
from engine.space import Candidate
from experiments import ablation
from experiments.ablation_family import listed, with_options
from experiments.ablation_fronts import front_of, size_ratio
from experiments.ablation_nets import CODINGS, resnet8, with_coding
from experiments.ablation_tables import BITS, PLAIN, compacted, grid
from experiments.automl_cells import Cell, read_cells
from nas.cells import CellsSettings, Genome
from nas.family import Networks

IMAGES = Signature("images", "classification", (3, 32, 32), "uint8", tuple("abcdefghij"))
TABLE = Signature("table", "classification", (4,), "float32", ("no", "yes"), numeric_columns=("a", "b", "c", "d"))


def cell(arm, seed, *files, constant=0.5):
    made = [
        {"name": str(number), "bytes": size, "valid_error": valid, "test_error": test}
        for number, (size, valid, test) in enumerate(files)
    ]
    key = {"set": "s", "seed": seed, "arm": arm, "given": "{}", "metric": "accuracy", "trials": 3}
    return Cell(key, constant, made, fit_seconds=1.0)


def test_fronts_are_chosen_by_validation_errors_and_told_by_test_errors():
    front = front_of(cell("file", 4, (100, 0.2, 0.3), (200, 0.2, 0.0), (300, 0.1, 0.4), (250, 0.15, 0.1)))
    assert front.members == ((100.0, 0.3), (250.0, 0.1), (300.0, 0.4))
    assert front.seed == 4


def test_bytes_are_compared_at_test_errors_that_both_fronts_reach():
    first = front_of(cell("file", 0, (100, 0.2, 0.2), (400, 0.05, 0.05)))
    second = front_of(cell("other", 0, (200, 0.2, 0.2), (800, 0.1, 0.1)))
    assert size_ratio(first, first) == 1.0
    assert size_ratio(first, second) == pytest.approx(2.0, rel=0.05), "from 0.1 to 0.2: 800 by 400, and 200 by 100"
    assert size_ratio(second, first) == pytest.approx(1 / size_ratio(first, second))


def test_the_table_pairs_arms_by_seed():
    cells = [cell("file", seed, (1000, 0.1, 0.1 + 0.01 * seed)) for seed in range(3)]
    cells += [cell("float_coded", seed, (2000, 0.1, 0.1 + 0.01 * seed)) for seed in range(3)]
    table = ablation.table_of("s", cells)
    columns = {column.header: list(column.cells) for column in table.columns}
    assert columns["arm"] == ["file", "float_coded"]
    assert columns["seeds ahead"] == ["", "3 of 3"]
    assert columns["bytes by those of file at equal error"][1] == "2.00 [2.00, 2.00]"


def test_a_listed_family_holds_its_candidates_and_nothing_else():
    family = Networks(CellsSettings(), IMAGES, Recipe())
    wanted = [with_coding(resnet8(width, CellsSettings()), *codings) for width in (4, 8) for codings in CODINGS]
    found = listed(family, [*wanted, wanted[0]])
    drawn = {found.canonical(found.space.sample(np.random.default_rng(seed))) for seed in range(200)}
    assert drawn == {family.canonical(candidate) for candidate in wanted}
    assert {found.bytes(candidate) for candidate in drawn} == {family.bytes(candidate) for candidate in wanted}
    for candidate in drawn:
        assert found.canonical(candidate) == candidate


def test_the_default_shape_has_about_the_parameters_of_resnet8():
    settings = CellsSettings()
    family = Networks(settings, IMAGES, Recipe())
    candidate = resnet8(16, settings)
    family.space.check(candidate)
    plan = family.kind.plan(Genome.of(candidate, settings.nodes), IMAGES)
    assert 0.9 < plan.parameters / 77_946 < 1
    assert family.bytes(with_coding(candidate, "int4", "int4")) < 0.6 * family.bytes(candidate)


def test_the_space_without_compaction_has_one_option_a_gene():
    space = Tables(TabularSettings(), TABLE, "auc").space
    plain = with_options(space, PLAIN)
    for seed in range(50):
        candidate = plain.sample(np.random.default_rng(seed))
        space.check(candidate)
        assert all(candidate.genes.get(name, value) == value for name, value in PLAIN.items())


def test_a_front_is_compacted_in_every_coding_once_for_each_training():
    tree = {"family": "boosting", "leaves": "float16", "boosting.prune": 0.0, "boosting.refit": 0.0}
    ladder = [Candidate.of({**tree, "boosting.trees": count}) for count in (8, 32, 16)]
    dense = Candidate.of({"family": "linear", "coding": "float16"})
    constant = Candidate.of({"family": "constant"})
    coded = compacted([*ladder, dense, constant], anew=False)
    assert len(coded) == len(BITS["leaves"]) + len(BITS["coding"]) + 1
    assert {candidate.genes.get("boosting.trees", 32) for candidate in coded} == {32}
    anew = compacted([*ladder, dense, constant], anew=True)
    assert set(coded) < set(anew)
    assert len(anew) - len(coded) == len(BITS["leaves"])


def test_the_grid_is_made_of_candidates_that_the_family_builds():
    space = Tables(TabularSettings(), TABLE, "auc").space
    names = {name for name in space.domains if name.startswith("boosting.")}
    assert all(names <= set(candidate.genes) for candidate in grid())
    assert len(set(grid())) == 12


def test_settings_are_told_all_at_once():
    with pytest.raises(SettingsError, match=r"arms must be some of file.*(?s:.)*seeds must be.*(?s:.)*tables=FOLDER"):
        build(ablation.Settings, from_arguments(["arms=file,none", "seeds=a", "sets=x"]))


def test_a_misspelt_key_of_the_data_is_named_as_it_was_typed(tmp_path, capsys):
    assert ablation.main(["data.nam=npz", f"out={tmp_path}"]) == 2
    assert "Unknown key data.nam;" in capsys.readouterr().err


@pytest.fixture
def tables(tmp_path):
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    frame = x.iloc[:150, :4].assign(kind=np.where(y[:150] == 1, "benign", "malignant"), group=["a", "", "b"] * 50)
    told = {"file": "t.csv", "target": "kind", "task": "classification", "categorical_columns": ["group"]}
    (tmp_path / "tables" / "cancer").mkdir(parents=True)
    frame.to_csv(tmp_path / "tables" / "cancer" / "t.csv", index=False)
    (tmp_path / "tables" / "cancer" / "meta.json").write_text(json.dumps(told))
    assert isinstance(frame, pd.DataFrame)
    return tmp_path / "tables"


@pytest.mark.slow
def test_arms_of_a_table_are_recorded_and_not_run_twice(tables, tmp_path, capsys):
    given = [f"tables={tables}", "sets=cancer", "budget=3", "seeds=0", f"out={tmp_path / 'out'}"]
    given += ["space.families=[constant,linear,boosting]", "arms=file,float_coded,float_retrained,default_peer"]
    assert ablation.main(given) == 0
    cells = read_cells(tmp_path / "out" / "cells.jsonl")
    assert [one.key["arm"] for one in cells] == ["file", "float_coded", "float_retrained"]
    assert cells[0].constant == pytest.approx(0.5)
    assert cells[2].key["trials"] >= cells[1].key["trials"] > cells[0].key["trials"] == 3
    assert "default_peer: skipped" in capsys.readouterr().err
    before = (tmp_path / "out" / "cells.jsonl").read_text()
    assert ablation.main(given) == 0
    assert (tmp_path / "out" / "cells.jsonl").read_text() == before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_arms_of_images_deliver(tmp_path, capsys):
    digits = load_digits()
    np.savez(tmp_path / "ciphers.npz", x=digits.images[:, None].astype(np.uint8), y=digits.target)
    given = [
        "data.name=npz",
        f"data.path={tmp_path / 'ciphers.npz'}",
        "budget=2",
        "train.steps=4",
        "train.epochs=0.1",
        "finish.members=1",
        "finish.effort=1",
        "seeds=0",
    ]
    given += ["space.stages=1", "space.widths=[4,6]", "data.max_rows=400", f"out={tmp_path / 'out'}"]
    arms = [name for name in ablation.ARMS if name != "default_coded"]  # the same as float_coded, on larger networks
    given += [f"arms={','.join(arms)}"]
    assert ablation.main(given) == 0
    cells = read_cells(tmp_path / "out" / "cells.jsonl")
    assert [one.key["arm"] for one in cells] == arms
    assert {one.key["set"] for one in cells} == {"ciphers"}
    by_arm = {str(one.key["arm"]): one for one in cells}
    float_sizes = [file["bytes"] for file in by_arm["float_coded"].files]
    assert min(float_sizes) < max(float_sizes)
    assert any("ternary" in file["name"] for file in by_arm["float_coded"].files)
    assert all("quantize_static" in file["name"] for file in by_arm["default_peer"].files)
    assert "float_retrained" in capsys.readouterr().out
