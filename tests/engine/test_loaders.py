"""Sources become data sets; what cannot be used is named, all of it at once."""

import gzip
import re
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from engine.errors import DataError
from engine.load import DataSettings, load
from engine.loaders import read
from engine.loaders.arrays import as_images, as_signals, compact, count_not_finite
from engine.loaders.columns import canonical_text
from engine.loaders.settings import SOURCES
from engine.loaders.targets import read_target
from engine.settings import build

CONF = Path(__file__).parents[2] / "conf" / "data"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def write_npz(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return str(folder / "data.npz")


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


def test_digits_are_small_grey_images():
    loaded = load(DataSettings(), seed=1)
    signature = loaded.dataset.signature
    assert (signature.kind, signature.shape, signature.dtype, signature.center) == ("images", (1, 8, 8), "uint8", 0.0)
    assert loaded.dataset.rows.x.max() == 16
    assert signature.classes == tuple("0123456789")
    assert (len(loaded.dataset.rows), len(loaded.test)) == (1257, 540)
    assert loaded.source == "digits (scikit-learn)"
    assert signature.spread == pytest.approx(loaded.dataset.train().x.astype(float).std())


def test_digits_can_be_read_as_a_table():
    loaded = load(DataSettings(kind="table"), seed=1)
    assert loaded.dataset.signature.shape == (64,)
    assert loaded.dataset.signature.numeric_columns[0] == "pixel_0_0"
    assert len(loaded.dataset.splits) == 5


@pytest.mark.parametrize(
    ("name", "classes", "columns"),
    [
        ("iris", ("setosa", "versicolor", "virginica"), 4),
        ("wine", ("class_0", "class_1", "class_2"), 13),
        ("breast_cancer", ("benign", "malignant"), 30),
        ("diabetes", (), 10),
    ],
)
def test_embedded_tables(name, classes, columns):
    loaded = load(DataSettings(name=name), seed=3)
    signature = loaded.dataset.signature
    assert (signature.kind, signature.classes, signature.shape) == ("table", classes, (columns,))
    assert signature.task == ("classification" if classes else "regression")
    assert loaded.dataset.rows.y.dtype == (np.int64 if classes else np.float64)


def test_the_same_seed_gives_the_same_data():
    digests = [load(DataSettings(name="iris"), seed=seed).dataset.digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_every_conf_file_holds_the_defaults_and_only_what_its_source_takes():
    defaults = {entry.name: getattr(DataSettings(), entry.name) for entry in fields(DataSettings)}
    assert {path.stem for path in CONF.glob("*.yaml")} == set(SOURCES)
    for path in CONF.glob("*.yaml"):
        text = path.read_text()
        assert text.startswith("# python -m ")
        given = yaml.safe_load(text)
        build(DataSettings, given, where="data")
        assert given.pop("name") == path.stem
        assert given == {key: defaults[key] for key in given}
        assert not set(given) & set(SOURCES[path.stem][1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "digts"}, r"No data 'digts'; did you mean 'digits'\? Data: breast_cancer, csv, diabetes, digits,"),
        ({"name": "zzz"}, r"No data 'zzz'\. Data: "),
        ({"name": "npz"}, r"data=npz needs data\.path: add data\.path=<file>\."),
        ({"name": "images"}, r"data=images needs data\.path: add data\.path=<folder>\."),
        ({"name": "csv", "path": "a.csv"}, r"data=csv needs data\.target: add data\.target=<column>\."),
        ({"name": "images", "path": "a", "group": "g"}, r"data\.group says nothing about data=images: remove it\."),
        ({"path": "x.npz"}, r"data\.path says nothing about data=digits: remove it\."),
        ({"kind": "signals"}, r"data=digits can be read as images or table, got data\.kind=signals\."),
        ({"test_share": 0.0}, r"data\.test_share must lie in \(0, 1\), got 0\.0\."),
        ({"valid_share": 1.5}, r"data\.valid_share must lie in \(0, 1\), got 1\.5\."),
        ({"folds": 1}, r"data\.folds must be at least 2, got 1; leave it out for one train/valid pair\."),
        ({"max_rows": 3}, r"data\.max_rows must be at least 10, got 3\."),
        ({"name": "csv", "path": "a", "target": "y", "group": "g", "time": "t"}, r"data\.group and data\.time exclude"),
        ({"name": "npz", "path": "a", "valid_path": "b", "folds": 3}, r"data\.folds and data\.valid_path exclude"),
    ],
)
def test_settings_that_contradict_themselves(given, message):
    with pytest.raises(DataError, match=message):
        load(DataSettings(**given), seed=0)


