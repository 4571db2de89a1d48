"""Sources become data sets; what cannot be used is named, all of it at once."""

import re
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml

from engine.errors import DataError
from engine.load import DataSettings, load
from engine.loaders.arrays import as_images, as_signals, compact, count_not_finite
from engine.loaders.settings import SOURCES
from engine.settings import build

CONF = Path(__file__).parents[2] / "conf" / "data"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def write_npz(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return str(folder / "data.npz")


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
    assert loaded.dataset.signature.shape == (64,)  # constant ones too: a model of arrays counts on each place
    assert loaded.dataset.signature.numeric_columns[0] == "pixel_0_0"
    assert not [note for note in loaded.notes if "Dropped" in note]
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
        ({"name": "parquet", "path": "a"}, r"data=parquet needs data\.target: add data\.target=<column>\."),
        ({"name": "openml"}, r"data=openml needs data\.path: add data\.path=<name or number>\."),
        ({"name": "iris", "version": 1}, r"data\.version says nothing about data=iris: remove it\."),
        ({"name": "frame"}, r"data=frame is a table in memory, for Python alone: call engine\.load\.load_frame\."),
        ({"name": "images"}, r"data=images needs data\.path: add data\.path=<folder>\."),
        ({"name": "csv", "path": "a.csv"}, r"data=csv needs data\.target: add data\.target=<column>\."),
        ({"name": "images", "path": "a", "group": "g"}, r"data\.group says nothing about data=images: remove it\."),
        ({"path": "x.npz"}, r"data\.path says nothing about data=digits: remove it\."),
        ({"kind": "signals"}, r"data=digits can be read as images or table, got data\.kind=signals\."),
        ({"test_share": 1.0}, r"data\.test_share must lie in \[0, 1\), got 1\.0; 0 keeps no test rows\."),
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


def test_parts_of_a_table_stay_apart(tmp_path, rng):
    x, y = rng.normal(size=(60, 3)), np.arange(60) % 2
    path = write_npz(
        tmp_path, x_train=x[:40], y_train=y[:40], x_valid=x[40:50], y_valid=y[40:50], x_test=x[50:], y_test=y[50:]
    )
    for share in (0.3, 0):
        loaded = load(DataSettings(name="npz", path=path, test_share=share), seed=0)
        assert np.array_equal(loaded.dataset.rows.x, x[:50].astype(np.float32))
        assert np.array_equal(loaded.test.x, x[50:].astype(np.float32))


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


def test_arrays_in_the_order_of_time(tmp_path):
    x = np.arange(50 * 16, dtype=np.int64).reshape(50, 4, 4)
    path = write_npz(tmp_path, x=x, y=np.arange(50) % 2)
    loaded = load(DataSettings(name="npz", path=path, time="row_number"), seed=0)
    assert loaded.test.x.min() > loaded.dataset.rows.x.max()
