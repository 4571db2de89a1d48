"""Model files for fuzzing: sound ones, hostile ones, and what chance makes of them."""

import random

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from onnx import TensorProto, defs, helper, numpy_helper

from compression.graph import Graph

INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    64,
    255,
    65536,
    2**24,
    2**31 - 1,
    2**31,
    2**32,
    2**40,
    2**62,
    2**63 - 1,
    -(2**31),
    -(2**63),
)
FLOATS = (0.0, 1.0, -1.0, 1e30, -1e30, float("inf"), float("nan"), 1e-40)
OPERATORS = sorted({schema.name for schema in defs.get_all_schemas() if schema.domain in ("", "ai.onnx.ml")})
PLACES = ("../weights.bin", "/etc/passwd", "w/../../../etc/passwd", "link", "C:\\secret", "file:///etc/passwd", "\0")


def model_of(*nodes, constants=(), functions=(), domains=(), opset=19, shape=("n", 4), kind=TensorProto.FLOAT):
    """Return a file of these nodes, from x to y."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 3) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions)


def sound_models():
    """Return small models of many operators, serialised; each runs."""
    rng = np.random.default_rng(0)
    node, weights = helper.make_node, rng.normal(size=(4, 3)).astype(np.float32)
    made = [
        model_of(node("MatMul", ["x", "w"], ["m"]), node("Softmax", ["m"], ["y"]), constants={"w": weights}),
        model_of(
            node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
            node("Relu", ["a"], ["b"]),
            node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
            node("ConvTranspose", ["c", "v"], ["d"], strides=[2, 2]),
            node("GlobalAveragePool", ["d"], ["e"]),
            node("Flatten", ["e"], ["y"]),
            constants={
                "w": rng.normal(size=(3, 2, 3, 3)).astype(np.float32),
                "v": rng.normal(size=(3, 2, 2, 2)).astype(np.float32),
            },
            shape=("n", 2, 6, 6),
        ),
        model_of(
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "i"], ["n"]),
            node("Concat", ["n", "k"], ["t"], axis=0),
            node("ConstantOfShape", ["t"], ["z"]),
            node("Expand", ["b", "t"], ["e"]),
            node("Sum", ["z", "e"], ["u"]),
            node("Concat", ["x", "u"], ["v"], axis=1),
            node("Tile", ["v", "r"], ["p"]),
            node("Pad", ["p", "q"], ["y"]),
            constants={
                "i": np.array([0]),
                "k": np.array([5]),
                "b": np.ones((1, 5), np.float32),
                "r": np.array([1, 2]),
                "q": np.array([0, 1, 0, 1]),
            },
        ),
        model_of(
            node("Range", ["a", "b", "c"], ["r"]),
            node("Cast", ["r"], ["f"], to=1),
            node("OneHot", ["h", "d", "v"], ["o"]),
            node("MatMul", ["x", "o"], ["m"]),
            node("Add", ["m", "f"], ["p"]),
            node("TopK", ["p", "k"], ["y", "t"]),
            constants={
                "a": np.array(0),
                "b": np.array(6),
                "c": np.array(1),
                "h": np.array([0, 3, 1, 2]),
                "d": np.array([6]),
                "v": np.array([0, 1], np.float32),
                "k": np.array([2]),
            },
        ),
        model_of(
            node("LSTM", ["x", "w", "r"], ["", "h"], hidden_size=4),
            node("Reshape", ["h", "s"], ["y"]),
            constants={
                "w": rng.normal(size=(1, 16, 3)).astype(np.float32),
                "r": rng.normal(size=(1, 16, 4)).astype(np.float32),
                "s": np.array([-1, 4]),
            },
            shape=("n", 5, 3),
        ),
        model_of(
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            node("Resize", ["d", "", "", "t"], ["u"], mode="nearest"),
            node("Slice", ["u", "a", "b"], ["v"]),
            node("Split", ["v"], ["p", "o"], axis=1, num_outputs=2),
            node("Where", ["c", "p", "o"], ["y"]),
            constants={
                "s": np.array(0.1, np.float32),
                "z": np.array(3, np.uint8),
                "t": np.array([1, 8]),
                "a": np.array([0]),
                "b": np.array([1]),
                "c": np.array([[True, False, True, False]]),
            },
            shape=(1, 4),
        ),
        model_of(
            node("TreeEnsembleRegressor", ["x"], ["t"], domain="ai.onnx.ml", n_targets=2, nodes_treeids=[0] * 3,
                 nodes_nodeids=[0, 1, 2], nodes_featureids=[1, 0, 0], nodes_values=[0.5] * 3,
                 nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
                 target_ids=[0, 1], target_treeids=[0, 0], target_nodeids=[1, 2], target_weights=[1.0, 2.0]),
            node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.0] * 4, scale=[1.0] * 4),
            node("LinearRegressor", ["s"], ["l"], domain="ai.onnx.ml", coefficients=[1.0] * 8, targets=2),
            node("Add", ["t", "l"], ["y"]),
            domains=["ai.onnx.ml"],
        ),
        model_of(
            node("LabelEncoder", ["x"], ["l"], domain="ai.onnx.ml", keys_strings=["a", "b"], values_int64s=[1, 2]),
            node("Equal", ["x", "t"], ["e"]),
            node("Cast", ["e"], ["f"], to=1),
            node("Cast", ["l"], ["g"], to=1),
            node("Concat", ["f", "g"], ["y"], axis=1),
            constants={"t": np.array([["a"]], object)},
            domains=["ai.onnx.ml"],
            shape=("n", 1),
            kind=TensorProto.STRING,
        ),
        model_of(
            node("F", ["x", "w"], ["h"], domain="l"),
            node("F", ["h", "w"], ["y"], domain="l"),
            constants={"w": np.eye(4, dtype=np.float32)},
            functions=[
                helper.make_function(
                    "l",
                    "F",
                    ["a", "b"],
                    ["c"],
                    [node("MatMul", ["a", "b"], ["m"]), node("Relu", ["m"], ["c"])],
                    [helper.make_opsetid("", 19)],
                )
            ],
            domains=["l"],
        ),
    ]  # fmt: skip
    return [model.SerializeToString() for model in made] + [_coded()]


def _coded():
    """Return a file with weights decoded as this project's files do."""
    graph = Graph()
    whole = graph.node("Cast", graph.weights(np.arange(8, dtype=np.uint8).reshape(8, 1)), to=6)
    digits = graph.node("Mod", graph.node("Div", whole, graph.integers([1, 3, 9, 27, 81], "int32")),
                        graph.integers([3], "int32"))  # fmt: skip
    flat = graph.node("Reshape", graph.node("Cast", digits, to=1), graph.integers([-1]))
    first, _ = graph.split(flat, [36, 4])
    four = graph.node("Cast", graph.weights(np.ones(4, np.int8), "int4"), to=1)
    weights = graph.node("Reshape", first, graph.integers([4, 1, 3, 3]))
    floats = graph.node("Conv", graph.node("Cast", "x", to=1), weights, pads=[1, 1, 1, 1])
    pooled = graph.node("Flatten", graph.node("GlobalAveragePool", floats))
    graph.node("Softmax", graph.node("Mul", pooled, four), output="y")
    return graph.model({"x": ("uint8", (None, 1, 5, 5))}, {"y": ("float32", (None, 4))}, {"classes": list("abcd")})