def test_all_problems_of_the_settings_are_told_at_once():
    with pytest.raises(DataError) as caught:
        load(DataSettings(name="csv", test_share=2, folds=0), seed=0)
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize(
    ("shape", "stored"),
    [
        ((30, 6, 5), (1, 6, 5)),
        ((30, 6, 5, 3), (3, 6, 5)),
        ((30, 6, 5, 1), (1, 6, 5)),
        ((30, 4, 6, 5), (4, 6, 5)),
        ((30, 3, 6, 4), (3, 6, 4)),
    ],
)
def test_image_layouts(tmp_path, rng, shape, stored):
    x = rng.integers(0, 256, shape, dtype=np.uint8)
    path = write_npz(tmp_path, x=x, y=np.arange(30) % 3)
    loaded = load(DataSettings(name="npz", path=path), seed=0)
    assert loaded.dataset.signature.shape == stored
    assert loaded.dataset.rows.x.dtype == loaded.test.x.dtype == np.uint8
    assert loaded.dataset.rows.x.sum() + loaded.test.x.sum() == x.sum()


def test_channels_that_come_last_are_moved_not_reshaped(rng):
    x = rng.integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    assert np.array_equal(as_images(x)[:, 1], x[..., 1])


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.asarray([[0, 255]], dtype=np.int64), np.uint8),
        (np.asarray([[0.0, 16.0]]), np.uint8),
        (np.asarray([[True, False]]), np.uint8),
        (np.asarray([[0.5, 1.0]]), np.float32),
        (np.asarray([[-1, 3]]), np.float32),
        (np.asarray([[0, 256]]), np.float32),
        (np.asarray([[0.0, np.nan]]), np.float32),
    ],
)
def test_whole_numbers_in_a_byte_become_bytes(values, dtype):
    made = compact(values)
    assert made.dtype == dtype
    assert np.array_equal(made, values.astype(np.float32), equal_nan=True)


def test_bytes_are_neither_copied_nor_searched(rng):
    x = rng.integers(0, 256, (10, 1, 4, 4), dtype=np.uint8)
    assert compact(as_images(x)) is x
    assert count_not_finite(x) == 0


def test_two_dimensions_are_a_table_and_kind_makes_signals(tmp_path, rng):
    path = write_npz(tmp_path, x=rng.normal(size=(50, 7)), y=np.arange(50) % 2)
    table = load(DataSettings(name="npz", path=path), seed=0).dataset.signature
    assert (table.kind, table.shape, table.numeric_columns[-1]) == ("table", (7,), "x6")
    signals = load(DataSettings(name="npz", path=path, kind="signals"), seed=0).dataset.signature
    assert (signals.kind, signals.shape, signals.dtype) == ("signals", (1, 7), "float32")


def test_center_and_spread_come_from_training_rows(tmp_path, rng):
    path = write_npz(tmp_path, x=rng.normal(3, 2, (50, 2, 9)), y=np.arange(50) % 2)
    dataset = load(DataSettings(name="npz", path=path, kind="signals"), seed=0).dataset
    assert dataset.signature.center == pytest.approx(dataset.train().x.mean(), rel=1e-5)
    assert dataset.signature.spread == pytest.approx(dataset.train().x.std(), rel=1e-5)


