"""Speed and memory, compared with the release's order of computation and with hardware limits."""
