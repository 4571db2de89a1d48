"""Rule sets as Python source: run on its own, it answers as the rules do."""

import subprocess
import sys

import pytest
from random_rules import random_rule_set

from rules.exports.to_python import run_python, to_python
from rules.proof import proof_rows, prove


@pytest.mark.parametrize("seed", range(60))
def test_random_rule_sets_answer_alike(seed):
    engine = random_rule_set(seed)
    source = to_python(engine)
    prove(engine, lambda rows: run_python(engine, source, rows), proof_rows(engine), form="Python")


def test_source_needs_nothing_but_python(tmp_path):
    engine = random_rule_set(3)
    (tmp_path / "engine_of_rules.py").write_text(to_python(engine))
    code = "import engine_of_rules; print(engine_of_rules.predict({'age': 30, 'town': 'Ulm'}))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append('.'); {code}"],
                          cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