def hostile_models():
    """Return files made to harm, serialised, by what they try."""
    node, found = helper.make_node, {}

    def constant(operator, *inputs, opset=19, **attributes):
        made = {f"i{n}": value for n, value in enumerate(inputs)}
        return model_of(
            node(operator, list(made), ["w"], **attributes),
            node("ReduceSum", ["w"], ["s"], keepdims=0),
            node("Add", ["x", "s"], ["y"]),
            constants=made,
            opset=opset,
        )

    one = np.ones(1, np.float32)
    found["filled"] = constant("ConstantOfShape", np.array([256, 1024, 1024]))
    found["expanded"] = constant("Expand", one, np.array([2**15, 2**15]))
    found["tiled"] = constant("Tile", one, np.array([2**30]))
    found["counted"] = constant("Range", np.array(0), np.array(2**40), np.array(1))
    found["padded"] = constant("Pad", one, np.array([2**29, 2**29]))
    found["encoded"] = constant("OneHot", np.arange(100), np.array([2**30]), np.array([0, 1], np.float32))
    found["resized"] = constant("Resize", one.reshape(1, 1, 1, 1), one, np.array([1, 1, 2**15, 2**15], np.float32))
    found["transposed"] = constant(
        "ConvTranspose", one.reshape(1, 1, 1, 1), one.reshape(1, 1, 1, 1), strides=[2**15] * 2, output_shape=[2**15] * 2
    )
    found["multiplied"] = constant("MatMul", np.ones((2**15, 1), np.float32), np.ones((1, 2**15), np.float32))
    found["summed"] = constant("Einsum", *[np.ones(2**10, np.float32)] * 3, equation="i,j,k->ijk")
    found["by rows"] = model_of(
        node("Compress", ["x", "c"], ["v"]),
        *(
            step
            for n in range(6)
            for step in (
                node("Unsqueeze", [f"f{n}" if n else "v", "z"], [f"u{n}"]),
                node("Mul", [f"u{n}", f"f{n}" if n else "v"], [f"m{n}"]),
                node("Reshape", [f"m{n}", "l"], [f"f{n + 1}"]),
            )
        ),
        node("ReduceSum", ["f6"], ["s"], keepdims=0),
        node("Add", ["x", "s"], ["y"]),
        constants={"c": np.array([True] * 4), "z": np.array([1]), "l": np.array([-1])},
    )
    found["by values"] = model_of(
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("Cast", ["m"], ["k"], to=7),
        node("Range", ["a", "k", "b"], ["r"]),
        node("Cast", ["r"], ["f"], to=1),
        node("ReduceSum", ["f"], ["s"], keepdims=0),
        node("Add", ["x", "s"], ["y"]),
        constants={"a": np.array(0), "b": np.array(1)},
    )
    found["texts"] = model_of(
        node("Constant", [], ["t0"], value_strings=["ab"]),
        *(node("StringConcat", [f"t{n}", f"t{n}"], [f"t{n + 1}"]) for n in range(40)),
        node("Relu", ["x"], ["y"]),
        opset=20,
    )
    found["work"] = model_of(
        *(node("Expand", ["o", "t"], [name]) for name in "ab"),
        *(node("MatMul", ["a" if n == 0 else f"m{n - 1}", "b"], [f"m{n}"]) for n in range(50)),
        node("ReduceSum", ["m49"], ["s"], keepdims=0),
        node("Add", ["x", "s"], ["y"]),
        constants={"o": one, "t": np.array([2**13, 2**13])},
    )
    found["functions"] = model_of(
        node("F0", ["x"], ["y"], domain="l"),
        functions=[
            helper.make_function(
                "l",
                f"F{n}",
                ["a"],
                ["b40"],
                [
                    node(*(("Relu",) if n == 7 else (f"F{n + 1}",)), ["a" if k == 0 else f"b{k}"], [f"b{k + 1}"],
                         domain="" if n == 7 else "l")
                    for k in range(40)
                ],
                [helper.make_opsetid("", 19), helper.make_opsetid("l", 1)],
            )
            for n in range(8)
        ],
        domains=["l"],
    )  # fmt: skip
    found["circle"] = model_of(
        node("F", ["x"], ["y"], domain="l"),
        functions=[
            helper.make_function(
                "l", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="l")], [helper.make_opsetid("l", 1)]
            )
        ],
        domains=["l"],
    )
    found["lying shape"] = model_of(node("ConstantOfShape", ["i"], ["y"]), constants={"i": np.array([2**33])})
    found["lying shape"].graph.value_info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
    for place in PLACES:
        found[f"outside {place}"] = _outside(place, is_sparse=False)
        found[f"sparse outside {place}"] = _outside(place, is_sparse=True)
    return {name: model.SerializeToString() for name, model in found.items()}


