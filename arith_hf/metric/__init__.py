"""Metrics as local modules of the `evaluate` library: loaded by path, so no network is asked."""
