"""csv files and targets: numbers, text, classes, and every problem by name."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest

from engine.errors import DataError
from engine.load import DataSettings, load
from engine.loaders import read, tables
from engine.loaders.columns import canonical_text
from engine.loaders.targets import read_target


def write_csv(folder, text, name="data.csv"):
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return str(path)


def people(rows=40):
    lines = ["age,city,code,income"]
    lines += [
        f"{20 + n % 9},{'paris' if n % 3 else 'rome'},{'' if n == 5 else f'00{n % 4}x'},{n % 2}" for n in range(rows)
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
def test_numbers_and_text_go_their_ways(tmp_path, name):
    path = write_csv(tmp_path, people(), name)
    loaded = load(DataSettings(name="csv", path=path, target="income"), seed=0)
    signature, rows = loaded.dataset.signature, loaded.dataset.rows
    assert (signature.numeric_columns, signature.categorical_columns) == (("age",), ("city", "code"))
    assert rows.x.dtype == np.float32
    assert "" in set(rows.c[:, 1]) | set(loaded.test.c[:, 1])
    assert {"000x", "001x"} < set(rows.c[:, 1])
    saved = loaded.dataset.save(tmp_path / "saved")
    assert (saved.rows.c == rows.c).all()
    assert saved.digest == loaded.dataset.digest


def test_missing_numbers_are_nan_and_words_are_words(tmp_path):
    lines = ["a,b,y"] + [
        f"{'' if n == 0 else n},{'NA' if n % 2 else 'None'},{'yes' if n % 3 else 'no'}" for n in range(30)
    ]
    raw = read(DataSettings(name="csv", path=write_csv(tmp_path, "\n".join(lines)), target="y"))
    assert np.isnan(raw.x[0, 0])
    assert not np.isnan(raw.x[1:]).any()
    assert set(raw.c[:, 0]) == {"NA", "None"}


def test_integer_categories_have_one_form():
    forms = [1, 1.0, np.int64(1), np.float32(1), "1", "1.0", "+1.00", b"1"]
    assert {canonical_text(form) for form in forms} == {"1"}
    assert [canonical_text(form) for form in ("007", 0.5, True, "-0.0", "a.0")] == ["007", "0.5", "True", "0", "a.0"]


def test_drop_id_group_and_weight_are_no_inputs(tmp_path):
    frame = pd.DataFrame({"a": range(60), "b": 1, "n": range(60), "g": [n // 5 for n in range(60)], "w": 2.0})
    frame["y"] = ["u", "v"] * 30
    path = write_csv(tmp_path, frame.to_csv(index=False))
    settings = DataSettings(name="csv", path=path, target="y", drop=["b"], id=["n"], group="g", weight="w")
    loaded = load(settings, seed=0)
    assert loaded.dataset.signature.numeric_columns == ("a",)
    assert (loaded.dataset.rows.weight == 2).all()


def test_files_of_their_own_for_validation_and_test(tmp_path):
    paths = {key: write_csv(tmp_path, people(rows), f"{key}.csv") for key, rows in (("a", 40), ("b", 12), ("c", 10))}
    settings = DataSettings(name="csv", path=paths["a"], target="income", valid_path=paths["b"], test_path=paths["c"])
    loaded = load(settings, seed=0)
    assert [(len(split.train), len(split.valid)) for split in loaded.dataset.splits] == [(40, 12)]
    assert len(loaded.test) == 10


def test_rows_in_the_order_of_time(tmp_path):
    path = write_csv(tmp_path, people(50))
    loaded = load(
        DataSettings(name="csv", path=path, target="income", time="row_number", drop=["city", "code"]), seed=0
    )
    ages = [20.0 + n % 9 for n in range(50)]
    assert loaded.test.x[:, 0].tolist() == ages[35:]
    assert loaded.dataset.train().x[:, 0].tolist() == ages[:28]


def test_dates_order_rows(tmp_path):
    days = [f"2024-{1 + n % 12:02}-{1 + n:02}" for n in range(28)]
    path = write_csv(tmp_path, "day,a,y\n" + "".join(f"{day},{n},{n % 2}\n" for n, day in enumerate(days)))
    raw = read(DataSettings(name="csv", path=path, target="y", time="day"))
    assert np.array_equal(np.argsort(raw.time), np.argsort(days))


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    path = write_csv(tmp_path, "\ufeff" + people())
    assert read(DataSettings(name="csv", path=path, target="income")).numeric == ("age",)


def test_a_wholly_missing_column_is_dropped_with_a_note(tmp_path):
    lines = ["a,empty,y"] + [f"{n},,{n % 2}" for n in range(30)]
    loaded = load(DataSettings(name="csv", path=write_csv(tmp_path, "\n".join(lines)), target="y"), seed=0)
    assert loaded.dataset.signature.numeric_columns == ("a",)
    assert "Column empty is wholly missing and was dropped." in loaded.notes


def test_text_that_hides_numbers_or_rows_is_noted(tmp_path):
    lines = ["a,name,y"] + [f"{'few' if n == 7 else n % 50},name{n},{n % 2}" for n in range(200)]
    notes = load(DataSettings(name="csv", path=write_csv(tmp_path, "\n".join(lines)), target="y"), seed=0).notes
    assert any(
        re.match(r"Column a is read as text because of 1 values such as 'few'; leave such", note) for note in notes
    )
    assert any(re.match(r"Column name has 200 different texts in 200 rows; data\.drop=name", note) for note in notes)


def csv_message(path, **settings):
    with pytest.raises(DataError) as caught:
        load(DataSettings(name="csv", path=str(path), **{"target": "income"} | settings), seed=0)
    return str(caught.value)


def test_unknown_columns_are_named_all_at_once(tmp_path):
    path = write_csv(tmp_path, people())
    text = csv_message(path, target="incom", drop=["aeg"], id=["zzzz"])
    assert re.search(
        r"data\.target: no column 'incom' in .*data\.csv; did you mean 'income'\? Columns: age, city,", text
    )
    assert "data.drop: no column 'aeg'" in text
    assert "data.id: no column 'zzzz'" in text
    assert "data.drop must not be the target column 'income'." in csv_message(path, drop=["income"])


def test_csv_files_that_cannot_be_read(tmp_path):
    assert re.search(r"^data\.path: .*none\.csv does not exist\.$", csv_message(tmp_path / "none.csv"))
    assert re.search(r"must be a file, got a folder\.$", csv_message(tmp_path))
    assert re.search(r"data\.csv is empty\.$", csv_message(write_csv(tmp_path, "")))
    assert re.search(r"is empty\.$", csv_message(write_csv(tmp_path, "\n\n")))
    assert re.search(
        r"must have rows below its header line, it has none\.$", csv_message(write_csv(tmp_path, "a,income\n"))
    )
    assert re.search(r"must be a readable csv file", csv_message(write_csv(tmp_path, "a,income\n1,2\n1,2,3,4\n")))
    (tmp_path / "bad.csv").write_bytes(b"a,income\n\xff\xfe,1\n")
    assert re.search(r"must be a readable csv file in UTF-8", csv_message(tmp_path / "bad.csv"))
    (tmp_path / "bad.csv.gz").write_bytes(b"no gzip")
    assert re.search(r"must be a readable csv file", csv_message(tmp_path / "bad.csv.gz"))
    text = csv_message(tmp_path / "a.csv", test_path=str(tmp_path / "b.csv"))
    assert len(text.splitlines()) == 2


def test_values_that_cannot_be_used(tmp_path):
    rows = "".join(f"{n},{n % 2}\n" for n in range(20))
    assert re.search(r"it is missing in 1 of 21\.$", csv_message(write_csv(tmp_path, "a,income\n" + rows + "3,\n")))
    constant = "a,income\n" + "1,2\n" * 20
    assert re.search(r"must hold at least two classes, all rows are '2'\.$", csv_message(write_csv(tmp_path, constant)))
    infinite = csv_message(write_csv(tmp_path, "a,income\n" + rows + "inf,1\n1e300,1\n"))
    assert re.search(r"Column a must hold numbers within float32, 2 are infinite", infinite)
    few = csv_message(write_csv(tmp_path, "a,income\n1,0\n2,1\n3,0\n"))
    assert re.search(r"At least 10 rows are needed to train and validate, got 3\.", few)
    path = write_csv(tmp_path, "a,income\n" + rows)
    other = write_csv(tmp_path, "b,income\nx,1\n", "other.csv")
    assert re.search(
        r"other\.csv must have the columns of .*data\.csv, it lacks a\.$", csv_message(path, test_path=other)
    )
    other = write_csv(tmp_path, "a,income\nx,1\n", "other.csv")
    assert re.search(r"Column a of .*other\.csv must hold numbers, got 'x'\.", csv_message(path, test_path=other))
    assert "must have an input column besides the target" in csv_message(path, drop=["a"])
    assert re.search(
        r"finite numbers >= 0, got '-1'", csv_message(write_csv(tmp_path, "a,w,income\n" + "1,-1,2\n"), weight="w")
    )
    assert "a weight above 0 somewhere" in csv_message(write_csv(tmp_path, "a,w,income\n" + "1,0,2\n"), weight="w")
    assert "name a group in every row, it is missing in 1 of 1." in csv_message(
        write_csv(tmp_path, "a,g,income\n1,,2\n"), group="g"
    )
    text = csv_message(write_csv(tmp_path, "a,t,income\n1,03/04/2020,2\n1,,2\n"), time="t")
    assert re.search(r"missing in 1 of 2\.\n.* dates such as 2026-01-31 12:00, got '03/04/2020'\.$", text)


def test_classes_that_only_the_test_rows_have(tmp_path):
    path = write_csv(tmp_path, "a,income\n" + "".join(f"{n},{n % 2}\n" for n in range(20)))
    test = write_csv(tmp_path, "a,income\n1,7\n2,8\n3,1\n", "test.csv")
    assert re.search(r"Every class must have training rows; 7, 8 stand only in test", csv_message(path, test_path=test))


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([10, 9, 2, 9], ("2", "9", "10")),
        (["10", "9.0", "2", "9"], ("2", "9", "10")),
        (["b", "a", "10", "9"], ("10", "9", "a", "b")),
        ([True, False, True], ("False", "True")),
        ([0.5, 1.0, 0.5], ()),
        (range(101), ()),
        ([*range(100), *range(100)], tuple(map(str, range(100)))),
    ],
)
def test_what_a_target_is(values, classes):
    target = read_target(np.asarray(list(values)))
    assert target.classes == classes
    if classes:
        assert [canonical_text(value) for value in np.asarray(list(values))] == [classes[index] for index in target.y]


def test_a_task_overrules_the_values():
    assert read_target(np.arange(20) % 5, task="regression").classes == ()
    assert len(read_target(np.arange(400) % 120, task="classification").classes) == 120


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        (["a", "1"], "regression", r"y must hold numbers for regression, got 'a'\."),
        ([1.5, 1.5], None, r"y must hold at least two different numbers, all are 1\.5\."),
        ([1.5, np.inf], None, r"y must hold finite numbers, 1 of 2 are infinite\."),
        ([1.5, np.nan], None, r"y must have a target in every row, it is missing in 1 of 2\."),
        ([f"t{n}" for n in range(20)], None, r"y must name classes that repeat, got 20 different texts in 20 rows;"),
    ],
)
def test_targets_that_cannot_be_used(values, task, message):
    with pytest.raises(DataError, match=message):
        read_target(np.asarray(values), task=task)


def test_long_text_is_held_once(tmp_path):
    texts = ["x" * 50_000, "y" * 50_000]
    path = write_csv(tmp_path, "c,income\n" + "".join(f"{texts[n % 3 % 2]},{n % 2}\n" for n in range(60)))
    loaded = load(DataSettings(name="csv", path=path, target="income"), seed=0)
    assert len({id(text) for text in loaded.dataset.rows.c[:, 0]}) == 2
    saved = loaded.dataset.save(tmp_path / "saved")
    assert sum(file.stat().st_size for file in (tmp_path / "saved").iterdir()) < 150_000
    assert (saved.rows.c == loaded.dataset.rows.c).all()


def test_a_gzip_file_that_unpacks_to_far_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "FREE_BYTES", 10_000)
    path = write_csv(tmp_path, "a,income\n" + "0,0\n" * 500_000, "bomb.csv.gz")
    assert "it unpacks to more than 200 times its length; if that is meant, unpack it first" in csv_message(path)
