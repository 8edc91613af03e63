"""What Hydra finds of ours by itself: a launcher that skips finished trials."""
