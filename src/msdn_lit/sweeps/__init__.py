"""Sweeps: identity and state of trials, resuming, workers, searches."""
