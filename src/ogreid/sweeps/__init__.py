"""Sweeps: W&B's own sweep files, run without its server."""
