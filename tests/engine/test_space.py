import json
import os
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import SpaceError
from engine.space import Candidate, Choice, Condition, Float, Int, Space

seeds = st.integers(0, 2**32 - 1)
names = st.text(min_size=1, max_size=8)
values = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text(max_size=8))
genes = st.dictionaries(names, values, max_size=6)


@st.composite
def floats_of(draw):
    low = draw(st.floats(1e-6, 1e3))
    return Float(low, low + draw(st.floats(1e-3, 1e6)), log=draw(st.booleans()))


@st.composite
def ints_of(draw):
    low = draw(st.integers(1, 100))
    return Int(low, low + draw(st.integers(0, 1000)), log=draw(st.booleans()))


options = st.one_of(
    *(
        st.lists(kind, min_size=1, max_size=5, unique_by=repr).map(tuple)
        for kind in (st.booleans(), st.one_of(st.integers(-5, 5), st.text(max_size=3)))
    )
)
choices = st.builds(Choice, options, ordered=st.booleans())
domains = st.one_of(floats_of(), ints_of(), choices)


@st.composite
def spaces(draw):
    """A few genes; each choice may open or close the gene after it."""
    made, conditions, parent = {}, {}, None
    for number in range(draw(st.integers(1, 6))):
        name = f"gene{number}"
        made[name] = draw(domains)
        if parent is not None and draw(st.booleans()):
            options = made[parent].options
            some = draw(st.lists(st.sampled_from(options), min_size=1, max_size=len(options), unique_by=repr))
            conditions[name] = Condition(parent, tuple(some))
        if isinstance(made[name], Choice):
            parent = name
    return Space(made, conditions)


@given(domains, seeds)
def test_what_a_domain_draws_is_in_it(domain, seed):
    rng = np.random.default_rng(seed)
    for _ in range(5):
        value = domain.sample(rng)
        assert domain.contains(value)
        assert domain.contains(domain.near(value, rng))


@given(choices, seeds)
def test_the_neighbour_of_an_option_is_another_one(choice, seed):
    rng = np.random.default_rng(seed)
    value = choice.sample(rng)
    assert (repr(choice.near(value, rng)) != repr(value)) == (len(choice.options) > 1)


@given(floats_of(), st.floats(0, 1))
def test_shares_span_a_float_range(domain, share):
    assert domain.at(0.0) == pytest.approx(domain.low)
    assert domain.at(1.0) == pytest.approx(domain.high)
    assert domain.contains(domain.at(share))


def test_two_equal_options_are_refused():
    with pytest.raises(SpaceError, match="no two equal ones"):
        Choice((False, 0))


def test_booleans_are_no_numbers():
    assert not Float(0.0, 1.0).contains(True)
    assert not Int(0, 1).contains(True)
    assert not Choice((1, 2)).contains(True)
    assert not Choice((True, False)).contains(1)


def test_logarithmic_integers_are_spread_over_orders_of_magnitude():
    rng = np.random.default_rng(0)
    drawn = [Int(1, 1000, log=True).sample(rng) for _ in range(2000)]
    assert 0.25 < np.mean(np.array(drawn) < 10) < 0.45
    assert min(drawn) == 1


def test_ordered_options_mostly_go_to_a_neighbour():
    rng = np.random.default_rng(0)
    choice = Choice(tuple(range(9)), ordered=True)
    steps = [abs(int(choice.near(4, rng)) - 4) for _ in range(600)]
    assert np.mean(np.array(steps) == 1) > 0.6
    assert max(steps) > 1


@given(spaces(), seeds)
def test_candidates_their_neighbours_and_children_are_in_the_space(space, seed):
    rng = np.random.default_rng(seed)
    first, second = space.sample(rng), space.sample(rng)
    for candidate in (first, space.mutate(first, rng, genes=2), space.cross(first, second, rng)):
        space.check(candidate)


