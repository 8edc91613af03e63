"""Commands that show results: report, rescore, attention, wandb-workspace, list."""
