"""Benchmarks: facts and files of each."""
