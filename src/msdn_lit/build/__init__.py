"""From a config to objects: the only package that calls Hydra's instantiate."""
