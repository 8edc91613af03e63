"""Damaged and hostile files of every format that the package reads; read by tests/test_mutations.py."""
