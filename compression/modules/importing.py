"""Reading an ONNX file into torch, for retraining, and writing it back."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

from compression.graphs.operation import Layer, Operation, Port, layers_of, used
from compression.graphs.plain import plain_graph
from compression.modules.operators import OPERATORS, TORCH_TYPES, batch_normalization
from engine.errors import ArtifactError, did_you_mean

__all__ = ["ImportedNetwork", "read_network"]

TRAINED = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (1,),
    "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "PRelu": (1,),
}
PROBE_ROWS = (2, 3)  # what differs between them is the batch


class ImportedNetwork(nn.Module):
    """A graph of ONNX operations that torch runs and trains.

    Trained tensors are parameters, named as in the file with every character that is not a letter or a digit made an
    underscore; methods change them as those of any torch module. Running statistics and constants are buffers.

    Args:
        operations: In order.
        tensors: Constants by name.
        trained: Names of those that are trained.
        port: The input.
        outputs: Of the file.
        opset: Of the operations.
        metadata: Texts that the file carries.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        tensors: Mapping[str, Tensor],
        trained: Collection[str],
        port: Port,
        outputs: Sequence[Port],
        *,
        opset: int,
        metadata: Mapping[str, str],
    ) -> None:
        super().__init__()
        self.operations, self.port, self.outputs = tuple(operations), port, tuple(outputs)
        self.opset, self.metadata = opset, dict(metadata)
        self.constants = tuple(dict.fromkeys(n for op in self.operations for n in op.inputs if n in tensors))
        for name in self.constants:
            if name in trained:
                self.register_parameter(name, nn.Parameter(tensors[name].clone()))
            else:
                self.register_buffer(name, tensors[name].clone())

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Convolutions and linear layers with trained weights, in the order of the graph."""
        return layers_of(self.operations, self.trained)

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the trained tensors, in the order of the graph."""
        return tuple(name for name in self.constants if name not in self._buffers)

    def tensor(self, name: str) -> Tensor:
        """Return a constant as the forward pass sees it.

        Raises:
            ArtifactError: If there is none of that name.
        """
        if name not in self.constants:
            raise ArtifactError(f"The network has no tensor {name}{did_you_mean(name, self.constants)}")
        value = getattr(self, name)
        assert isinstance(value, Tensor)
        return value

    def tensors(self) -> dict[str, Tensor]:
        """Return all constants as the forward pass sees them, detached."""
        return {name: self.tensor(name).detach() for name in self.constants}

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs, (n_rows, *port.shape), to the first output of the file."""
        values = self.values(x)
        return values[self.outputs[0].name]

    def values(self, x: Tensor) -> dict[str, Tensor]:
        """Return every value between the operations, by name.

        Raises:
            ArtifactError: If an operation cannot be done; it names it.
        """
        values = {self.port.name: x.to(TORCH_TYPES[self.port.kind])}
        for operation in self.operations:
            inputs = [None if not name else self._value(name, values, operation) for name in operation.inputs]
            values.update(zip(operation.outputs, self._done(operation, inputs), strict=False))
        return values

    def _value(self, name: str, values: Mapping[str, Tensor], operation: Operation) -> Tensor:
        if name in values:
            return values[name]
        if name in self.constants:
            return self.tensor(name)
        raise ArtifactError(f"{operation.where} needs the value {name}, which nothing gives.")

    def _done(self, operation: Operation, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
        try:
            if operation.operator == "BatchNormalization":
                return (batch_normalization(inputs, operation.attributes, is_training=self.training),)
            attributes = {**operation.attributes, "outputs": len(operation.outputs)}
            result = OPERATORS[operation.operator](inputs, attributes)
        except (ValueError, KeyError, IndexError, TypeError, RuntimeError, AttributeError) as error:
            shapes = [None if value is None else tuple(value.shape) for value in inputs]
            raise ArtifactError(f"{operation.where} cannot be done in torch on inputs {shapes}: {error}") from error
        return result if isinstance(result, tuple) else (result,)

    def sample(self, rows: int) -> Tensor:
        """Return zeros as inputs.

        Raises:
            ArtifactError: If the file leaves sizes beside the batch open.
        """
        if None in self.port.shape:
            raise ArtifactError(
                f"Input {self.port.name} has open sizes, {self.port.shape}; give the shape of a row to read_network."
            )
        return torch.zeros(rows, *[size or 0 for size in self.port.shape], dtype=TORCH_TYPES[self.port.kind])

    def rebuilt(
        self, operations: Sequence[Operation], tensors: Mapping[str, Tensor], *, trained: Collection[str] = ()
    ) -> ImportedNetwork:
        """Return a network with other operations and tensors.

        Args:
            operations: In order.
            tensors: By name.
            trained: Names of new tensors that are trained, beside those that are now.
        """
        made = ImportedNetwork(
            operations,
            tensors,
            {*self.trained, *trained},
            self.port,
            self.outputs,
            opset=self.opset,
            metadata=self.metadata,
        )
        return made.train(self.training)

    def to_model(self) -> onnx.ModelProto:
        """Write the network as an ONNX model with float32 weights and a free batch.

        Example:
            `onnx.save(network.to_model(), "small.onnx")`; `compression.graphs.recode` writes the weights in fewer bits.
        """
        tensors = [
            numpy_helper.from_array(np.ascontiguousarray(value.cpu().numpy()), name)
            for name, value in self.tensors().items()
        ]
        graph = onnx.helper.make_graph(
            [operation.node() for operation in self.operations],
            "g",
            [_info(self.port)],
            [_info(port) for port in self.outputs],
            tensors,
        )
        opset = onnx.helper.make_opsetid("", self.opset)
        model = onnx.helper.make_model(graph, opset_imports=[opset])
        model.ir_version = onnx.helper.find_min_ir_version_for([opset])
        for key, text in self.metadata.items():
            model.metadata_props.add(key=key, value=text)
        return model


def read_network(model: bytes | onnx.ModelProto, *, shape: Sequence[int] | None = None) -> ImportedNetwork:
    """Read an ONNX model into torch.

    Whatever computes constants (decoding of packed weights among it) is computed once; sizes that follow the batch
    are left free, also where the file fixes a batch.

    Args:
        model: With one input and straight operations, those that `compression.modules.operators` knows.
        shape: Of a row, where the file leaves it open.

    Returns:
        The network in evaluation mode; it does what ONNX Runtime does, up to float32 rounding.

    Raises:
        ArtifactError: If it is no ONNX model, or holds what is not known; it names the first such operator.

    Example:
        >>> from compression.graph import Graph
        >>> graph = Graph()
        >>> _ = graph.node("Relu", graph.node("MatMul", "x", graph.weights(-np.eye(2, dtype=np.float32))), output="y")
        >>> content = graph.model({"x": ("float32", (None, 2))}, {"y": ("float32", (None, 2))}, {})
        >>> read_network(content)(torch.tensor([[1.0, -2.0]])).tolist()
        [[0.0, 2.0]]
    """
    if isinstance(model, bytes):
        model = _parsed(model)
    model, operations = plain_graph(model)
    _check_operators(operations)
    given = {tensor.name for tensor in model.graph.initializer}
    ports = [_port(value) for value in model.graph.input if value.name not in given]
    if len(ports) != 1:
        names = ", ".join(f"{port.name}" for port, _ in ports) or "none"
        raise ArtifactError(f"A model to retrain must have one input, got {len(ports)}: {names}.")
    (port, batch), outputs = ports[0], [_port(value)[0] for value in model.graph.output]
    port = port if shape is None else replace(port, shape=tuple(shape))
    needed = {name for operation in operations for name in operation.inputs}
    tensors = {
        tensor.name: torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
        for tensor in model.graph.initializer
        if tensor.name in needed
    }
    operations, tensors = _named(operations, tensors, {port.name, *(output.name for output in outputs)})
    if batch is not None:
        tensors = dict(_freed(operations, tensors, batch))
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    network = ImportedNetwork(
        operations, tensors, _trained(operations, tensors), port, outputs, opset=opset, metadata=metadata
    )
    return _settled(network.eval())


def _parsed(content: bytes) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ArtifactError("The model is not an ONNX file: it does not parse.") from error


def _check_operators(operations: Sequence[Operation]) -> None:
    unknown = [operation for operation in operations if operation.operator not in OPERATORS]
    if not unknown:
        return
    others = sorted({operation.operator for operation in unknown} - {unknown[0].operator})
    rest = f" (and later {', '.join(others)})" if others else ""
    raise ArtifactError(
        f"The first operator that cannot be retrained is {unknown[0].where}{rest}. Known operators: "
        f"{', '.join(sorted(OPERATORS))}. `python -m compression.compress` needs no retraining, and takes any operator."
    )


def _port(value: onnx.ValueInfoProto) -> tuple[Port, int | None]:
    """Return an input or output, and the batch that it fixes."""
    kind = value.type.tensor_type
    sizes = [size.dim_value or None for size in kind.shape.dim]
    return Port(value.name, kind.elem_type, tuple(sizes[1:])), sizes[0] if sizes else None


def _info(port: Port) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(port.name, port.kind, [None, *port.shape])


def _named(
    operations: Sequence[Operation], tensors: Mapping[str, Tensor], taken: Collection[str]
) -> tuple[tuple[Operation, ...], dict[str, Tensor]]:
    """Give every constant a name that a torch module can carry."""
    reserved = {*dir(nn.Module()), *vars(nn.Module()), *dir(ImportedNetwork), *taken}
    reserved |= {"operations", "port", "outputs", "opset", "metadata", "constants", "parametrizations"}
    reserved |= {name for operation in operations for name in operation.outputs}
    names: dict[str, str] = {}
    for name in tensors:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "constant"
        while plain in reserved or keyword.iskeyword(plain):
            plain += "_"
        names[name] = plain
        reserved.add(plain)
    renamed = [
        replace(operation, inputs=tuple(names.get(name, name) for name in operation.inputs)) for operation in operations
    ]
    return tuple(renamed), {names[name]: tensor for name, tensor in tensors.items()}


def _trained(operations: Sequence[Operation], tensors: Mapping[str, Tensor]) -> set[str]:
    """Return the float tensors that layers, normalisations and slopes use, and biases added to products."""
    products: set[str] = set()
    found = set()
    for operation in operations:
        places = TRAINED.get(operation.operator, ())
        names = {name for place, name in enumerate(operation.inputs) if place in places}
        if operation.operator in ("MatMul", "Conv", "ConvTranspose", "Gemm"):
            products.update(operation.outputs)
        elif operation.operator == "Add" and products & set(operation.inputs):
            names |= set(operation.inputs)
        found |= {name for name in names if name in tensors and tensors[name].dtype == torch.float32}
    return found


def _freed(operations: Sequence[Operation], tensors: Mapping[str, Tensor], batch: int) -> Iterator[tuple[str, Tensor]]:
    """Let target shapes that begin with the fixed batch take that of the rows instead."""
    targets = {operation.inputs[1] for operation in operations if operation.operator == "Reshape"}
    for name, tensor in tensors.items():
        if name in targets and tensor.dim() == 1 and len(tensor) and int(tensor[0]) == batch:
            tensor = torch.cat([torch.zeros(1, dtype=tensor.dtype), tensor[1:]])
        yield name, tensor


def _settled(network: ImportedNetwork) -> ImportedNetwork:
    """Run two batches of zeros; what computes sizes from the batch becomes a constant, with -1 for the batch."""
    with torch.no_grad():
        first, second = (network.values(network.sample(rows)) for rows in PROBE_ROWS)
    computed: dict[str, Tensor] = {}
    operations = []
    for operation in network.operations:
        inputs = list(operation.inputs)
        for place, name in enumerate(inputs):
            if not name or name not in first or first[name].is_floating_point() or first[name].dim() > 1:
                continue
            if place == 0 or operation.operator in ("Add", "Mul", "Sub", "Div", "Concat"):
                continue  # a step on the way to a size
            value = _common(operation, first, second, name)
            if value is not None:
                inputs[place] = f"{name}_size"
                computed[inputs[place]] = value
        operations.append(replace(operation, inputs=tuple(inputs)))
    if not computed:
        return network
    operations, computed = _named(operations, computed, network.constants)  # type: ignore[assignment]
    kept = used(operations, [output.name for output in network.outputs])
    return network.rebuilt(kept, {**network.tensors(), **computed})


def _common(
    operation: Operation, first: Mapping[str, Tensor], second: Mapping[str, Tensor], name: str
) -> Tensor | None:
    """Return the size that holds for any batch, or None where there is none."""
    here, there = first[name], second[name]
    if here.shape != there.shape:
        return None
    differing = here != there
    if not differing.any():
        return here
    if operation.operator != "Reshape" or int(differing.sum()) != 1:
        return None
    source = operation.inputs[0]
    is_batch = bool(differing[0]) and source in first and first[source].shape[0] == int(here[0])
    return torch.where(differing, 0 if is_batch else -1, here)
