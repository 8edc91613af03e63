"""Analysis of runs: groups, statistics, comparisons, and their tables and figures (`output`)."""
