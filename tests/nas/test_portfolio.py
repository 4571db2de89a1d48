import pytest

from engine.data import Signature
from nas.cells import CellsSettings, Genome, cells_space
from nas.network import plan_of
from nas.portfolio import portfolio


@pytest.mark.parametrize(
    "settings",
    [
        CellsSettings(),
        CellsSettings(stages=1, nodes=2, widths=(5,), depths=(2,)),
        CellsSettings(operations=("none", "separable5"), codings=("int8",), edge_codings=("int4",), keeps=(0.5,)),
        CellsSettings(stages=6, depths=(0,), nodes=6),
    ],
)
@pytest.mark.parametrize("side", [1, 8, 28, 96])
def test_every_member_lies_in_the_space_and_builds_another_network(settings, side):
    space = cells_space(settings)
    members = portfolio(settings, side)
    assert 1 <= len(members) <= 7
    for member in members:
        space.check(member)
    canonical = {Genome.of(member, settings.nodes).canonical(settings) for member in members}
    assert len(canonical) == len(members)


def test_without_convolutions_there_is_none():
    assert portfolio(CellsSettings(operations=("none", "skip", "max3")), 28) == []


@pytest.mark.parametrize(("side", "left"), [(8, 4), (16, 4), (28, 4), (32, 4), (5, 5), (3, 3)])
def test_the_last_stage_keeps_positions_to_tell_apart(side, left):
    genome = Genome.of(portfolio(CellsSettings(), side)[0], 4)
    for stage in genome.stages:
        side = -(-side // stage.stride)
    assert side == left


def test_a_member_is_a_plain_chain_that_widens():
    genome = Genome.of(portfolio(CellsSettings(), 28)[2], 4)
    plan = plan_of(genome, Signature("images", "classification", (1, 28, 28), "uint8", ("a", "b")))
    assert [step.channels_out for step in plan.weighted] == [8, 16, 16, 24, 2]
    assert [stage.coding for stage in genome.stages[1:]] == ["ternary", "ternary"]