def test_parts_of_an_npz_file_stay_apart(tmp_path, rng):
    x = rng.integers(0, 256, (60, 4, 4), dtype=np.uint8)
    y = np.arange(60) % 3
    path = write_npz(tmp_path, x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    loaded = load(DataSettings(name="npz", path=path), seed=0)
    assert np.array_equal(loaded.test.x[:, 0], x[40:])
    assert np.array_equal(loaded.dataset.rows.x[:, 0], x[:40])


def test_named_arrays_give_weight_and_target(tmp_path, rng):
    weight = np.arange(1.0, 51)
    path = write_npz(tmp_path, x=rng.normal(size=(50, 3)), label=np.arange(50) % 2, w=weight)
    loaded = load(DataSettings(name="npz", path=path, target="label", weight="w"), seed=0)
    assert sorted([*loaded.dataset.rows.weight, *loaded.test.weight]) == list(weight)
    assert loaded.dataset.signature.shape == (3,)


def test_text_labels_in_bytes(tmp_path, rng):
    path = write_npz(tmp_path, x=rng.normal(size=(20, 3)), y=np.asarray([b"no", b"yes"] * 10))
    assert load(DataSettings(name="npz", path=path), seed=0).dataset.signature.classes == ("no", "yes")


def test_npz_problems(tmp_path, rng):
    x, y = rng.normal(size=(20, 4, 4)), np.arange(20) % 2

    def message(path=None, settings=None, **arrays):
        path = path or write_npz(tmp_path, **arrays)
        with pytest.raises(DataError) as caught:
            load(DataSettings(name="npz", path=path, **(settings or {})), seed=0)
        return str(caught.value)

    assert re.search(r"must hold arrays x and y, or x_train, .* it holds a\.$", message(a=x))
    assert re.search(r"must hold an array y; it holds x\.$", message(x=x))
    assert re.search(r"y must have one value for each of the 20 rows of x, got shape 19\.$", message(x=x, y=y[1:]))
    assert re.search(r"got shape 20 x 2\.$", message(x=x, y=np.stack([y, y], 1)))
    assert re.search(r"x must hold rows with values, got shape 0 x 4\.$", message(x=x[:0, 0], y=y[:0]))
    assert re.search(r"it holds Python objects", message(x=x.astype(object), y=y))
    assert re.search(r"x must hold numbers, got <U", message(x=x.astype(str), y=y))
    assert re.search(r"must hold an array g; it holds x, y\.$", message(x=x, y=y, settings={"group": "g"}))
    assert re.search(r"data\.drop names columns, but .* holds images", message(x=x, y=y, settings={"drop": ["a"]}))
    assert re.search(r"N x H x W, .* got 20 x 16\.$", message(x=x.reshape(20, 16), y=y, settings={"kind": "images"}))
    hollow = x.copy()
    hollow[0, 0, :2] = np.nan, np.inf
    assert re.search(r"must hold finite values in x, 2 of 320 are NaN or infinite\.$", message(x=hollow, y=y))
    both = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    other = str(tmp_path / "other.npz")
    np.savez(other, x=x, y=y)
    assert re.search(r"has such rows itself: remove data\.test_path\.$", message(settings={"test_path": other}, **both))
    both["x_test"] = x[:, :3]
    assert re.search(r"must have rows of one shape in all its parts, got 1 x 3 x 4, 1 x 4 x 4", message(**both))
    assert re.search(r"x must be N x C x L", message(x=x[..., None], y=y, settings={"kind": "signals"}))
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    assert re.search(r"must be a readable npz or npy file", message(path=str(tmp_path / "torn.npz")))


def test_a_torn_member_is_an_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00")
    with pytest.raises(DataError, match="must be a readable npz"):
        load(DataSettings(name="npz", path=str(tmp_path / "a.npz")), seed=0)


def test_signals_of_three_dimensions_are_kept(rng):
    x = rng.normal(size=(5, 2, 9))
    assert as_signals(x) is x


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
def test_numbers_and_text_go_their_ways(tmp_path, name):
    path = write_csv(tmp_path, people(), name)
    loaded = load(DataSettings(name="csv", path=path, target="income"), seed=0)
    signature, rows = loaded.dataset.signature, loaded.dataset.rows
    assert (signature.numeric_columns, signature.categorical_columns) == (("age",), ("city", "code"))
    assert rows.x.dtype == np.float32
    assert rows.c.dtype.kind == "U"
    assert "" in set(rows.c[:, 1]) | set(loaded.test.c[:, 1])
    assert {"000x", "001x"} < set(rows.c[:, 1])
    loaded.dataset.save(tmp_path / "saved")  # text of fixed width, no Python objects


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


def test_a_wholly_missing_column_is_dropped_with_a_note(tmp_path):
    lines = ["a,empty,y"] + [f"{n},,{n % 2}" for n in range(30)]
    loaded = load(DataSettings(name="csv", path=write_csv(tmp_path, "\n".join(lines)), target="y"), seed=0)
    assert loaded.dataset.signature.numeric_columns == ("a",)
    assert "Column empty is wholly missing and was dropped." in loaded.notes


def test_text_that_hides_numbers_or_rows_is_noted(tmp_path):
    lines = ["a,name,y"] + [f"{'?' if n == 7 else n % 50},name{n},{n % 2}" for n in range(200)]
    notes = load(DataSettings(name="csv", path=write_csv(tmp_path, "\n".join(lines)), target="y"), seed=0).notes
    assert any(
        re.match(r"Column a is read as text because of 1 values such as '\?'; leave such", note) for note in notes
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
    assert "so it must in every file, got 'x'." in csv_message(path, test_path=other)
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
