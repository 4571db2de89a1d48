"""The two commands on finished files: rows by name, whole results, honest numbers."""

import gzip
import json
import re
import subprocess
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from engine import evaluate, predict
from engine.artifact import Artifact
from engine.errors import DataError
from engine.inputs import table_inputs
from engine.intervals import wilson


def save_model(folder, nodes, inputs, initializers, *, outputs=2, card=None, **metadata):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", outputs])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    helper.set_model_props(
        model, {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    )
    onnx.checker.check_model(model)
    artifact = Artifact(model.SerializeToString(), card or {})
    return str(artifact.save(folder))


@pytest.fixture
def table_model(tmp_path):
    """Class `high` where a - b > 0; `c` adds 10 to `high` for "red"."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Equal", ["c", "red"], ["e"]),
        helper.make_node("Cast", ["e"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "v"], ["k"]),
        helper.make_node("Add", ["m", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"], axis=1),
    ]
    constants = {
        "w": np.asarray([[0, 1], [0, -1]], dtype=np.float32),
        "v": np.asarray([[0, 10]], dtype=np.float32),
        "red": np.asarray([["red"]], dtype=object),
    }
    inputs = [("x", TensorProto.FLOAT, ["n", 2]), ("c", TensorProto.STRING, ["n", 1])]
    names = {"classes": ["low", "high"], "numeric": ["a", "b"], "categorical": ["colour"]}
    return save_model(tmp_path / "table", nodes, inputs, constants, **names)


@pytest.fixture
def image_model(tmp_path):
    """Class `bright` where the mean of a 1 x 2 x 3 image is above 100."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["l"]),
        helper.make_node("MatMul", ["l", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"], axis=1),
    ]
    constants = {
        "w": np.tile(np.asarray([[0, 1 / 6]], dtype=np.float32), (6, 1)),
        "b": np.asarray([0, -100], dtype=np.float32),
    }
    return save_model(
        tmp_path / "image", nodes, [("x", TensorProto.UINT8, ["n", 1, 2, 3])], constants, classes=["dark", "bright"]
    )


@pytest.fixture
def value_model(tmp_path):
    """Twice the only column, which only the card names."""
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    inputs = [("x", TensorProto.FLOAT, ["n", 1])]
    card = {"numeric_columns": ["a"], "categorical_columns": []}
    return save_model(
        tmp_path / "value", nodes, inputs, {"two": np.float32(2)}, outputs=1, card=card, task="regression"
    )


@pytest.fixture
def people(tmp_path):
    frame = pd.DataFrame(
        {"name": ["0017", "b", "c"], "colour": ["blue", "red", ""], "b": [1, 2, 3], "extra": 9, "a": [3, 1, 2]}
    )
    frame["truth"] = ["high", "low", "low"]
    frame.to_csv(tmp_path / "new.csv", index=False)
    return tmp_path / "new.csv"


def run(command, capsys, **given):
    code = command.main([f"{key}={value}" for key, value in given.items()])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def read(path):
    return pd.read_csv(path, dtype={"name": str})


def test_columns_are_matched_by_name(table_model, people, tmp_path, capsys):
    out = tmp_path / "scored.csv"
    code, text, _ = run(predict, capsys, model=table_model, data=people, out=out, id="name,extra")
    assert (code, text) == (0, f"3 rows scored: {out}\n")
    scored = read(out)
    assert list(scored.columns) == ["name", "extra", "label", "p_low", "p_high"]
    assert list(scored["name"]) == ["0017", "b", "c"]
    assert list(scored["label"]) == ["high", "high", "low"]
    assert scored["p_high"].to_numpy() == pytest.approx(1 / (1 + np.exp([-2.0, -9.0, 1.0])), abs=1e-6)


def test_numbers_may_be_missing_and_categories_whole_numbers(table_model, tmp_path):
    artifact = Artifact.load(table_model)
    made = table_inputs(artifact, pd.DataFrame({"colour": [1.0, None, 2.0], "b": ["1", None, "2"], "a": [1, 2, 3]}))
    assert made["c"].tolist() == [["1"], [""], ["2"]]
    assert np.isnan(made["x"][1, 1])
    assert made["x"].dtype == np.float32


def test_missing_columns_are_all_named(table_model, tmp_path, capsys):
    pd.DataFrame({"a": [1], "z": [2]}).to_csv(tmp_path / "new.csv", index=False)
    code, _, text = run(predict, capsys, model=table_model, data=tmp_path / "new.csv", out=tmp_path / "o.csv")
    assert code == 2
    assert text.startswith("error: ")
    assert "must have the columns of the model, it lacks b, colour. It has a, z." in text
    assert not (tmp_path / "o.csv").exists()


def test_text_in_a_numeric_column_is_an_error(table_model, tmp_path, capsys):
    pd.DataFrame({"a": ["many"], "b": [2], "colour": "red"}).to_csv(tmp_path / "new.csv", index=False)
    _, _, text = run(predict, capsys, model=table_model, data=tmp_path / "new.csv", out=tmp_path / "o.csv")
    assert "must hold numbers, got 'many'." in text


def test_regression_takes_its_columns_from_the_card(value_model, people, tmp_path, capsys):
    assert run(predict, capsys, model=value_model, data=people, out=tmp_path / "o.csv")[0] == 0
    assert read(tmp_path / "o.csv").to_dict("list") == {"value": [6.0, 2.0, 4.0]}


def test_a_card_of_another_file_is_not_believed(value_model, people, tmp_path, capsys):
    card = tmp_path / "value" / "card.json"
    card.write_text(json.dumps({"numeric_columns": ["a"], "sha256": "0" * 64}))
    code, _, text = run(predict, capsys, model=value_model, data=people, out=tmp_path / "o.csv")
    assert code == 2
    assert "The model names no columns" in text
    assert "give its input x in an npz file" in text


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"numeric": "not json"}, "metadata key numeric must be a JSON list"),
        ({"numeric": {"a": 9}}, "as a list of texts, got"),
        ({"numeric": [1]}, "as a list of texts, got"),
    ],
)
def test_metadata_that_is_no_list_of_names(tmp_path, metadata, message):
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    inputs = [("x", TensorProto.FLOAT, ["n", 1])]
    model = save_model(tmp_path / "m", nodes, inputs, {"two": np.float32(2)}, outputs=1, **metadata)
    with pytest.raises(DataError, match=message):
        table_inputs(Artifact.load(model), pd.DataFrame({"a": [1]}))


