"""Commands that show results: report, scores, attention, wandb-workspace, list."""
