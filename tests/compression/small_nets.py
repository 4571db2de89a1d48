"""Random small plans and weights for the tests of this folder."""

import numpy as np

from compression.codings import CODINGS
from compression.nets.layers import Weights, empty_weights
from compression.nets.plan import Addition, Convolution, Linear, Mean, Plan, Pooling
from engine.data import Signature

NAMED = ("ankle boot", "<b>", "\N{LATIN SMALL LETTER U WITH DIAERESIS}")


def signature_of(shape, *, classes=("0", "1", "2"), dtype="uint8"):
    kind = "images" if len(shape) == 3 else "signals"
    return Signature(kind, "classification", shape, dtype, classes, 0.5 if dtype == "float32" else 0.0, 2.0)


def random_plan(seed, *, classes=("0", "1", "2")):
    """A stem, up to four random steps with residual sums, mean, linear; images or signals, bytes or floats."""
    rng = np.random.default_rng(seed)
    shape = (2, 6, 6) if seed < 10 or rng.random() < 0.7 else (2, 9)
    dtype = "uint8" if seed < 10 or rng.random() < 0.7 else "float32"
    width = int(rng.integers(1, 9))
    codings = list(CODINGS)

    def coding():
        return codings[int(rng.integers(len(codings)))]

    stride = int(rng.integers(1, 3))
    steps = [Convolution("stem", "x", shape[0], width, 3, stride, False, True, coding(), "input", "g")]
    source = "stem"
    for number in range(int(rng.integers(0, 5))):
        kind = rng.choice(["conv1", "conv3", "depthwise3", "depthwise5", "max", "average"])
        name = f"s{number}"
        if kind in ("max", "average"):
            steps.append(Pooling(name, source, str(kind), int(rng.integers(1, 3))))
            source = name
            continue
        is_depthwise = kind.startswith("depthwise")
        has_bias = not is_depthwise or bool(rng.random() < 0.7)
        steps.append(
            Convolution(
                name, source, width, width, int(kind[-1]), 1, is_depthwise, has_bias,
                coding(), "g", "g",
            )
        )  # fmt: skip
        steps.append(Addition(f"a{number}", (name, source)))
        source = f"a{number}"
    steps += [Mean("mean", source), Linear("head", "mean", width, len(classes), coding(), "g")]
    return Plan(signature_of(shape, classes=classes, dtype=dtype), tuple(steps))


def random_weights(plan, seed):
    rng = np.random.default_rng(seed)
    made = {}
    for step in plan.weighted:
        coding, empty = CODINGS[step.coding], empty_weights(plan)[step.name]
        shape = empty.codes.shape
        fan_in = max(1, empty.codes.size // step.channels_out)
        if coding.is_integer:
            codes = rng.integers(coding.low, coding.high + 1, shape)
            if coding.density < 1:
                flat = codes.reshape(-1)
                flat[rng.permutation(flat.size)[coding.kept(flat.size) :]] = 0
            scale = (rng.uniform(0.5, 1.5, step.channels_out) / coding.reach / np.sqrt(fan_in)).astype(np.float16)
        else:
            codes, scale = (rng.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32), None
        bias = None if empty.bias is None else rng.normal(size=step.channels_out).astype(np.float16)
        made[step.name] = Weights(codes, scale, bias)
    return made
