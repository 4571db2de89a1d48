"""Rule sets as ONNX files: every policy answers as the rules do."""

from dataclasses import replace

import numpy as np
import onnx
import pandas as pd
import pytest
from random_rules import random_rule_set
from sklearn.datasets import load_breast_cancer
from sklearn.tree import DecisionTreeClassifier

from engine.artifact import Artifact, session
from engine.errors import DataError
from engine.guard import read_file
from rules.atoms import Categories, Condition, Numbers
from rules.exports.to_onnx import to_onnx
from rules.exports.write import proven
from rules.outputs import Label, Probability
from rules.proof import Answers, proof_rows, prove
from rules.rule import Rule
from rules.ruleset import RuleSet


@pytest.mark.parametrize("seed", range(60))
def test_random_rule_sets_answer_alike(seed):
    engine = random_rule_set(seed)
    model = to_onnx(engine)
    opened = session(model)

    def said(rows):
        wanted = [entry.name for entry in opened.get_outputs()]
        inputs = {name: array.astype(object) if name == "c" else array for name, array in rows.items()}
        found = dict(zip(wanted, opened.run(None, inputs), strict=True))
        decisions = found["decision"][:, 0] if "decision" in found else found["y"].argmax(axis=1)
        return Answers(found["y"], decisions if engine.classes else None)

    proof = prove(engine, said, proof_rows(engine), form="ONNX")
    assert proof.rows >= 1000


@pytest.mark.parametrize("seed", range(12))
def test_files_are_valid_the_same_again_and_pass_the_guard(seed, tmp_path):
    model = to_onnx(random_rule_set(seed))
    assert model == to_onnx(random_rule_set(seed))
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    (tmp_path / "model.onnx").write_bytes(model)
    assert read_file(tmp_path / "model.onnx") == model


def leaves(tree, names):
    """The leaves of a tree of scikit-learn as rules, missing values to the left."""

    def below(node, atoms):
        if tree.children_left[node] < 0:
            shares = tree.value[node][0] / tree.value[node][0].sum()
            yield Rule(f"leaf {node}", Condition(atoms), Probability(tuple(shares)))
            return
        name, limit = names[tree.feature[node]], float(np.round(tree.threshold[node], 4))
        yield from below(tree.children_left[node], (*atoms, Numbers(name, high=limit, missing=True)))
        yield from below(tree.children_right[node], (*atoms, Numbers(name, low=limit, low_open=True)))

    return tuple(below(0, ()))


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_of_ten_leaves_takes_seven_hundred_bytes_at_most(seed):
    data = load_breast_cancer()
    tree = (
        DecisionTreeClassifier(max_leaf_nodes=10, random_state=seed)
        .fit(data.data.astype(np.float32), data.target)
        .tree_
    )
    names = tuple(map(str, data.feature_names))
    engine = RuleSet(leaves(tree, names), "unique", Probability((0.5, 0.5)), ("0", "1"), names)
    assert len(engine.rules) == 10
    assert len(to_onnx(engine)) <= 700  # with the names of the columns that are asked; classes 0 and 1 have none
    _, proof = proven(engine, "onnx", {"x": data.data.astype(np.float32)})
    assert proof.rows > 1569


def test_a_file_names_the_columns_that_it_reads_and_needs_no_others():
    condition = Condition((Numbers("b", low=2, missing=True), Categories("town", ("Ulm",))))
    rules = (Rule("r", condition, Label("yes")),)
    engine = RuleSet(rules, "first", Label("no"), ("no", "yes"), ("a", "b", "c"), ("kind", "town"))
    artifact = Artifact(to_onnx(engine))
    assert artifact.metadata["numeric"] == '{"b":1}'
    assert artifact.metadata["categorical"] == '{"town":1}'
    assert artifact.column_names("numeric") == ["", "b", ""]
    table = pd.DataFrame({"town": ["Ulm", "Ulm", "Bonn"], "b": [3, None, 3]})
    assert artifact.predict(table).tolist() == ["yes", "yes", "no"]
    with pytest.raises(DataError, match="it lacks town"):
        artifact.predict(table[["b"]])
    numbers = replace(engine, rules=(Rule("r", Condition((Numbers("b", low=2),)), Label("yes")),))
    assert Artifact(to_onnx(numbers)).predict(table[["b"]]).tolist() == ["yes", "no", "yes"]
