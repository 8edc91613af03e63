"""Figures of runs: their style, their drawings, and their captions."""
