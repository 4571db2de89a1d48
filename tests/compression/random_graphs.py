"""Random models as exporters write them: wordy, with convolutions, normalisations, residual sums, concatenations."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

IR_OF = {11: 6, 13: 7, 15: 8, 17: 8, 18: 8, 20: 9, 21: 10, 22: 10}


class Wordy:
    """Nodes and tensors with long names."""

    def __init__(self, rng, opset):
        self.rng, self.opset = rng, opset
        self.nodes, self.tensors = [], []

    def tensor(self, array, name="weight"):
        name = f"/model/{name}_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def floats(self, *shape, scale=1.0, name="weight"):
        return self.tensor((self.rng.normal(size=shape) * scale).astype(np.float32), name)

    def node(self, operator, *inputs, outputs=1, **attributes):
        names = [f"/model/{operator}_{len(self.nodes)}_output_{n}" for n in range(outputs)]
        self.nodes.append(
            helper.make_node(operator, inputs, names, name=names[0] + "/node", doc_string="made by hand", **attributes)
        )
        return names[0]


def convolution(made, x, width, out, size):
    rng = made.rng
    groups = int(rng.choice([1, width])) if out == width else 1
    kernel, dilation = int(rng.choice([1, 3])), int(rng.choice([1, 2]))
    weight = made.floats(out, width // groups, kernel, kernel, scale=(kernel * kernel * width / groups) ** -0.5)
    bias = [made.floats(out, scale=0.1, name="bias")] if rng.random() < 0.6 else []
    attributes = {"kernel_shape": [kernel, kernel], "group": groups, "dilations": [dilation] * 2, "strides": [1, 1]}
    if rng.random() < 0.5:
        attributes["pads"] = [dilation * (kernel // 2)] * 4
    else:
        attributes["auto_pad"], attributes["dilations"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER"])), [1, 1]
    return made.node("Conv", x, weight, *bias, **attributes)


def transposed(made, x, width, out):
    weight = made.floats(width, out, 3, 3, scale=(9 * width) ** -0.5)
    return made.node("ConvTranspose", x, weight, made.floats(out, name="bias"), pads=[1, 1, 1, 1])


def normalized(made, x, width):
    positive = [made.tensor(made.rng.uniform(0.5, 2, width).astype(np.float32)) for _ in range(2)]
    shift, mean = made.floats(width), made.floats(width)
    return made.node("BatchNormalization", x, positive[0], shift, mean, positive[1], epsilon=1e-3)


def disturbed(made, x, kind):
    """Add what strip removes."""
    if kind == "Dropout" and made.opset >= 12:
        return made.node("Dropout", x, made.tensor(np.float32(0.5)), made.tensor(np.array(False)))
    if kind == "Constant":
        value = numpy_helper.from_array(np.full(1, 1.5, np.float32))
        return made.node("Mul", x, made.node("Constant", value=value))
    return made.node("Identity", x) if kind == "Identity" else x


def random_model(seed):
    """Return a model and rows for it."""
    rng = np.random.default_rng(seed)
    opset = int(rng.choice(list(IR_OF)))
    made = Wordy(rng, opset)
    channels, size, width = int(rng.integers(1, 4)), int(rng.integers(4, 8)), int(rng.integers(2, 7))
    x = made.node("Cast", "image input", to=TensorProto.FLOAT)
    x = convolution(made, x, channels, width, size)
    for _ in range(int(rng.integers(0, 4))):
        kind = str(rng.choice(["residual", "concat", "pool", "turned", "noise"]))
        x = disturbed(made, x, str(rng.choice(["Dropout", "Constant", "Identity", "nothing"])))
        if kind == "residual":
            inner = convolution(made, x, width, width, size)
            inner = normalized(made, inner, width) if rng.random() < 0.5 else inner
            x = made.node("Add", x, made.node("Relu", inner))
        elif kind == "concat":
            x = made.node("Concat", x, convolution(made, x, width, width, size), axis=1)
            x, width = convolution(made, x, 2 * width, width, size), width
        elif kind == "turned":
            x = normalized(made, transposed(made, x, width, width), width)
        elif kind == "pool":
            x = made.node("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], outputs=int(rng.integers(1, 3)))
        else:
            x = made.node("LeakyRelu", x, alpha=float(rng.choice([0.01, 0.2])))
    x = made.node("Flatten", made.node("GlobalAveragePool", x))
    if rng.random() < 0.5:
        weight = made.floats(5, width, name="head") if (turn := int(rng.integers(2))) else made.floats(width, 5)
        x = made.node("Gemm", x, weight, made.floats(5, name="bias"), transB=turn)
    else:
        x = made.node("Add", made.node("MatMul", x, made.floats(width, 5)), made.floats(5, name="bias"))
    made.nodes.append(helper.make_node("Identity", [x], ["the scores"]))
    made.nodes.append(helper.make_node("Relu", [x], ["nobody reads this"]))
    dtype = TensorProto.FLOAT if rng.random() < 0.6 else TensorProto.UINT8
    rows = int(rng.integers(1, 6))
    batch = rows if rng.random() < 0.2 else "batch"
    graph = helper.make_graph(
        made.nodes,
        "wordy",
        [helper.make_tensor_value_info("image input", dtype, [batch, channels, size, size], doc_string="pixels")],
        [helper.make_tensor_value_info("the scores", TensorProto.FLOAT, [batch, 5])],
        made.tensors,
        doc_string="a graph",
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_OF[opset], producer_name="somebody"
    )
    helper.set_model_props(model, {"classes": '["a", "b", "c", "d", "e"]', "author": "nobody"})
    shape = (rows, channels, size, size)
    values = rng.normal(size=shape) if dtype == TensorProto.FLOAT else rng.integers(0, 256, shape)
    return model, {"image input": values.astype(np.float32 if dtype == TensorProto.FLOAT else np.uint8)}