@given(spaces(), seeds)
def test_a_space_and_its_candidates_survive_json(space, seed):
    copy = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert copy == space
    assert list(copy) == list(space)
    candidate = copy.sample(np.random.default_rng(seed))
    assert candidate == space.sample(np.random.default_rng(seed))
    again = Candidate.of(json.loads(json.dumps(candidate.genes)))
    assert (again, again.key) == (candidate, candidate.key)


@given(genes)
def test_the_order_of_genes_does_not_matter(mapping):
    backwards = Candidate.of(dict(reversed(mapping.items())))
    assert Candidate.of(mapping) == backwards
    assert Candidate.of(mapping).key == backwards.key
    assert Candidate.of(mapping).genes == mapping


@given(genes, names, values)
def test_another_value_is_another_key(mapping, name, value):
    changed = Candidate.of({**mapping, name: value})
    same = name in mapping and json.dumps(mapping[name]) == json.dumps(value)
    assert (changed.key == Candidate.of(mapping).key) == same


KEYS = """
from engine.space import *
import numpy as np
domains = {"kind": Choice(("a", "b")), "rate": Float(0.1, 1.0), "width": Int(1, 9)}
space = Space(domains, {"rate": Condition("kind", ("b",))})
rng = np.random.default_rng(3)
print(*[space.mutate(space.sample(rng), rng).key for _ in range(20)])
"""


def test_keys_are_equal_in_every_process():
    printed = {
        subprocess.run(
            [sys.executable, "-c", KEYS], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert len(printed.pop().split()) == 20


def test_a_candidate_that_another_process_sends_is_the_same():
    code = """
import sys
from multiprocessing.reduction import ForkingPickler
from engine.space import Candidate
candidate = Candidate.of({"coding": "int8", "width": 4})
hash(candidate), candidate.genes, candidate.key
sys.stdout.buffer.write(bytes(ForkingPickler.dumps(candidate)))
"""
    for seed in ("1", "2"):  # strings have another hash in each
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        sent = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
        assert ForkingPickler.loads(sent) in {Candidate.of({"width": 4, "coding": "int8"})}


def test_check_tells_everything_that_is_wrong():
    space = Space(
        {"kind": Choice(("a", "b")), "rate": Float(0.1, 1.0), "width": Int(1, 9)},
        {"rate": Condition("kind", ("b",))},
    )
    with pytest.raises(SpaceError) as caught:
        space.check(Candidate.of({"kind": "a", "rate": 0.5, "widht": 3}))
    for part in ("width is missing", "rate exists only where", "unknown gene widht; did you mean 'width'?"):
        assert part in str(caught.value)
    with pytest.raises(SpaceError, match=r"width must be in Int\(low=1, high=9, log=False\), got 10"):
        space.check(Candidate.of({"kind": "a", "width": 10}))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Float(1.0, 1.0), "Float needs low < high, both finite, got 1.0 and 1.0"),
        (lambda: Float(0.0, float("inf")), "both finite"),
        (lambda: Float(0.0, 1.0, log=True), "log=True needs low > 0, got 0.0"),
        (lambda: Int(2, 1), "Int needs low <= high, got 2 and 1"),
        (lambda: Int(0, 1, log=True), "log=True needs low > 0, got 0"),
        (lambda: Choice(()), "at least one option"),
        (lambda: Choice(("a", "a")), "no two equal ones"),
        (lambda: Space({"a": Int(1, 2)}, {"a": Condition("b", (1,))}), "names b, which must come before it"),
        (
            lambda: Space({"a": Int(1, 2), "b": Int(1, 2)}, {"b": Condition("a", (3,))}),
            r"waits for \[3\], which a never is",
        ),
        (lambda: Space({"a": Int(1, 2)}, {"b": Condition("a", (1,))}), "a condition for b, which has no range"),
    ],
)
def test_contradictions_are_refused(make, text):
    with pytest.raises(SpaceError, match=text):
        make()


def test_a_space_prints_one_gene_a_line():
    space = Space({"kind": Choice(("a", "b")), "rate": Float(0.1, 1.0)}, {"rate": Condition("kind", ("b",))})
    assert str(space).splitlines()[1] == "rate: Float(low=0.1, high=1.0, log=False)   when kind in ['b']"
