import importlib.util
import json
from pathlib import Path

import pytest

from engine.show import main

_place = importlib.util.spec_from_file_location("finished_run", Path(__file__).parents[1] / "finished_run.py")
finished_run = importlib.util.module_from_spec(_place)
_place.loader.exec_module(finished_run)


@pytest.fixture
def folder(tmp_path):
    return finished_run.write_run(tmp_path / "digits", count=40)


def test_a_run_is_shown_with_its_knee(folder, capsys):
    assert main([f"run={folder}"]) == 0
    out = capsys.readouterr().out
    for part in ("valid err %", "most accurate: member 00", "knee:", "smallest:"):
        assert part in out


def test_a_member_is_explained(folder, capsys):
    assert main([f"run={folder}", "member=3"]) == 0
    out = capsys.readouterr().out
    for part in ("genes:", "coding", "1. train", "it dominates", "next more accurate: member 02"):
        assert part in out
    assert "the next 0.1 points of error cost about" in out
    assert out.count("    trial ") <= 5


def test_the_price_is_the_slope_to_the_more_accurate_neighbour(folder, capsys):
    for place, (error, size) in enumerate([(0.02, 3000), (0.04, 1000)]):
        path = folder / f"front/{place:02d}/card.json"
        card = json.loads(path.read_text())
        path.write_text(json.dumps({**card, "bytes": size, "validation": {"error": error}}))
    main([f"run={folder}", "member=1"])
    assert "cost about 100 B here (slope to member 00)" in capsys.readouterr().out


def test_the_ends_of_the_front_say_so(folder, capsys):
    last = len(list((folder / "front").iterdir())) - 1
    main([f"run={folder}", "member=0"])
    assert "none: this is the most accurate member" in capsys.readouterr().out
    main([f"run={folder}", f"member={last}"])
    assert "none: this is the last member" in capsys.readouterr().out


def test_dominated_neighbours_are_the_nearest_ones(folder, capsys):
    told = []
    for member in range(len(list((folder / "front").iterdir()))):
        main([f"run={folder}", f"member={member}"])
        told.append(capsys.readouterr().out)
    assert any("points; nearest:" in text for text in told)


def test_help(capsys):
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: python -m engine.show run=FOLDER")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=none"], "error: There is no run folder none."),
        (["run={folder}/front"], "is not a run folder"),
        (["run={folder}", "member=99"], "got 99."),
        (["run={folder}", "membr=1"], "did you mean member?"),
    ],
)
def test_mistakes_are_told_on_standard_error(folder, arguments, message, capsys):
    assert main([argument.format(folder=folder) for argument in arguments]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.startswith("error: ")
    assert told.out == ""
