"""Splits: the files of the Proposed Split, their variants, and hold-outs."""
