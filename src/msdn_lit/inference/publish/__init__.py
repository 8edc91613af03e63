"""Bundles for other people: model card, Hugging Face Hub, and the page as a container."""

SAMPLES = "samples/[0-9][0-9].*"  # the images of a Space
