"""Tree ensembles as plain ONNX operators: the same predictions from the smallest file."""
