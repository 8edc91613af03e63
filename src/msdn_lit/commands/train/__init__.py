"""Commands that train: train, evaluate, select."""
