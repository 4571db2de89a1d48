"""The page on rules does what it says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_breast_cancer

from rules.export import main
from rules.language.read import read_rules
from rules.language.table import Table

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    table = (
        load_breast_cancer(as_frame=True)
        .frame.iloc[:, [0, 1, 2, 3, 30]]
        .assign(clinic=lambda frame: np.where(frame.index % 3 == 0, "north", "south"))
    )
    table.columns = ["radius", "texture", "perimeter", "area", "benign", "clinic"]
    table.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "mine.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_and_python_run(workspace, capsys):
    for line in blocks("sh")[0].splitlines():
        words = shlex.split(line)
        assert main(words[3:]) == 0, line
    assert capsys.readouterr().out.count("same answers") == 5
    exec(compile(blocks("python")[0], "rules.md", "exec"), {})
    assert "['1' '0'] [1 0]" in capsys.readouterr().out


def test_the_demands_of_the_page_are_read(workspace):
    text = yaml.safe_load(blocks("yaml")[0]) | yaml.safe_load(blocks("yaml")[1])
    (workspace / "both.yaml").write_text(yaml.safe_dump(text))
    table = Table(("radius", "texture", "perimeter", "area"), ("clinic",), ("0", "1"))
    with pytest.raises(ValueError, match="it uses column clinic, which demands"):
        read_rules(workspace / "both.yaml", table)
    (workspace / "demands.yaml").write_text(blocks("yaml")[1])
    assert read_rules(workspace / "demands.yaml", table).demands.max_rules == 8
