"""Sweepers and launchers. Hydra searches the package hydra_plugins for them."""