def test_gzip_and_equal_bytes(table_model, people, tmp_path, capsys):
    out = tmp_path / "o.csv.gz"
    run(predict, capsys, model=table_model, data=people, out=out)
    first = out.read_bytes()
    run(predict, capsys, model=table_model, data=people, out=out)
    assert gzip.decompress(first).startswith(b"label,p_low,p_high")
    assert out.read_bytes() == first


def test_a_failure_leaves_the_old_result_and_no_half_file(table_model, people, tmp_path, capsys, monkeypatch):
    out = tmp_path / "o.csv"
    out.write_text("old")

    def fail(self, path, **_):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    code, _, text = run(predict, capsys, model=table_model, data=people, out=out)
    assert (code, out.read_text()) == (2, "old")
    assert "o.csv cannot be written: No space left on device." in text
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"out": "o.txt"}, r"out must end in .csv or .csv.gz, got"),
        ({"out": "none/o.csv"}, r"out must lie in a folder that exists"),
        ({"id": "nme"}, r"id: no column in .* is called 'nme'; did you mean 'name'\? Columns: name, colour"),
        ({"data": "none.csv"}, r"none.csv does not exist\."),
        (
            {"data": "model.bin"},
            r"model.bin must end in .csv, .csv.gz, .parquet, .jsonl, .jsonl.gz, .npz or .npy, or be a folder",
        ),
        ({"model": "none.onnx"}, r"none.onnx cannot be read: No such file"),
        ({"oot": "1"}, r"Unknown key oot; did you mean out\?"),
    ],
)
def test_predict_problems(table_model, people, tmp_path, capsys, given, message):
    (tmp_path / "model.bin").write_bytes(b"1")
    arguments = {"model": table_model, "data": people, "out": "o.csv"}
    arguments |= given
    for key in ("out", "data", "model"):
        arguments[key] = tmp_path / arguments[key]
    code, _, text = run(predict, capsys, **arguments)
    assert code == 2
    assert re.search(message, text)


def test_an_id_must_not_hide_a_result(table_model, tmp_path, capsys):
    pd.DataFrame({"a": [1], "b": [2], "colour": "red", "label": 1}).to_csv(tmp_path / "new.csv", index=False)
    code, _, text = run(
        predict, capsys, model=table_model, data=tmp_path / "new.csv", out=tmp_path / "o.csv", id="label"
    )
    assert (code, "id must not name label" in text) == (2, True)


