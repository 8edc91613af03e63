"""From objects to a trained run."""
