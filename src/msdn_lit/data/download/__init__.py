"""Downloads of the benchmarks' files."""
