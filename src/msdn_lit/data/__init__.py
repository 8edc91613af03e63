"""Benchmarks on disk: splits, word vectors, images, region features."""
