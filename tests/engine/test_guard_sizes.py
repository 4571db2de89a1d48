"""Sizes told from the file: what exporters write is read, what gets too large is not, and no bound is too low."""

import io
import logging
import math
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from model_mutations import hostile_models, model_of, sound_models
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn import ensemble, linear_model, neural_network, preprocessing, svm
from sklearn.datasets import load_iris
from torch import nn

from engine.errors import ArtifactError
from engine.extents import MAX_MADE, Limits, _bound, _flattened, _followed, limits_of, size_problems
from engine.guard import checked_model

HOSTILE = hostile_models()


class Tokens(nn.Module):
    """Batch sizes in shapes, expanded constants, attention."""

    def __init__(self):
        super().__init__()
        self.first, self.inner = nn.Parameter(torch.randn(1, 1, 8)), nn.Linear(16, 8)
        self.layer, self.last = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        tokens = self.inner(x.permute(0, 2, 1, 3).flatten(2))
        tokens = torch.cat([self.first.expand(x.shape[0], -1, -1), tokens], 1)
        return self.last(self.layer(tokens)[:, 0])


class Odd(nn.Module):
    """Padding, ranges, repetition, one-hot codes, resizing and a recurrent layer, whose sizes torch computes."""

    def __init__(self):
        super().__init__()
        self.memory = nn.LSTM(16, 4, batch_first=True)

    def forward(self, x):
        x = x * torch.arange(x.shape[2])[None, None, :, None].float()
        padded = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
        larger = nn.functional.interpolate(padded, scale_factor=2, mode="nearest")
        codes = nn.functional.one_hot(larger.flatten(1).argmax(1) % 5, 5).float()
        hidden, _ = self.memory(x.flatten(2).reshape(x.size(0), -1, 16))
        return torch.cat([codes, x.repeat(1, 2, 1, 1).mean((2, 3)), hidden[:, -1]], 1)


def exported(net, opset):
    buffer, x = io.BytesIO(), torch.randn(1, 2, 8, 8)
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), x, buffer, dynamo=False, opset_version=opset, input_names=["x"],
                          output_names=["y"], dynamic_axes=axes)  # fmt: skip
    return buffer.getvalue()


def foreign(name):
    if name in ("tokens", "odd"):
        return exported(Tokens() if name == "tokens" else Odd(), 17)
    if name == "convolutions":
        layers = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        return exported(nn.Sequential(*layers, nn.Linear(16, 3), nn.Softmax(1)), 13)
    x, y = load_iris(return_X_y=True)
    models = {
        "logistic": linear_model.LogisticRegression(),
        "forest": ensemble.RandomForestClassifier(5, random_state=0),
        "boosted": ensemble.AdaBoostClassifier(n_estimators=5, random_state=0),
        "vectors": svm.SVC(),
        "network": neural_network.MLPClassifier(max_iter=5, random_state=0),
        "bins": preprocessing.KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),
        "quantiles": preprocessing.QuantileTransformer(n_quantiles=20),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = models[name].fit(x, y)
        return to_onnx(model, x[:1].astype(np.float32), target_opset=18).SerializeToString()


NAMES = ("tokens", "odd", "convolutions", "logistic", "forest", "boosted", "vectors", "network", "bins", "quantiles")
SOUND = {name: foreign(name) for name in NAMES} | {f"own {n}": content for n, content in enumerate(sound_models())}


def counts_of(content):
    """Return the bound on the elements of every value that is known by its name."""
    flat = _flattened(onnx.ModelProto.FromString(content))
    known, shapes = _followed(flat)
    counts = {tensor.name: math.prod(tensor.dims) for tensor in flat.graph.initializer} | {"": 1}
    counts |= {entry.name: math.prod(shapes[entry.name]) for entry in flat.graph.input}
    for node in flat.graph.node:
        for name in node.output:
            told = _bound(node, [counts[n] for n in node.input], known)
            counts[name] = math.prod(shapes[name]) if name in shapes else told
    return counts


