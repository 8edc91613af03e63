"""Analysis of runs: groups, statistics, comparisons, and their tables (`output`) and figures."""