def test_images_of_every_source_agree(image_model, tmp_path, capsys):
    x = np.asarray([[[10] * 3] * 2, [[200] * 3] * 2], dtype=np.uint8)
    np.save(tmp_path / "a.npy", x[:, None])
    np.savez(tmp_path / "b.npz", x=x, name=np.asarray(["first", "second"]))
    np.savez(tmp_path / "c.npz", x=x[..., None].astype(np.float64))
    for number, image in enumerate(x):
        (tmp_path / "flat").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "flat" / f"{number}.png")
        (tmp_path / "deep" / ("dark", "bright")[number]).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "deep" / ("dark", "bright")[number] / "i.png")
    found = []
    for source in ("a.npy", "b.npz", "c.npz", "flat", "deep"):
        out = tmp_path / "o.csv"
        assert run(predict, capsys, model=image_model, data=tmp_path / source, out=out)[0] == 0
        scored = pd.read_csv(out)
        found.append(sorted(zip(scored["label"], scored["p_bright"], strict=True)))
        if source == "flat":
            assert list(scored["file"]) == ["0.png", "1.png"]
        if source == "deep":
            assert list(scored["file"]) == ["bright/i.png", "dark/i.png"]
    assert found == [found[0]] * 5
    run(predict, capsys, model=image_model, data=tmp_path / "b.npz", out=out, id="name")
    assert list(pd.read_csv(out)["name"]) == ["first", "second"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros(3)}, r"must hold arrays x; it holds z\."),
        ({"x": np.zeros((2, 1, 3, 3))}, r"Input x must have shape N x 1 x 2 x 3, got 2 x 1 x 3 x 3"),
        ({"x": np.full((2, 2, 3), 0.5)}, r"Input x must hold whole numbers in \[0, 255\]"),
        ({"x": np.zeros((0, 2, 3))}, r"as many values in each array, at least one"),
    ],
)
def test_arrays_that_do_not_fit(image_model, tmp_path, capsys, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    code, _, text = run(predict, capsys, model=image_model, data=tmp_path / "a.npz", out=tmp_path / "o.csv")
    assert code == 2
    assert re.search(message, text)


def test_arrays_of_a_table_model(table_model, tmp_path, capsys):
    x = np.asarray([[3, 1], [1, 2]])
    np.savez(tmp_path / "a.npz", x=x, c=np.asarray([["blue"], ["red"]]), y=np.asarray(["high", "low"]))
    result = evaluate.evaluate(evaluate.EvaluateSettings(model=table_model, data=str(tmp_path / "a.npz")))
    assert (result["rows"], result["errors"]) == (2, 1)
    np.savez(tmp_path / "a.npz", x=x, c=np.asarray([["blue"]]))
    code, _, text = run(predict, capsys, model=table_model, data=tmp_path / "a.npz", out=tmp_path / "o.csv")
    assert (code, "as many values in each array" in text) == (2, True)


def test_numbered_columns_are_picked_from_a_wider_array(tmp_path, capsys):
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    card = {"numeric_columns": ["x2"], "categorical_columns": []}
    given = {"inputs": [("x", TensorProto.FLOAT, ["n", 1])], "initializers": {"two": np.float32(2)}, "outputs": 1}
    model = save_model(tmp_path / "m", nodes, **given, card=card, task="regression")
    np.savez(tmp_path / "a.npz", x=[[1, 5, 3], [1, 5, 4]])
    assert run(predict, capsys, model=model, data=tmp_path / "a.npz", out=tmp_path / "o.csv")[0] == 0
    assert read(tmp_path / "o.csv")["value"].tolist() == [6, 8]


def test_a_card_whose_columns_are_broken(table_model, people, tmp_path, capsys):
    (tmp_path / "table" / "card.json").write_text(json.dumps({"columns": [{"name": "a"}]}))
    code, _, text = run(predict, capsys, model=table_model, data=people, out=tmp_path / "o.csv")
    assert (code, "The card's columns must be a list of columns: a column must have a name" in text) == (2, True)


def test_evaluate_by_one_more_metric_and_by_groups(table_model, value_model, people, capsys):
    code, text, _ = run(evaluate, capsys, model=table_model, data=people, target="truth", metric="auc", group="colour")
    assert code == 0
    assert "error by auc: 50.00 %" in text
    assert [line.split()[0] for line in text.splitlines()[-3:]] == ["blue", "missing", "red"]
    _, _, text = run(evaluate, capsys, model=table_model, data=people, target="truth", metric="acu")
    assert "or a scorer of scikit-learn, got 'acu'; did you mean 'auc'?" in text
    code, text, _ = run(evaluate, capsys, model=value_model, data=people, target="b", metric="mape", group="name")
    assert (code, "error by mape: " in text, "bias" in text) == (0, True, True)


def test_folders_have_no_columns(image_model, tmp_path, capsys):
    (tmp_path / "flat").mkdir()
    code, _, text = run(predict, capsys, model=image_model, data=tmp_path / "flat", out=tmp_path / "o.csv", id="a")
    assert (code, "is a folder of images and has no columns" in text) == (2, True)
    code, _, text = run(predict, capsys, model=image_model, data=tmp_path / "flat", out=tmp_path / "o.csv")
    assert (code, "must hold images, or folders of images; it has none." in text) == (2, True)
    Image.new("L", (3, 2)).save(tmp_path / "flat" / "a.png")
    code, _, text = run(evaluate, capsys, model=image_model, data=tmp_path / "flat")
    assert (code, "must have one folder for each class to be compared with" in text) == (2, True)


def test_evaluate_counts(table_model, people, capsys):
    code, text, _ = run(evaluate, capsys, model=table_model, data=people, target="truth")
    low, high = wilson(1, 3)
    assert code == 0
    assert f"error     33.33% (1 rows), 95 % interval {low:.2%} to {high:.2%}" in text
    code, text, _ = run(evaluate, capsys, model=table_model, data=people, target="truth", json="true")
    result = json.loads(text)
    assert text.count("\n") == 1
    assert result["recall"] == {"low": 0.5, "high": 1.0}
    assert result["confusion"] == [[1, 1], [0, 1]]
    assert (result["low"], result["high"]) == (low, high)


def test_evaluate_shows_recall_and_confusion(image_model, tmp_path, capsys):
    np.savez(tmp_path / "a.npz", x=np.full((12, 2, 3), 200, dtype=np.uint8), y=["bright"] * 12)
    _, text, _ = run(evaluate, capsys, model=image_model, data=tmp_path / "a.npz")
    assert "dark           0         -" in text
    assert "bright        12   100.00%" in text
    assert text.endswith("dark     0  0\nbright   0 12\n")


def test_evaluate_values(value_model, people, tmp_path, capsys):
    pd.DataFrame({"a": [1, 2], "t": [2, 5]}).to_csv(tmp_path / "v.csv", index=False)
    _, text, _ = run(evaluate, capsys, model=value_model, data=tmp_path / "v.csv", target="t", json="true")
    assert json.loads(text) == {
        "rows": 2,
        "rmse": pytest.approx(0.5**0.5),
        "mae": 0.5,
        "r2": pytest.approx(1 - 1 / 4.5),
    }
    _, text, _ = run(evaluate, capsys, model=value_model, data=tmp_path / "v.csv", target="t")
    assert text.splitlines()[1].split() == ["RMSE", "0.707107"]
    code, _, text = run(evaluate, capsys, model=value_model, data=people, target="truth")
    assert (code, "The target must hold numbers for this model, got 'high'." in text) == (2, True)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["high", "hi", "low"], "Labels must be classes of the model, got 'hi'. Classes: low, high."),
        (["high", "", "low"], "must have a target in every row, it is missing in 1 of 3."),
    ],
)
def test_labels_that_cannot_be_compared(table_model, people, capsys, labels, message):
    pd.read_csv(people).assign(truth=labels).to_csv(people, index=False)
    code, _, text = run(evaluate, capsys, model=table_model, data=people, target="truth")
    assert (code, message in text) == (2, True)


def test_evaluate_needs_a_target(table_model, people, capsys):
    code, _, text = run(evaluate, capsys, model=table_model, data=people)
    assert (code, "target must be given for" in text) == (2, True)


@pytest.mark.parametrize("command", [predict, evaluate])
def test_help(command, capsys):
    assert command.main(["--help"]) == 0
    assert f"python -m {command.__name__}" in capsys.readouterr().out
    assert command.main([]) == 2


def test_as_a_program(table_model, people, tmp_path):
    arguments = [f"model={table_model}", f"data={people}", f"out={tmp_path / 'o.csv'}"]
    done = subprocess.run(
        [sys.executable, "-m", "engine.predict", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        [sys.executable, "-m", "engine.evaluate", *arguments[:2]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: target must be given")
