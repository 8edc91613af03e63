"""Damaged and hostile files of every format that the package reads, for tests/test_mutations.py."""
