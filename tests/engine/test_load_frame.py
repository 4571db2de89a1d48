"""Tables in memory: the same rows as from a file, and every shape that cannot be used."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from engine.errors import DataError
from engine.load import DataSettings, load, load_frame
from engine.loaders.frame import as_frame


def table(rows=90):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "a": rng.normal(size=rows).round(3),
            "b": rng.integers(0, 9, rows),
            "c": rng.choice(["x", "y"], rows),
            "when": pd.date_range("2025-01-01", periods=rows).astype(str),
            "flag": rng.choice([True, False], rows),
        }
    )
    return frame, pd.Series(rng.choice(["no", "yes"], rows), name="y")


def test_a_frame_and_its_csv_file_give_the_same_data(tmp_path):
    frame, y = table()
    frame.assign(y=y).to_csv(tmp_path / "a.csv", index=False)
    of_file = load(DataSettings("csv", path=str(tmp_path / "a.csv"), target="y"), seed=4)
    of_frame = load_frame(frame, y, seed=4)
    assert of_frame.dataset.digest == of_file.dataset.digest
    assert np.array_equal(of_frame.test.x, of_file.test.x)
    assert of_frame.columns == of_file.columns
    assert (of_frame.source, of_file.source) == ("a table in memory", f"csv {tmp_path / 'a.csv'}")


def test_arrays_have_numbered_columns():
    x = np.random.default_rng(0).normal(size=(30, 3))
    loaded = load_frame(x, [0.5 * n for n in range(30)], settings=DataSettings(test_share=0.5))
    assert loaded.dataset.signature.numeric_columns == ("x0", "x1", "x2")
    assert loaded.dataset.signature.task == "regression"


def test_all_rows_validate_where_no_test_rows_are_wanted():
    frame, y = table()
    loaded = load_frame(frame, y, settings=DataSettings("frame", test_share=0))
    assert loaded.test is None
    assert len(loaded.dataset.rows) == len(frame)
    assert np.array_equal(np.sort(np.concatenate([s.valid for s in loaded.dataset.splits])), np.arange(len(frame)))


def test_weights_and_groups_come_beside_the_table():
    frame, y = table()
    weight, groups = np.arange(1.0, 91.0), np.arange(90) // 6
    loaded = load_frame(frame, y, sample_weight=weight, groups=groups, settings=DataSettings("frame", test_share=0))
    assert loaded.dataset.rows.weight.tolist() == weight.tolist()
    assert loaded.dataset.signature.numeric_columns[:2] == ("a", "b")
    for split in loaded.dataset.splits:
        assert not set(groups[split.train]) & set(groups[split.valid])


def test_rows_are_divided_from_past_to_future_by_times_beside_the_table():
    frame, y = table()
    order = np.random.default_rng(0).permutation(90)
    loaded = load_frame(frame, y, times=order, settings=DataSettings("frame", test_share=0))
    (split,) = loaded.dataset.splits
    assert order[split.train].max() < order[split.valid].min()
    assert "time" not in loaded.dataset.signature.numeric_columns
    with pytest.raises(DataError, match="groups and times exclude each other"):
        load_frame(frame, y, times=order, groups=order)


def test_columns_may_be_called_as_the_target_is():
    frame, y = table()
    loaded = load_frame(frame.rename(columns={"a": "target", "b": "weight"}), y, sample_weight=np.ones(len(y)))
    assert loaded.dataset.signature.numeric_columns[:2] == ("target", "weight")


@pytest.mark.parametrize(
    "make",
    [
        lambda frame: frame.convert_dtypes(),
        lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
        lambda frame: frame.assign(when=pd.to_datetime(frame.when)),
        lambda frame: frame.assign(c=frame.c.astype("category"), flag=frame.flag.astype(object)),
        lambda frame: frame.set_axis(range(len(frame), 0, -1)),
        lambda frame: frame.astype(str),
    ],
)
def test_types_of_columns_change_no_value(make):
    frame, y = table()
    first, second = load_frame(frame, y), load_frame(make(frame), y)
    assert first.dataset.digest == second.dataset.digest


@pytest.mark.parametrize("make", [pd.Categorical, pd.Series, list, lambda y: pd.array(y, dtype="string"), np.asarray])
def test_targets_of_every_type(make):
    frame, y = table()
    assert load_frame(frame, make(y)).dataset.signature.classes == ("no", "yes")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (sparse.csr_matrix(np.eye(3)), r"must be dense, got a sparse one: give x\.toarray\(\)"),
        (np.ones((3, 2)) * 1j, r"Complex data are not supported, but x0, x1 hold them: give real numbers\."),
        (np.zeros(3), r"must have rows and columns, got an array of shape 3\."),
        (np.zeros((3, 2, 2)), r"got an array of shape 3 x 2 x 2\."),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), r"must have names that differ, got a more than once"),
        (pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([(1, 2), (3, 4)])), r"got names of 2 levels"),
        (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), r"Columns must be dense, a are sparse"),
    ],
)
def test_tables_that_cannot_be_used(x, message):
    with pytest.raises(DataError, match=message):
        as_frame(x)


def test_many_whole_numbers_as_a_target_are_told_to_be_classes():
    frame = pd.DataFrame({"age": range(240)})
    many, few = np.arange(240) % 12 + 3, np.arange(240) % 10
    told = "The target holds 12 different whole numbers, read as classes; data.task=regression reads values."
    assert told in load_frame(frame, many).notes
    asked = DataSettings("frame", task="classification")
    for target, settings in ((few, None), (many, asked), ([f"{n} rings" for n in many], None)):
        assert not any("read as classes" in note for note in load_frame(frame, target, settings=settings).notes)


def test_columns_that_do_not_fit_the_rows():
    frame, y = table()
    with pytest.raises(DataError) as caught:
        load_frame(frame, y[:5], sample_weight=[1.0], settings=DataSettings("frame", weight="a"))
    assert str(caught.value).splitlines() == [
        "y must have one value for each of the 90 rows of the table, got 5.",
        "sample_weight must have one value for each of the 90 rows of the table, got 1.",
        "data.weight and sample_weight exclude each other: give one of them.",
    ]
    with pytest.raises(DataError, match=r"The table must have rows and columns, it has 0 and 5\."):
        load_frame(frame[:0], y[:0])
    with pytest.raises(DataError, match=r"Column a must hold numbers within float32, 2 are infinite"):
        load_frame(frame.assign(a=[np.inf, np.inf, *frame.a[2:]]), y)
    with pytest.raises(DataError, match=r"must have one value a row, got shape \(90, 2\)"):
        load_frame(frame, np.zeros((90, 2)))
    with pytest.raises(DataError, match=r"Column a must hold one value a row, not lists or mappings: data\.drop=a"):
        load_frame(pd.DataFrame({"a": [[1]] * 30}), [0, 1] * 15)
