"""The last words of a search say what really happened."""

from dataclasses import dataclass, field

import pytest
from toy import Toy
from toy_search import searched

from engine.ending import ending
from engine.winners import FinishSettings


@dataclass(frozen=True)
class Interrupted(Toy):
    """A toy whose user presses Ctrl-C in the n-th trial, or in the n-th long training."""

    at_build: int = 0
    at_finish: int = 0
    built: list = field(default_factory=list)
    finished: list = field(default_factory=list)

    def build(self, candidate, data, **given):
        self.built.append(candidate)
        if len(self.built) == self.at_build:
            raise KeyboardInterrupt
        return super().build(candidate, data, **given)

    def finish(self, candidate, data, **given):
        self.finished.append(candidate)
        if len(self.finished) == self.at_finish:
            raise KeyboardInterrupt
        return super().finish(candidate, data, **given)


def last_words(capsys, run):
    code = ending(run, "toy.search", [])
    return code, capsys.readouterr().out


def test_a_search_that_ends_says_why(tmp_path, capsys):
    code, words = last_words(capsys, searched(tmp_path / "run"))
    assert code == 0
    assert "The search ended: the budget is used up.\n" in words
    assert "Search on with: python -m toy.search" in words
    assert "budget=24" in words


@dataclass(frozen=True)
class Untold(Toy):
    """A toy that cannot tell the length of a file before it is written."""

    def bytes(self, candidate):
        return None


def test_a_search_without_a_file_says_what_stood_in_its_way(tmp_path, capsys):
    code, words = last_words(capsys, searched(tmp_path / "run", Untold(), max_bytes=10))
    assert code == 1
    assert "No file has at most 10 bytes: the smallest of the " in words
    assert "Knee" not in words


def test_an_interrupted_search_did_not_end(tmp_path, capsys):
    code, words = last_words(capsys, searched(tmp_path / "run", Interrupted(at_build=5)))
    assert code == 130
    assert "Trials: 4 complete." in words
    assert "The search ended" not in words
    assert "Go on with: python -m toy.search" in words
    assert "budget=12" in words


@pytest.mark.parametrize("at", [1, 3])
def test_winners_that_were_interrupted_are_told(tmp_path, capsys, at):
    run = searched(tmp_path / "run", Interrupted(at_finish=at), finish=FinishSettings(members=4))
    code, words = last_words(capsys, run)
    assert code == 130
    assert "the budget is used up; its winners were interrupted in their long training." in words
    assert sum(member.artifact.card["finished"] for member in run.members) == at - 1
    assert "Go on with: python -m toy.search" in words
