"""The model to compress: an ONNX file, an exported torch program, or a function that makes a torch module."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

from engine.artifact import Artifact
from engine.errors import ArtifactError, SettingsError

__all__ = ["model_from"]

OPSET = 17


def model_from(source: str, shape: Sequence[int]) -> onnx.ModelProto:
    """Return the model that a user names.

    Args:
        source: `FILE.onnx`; `FILE.pt2`, as `torch.export.save` writes it; or `module:function`, which takes no
            arguments and returns a torch module. The module is looked for in the working folder too.
        shape: Of a row of the data, for an example.

    Raises:
        ArtifactError: If the file cannot be read, or the module cannot be exported.
        SettingsError: If there is no such function, or what it returns is no torch module.
    """
    if source.endswith(".onnx") or Path(source).is_dir():
        return onnx.load_model_from_string(Artifact.load(source).model)
    if source.endswith(".pt2"):
        try:
            module = torch.export.load(source).module()
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise ArtifactError(f"{source} is not an exported torch program: {error}.") from error
        return _exported(module, shape, source)
    if ":" in source:
        return _exported(_made(source).eval(), shape, source)
    raise SettingsError(f"model must be a file that ends in .onnx or .pt2, or module:function, got '{source}'.")


def _made(source: str) -> torch.nn.Module:
    name, _, attribute = source.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        function = getattr(importlib.import_module(name), attribute)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"model={source} must name a function: {error}.") from error
    module = function()
    if not isinstance(module, torch.nn.Module):
        raise SettingsError(f"model={source} must return a torch module, got {type(module).__name__}.")
    return module


def _exported(module: torch.nn.Module, shape: Sequence[int], source: str) -> onnx.ModelProto:
    target = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the exporter's age; the other one needs a package more
            torch.onnx.export(
                module,
                (torch.zeros(1, *shape),),
                target,  # type: ignore[arg-type]
                dynamo=False,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
                opset_version=OPSET,
                training=torch.onnx.TrainingMode.PRESERVE,  # normalisations stay apart, which trains better
                do_constant_folding=False,
            )
    except Exception as error:  # whatever the user's module raises
        shown = " x ".join(map(str, shape))
        raise ArtifactError(f"{source} cannot be exported with a row of {shown}: {error}") from error
    return onnx.load_model_from_string(target.getvalue())
