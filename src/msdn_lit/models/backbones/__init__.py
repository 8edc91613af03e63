"""Backbones as a source of region features, frozen or trained with a net."""