@pytest.mark.parametrize("name", SOUND)
def test_what_exporters_write_is_read_and_no_value_is_larger_than_told(name):
    content = SOUND[name]
    checked_model(content)
    counts = counts_of(content)
    model = onnx.ModelProto.FromString(content)
    given = {entry.name for entry in model.graph.output}
    inner = [made for node in model.graph.node for made in node.output if made and made not in given]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    opened = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rows = {}
    for entry in opened.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in entry.shape]
        is_text = entry.type == "tensor(string)"
        kind = np.uint8 if entry.type == "tensor(uint8)" else np.float32
        rows[entry.name] = (
            np.full(shape, "a", object) if is_text else np.random.default_rng(0).random(shape).astype(kind)
        )
    for entry, value in zip(opened.get_outputs(), opened.run(None, rows), strict=True):
        if isinstance(value, np.ndarray):
            assert value.size <= counts[entry.name], entry.name


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name):
    assert len(HOSTILE[name]) < 300_000
    with pytest.raises(ArtifactError, match=r"The model is refused: "):
        checked_model(HOSTILE[name])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("filled", r"value w would have 268435456 elements, shape \[256, 1024, 1024\]"),
        ("by values", r"operator Range can take any amount of memory: how large r gets does not follow from the file"),
        ("by rows", r"how large value m\d of operator Mul gets does not follow from the file; export the model with"),
        ("work", r"one row would take \d+ multiplications, at most \d+ are read"),
        ("lying shape", r"value y would have 8589934592 elements"),
    ],
)
def test_the_reason_is_told(name, text):
    with pytest.raises(ArtifactError, match=text):
        checked_model(HOSTILE[name])


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Tile", "Range", "OneHot", "Pad", "Resize"])
def test_sizes_that_rows_decide_are_refused(operator):
    """The size comes out of x, so no file tells it."""
    whole = [
        helper.make_node("ReduceMax", ["x"], ["m"], axes=[1], keepdims=0),
        helper.make_node("Cast", ["m"], ["k"], to=7),
    ]
    floats = helper.make_node("Cast", ["k"], ["f"], to=1)
    inputs = {
        "ConstantOfShape": ["k"],
        "Expand": ["one", "k"],
        "Tile": ["one", "k"],
        "Range": ["zero", "scalar", "step"],
        "OneHot": ["places", "k", "two"],
        "Pad": ["one", "pads"],
        "Resize": ["one", "", "f"],
    }[operator]
    nodes = [*whole, floats, helper.make_node("Squeeze", ["k"], ["scalar"])]
    nodes += [helper.make_node("Concat", ["k", "k"], ["pads"], axis=0), helper.make_node(operator, inputs, ["w"])]
    nodes += [helper.make_node("Cast", ["w"], ["v"], to=1), helper.make_node("ReduceMax", ["v"], ["s"], keepdims=0)]
    constants = {"one": np.ones(1, np.float32), "zero": np.array(0), "step": np.array(1), "places": np.array([0, 1])}
    constants["two"] = np.array([0, 1], np.float32)
    model = model_of(*nodes, helper.make_node("Add", ["x", "s"], ["y"]), constants=constants, opset=13)
    with pytest.raises(ArtifactError, match=rf"operator {operator} can take any amount of memory: how large w gets"):
        checked_model(model.SerializeToString())


def test_sparse_constants_count_as_decoded():
    model = model_of(
        helper.make_node("ReduceMax", ["w"], ["s"], keepdims=0), helper.make_node("Add", ["x", "s"], ["y"])
    )
    values = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, indices=indices, dims=[2**27]))
    with pytest.raises(ArtifactError, match=r"input w would have 134217728 elements"):
        checked_model(model.SerializeToString())


@pytest.mark.parametrize("shape", [("n", 2**25), ("n", 0), None])
def test_inputs_that_no_row_has_are_refused(shape):
    model = model_of(helper.make_node("Relu", ["x"], ["y"]))
    if shape is None:
        model.graph.input[0].type.tensor_type.ClearField("shape")
    else:
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape)))
    with pytest.raises(
        ArtifactError, match=r"input x has shape .* elements are read|input x must be a tensor|valid model"
    ):
        checked_model(model.SerializeToString())


def test_a_long_file_may_make_more_than_a_short_one():
    short, long = limits_of(200), limits_of(2**20)
    assert short.made < MAX_MADE + 10_000
    assert long.made == MAX_MADE + 8 * 2**20
    model = onnx.ModelProto.FromString(SOUND["own 0"])
    assert list(size_problems(model, Limits(made=1, total=10**9, work=10**9)))
    assert list(size_problems(model, Limits(made=10**9, total=1, work=10**9)))
    assert list(size_problems(model, Limits(made=10**9, total=10**9, work=1)))
    assert not list(size_problems(model, Limits(made=10**9, total=10**9, work=10**9)))
