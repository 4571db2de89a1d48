import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SettingsError
from nas.cells import OPERATIONS, CellsSettings, Genome, Stage, canonical_cell, cells_space, edges

SETTINGS = CellsSettings()
SPACE = cells_space(SETTINGS)
cells = st.lists(st.sampled_from(OPERATIONS), min_size=6, max_size=6)


def paths(cell, nodes):
    """What a cell computes, as the multiset of terms of its output: an oracle that knows no canonical form.

    Each edge with an operation has weights of its own, so an edge is one variable wherever it is used; renaming nodes
    renames the variables, so they are numbered by their first use in the sorted expression.
    """
    links = dict(zip(edges(nodes), cell, strict=True))

    def terms(node):
        if node == 0:
            return ["x"]
        found = []
        for source in range(node):
            op = links[(source, node)]
            inner = terms(source) if op != "none" else []
            if inner and op == "skip":
                found += inner
            elif inner:
                found.append(f"{op}({'+'.join(sorted(inner))})")
        return sorted(found)

    return terms(nodes - 1)


def relabelled(cell, order):
    """The same cell with its inner nodes in another order, or None where an edge would point backwards."""
    made = {}
    for (source, target), op in zip(edges(4), cell, strict=True):
        if op != "none":
            if order[source] >= order[target]:
                return None
            made[(order[source], order[target])] = op
    return [made.get(edge, "none") for edge in edges(4)]


@given(cell=cells)
@settings(max_examples=500, deadline=None)
def test_the_canonical_cell_computes_the_same_and_is_its_own_canonical_form(cell):
    canonical = canonical_cell(cell, 4)
    assert canonical_cell(canonical, 4) == canonical
    if any(op != "none" for op in canonical):
        assert paths(canonical, 4) == paths(cell, 4)
    else:
        assert paths(cell, 4) in ([], ["x"])


@given(cell=cells)
@settings(max_examples=500, deadline=None)
def test_relabelled_cells_have_one_canonical_form(cell):
    other = relabelled(cell, [0, 2, 1, 3])
    if other is not None:
        assert canonical_cell(other, 4) == canonical_cell(cell, 4)


def test_dead_edges_and_skips_that_rename_are_rewritten():
    none, skip = "none", "skip"
    straight = [none, none, none, "conv3", none, none]
    dangling = ["conv1", none, none, "conv3", none, none]  # node 1 leads nowhere
    renamed = [skip, none, none, none, "conv3", none]  # node 1 is the input
    behind = [none, "conv3", none, none, none, skip]  # the output is node 2
    forms = {canonical_cell(cell, 4) for cell in (straight, dangling, renamed, behind)}
    assert len(forms) == 1


def test_two_operations_between_the_same_nodes_survive_through_a_skip():
    cell = ["skip", "none", "none", "conv3", "conv1", "none"]
    canonical = canonical_cell(cell, 4)
    assert paths(canonical, 4) == ["conv1(x)", "conv3(x)"]
    swapped = ["skip", "none", "none", "conv1", "conv3", "none"]
    assert canonical_cell(swapped, 4) == canonical


def test_every_cell_of_a_small_space_has_a_canonical_form_with_the_same_meaning():
    small = ("none", "skip", "conv1", "max3")
    forms = {}
    for cell in itertools.product(small, repeat=6):
        canonical = canonical_cell(cell, 4)
        if any(op != "none" for op in canonical):
            assert paths(canonical, 4) == paths(cell, 4)
            forms.setdefault(canonical, []).append(cell)
    assert sum(map(len, forms.values())) > 2 * len(forms)


@given(seed=st.integers(0, 100_000))
@settings(max_examples=300, deadline=None)
def test_candidates_and_genomes_are_two_forms_of_one_thing(seed):
    candidate = SPACE.sample(np.random.default_rng(seed))
    genome = Genome.of(candidate, SETTINGS.nodes)
    assert genome.candidate() == candidate
    canonical = genome.canonical(SETTINGS)
    SPACE.check(canonical.candidate())
    assert canonical.canonical(SETTINGS) == canonical


def test_genes_that_change_nothing_take_their_first_value():
    stage = Stage(16, 0, 1, "float32", 1.0)
    genome = Genome(4, ("conv3",) * 6, (stage,), "conv1", "int8", "int8").canonical(SETTINGS)
    assert set(genome.cell) == {"none"}
    assert genome.stages[0].coding == SETTINGS.codings[0]
    whole = Stage(1, 1, 1, "int8", 0.75)  # one channel of one stays, as with 1.0
    assert Genome(4, ("conv3",) * 6, (whole,), "conv1", "int8", "int8").canonical(SETTINGS).stages[0].keep == 0.5


@pytest.mark.parametrize(
    "narrowed",
    [
        {"operations": ("none", "conv3")},
        {"depths": (1, 2)},
        {"keeps": (0.9,), "widths": (4, 8)},
        {"keeps": (0.5, 0.75), "widths": (1, 2, 4)},
        {"codings": ("int8",), "stages": 1},
    ],
)
def test_the_canonical_form_stays_inside_a_narrowed_space(narrowed):
    settings = CellsSettings(**narrowed)
    space = cells_space(settings)
    for seed in range(200):
        genome = Genome.of(space.sample(np.random.default_rng(seed)), settings.nodes)
        canonical = genome.canonical(settings)
        space.check(canonical.candidate())
        assert canonical.canonical(settings) == canonical
        assert [stage.kept for stage in canonical.stages] == [stage.kept for stage in genome.stages]


def test_all_problems_of_the_space_are_told_at_once():
    with pytest.raises(SettingsError) as caught:
        CellsSettings(codings=("int3",), operations=(), nodes=12, keeps=(0.0,), widths=(0, 4))
    text = str(caught.value)
    for part in ("no 'int3'; did you mean", "space.operations must have", "space.nodes must be in [2, 6], got 12",
                 "space.keeps must lie in (0, 1]", "space.widths must lie in [1, 4096], got [0]"):  # fmt: skip
        assert part in text
