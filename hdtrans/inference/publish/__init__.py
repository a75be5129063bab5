"""Trained models as .safetensors, .onnx and .pt2."""
