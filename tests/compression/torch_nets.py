"""Small torch networks of many kinds, and their files as torch's own exporter writes them."""

import io
import warnings

import numpy as np
import torch
from torch import nn


class Residual(nn.Module):
    """Convolution, normalisation, two residual blocks, one with a strided shortcut, and a linear layer."""

    def __init__(self, width=8, classes=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.first = self._body(width, width, 1)
        self.second = self._body(width, 2 * width, 2)
        self.shortcut = nn.Conv2d(width, 2 * width, 1, stride=2)
        self.head = nn.Linear(2 * width, classes)

    def _body(self, inner, outer, stride):
        return nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outer),
        )

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(x + self.first(x))
        x = torch.relu(self.shortcut(x) + self.second(x))
        return self.head(x.mean((2, 3)))


class Concatenating(nn.Module):
    """Branches of three kinds side by side, a depthwise layer, and flatten before two linear layers."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(2, 4, 1)
        self.b = nn.Conv2d(2, 6, 3, padding=1)
        self.c = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(2, 2, 1), nn.PReLU(2))
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.norm = nn.BatchNorm2d(12)
        self.tail = nn.Sequential(nn.Flatten(), nn.Linear(12 * 16, 10), nn.Hardswish(), nn.Linear(10, 3), nn.Softmax(1))

    def forward(self, x):
        x = torch.cat([torch.relu(self.a(x)), self.b(x), self.c(x)], 1)
        x = torch.nn.functional.max_pool2d(self.norm(self.depthwise(x)), 2)
        return self.tail(x)


class Viewing(nn.Module):
    """Sizes computed from the batch, a split, a slice, a transpose and a product of two branches."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3, padding=1)
        self.gate = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4 * 64, 3)

    def forward(self, x):
        left, right = self.conv(x).chunk(2, 1)
        x = left * torch.sigmoid(self.gate(right)) + x[:, :1]
        return self.head(x.permute(0, 2, 3, 1).reshape(x.size(0), -1))


class Tokens(nn.Module):
    """Patches as tokens: layer normalisation, products with bias over the last axis, GELU."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(2, 8, 4, 4)
        self.norm = nn.LayerNorm(8)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + self.down(torch.nn.functional.gelu(self.up(self.norm(x))))
        return self.head(x.mean(1))


class Signals(nn.Module):
    """One-dimensional: dilation, groups, transposed convolution, instance normalisation."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(2, 8, 5, 2, 2),
            nn.LeakyReLU(0.1),
            nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=2),
            nn.InstanceNorm1d(8, affine=True),
            nn.ELU(),
            nn.ConvTranspose1d(8, 6, 4, 2, 1),
            nn.Mish(),
            nn.MaxPool1d(3, 2, 1),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(6, 3),
        )

    def forward(self, x):
        return self.body(x)


class Upsampling(nn.Module):
    """An hourglass: pads of three modes, transposed convolution, nearest neighbours, clip."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(2, 6, 3, 2), nn.ReLU6())
        self.up = nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1)
        self.last = nn.Sequential(nn.ReplicationPad2d((1, 0, 2, 0)), nn.ZeroPad2d((0, 1, 0, 0)), nn.Conv2d(4, 3, 2))

    def forward(self, x):
        x = self.down(x)
        x = self.up(x) + torch.nn.functional.interpolate(x, scale_factor=2)[:, :4]
        return self.last(torch.tanh(x)).mean((2, 3))


IMAGES = {"residual": Residual, "concatenating": Concatenating, "viewing": Viewing, "tokens": Tokens, "up": Upsampling}
NETS = {**IMAGES, "signals": Signals}


def made(name, seed=0):
    """A network in evaluation mode with statistics that are not those of a fresh one."""
    torch.manual_seed(seed)
    net = NETS[name]()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return net.eval()


def rows_for(name, count=5, seed=1):
    shape = (2, 32) if name == "signals" else (2, 8, 8)
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def exported(net, rows, *, training=False, fixed_batch=False, opset=17):
    """The file that torch's exporter writes; with `training`, normalisations stay apart."""
    target = io.BytesIO()
    kind = torch.onnx.TrainingMode.PRESERVE if training else torch.onnx.TrainingMode.EVAL
    axes = {} if fixed_batch else {"input": {0: "batch"}, "output": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            torch.from_numpy(rows[:1] if fixed_batch else rows[:2]),
            target,
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes=axes,
            opset_version=opset,
            training=kind,
            do_constant_folding=not training,
        )
    return target.getvalue()
