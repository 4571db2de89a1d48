"""The command, from outside."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge, RidgeClassifier
from torch import nn

from compression import compress
from engine.artifact import Artifact, session


def save(path, weight, bias, *, batch="n", shape=(64,), dtype=TensorProto.FLOAT, name="pixels", **metadata):
    nodes = [
        helper.make_node("Cast", [name], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, dtype, [batch, *shape])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, len(bias)])],
        [
            numpy_helper.from_array(weight.astype(np.float32), "w"),
            numpy_helper.from_array(bias.astype(np.float32), "b"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compress")
    x, y = load_digits(return_X_y=True)
    net = RidgeClassifier(10.0).fit(x[:1000], y[:1000])
    save(folder / "m.onnx", net.coef_.T, net.intercept_)
    save(folder / "images.onnx", net.coef_.T, net.intercept_, shape=(1, 8, 8), dtype=TensorProto.UINT8, batch=7)
    value = Ridge(1.0).fit(x[:1000], x[:1000] @ np.linspace(0, 1, 64))
    save(folder / "value.onnx", value.coef_[:, None], np.array([value.intercept_]))
    x = x.astype(np.float32)
    np.savez(folder / "d.npz", x_train=x[:700], y_train=y[:700], x_test=x[1000:1400], y_test=y[1000:1400])
    np.savez(folder / "bare.npz", x=x[:700])
    np.savez(folder / "values.npz", x=x[:700], y=x[:700] @ np.linspace(0, 1, 64))
    return folder


def run(capsys, place, to, model="m.onnx", data="d.npz", **more):
    out = place / f"{to.split('.')[0]}.small.onnx"
    words = [f"model={place / model}", "data=npz", f"data.path={place / data}", f"to={to}", f"out={out}"]
    code = compress.main([*words, *(f"{key}={value}" for key, value in more.items())])
    printed = capsys.readouterr()
    card = out.with_suffix(".card.json")
    return code, printed.out, printed.err, out, json.loads(card.read_text()) if card.exists() else {}


@pytest.mark.parametrize("to", ["float16", "int8", "int4", "int2", "ternary", "palette", "sparse", "integer"])
def test_each_way_writes_a_file_that_runs_and_a_card_that_is_true(place, capsys, to):
    code, text, err, out, card = run(capsys, place, to)
    assert (code, err) == (0, "")
    artifact = Artifact.load(out)
    assert card["bytes"] == artifact.size < (place / "m.onnx").stat().st_size
    assert card["sha256"] == artifact.sha256
    data = np.load(place / "d.npz")
    wrong = (artifact.outputs({"pixels": data["x_test"]}).argmax(1) != data["y_test"]).mean()
    assert card["test"]["error"] == pytest.approx(wrong, abs=1e-12)
    assert card["selected_on"] == "validation"
    assert wrong < 0.2
    assert all(word in text for word in ("original", "stripped", to, "latency_us", str(card["bytes"])))
    session(out.read_bytes(), optimized=False)


def test_the_smallest_within_a_loss_says_why_it_was_chosen(place, capsys):
    code, text, _, _, card = run(capsys, place, "auto", max_drop=0.02)
    assert code == 0
    assert card["validation"]["error"] <= card["original"]["validation"]["error"] + 0.02
    assert "rises by at most 0.02" in text
    assert card["bytes"] < card["stripped_bytes"] / 4


def test_a_limit_that_nothing_keeps_gives_the_stripped_original(place, capsys, monkeypatch):
    monkeypatch.setattr(compress, "smallest_within", lambda *_, **__: None)
    code, text, _, out, card = run(capsys, place, "auto", max_drop=0)
    assert code == 0
    assert "the stripped original is the best there is" in text
    assert card["bytes"] == card["stripped_bytes"] == out.stat().st_size


def test_without_labels_the_original_is_matched(place, capsys):
    code, text, _, _, card = run(capsys, place, "int8", data="bare.npz")
    assert code == 0
    assert "no targets" in text
    assert card["original"]["validation"]["error"] == 0
    assert card["compared_with"] == "the original's outputs"
    assert card["test"]["error"] < 0.03


def test_values_are_compared_by_their_spread(place, capsys):
    code, text, _, _, card = run(capsys, place, "int8", model="value.onnx", data="values.npz")
    assert code == 0
    assert "RMSE / spread" in text
    assert card["original"]["test"]["error"] < card["test"]["error"] < 0.05


def test_a_file_that_is_coded_already_is_coded_anew(place, capsys, tmp_path):
    _, _, _, out, _ = run(capsys, place, "int8")
    out.rename(place / "coded.onnx")
    code, _, _, _, card = run(capsys, place, "int4", model="coded.onnx")
    assert code == 0
    assert card["bytes"] < 0.7 * card["original"]["bytes"]
    (place / "int4.small.onnx").rename(place / "coded.onnx")
    code, text, _, _, card = run(capsys, place, "int8", model="coded.onnx")
    assert code == 0
    assert "no smaller file than stripping" in text
    assert card["bytes"] <= card["original"]["bytes"]


def test_a_fixed_batch_and_pixels_as_bytes(place, capsys):
    words = [f"model={place / 'images.onnx'}", "data=digits", "to=int4", f"out={place / 'i.onnx'}"]
    assert compress.main(words) == 0
    capsys.readouterr()
    assert Artifact.load(place / "i.onnx").input_shapes == {"pixels": (7, 1, 8, 8)}


def test_a_coding_for_each_layer(place, capsys, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("layers: [{name: w, coding: sparse8, density: 0.4}]")
    out = tmp_path / "o.onnx"
    words = [f"model={place / 'm.onnx'}", "data=npz", f"data.path={place / 'd.npz'}", f"to={recipe}", f"out={out}"]
    assert compress.main(words) == 0
    assert json.loads((tmp_path / "o.card.json").read_text())["layers"] == {"w": {"coding": "sparse8", "density": 0.4}}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"to": "int5"}, "did you mean 'int"),
        ({"to": "int4", "max_drop": "0.1"}, "max_drop is for to=auto only"),
        ({"to": "sparse", "density": "2"}, "density is for to=sparse only and lies in (0, 1]"),
        ({"to": "int4", "modle": "x"}, "did you mean model?"),
        ({"to": "int4", "model": "value.onnx"}, "gives 1 values a row"),
        ({"to": "int4", "model": "missing.onnx"}, "cannot be read"),
        ({"to": "int4", "out": "nowhere/x.onnx"}, "folder that exists"),
        ({"to": "none.yaml"}, "readable YAML"),
    ],
)
def test_what_is_wrong_is_told(place, capsys, more, text):
    given = {"model": "m.onnx", "out": str(place / "o.onnx"), **more}
    given["model"] = str(place / given["model"])
    words = [f"{key}={value}" for key, value in given.items()]
    assert compress.main([*words, "data=npz", f"data.path={place / 'd.npz'}"]) == 2
    assert text in capsys.readouterr().err


def test_rows_that_do_not_fit_are_told_with_both_shapes(place, capsys):
    words = [f"model={place / 'm.onnx'}", "data=iris", "to=int4", f"out={place / 'o.onnx'}"]
    assert compress.main(words) == 2
    assert "takes rows of 64, the data has rows of 4" in capsys.readouterr().err


def test_help_tells_every_key(capsys):
    assert compress.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{name}" in text for name in ("model", "data", "to", "out", "max_drop", "density", "seed"))


def test_the_page_does_what_it_says(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs/compress.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    axes = {"image": {0: "n"}, "scores": {0: "n"}}
    names = {"input_names": ["image"], "output_names": ["scores"]}
    torch.onnx.export(net, (torch.zeros(1, 1, 8, 8),), "mine.onnx", dynamic_axes=axes, dynamo=False, **names)
    x, y = load_digits(return_X_y=True)
    np.savez("rows.npz", x=x[:400].reshape(-1, 8, 8).astype(np.uint8), y=y[:400])
    np.savez("bare.npz", x=x[:400].reshape(-1, 1, 8, 8).astype(np.float32))
    Path("recipe.yaml").write_text(next(text for kind, text in blocks if kind == "yaml"))
    commands = [line.split() for kind, text in blocks if kind == "sh" for line in text.splitlines()]
    assert len(commands) == 3
    for words in commands:
        assert words[:3] == ["python", "-m", "compression.compress"]
        assert compress.main(words[3:]) == 0, capsys.readouterr().err
    known = {}
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, "compress.md", "exec"), known)
    assert session(known["file"]).run(None, {"image": known["rows"]["image"]})[0].shape == (256, 10)
