"""ONNX graphs that exist: stripped, folded, their weights coded, moved to integers, gated and timed, without torch."""
