"""Packed clouds."""