def _outside(place, *, is_sparse):
    """Return a file with weights in another file."""
    model = model_of(helper.make_node("Mul", ["x", "w"], ["y"]))
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=place)
    tensor.external_data.add(key="length", value="16")
    if is_sparse:
        indices = numpy_helper.from_array(np.arange(4), "i")
        model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor, indices=indices, dims=[4]))
    else:
        model.graph.initializer.append(tensor)
    return model


def mutated(rng: random.Random, files: list[bytes]) -> bytes:
    """Return a file with a few random changes, to its bytes or to its fields."""
    content = rng.choice(files)
    kind = rng.random()
    if kind < 0.12:
        return _flipped(rng, content)
    if kind < 0.18:
        return content[: rng.randrange(len(content))]
    if kind < 0.28:
        return _spliced(rng, content, rng.choice(files))
    if kind < 0.30:
        return rng.randbytes(rng.randrange(1, 400))
    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        _change(rng, model)
    return model.SerializeToString()


def _flipped(rng, content):
    made = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made)


def _spliced(rng, content, other):
    start, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    first, last = sorted(rng.randrange(len(other) + 1) for _ in range(2))
    return content[:start] + other[first : min(last, first + 60)] + content[end:]


def _change(rng, model):
    """Change one field of one message, wherever it is."""
    messages = list(_messages(model))
    message = rng.choice(messages)
    field = rng.choice(message.DESCRIPTOR.fields)
    is_many = field.is_repeated
    if field.message_type is not None:
        _change_message(rng, message, field, [m for m in messages if field.message_type == m.DESCRIPTOR], is_many)
        return
    names = [name for node in model.graph.node for name in (*node.input, *node.output)] or ["x"]
    value = _value(rng, field, names)
    if not is_many:
        setattr(message, field.name, value)
        return
    values = getattr(message, field.name)
    action = rng.random()
    if values and action < 0.5:
        values[rng.randrange(len(values))] = value
    elif values and action < 0.7:
        del values[rng.randrange(len(values))]
    else:
        values.append(value)


def _change_message(rng, message, field, alike, is_many):
    if not is_many:
        if alike and rng.random() < 0.7:
            copied = type(alike[0]).FromString(rng.choice(alike).SerializeToString())
            getattr(message, field.name).CopyFrom(copied)
        else:
            message.ClearField(field.name)
        return
    values = getattr(message, field.name)
    if values and rng.random() < 0.4:
        del values[rng.randrange(len(values))]
    elif alike:
        values.add().ParseFromString(rng.choice(alike).SerializeToString())


def _messages(message):
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from _messages(inner)


def _value(rng, field, names):
    if field.type == FieldDescriptor.TYPE_ENUM:
        return rng.choice([entry.number for entry in field.enum_type.values])
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice(FLOATS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.randbytes(rng.choice((0, 1, 3, 4, 16, 64, 1000)))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return rng.choice((rng.choice(names), rng.choice(OPERATORS), "", "l", "ai.onnx.ml", "F", "\u00fc" * 40))
    bits, is_signed = (32, True) if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else (64, True)
    if field.cpp_type in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64):
        is_signed = False
    value = rng.choice((*INTEGERS, rng.randrange(30)))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    return min(max(value, low), high)
