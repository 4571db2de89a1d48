"""Laws of the split: disjoint, complete, groups whole, past before future."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from engine.loaders.raw import OPEN, TEST, VALID, Raw
from engine.loaders.settings import DataSettings
from engine.splits import divide

shares = st.floats(0.05, 0.6)
seeds = st.integers(0, 2**32 - 1)
folds = st.none() | st.integers(2, 6)


def raw_rows(count, *, kind="table", origin=None, **columns):
    origin = np.zeros(count, dtype=np.int8) if origin is None else np.asarray(origin, dtype=np.int8)
    return Raw(kind, np.zeros(count), origin, **columns)


def check_laws(partition, rows, *, cover=True):
    for split in partition.splits:
        assert len(split.train)
        assert len(split.valid)
        assert not set(split.train) & set(split.valid)
        assert not (set(split.train) | set(split.valid)) & set(partition.test)
        assert (np.diff(split.train) > 0).all()
    if cover:
        assert sorted([*partition.pool, *partition.test]) == list(rows)


@settings(deadline=None)
@example(labels=[0] * 14 + [1], test=0.5, valid=0.5, k=None, seed=0)  # a class of one lends no row
@given(labels=st.lists(st.integers(0, 4), min_size=15, max_size=120), test=shares, valid=shares, k=folds, seed=seeds)
def test_stratified(labels, test, valid, k, seed):
    labels = np.unique(labels, return_inverse=True)[1]
    chosen = DataSettings(test_share=test, valid_share=valid, folds=k)
    partition = divide(raw_rows(len(labels), kind="images"), labels, chosen, seed=seed)
    check_laws(partition, range(len(labels)))
    counts = np.bincount(labels)
    taken = np.bincount(labels[partition.test], minlength=len(counts))
    assert (taken <= np.ceil(counts * test)).all()
    assert (taken >= np.minimum(np.floor(counts * test - 1e-9), counts - 1)).all()
    if (k or 0) < 2:
        assert set(labels[partition.splits[0].train]) == set(labels)
    else:
        validated = np.sort(np.concatenate([split.valid for split in partition.splits]))
        assert (np.diff(validated) > 0).all()
        for split in partition.splits:
            assert set(labels[split.train]) == set(labels)


@settings(deadline=None)
@given(groups=st.lists(st.integers(0, 9), min_size=20, max_size=120), labelled=st.booleans(), k=folds, seed=seeds)
def test_groups_stay_whole(groups, labelled, k, seed):
    groups = np.concatenate([np.arange(6), np.asarray(groups)])
    labels = np.arange(len(groups)) % 2 if labelled else None
    chosen = DataSettings(folds=k, test_share=0.3)
    partition = divide(raw_rows(len(groups), kind="images", group=groups), labels, chosen, seed=seed)
    check_laws(partition, range(len(groups)))
    assert not set(groups[partition.test]) & set(groups[partition.pool])
    for split in partition.splits:
        assert not set(groups[split.train]) & set(groups[split.valid])


@settings(deadline=None)
@given(times=st.lists(st.integers(0, 200), min_size=20, max_size=120), test=shares, k=folds, seed=seeds)
def test_time_runs_forward(times, test, k, seed):
    time = np.concatenate([np.arange(30), np.asarray(times)])
    chosen = DataSettings(folds=k, test_share=test)
    raw = raw_rows(len(time), time=time)
    try:
        partition = divide(raw, None, chosen, seed=seed)
    except DataError as error:  # a large test share may leave few times
        assert "different times" in str(error)  # noqa: PT017
        return
    check_laws(partition, range(len(time)))
    assert time[partition.pool].max() < time[partition.test].min()
    for split in partition.splits:
        assert time[split.train].max() < time[split.valid].min()
    assert len(partition.splits) == 1 or k
    again = divide(raw, None, chosen, seed=seed + 1)
    assert np.array_equal(again.test, partition.test)


@given(count=st.integers(10, 60), seed=seeds)
def test_rows_with_a_split_of_their_own_stay_in_it(count, seed):
    origin = [OPEN] * count + [VALID] * 7 + [TEST] * 5
    partition = divide(raw_rows(len(origin), origin=origin), None, DataSettings(), seed=seed)
    check_laws(partition, range(len(origin)))
    assert list(partition.test) == list(range(count + 7, count + 12))
    assert [list(split.valid) for split in partition.splits] == [list(range(count, count + 7))]


@given(limit=st.integers(10, 90), seed=seeds)
def test_max_rows(limit, seed):
    labels = np.repeat([0, 1, 2], [80, 18, 2])
    origin = np.full(100, OPEN)
    partition = divide(raw_rows(100, kind="images", origin=origin), labels, DataSettings(max_rows=limit), seed=seed)
    check_laws(partition, range(100), cover=False)
    assert len(partition.pool) + len(partition.test) == limit
    assert set(labels[partition.splits[0].train]) == {0, 1, 2}


def test_only_small_tables_without_time_are_folded():
    assert len(divide(raw_rows(100), None, DataSettings(), seed=0).splits) == 5
    assert len(divide(raw_rows(100, kind="images"), None, DataSettings(), seed=0).splits) == 1
    assert len(divide(raw_rows(100, time=np.arange(100)), None, DataSettings(), seed=0).splits) == 1
    assert len(divide(raw_rows(15_000), None, DataSettings(), seed=0).splits) == 1
    assert len(divide(raw_rows(14_000), None, DataSettings(), seed=0).splits) == 5
    assert len(divide(raw_rows(15_000), None, DataSettings(folds=3), seed=0).splits) == 3


def test_seeds_decide():
    first, same, other = (divide(raw_rows(60), None, DataSettings(), seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.test, same.test)
    assert not np.array_equal(first.test, other.test)


def test_the_only_row_of_a_class_always_trains():
    labels = np.asarray([0] * 30 + [1] * 30 + [2])
    for seed in range(20):
        partition = divide(raw_rows(61), labels, DataSettings(), seed=seed)
        assert all(60 in split.train for split in partition.splits)


def test_groups_are_drawn_so_that_every_class_trains():
    labels = np.zeros(100, dtype=np.int64)
    labels[:20] = 1  # in two of ten groups
    group = np.arange(100) // 10
    for seed in range(10):
        partition = divide(raw_rows(100, kind="images", group=group), labels, DataSettings(), seed=seed)
        assert set(labels[partition.splits[0].train]) == {0, 1}


@pytest.mark.parametrize(
    ("columns", "chosen", "message"),
    [
        ({}, {"max_rows": None}, r"At least 10 rows are needed to train and validate, got 9\."),
        (
            {"time": np.zeros(40)},
            {},
            r"data\.time \(or times\) must hold different times to divide 40 rows, all are",
        ),
        ({"time": np.arange(40) // 10}, {"folds": 5}, r"more than 5 different times for 5 folds, got 3\."),
        (
            {"group": np.zeros(40, dtype=int)},
            {},
            r"data\.group must leave at least two groups to divide, got one for 40",
        ),
        (
            {"group": np.arange(40) // 20},
            {"test_share": 0.6},
            r"data\.group has too few groups for a share of 0\.6: 2\.",
        ),
        ({"group": np.arange(40) // 20}, {}, r"at least two groups to divide, got one for 20 rows\."),
    ],
)
def test_what_cannot_be_divided(columns, chosen, message):
    with pytest.raises(DataError, match=message):
        divide(raw_rows(40 if columns else 9, **columns), None, DataSettings(**chosen), seed=0)


def test_classes_of_single_rows_cannot_be_validated():
    raw = raw_rows(13, origin=[OPEN] * 10 + [TEST] * 3)
    with pytest.raises(DataError, match=r"Some class must have two rows to be validated, all 10 rows have classes of"):
        divide(raw, np.arange(13) % 10, DataSettings(), seed=0)
    raw = raw_rows(10, kind="images")
    with pytest.raises(DataError, match=r"Too few rows for a share of 0\.3: 10 rows in 10 classes\."):
        divide(raw, np.arange(10), DataSettings(), seed=0)


def test_few_rows_of_each_class_are_grouped_all_the_same():
    raw = raw_rows(14, origin=[OPEN] * 10 + [TEST] * 4, group=np.asarray([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 9, 9, 9, 9]))
    partition = divide(raw, np.arange(14) % 4, DataSettings(), seed=0)
    check_laws(partition, range(14))
    assert len(partition.splits) == 5


def test_groups_in_two_files():
    origin = [OPEN] * 20 + [TEST] * 5
    raw = raw_rows(25, origin=origin, group=np.asarray([*np.arange(20), 3, 4, 30, 31, 32]))
    with pytest.raises(DataError, match=r"data\.group: 2 groups stand in two of the given files"):
        divide(raw, None, DataSettings(), seed=0)
