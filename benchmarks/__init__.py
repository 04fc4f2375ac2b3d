"""Measurements: ours beside the stock path, on whatever machine this is."""
