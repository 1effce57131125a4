"""Trained networks in other programs: torch.export, ONNX, and what runs them."""
