"""Torch modules of any kind, also read from ONNX: pruned, factored, clustered, quantized, retrained, written."""
